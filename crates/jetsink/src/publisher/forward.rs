//! A pointer to a publisher is a publisher.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::baseline::Baselines;
use super::look_up::{StoredId, StoredIds};
use super::window::Window;
use super::{ConnectionState, Publisher};
use crate::message::envelope::Envelope;
use crate::outcome::{Acknowledgement, PublishError};

macro_rules! forward {
    ($($pointer:ty),+) => {$(
        impl<P: Publisher> Publisher for $pointer {
            fn publish(
                &self,
                envelope: &Envelope,
                deadline: Instant,
            ) -> impl Future<Output = Result<Acknowledgement, PublishError>> + Send {
                (**self).publish(envelope, deadline)
            }

            fn enforces_deadline(&self) -> bool {
                (**self).enforces_deadline()
            }

            fn window(&self, connection: Option<u64>) -> Box<dyn Window + '_> {
                (**self).window(connection)
            }

            fn stored_ids(
                &self,
                events: &[Envelope],
                after: &Baselines,
                visit: &mut (dyn FnMut(StoredId<'_>) + Send),
            ) -> impl Future<Output = Result<StoredIds, PublishError>> + Send {
                (**self).stored_ids(events, after, visit)
            }

            fn stream_created(
                &self,
                stream: &str,
                domain: Option<&str>,
            ) -> impl Future<Output = Result<Option<String>, PublishError>> + Send {
                (**self).stream_created(stream, domain)
            }

            fn request_failover(&self) {
                (**self).request_failover();
            }

            fn connection(&self) -> Option<watch::Receiver<ConnectionState>> {
                (**self).connection()
            }
        }
    )+};
}

forward!(&P, Arc<P>, Box<P>);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::Subject;

    /// Records its calls; it overrides every default.
    #[derive(Default)]
    struct Recorder(Mutex<Vec<&'static str>>);

    impl Recorder {
        fn note(&self, call: &'static str) {
            self.0.lock().unwrap().push(call);
        }
    }

    impl Publisher for Recorder {
        async fn publish(&self, _: &Envelope, _: Instant) -> Result<Acknowledgement, PublishError> {
            self.note("publish");
            Ok(Acknowledgement::new("S", 1))
        }

        fn enforces_deadline(&self) -> bool {
            self.note("enforces_deadline");
            true
        }

        fn window(&self, _: Option<u64>) -> Box<dyn Window + '_> {
            self.note("window");
            Box::new(crate::PerMessageWindow::new(self))
        }

        async fn stored_ids(
            &self,
            _: &[Envelope],
            _: &Baselines,
            _: &mut (dyn FnMut(StoredId<'_>) + Send),
        ) -> Result<StoredIds, PublishError> {
            self.note("stored_ids");
            Ok(StoredIds::Visited)
        }

        async fn stream_created(
            &self,
            _: &str,
            _: Option<&str>,
        ) -> Result<Option<String>, PublishError> {
            self.note("stream_created");
            Ok(None)
        }

        fn request_failover(&self) {
            self.note("request_failover");
        }

        fn connection(&self) -> Option<watch::Receiver<ConnectionState>> {
            self.note("connection");
            None
        }
    }

    async fn calls<P: Publisher>(publisher: P, recorder: &Recorder) -> Vec<&'static str> {
        let envelope = Envelope::new(Subject::new("a").unwrap(), "x".into());
        publisher.publish(&envelope, Instant::now()).await.unwrap();
        publisher.enforces_deadline();
        drop(publisher.window(None));
        let stored = publisher
            .stored_ids(&[], &Baselines::new(), &mut |_| {})
            .await;
        stored.unwrap();
        publisher.stream_created("S", None).await.unwrap();
        publisher.request_failover();
        publisher.connection();
        std::mem::take(&mut *recorder.0.lock().unwrap())
    }

    #[tokio::test]
    async fn pointers_forward_every_method() {
        let recorder = Arc::new(Recorder::default());
        let all = [
            "publish",
            "enforces_deadline",
            "window",
            "stored_ids",
            "stream_created",
            "request_failover",
            "connection",
        ];
        assert_eq!(calls(&*recorder, &recorder).await, all);
        assert_eq!(calls(Arc::clone(&recorder), &recorder).await, all);
        let boxed = Box::new(Arc::clone(&recorder));
        assert_eq!(calls(boxed, &recorder).await, all);
    }
}
