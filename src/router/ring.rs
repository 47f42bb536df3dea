//! Log lines of one of the router's threads until the link takes them. Bounded: while the server
//! is away the oldest go first, and are counted for each app.

use crate::{limits, link};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use uuid::Uuid;

pub struct LogRing {
    inner: Mutex<Inner>,
    capacity: usize,
    /// Told when the first line arrives after the ring was empty.
    wake: Arc<Notify>,
}

#[derive(Default)]
struct Inner {
    /// Full chunks, oldest first; each becomes one frame.
    chunks: VecDeque<Vec<u8>>,
    current: Vec<u8>,
    bytes: usize,
    lost: HashMap<Uuid, u64>,
}

impl LogRing {
    pub fn new(capacity: usize, wake: Arc<Notify>) -> Self {
        Self { inner: Mutex::default(), capacity, wake }
    }

    pub fn push(&self, app: Uuid, at_micros: i64, write: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.lock();
        let was_empty = inner.bytes == 0 && inner.current.is_empty();
        if inner.current.capacity() == 0 {
            inner.current.reserve(limits::LOG_CHUNK_BYTES + 1024);
        }
        link::put_line(&mut inner.current, app, at_micros, write);
        if inner.current.len() >= limits::LOG_CHUNK_BYTES {
            let full = std::mem::take(&mut inner.current);
            inner.bytes += full.len();
            inner.chunks.push_back(full);
            inner.drop_oldest(self.capacity);
        }
        drop(inner);
        if was_empty {
            self.wake.notify_one();
        }
    }

    /// How often [`LogRing::pop`] finds something, if nothing is added.
    pub fn pieces(&self) -> usize {
        let inner = self.lock();
        usize::from(!inner.lost.is_empty())
            + inner.chunks.len()
            + usize::from(!inner.current.is_empty())
    }

    /// The oldest chunk, and before any the count of what was lost before it.
    pub fn pop(&self, now_micros: i64) -> Option<Vec<u8>> {
        let mut inner = self.lock();
        if !inner.lost.is_empty() {
            let mut records = Vec::new();
            for (app, lines) in inner.lost.drain() {
                link::put_lost(&mut records, app, now_micros, lines);
            }
            return Some(records);
        }
        if let Some(chunk) = inner.chunks.pop_front() {
            inner.bytes -= chunk.len();
            return Some(chunk);
        }
        (!inner.current.is_empty()).then(|| std::mem::take(&mut inner.current))
    }

    /// Puts a chunk back that could not be sent.
    pub fn put_back(&self, chunk: Vec<u8>) {
        let mut inner = self.lock();
        inner.bytes += chunk.len();
        inner.chunks.push_front(chunk);
        inner.drop_oldest(self.capacity);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn drop_oldest(&mut self, capacity: usize) {
        while self.bytes > capacity {
            let Some(chunk) = self.chunks.pop_front() else { return };
            self.bytes -= chunk.len();
            for log in link::read_logs(&chunk).unwrap_or_default() {
                let (app, lines) = match log {
                    link::RouterLog::Line { app, .. } => (app, 1),
                    link::RouterLog::Lost { app, lines, .. } => (app, lines),
                };
                *self.lost.entry(app).or_default() += lines;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::RouterLog;

    #[test]
    fn what_is_lost_is_counted_and_nothing_else_is_lost() {
        let ring = LogRing::new(3 * limits::LOG_CHUNK_BYTES, Arc::default());
        let app = Uuid::new_v4();
        let total = 2000;
        for number in 0..total {
            ring.push(app, number, |text| text.extend_from_slice(&[b'x'; 200]));
        }
        let (mut kept, mut lost, mut oldest) = (0, 0, None);
        while let Some(chunk) = ring.pop(0) {
            for log in link::read_logs(&chunk).unwrap() {
                match log {
                    RouterLog::Line { at_micros, .. } => {
                        oldest.get_or_insert(at_micros);
                        kept += 1;
                    }
                    RouterLog::Lost { lines, .. } => lost += lines,
                }
            }
        }
        assert!(lost > 0);
        assert_eq!(kept + lost, 2000);
        assert_eq!(oldest, Some(i64::try_from(lost).unwrap()), "the oldest go first");
    }
}
