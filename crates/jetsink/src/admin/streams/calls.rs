//! Plans and applies the changes of a stream.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{StreamError, StreamPlan, StreamSpec};
use crate::admin::Admin;
use crate::nats::question::Question;
use crate::nats::stream_name::StreamName;
use crate::outcome::{Refusal, RequestError, codes};

#[derive(Deserialize)]
struct Info {
    config: Map<String, Value>,
}

impl Admin<'_> {
    /// Compares the stream with its specification. Changes nothing.
    ///
    /// Takes at most 2 seconds. Dropping the future gives up the wait.
    ///
    /// # Errors
    /// [`StreamError::Broker`], [`StreamError::Denied`].
    pub async fn plan_stream(self, spec: &StreamSpec) -> Result<StreamPlan, StreamError> {
        let found = self.stream_config(&spec.name).await?;
        Ok(StreamPlan::new(spec, found))
    }

    /// Makes the changes of `plan`: creates the stream, or updates it. Returns whether anything was changed.
    ///
    /// Changes that [shrink](super::StreamChangeKind::Reduces) something are made only `force`. The update sends
    /// the configuration from the time of the plan, so it reverts changes made since. Takes at most 2 seconds.
    /// After a dropped future or [`RequestError::NoAnswer`] the changes may or may not be made: plan again to
    /// find out.
    ///
    /// # Errors
    /// [`StreamError::Impossible`] if the plan has a conflict, [`StreamError::Broker`] if the server refuses
    /// the change, such as replicas without a cluster, [`StreamError::Denied`].
    pub async fn apply_stream(self, plan: &StreamPlan, force: bool) -> Result<bool, StreamError> {
        if let Some(reason) = plan.conflict() {
            return Err(StreamError::Impossible {
                stream: plan.stream().to_owned(),
                reason,
            });
        }
        if plan.made(force).next().is_none() {
            return Ok(false);
        }
        let stream = plan.name();
        let question = if plan.exists() {
            Question::StreamUpdate(stream)
        } else {
            Question::StreamCreate(stream)
        };
        let config = Value::Object(plan.config(force));
        self.ask_of::<Info>(stream, question, &config).await?;
        Ok(true)
    }

    async fn stream_config(
        self,
        name: &StreamName,
    ) -> Result<Option<Map<String, Value>>, StreamError> {
        let question = Question::StreamInfo(name);
        match self.ask_of::<Info>(name, question, &json!({})).await {
            Ok(info) => Ok(Some(info.config)),
            Err(StreamError::Broker {
                error: RequestError::Refused(Refusal { code, .. }),
                ..
            }) if code == codes::STREAM_NOT_FOUND => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn ask_of<T: serde::de::DeserializeOwned>(
        self,
        stream: &StreamName,
        question: Question<'_>,
        details: &Value,
    ) -> Result<T, StreamError> {
        let answer = self.ask(question, details).await;
        let stream = stream.to_string();
        answer.map_err(|error| match error {
            RequestError::Denied => StreamError::Denied {
                stream,
                subject: self.publisher.shared().api_subject(question),
            },
            error => StreamError::Broker { stream, error },
        })
    }
}
