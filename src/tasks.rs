//! The only place that spawns: each task has a name, and one that panics is seen in the log.

use crate::origin::Origin;
use std::future::Future;
use tokio::task::JoinHandle;

/// Spawns a named task, which works for whom this one does. A panic inside it is logged with the
/// name; the process goes on.
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let origin = Origin::current();
    #[allow(clippy::disallowed_methods, reason = "the one place that may")]
    tokio::spawn(origin.scope(async move {
        if let Err(panic) =
            futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(future)).await
        {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_string()))
                .unwrap_or_default();
            tracing::error!(task = name, panic = text, "task panicked");
        }
    }))
}

/// Runs `work` in a task of its own and waits for what it comes to: it goes on where whoever waits
/// goes away. `None` if it panicked, which is in the log.
pub async fn to_its_end<T, F>(name: &'static str, work: F) -> Option<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let (tell, end) = tokio::sync::oneshot::channel();
    spawn(name, async move {
        let _ = tell.send(work.await);
    });
    end.await.ok()
}

/// Runs blocking work (git objects, tar, hashing) off the async threads.
pub async fn blocking<T, F>(what: &'static str, work: F) -> crate::error::Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> crate::error::Result<T> + Send + 'static,
{
    // Where the machine has no thread to give, tokio panics: a reconciler that dies of a full
    // process table would never recover from it.
    let started = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        tokio::task::spawn_blocking(work)
    }));
    let Ok(task) = started else {
        return Err(crate::error::Error::unavailable(format!(
            "This machine can start no more threads ({what}): end processes there, or raise the \
             limit of the server's (pids.max, kernel.pid_max)"
        )));
    };
    match task.await {
        Ok(result) => result,
        Err(join) => Err(crate::error::Error::internal(format!("{what} stopped short"), join)),
    }
}
