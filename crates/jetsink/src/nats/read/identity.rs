//! Identifies a stream: another one may have the same name later.

use serde_json::json;

use super::catch_up::StreamInfo;
use crate::nats::api::{ask_in, cant_read};
use crate::nats::question::Question;
use crate::nats::session::Session;
use crate::nats::shared::Shared;
use crate::nats::stream_name::StreamName;
use crate::outcome::{PublishError, codes};

/// Returns the creation time of the stream that acknowledges as `stream` in `domain`; `None` if this user may
/// not know it, or the stream is in another account.
pub(crate) async fn stream_created(
    shared: &Shared,
    session: &Session,
    stream: &str,
    domain: Option<&str>,
) -> Result<Option<String>, PublishError> {
    let name = |text: &str| {
        let name = text.parse::<StreamName>();
        name.map_err(|error| cant_read(&format!("its acknowledgement names it wrongly: {error}")))
    };
    let stream = name(stream)?;
    domain.map(name).transpose()?;
    // The configured API first: a user may be confined to it.
    for api in [None, domain] {
        let question = Question::StreamInfo(&stream);
        let info: StreamInfo = match ask_in(shared, session, api, question, &json!({})).await {
            Ok(info) => info,
            Err(error) if is_no_answer_ever(&error) => continue,
            Err(error) => return Err(error),
        };
        if info.domain.as_deref() == domain {
            return Ok(Some(info.created).filter(|created| !created.is_empty()));
        }
    }
    Ok(None)
}

fn is_no_answer_ever(error: &PublishError) -> bool {
    match error {
        PublishError::PermissionDenied => true,
        PublishError::Refused(refusal) => matches!(
            refusal.code,
            codes::STREAM_NOT_FOUND
                | codes::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT
                | codes::JETSTREAM_NOT_ENABLED
        ),
        _ => false,
    }
}
