//! A signal without payload: writers hold it, a loop awaits it. Signals that arrive while the
//! loop is busy are kept as one, so none is lost and none queues.

use std::sync::Arc;
use tokio::sync::Notify;

#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes the loop now, or makes its next wait end at once.
    pub fn wake(&self) {
        self.0.notify_one();
    }

    pub async fn wait(&self) {
        self.0.notified().await;
    }
}
