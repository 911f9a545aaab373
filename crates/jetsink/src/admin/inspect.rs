//! Questions to the broker about the account, its streams and the user's permissions. They change and
//! store nothing.

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Admin;
use crate::message::subject::Subject;
use crate::nats::api::ANSWER_TIME;
use crate::nats::question::Question;
use crate::nats::stream_name::StreamName;
use crate::nats::wire;
use crate::outcome::{PublishError, Refusal};

/// No stream has this name: a stream's has no white space.
const NO_STREAM: &str = "jetsink asks whether it may publish";

/// The server's code where another stream than the one expected captures the subject.
const OTHER_STREAM: u64 = 10_060;

impl Admin<'_> {
    /// What the JetStream API says of this account, in the server's JSON (`$JS.API.INFO`).
    ///
    /// Takes 2 seconds at the most, as the other questions here.
    ///
    /// # Errors
    /// [`PublishError::JetStreamUnavailable`] where it is not enabled, [`PublishError::Refused`],
    /// [`PublishError::PermissionDenied`], and those of a broker that does not answer.
    pub async fn account_info(self) -> Result<Value, PublishError> {
        self.ask(Question::AccountInfo, &json!({})).await
    }

    /// The names of the streams that capture something of `subjects`, which may hold `*` and `>`.
    ///
    /// # Errors
    /// As [`account_info`](Self::account_info).
    pub async fn stream_names(self, subjects: &str) -> Result<Vec<StreamName>, PublishError> {
        #[derive(Deserialize)]
        struct Names {
            #[serde(default)]
            streams: Option<Vec<String>>,
        }
        let details = json!({ "subject": subjects });
        let names: Names = self.ask(Question::StreamNames, &details).await?;
        let names = names.streams.unwrap_or_default();
        Ok(names.into_iter().map(StreamName::trusted).collect())
    }

    /// A stream's configuration and state, in the server's JSON.
    ///
    /// # Errors
    /// As [`account_info`](Self::account_info).
    pub async fn stream_info(self, name: &StreamName) -> Result<Value, PublishError> {
        self.ask(Question::StreamInfo(name), &json!({})).await
    }

    /// Whether an event of this subject would be taken, without storing one: a message that expects a
    /// stream which can't be there is refused by the one that is.
    ///
    /// # Errors
    /// What an emit would fail with: [`PublishError::PermissionDenied`],
    /// [`PublishError::NoStream`] and so on.
    pub async fn check_publish(self, subject: &Subject) -> Result<(), PublishError> {
        let shared = self.publisher.shared();
        let session = shared.session().ok_or(PublishError::NotConnected)?;
        let mut headers = HeaderMap::new();
        headers.insert(wire::EXPECTED_STREAM, NO_STREAM);
        let deadline = Instant::now() + ANSWER_TIME;
        let answer = shared
            .request(
                &session,
                subject.to_shared(),
                headers,
                Bytes::new(),
                deadline,
            )
            .await?;
        match wire::acknowledgement(&answer, None) {
            Err(PublishError::Refused(Refusal { code, .. })) if code == OTHER_STREAM => Ok(()),
            Err(PublishError::NoStream) => Err(shared
                .why_no_responders(&session, subject.as_str(), deadline)
                .await),
            Err(error) => Err(error),
            Ok(ack) => Err(PublishError::WrongStream {
                expected: NO_STREAM.to_owned(),
                actual: ack.stream,
            }),
        }
    }
}
