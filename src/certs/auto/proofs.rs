//! What proves to an authority that a name is ours, while it looks: the router shows it.

use crate::certs::Handshakes;
use crate::link::Proofs;
use std::sync::{Arc, Mutex, PoisonError};

/// All proofs that are shown now.
pub struct Shown {
    handshakes: Arc<dyn Handshakes>,
    now: Mutex<Proofs>,
    /// One hand-over at a time, so that what was read first never comes last.
    publishing: tokio::sync::Mutex<()>,
}

impl Shown {
    pub fn new(handshakes: Arc<dyn Handshakes>) -> Self {
        Self { handshakes, now: Mutex::default(), publishing: tokio::sync::Mutex::default() }
    }

    /// Changes what is shown. True once the router shows it.
    pub async fn change(&self, change: impl FnOnce(&mut Proofs)) -> bool {
        let _turn = self.publishing.lock().await;
        let proofs = {
            let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut now);
            now.clone()
        };
        self.handshakes.show_proofs(proofs).await
    }
}
