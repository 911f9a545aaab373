//! Identifies a stream: another one may have the same name later.

use serde_json::json;

use super::catch_up::StreamInfo;
use crate::nats::api::ask_in;
use crate::nats::failure::Failure;
use crate::nats::question::Question;
use crate::nats::session::Session;
use crate::nats::shared::Shared;
use crate::nats::stream_name::StreamName;
use crate::outcome::PublishError;

/// Returns the creation time of the stream that acknowledges as `stream` in `domain`; `None` if this user may
/// not know it, or the stream is in another account.
pub(crate) async fn stream_created(
    shared: &Shared,
    session: &Session,
    stream: &str,
    domain: Option<&str>,
) -> Result<Option<String>, PublishError> {
    // A plain subscriber may have answered in place of a stream, with any name.
    let Ok(stream) = stream.parse::<StreamName>() else {
        return Ok(None);
    };
    // The configured API first: a user may be confined to it.
    for api in [None, domain] {
        let question = Question::StreamInfo(&stream);
        let info: StreamInfo = match ask_in(shared, session, api, question, &json!({})).await {
            Ok(info) => info,
            Err(error) if Failure::of(&error).is_final() => continue,
            Err(error) => return Err(error),
        };
        if info.domain.as_deref() == domain {
            return Ok(Some(info.created).filter(|created| !created.is_empty()));
        }
    }
    Ok(None)
}
