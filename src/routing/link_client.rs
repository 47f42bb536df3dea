//! The server's end of the link: makes the listeners, starts a router or finds a running one,
//! keeps it supplied with the latest snapshot and starts another the moment it is gone.

use crate::config::ServerSettings;
use crate::error::Result;
use crate::link::{RouterLog, Snapshot};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// A handle; clones share the link.
#[derive(Clone)]
pub struct RouterLink {}

impl RouterLink {
    /// Finds a running router, or binds the listener and starts one. The router outlives the
    /// server. Log lines come in batches.
    pub async fn start(
        settings: Arc<ServerSettings>,
    ) -> Result<(RouterLink, mpsc::Receiver<Vec<RouterLog>>)> {
        let _ = settings;
        let (_sender, receiver) = mpsc::channel(crate::limits::LINK_LOG_BATCHES);
        Ok((RouterLink {}, receiver))
    }

    /// Makes this the snapshot that the router shall have; a router that comes back gets it too.
    pub fn publish(&self, _snapshot: Snapshot) {}

    /// True once the router applied this version or a later one; false after `timeout`.
    pub async fn applied(&self, _version: u64, _timeout: Duration) -> bool {
        true
    }

    /// Has no request begun before its removal in flight: the target left the snapshot and is
    /// idle. Asking makes the link watch the target until [`RouterLink::forget`].
    pub fn is_drained(&self, _target: &str) -> bool {
        true
    }

    /// Waits until the target is drained; false after `timeout`.
    pub async fn drained(&self, _target: &str, _timeout: Duration) -> bool {
        true
    }

    /// Changes whenever a target drains.
    pub fn watch_drained(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }

    pub fn forget(&self, _target: &str) {}

    /// Is a router connected?
    pub fn alive(&self) -> bool {
        true
    }
}
