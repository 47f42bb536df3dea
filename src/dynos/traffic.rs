//! What the dynos need of whoever routes to them.

use super::Published;
use async_trait::async_trait;
use std::time::Duration;
use uuid::Uuid;

#[async_trait]
pub trait Traffic: Send + Sync {
    /// Makes the routed dynos of `state` the ones that get requests, and returns the version of
    /// that table. The same table keeps its version.
    fn publish(&self, state: &Published) -> u64;
    /// Whether no request that begins from now on follows an older table.
    async fn applied(&self, version: u64, timeout: Duration) -> bool;
    /// Waits until no request is under way on a dyno that left the table.
    async fn drained(&self, dyno: Uuid, timeout: Duration) -> bool;
    /// The dyno is gone.
    fn forget(&self, dyno: Uuid);
}
