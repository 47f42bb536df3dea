//! One web dyno as the router sees it: how many requests it has, whether it left the table,
//! whether it refused a connection a moment ago.

use super::backlog::Backlog;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Set in the load once the target left the table: no request begins there any more.
const RETIRED: u64 = 1 << 63;

pub struct Target {
    /// Differs for every target this process ever had: the pool's key.
    pub key: u64,
    pub id: String,
    pub dyno: String,
    pub addr: SocketAddr,
    /// Requests in flight, and [`RETIRED`]. One word, so that nothing begins between the last
    /// look and the retirement.
    load: AtomicU64,
    /// Milliseconds after the process's start until which no connection is tried.
    quarantined_until: AtomicU64,
    backlog: Arc<Backlog>,
    drains: Arc<Drains>,
}

/// Ids of targets that became idle after they had left the table.
#[derive(Default)]
pub struct Drains {
    ids: Mutex<Vec<String>>,
    pub changed: Notify,
}

impl Drains {
    pub fn push(&self, id: &str) {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).push(id.to_string());
        self.changed.notify_one();
    }

    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.ids.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Why a request can't begin on a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Full,
    Retired,
}

impl Target {
    pub fn new(
        id: String,
        dyno: String,
        addr: SocketAddr,
        backlog: Arc<Backlog>,
        drains: Arc<Drains>,
    ) -> Self {
        static KEYS: AtomicU64 = AtomicU64::new(1);
        let key = KEYS.fetch_add(1, Ordering::Relaxed);
        let (load, quarantined_until) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { key, id, dyno, addr, load, quarantined_until, backlog, drains }
    }

    /// Takes a place for one request; dropping it gives the place back.
    pub fn begin(self: &Arc<Self>, limit: usize) -> Result<Busy, Refused> {
        let mut load = self.load.load(Ordering::SeqCst);
        loop {
            if load & RETIRED != 0 {
                return Err(Refused::Retired);
            }
            if load >= limit as u64 {
                return Err(Refused::Full);
            }
            let (taken, order) = (load + 1, Ordering::SeqCst);
            match self.load.compare_exchange_weak(load, taken, order, Ordering::SeqCst) {
                Ok(_) => return Ok(Busy(self.clone())),
                Err(now) => load = now,
            }
        }
    }

    /// A place that was passed on, see [`Backlog::pass_on`].
    pub fn resume(self: Arc<Self>) -> Busy {
        Busy(self)
    }

    /// It is in the table, and no connection to it was refused a moment ago.
    pub fn takes_requests(&self) -> bool {
        !self.is_retired() && self.quarantined_until.load(Ordering::Relaxed) == 0
    }

    /// Lets no further request begin. True if none is in flight; otherwise the last one to end
    /// says so.
    pub fn retire(&self) -> bool {
        self.load.fetch_or(RETIRED, Ordering::AcqRel) & !RETIRED == 0
    }

    pub fn is_retired(&self) -> bool {
        self.load.load(Ordering::Acquire) & RETIRED != 0
    }

    pub fn in_flight(&self) -> u64 {
        self.load.load(Ordering::Acquire) & !RETIRED
    }

    pub fn quarantine(&self, until_millis: u64) {
        self.quarantined_until.store(until_millis, Ordering::Relaxed);
    }

    pub fn is_quarantined(&self, now_millis: impl FnOnce() -> u64) -> bool {
        let until = self.quarantined_until.load(Ordering::Relaxed);
        if until == 0 || until > now_millis() {
            return until != 0;
        }
        // Another thread may have set it anew.
        let ended =
            self.quarantined_until.compare_exchange(until, 0, Ordering::Relaxed, Ordering::Relaxed);
        ended.is_err()
    }
}

/// A place on a target, held while a request is in flight.
pub struct Busy(Arc<Target>);

impl Busy {
    pub fn target(&self) -> &Arc<Target> {
        &self.0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let target = &self.0;
        if target.backlog.waiting() > 0 && target.backlog.pass_on(target) {
            return;
        }
        let before = target.load.fetch_sub(1, Ordering::SeqCst);
        if before == RETIRED | 1 {
            target.drains.push(&target.id);
        }
        // It may have begun to wait before the place was free.
        if target.backlog.waiting() > 0 {
            target.backlog.wake_first();
        }
    }
}

/// Milliseconds since `start`, never 0.
pub fn millis_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(drains: &Arc<Drains>) -> Arc<Target> {
        let addr = "127.0.0.1:1".parse().unwrap();
        Arc::new(Target::new("c1".into(), "web.1".into(), addr, Arc::default(), drains.clone()))
    }

    #[test]
    fn the_last_request_of_a_retired_target_says_so() {
        let drains = Arc::new(Drains::default());
        let target = target(&drains);
        let (first, second) = (target.begin(2).unwrap(), target.begin(2).unwrap());
        assert_eq!(target.begin(2).err(), Some(Refused::Full));
        assert!(!target.retire());
        assert_eq!(target.begin(9).err(), Some(Refused::Retired));
        drop(first);
        assert!(drains.take().is_empty());
        drop(second);
        assert_eq!(drains.take(), ["c1"]);
    }

    #[test]
    fn an_idle_target_retires_at_once() {
        let drains = Arc::new(Drains::default());
        assert!(target(&drains).retire());
        assert!(drains.take().is_empty());
    }
}
