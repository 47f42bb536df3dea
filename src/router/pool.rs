//! Idle connections to dynos, one pool for each of the router's threads. A connection is used
//! again within seconds or closed; one to a dyno that left the table is closed at once.

use super::shared::Worker;
use super::target::Target;
use super::upstream::Conn;
use crate::{limits, tasks};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

pub struct Pool {
    inner: Mutex<Inner>,
    idle_limit: Duration,
}

#[derive(Default)]
struct Inner {
    idle: HashMap<u64, Vec<Idle>>,
    sweeping: bool,
}

struct Idle {
    conn: Conn,
    target: Arc<Target>,
    since: Instant,
}

impl Pool {
    pub fn new(idle_limit: Duration) -> Self {
        Self { inner: Mutex::default(), idle_limit }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to a target that was used last.
    pub fn take(&self, target: &Target, now: Instant) -> Option<Conn> {
        let idle = {
            let mut inner = self.lock();
            inner.idle.get_mut(&target.key)?.pop()?
        };
        (now.duration_since(idle.since) < self.idle_limit).then_some(idle.conn)
    }

    fn sweep(&self) -> bool {
        let mut inner = self.lock();
        inner.idle.retain(|_, list| {
            list.retain(|idle| idle.since.elapsed() < self.idle_limit && !idle.target.is_retired());
            !list.is_empty()
        });
        inner.sweeping = !inner.idle.is_empty();
        inner.sweeping
    }
}

impl Worker {
    /// Keeps a connection whose response was read to its end.
    pub fn keep(self: &Arc<Self>, target: &Arc<Target>, mut conn: Conn, now: Instant) {
        if target.is_retired() || !conn.buffer.is_empty() {
            return;
        }
        conn.reused = true;
        if conn.buffer.capacity() > limits::BODY_READ_BYTES / 2 {
            conn.buffer = bytes::BytesMut::new();
        }
        let idle = Idle { conn, target: target.clone(), since: now };
        let start_sweep = {
            let mut inner = self.pool.lock();
            inner.idle.entry(target.key).or_default().push(idle);
            !std::mem::replace(&mut inner.sweeping, true)
        };
        if start_sweep {
            let worker = self.clone();
            tasks::spawn("dyno connections", async move {
                let mut table_changed = worker.shared.table_changed.subscribe();
                loop {
                    tokio::select! {
                        () = tokio::time::sleep(limits::DYNO_IDLE_SWEEP) => {}
                        _ = table_changed.changed() => {}
                    }
                    if !worker.pool.sweep() {
                        return;
                    }
                }
            });
        }
    }
}
