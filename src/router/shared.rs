//! What the router's threads and its link share, and what each thread has for itself.

use super::pool::Pool;
use super::ring::LogRing;
use super::table::{Route, Table};
use super::target::{Drains, Target, millis_since};
use super::timers::Timers;
use super::tls::Tls;
use crate::limits;
use crate::link::Snapshot;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

pub struct Shared {
    pub table: ArcSwap<Table>,
    pub timers: Timers,
    pub tls: Tls,
    /// What authorities are shown by HTTP, by token.
    pub proofs: ArcSwap<BTreeMap<String, String>>,
    pub server_socket: PathBuf,
    pub drains: Arc<Drains>,
    pub logs_waiting: Arc<Notify>,
    /// The table's version, for the pools: they let go of targets that left.
    pub table_changed: watch::Sender<u64>,
    /// Targets that left the table with requests in flight.
    leaving: Mutex<Vec<Arc<Target>>>,
    start: Instant,
}

/// One of the router's threads.
pub struct Worker {
    pub shared: Arc<Shared>,
    pub ring: LogRing,
    pub pool: Pool,
    pub connections: AtomicUsize,
}

impl Shared {
    pub fn new(timers: Timers, server_socket: PathBuf) -> Result<Self, rustls::Error> {
        Ok(Self {
            table: ArcSwap::default(),
            timers,
            tls: Tls::new()?,
            proofs: ArcSwap::default(),
            server_socket,
            drains: Arc::default(),
            logs_waiting: Arc::default(),
            table_changed: watch::channel(0).0,
            leaving: Mutex::default(),
            start: Instant::now(),
        })
    }

    pub fn now_millis(&self) -> u64 {
        millis_since(self.start)
    }

    pub fn quarantine(&self, target: &Target) {
        let span = u64::try_from(self.timers.quarantine.as_millis()).unwrap_or(u64::MAX);
        target.quarantine(self.now_millis().saturating_add(span));
    }

    /// Makes the snapshot the table. When this returns no request begins on a target outside
    /// it; targets that are idle already are announced through `drains`.
    pub fn apply(&self, snapshot: Snapshot) {
        let previous = self.table.load_full();
        let next = Arc::new(Table::build(snapshot, &previous, &self.drains));
        self.table.store(next.clone());
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        leaving.retain(|target| target.in_flight() > 0);
        for target in previous.removed_by(&next) {
            if target.retire() {
                self.drains.push(&target.id);
            } else {
                leaving.push(target.clone());
            }
        }
        drop(leaving);
        for backlog in previous.backlogs().chain(next.backlogs()) {
            backlog.wake_all();
        }
        self.table_changed.send_modify(|changes| *changes += 1);
    }

    /// No snapshot lists it and no request is in flight on it.
    pub fn is_idle(&self, target: &str) -> bool {
        let leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        !self.table.load().has_target(target)
            && !leaving.iter().any(|known| known.id == target && known.in_flight() > 0)
    }
}

impl Worker {
    pub fn new(shared: Arc<Shared>) -> Self {
        let ring = LogRing::new(limits::LOG_RING_BYTES, shared.logs_waiting.clone());
        let pool = Pool::new(shared.timers.dyno_idle);
        Self { shared, ring, pool, connections: AtomicUsize::new(0) }
    }

    /// Does this name lead to API, git and console?
    pub fn is_control(&self, host: &str) -> bool {
        matches!(self.shared.table.load().route(host), Route::Control)
    }
}
