//! A future that goes on in a task of its own when it is dropped.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// Runs in the caller's task for as long as it is polled there. A drop before its end moves it to a task of its own, so
/// that most requests need no task.
pub(super) struct Detach<T: Send + 'static> {
    /// `None` after the end.
    future: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
}

impl<T: Send + 'static> Detach<T> {
    #[inline(always)] // or the future is copied once more
    pub(super) fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self {
            future: Some(Box::pin(future)),
        }
    }
}

impl<T: Send + 'static> Future for Detach<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(future) = &mut self.future else {
            return Poll::Pending; // polled after its end
        };
        let poll = future.as_mut().poll(context);
        if poll.is_ready() {
            self.future = None;
        }
        poll
    }
}

impl<T: Send + 'static> Drop for Detach<T> {
    fn drop(&mut self) {
        // Without a runtime the process ends.
        if let (Some(future), Ok(runtime)) = (self.future.take(), Handle::try_current()) {
            runtime.spawn(future);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;
    use tokio::sync::Notify;
    use tokio::time::timeout;

    #[tokio::test]
    async fn future_that_is_dropped_runs_to_its_end() {
        let (go, ended) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let runs = Arc::new(AtomicU32::new(0));
        let mut detach = Detach::new({
            let (go, ended, runs) = (Arc::clone(&go), Arc::clone(&ended), Arc::clone(&runs));
            async move {
                runs.fetch_add(1, Ordering::Relaxed);
                go.notified().await;
                ended.notify_one();
            }
        });
        let polled = timeout(Duration::ZERO, &mut detach).await;
        assert!(polled.is_err(), "it waits");
        drop(detach);
        go.notify_one();
        ended.notified().await;
        assert_eq!(runs.load(Ordering::Relaxed), 1, "it is not begun again");
    }

    #[tokio::test]
    async fn future_that_has_ended_is_not_run_again() {
        let mut detach = Detach::new(async { 7 });
        assert_eq!((&mut detach).await, 7);
        drop(detach);
    }
}
