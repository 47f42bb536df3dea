//! Live readers. Each has a bounded queue of its own that the log thread fills and never waits
//! for: a reader that is too slow loses its oldest lines and is told so (L11).

use super::filter::Filter;
use super::line::{LogLine, Source};
use crate::clock::Timestamp;
use crate::limits::{LOG_TAIL_BYTES, LOG_TAIL_LINES};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

#[derive(Default)]
struct Queue {
    lines: VecDeque<Arc<LogLine>>,
    bytes: usize,
    lost: u64,
    lost_since: Option<Timestamp>,
    /// Nothing comes any more: the app or the log is gone.
    ended: bool,
}

impl Queue {
    fn push(&mut self, line: Arc<LogLine>) {
        self.bytes += line.message.len();
        self.lines.push_back(line);
        while self.lines.len() > LOG_TAIL_LINES || self.bytes > LOG_TAIL_BYTES {
            let Some(dropped) = self.lines.pop_front() else { return };
            self.bytes -= dropped.message.len();
            self.lost += 1;
            self.lost_since.get_or_insert(dropped.at);
        }
    }

    /// The notice of what was lost comes first, in the place where it is missing.
    fn pop(&mut self) -> Option<LogLine> {
        if let Some(since) = self.lost_since.take() {
            let lost = std::mem::take(&mut self.lost);
            let message = format!(
                "L11 (Tail buffer overflow) -> This tail session dropped {lost} messages since {}",
                since.log()
            );
            return Some(LogLine::now(Source::Heroku, "logplex", message));
        }
        let line = self.lines.pop_front()?;
        self.bytes -= line.message.len();
        Some(Arc::unwrap_or_clone(line))
    }
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reader's end. Dropping it ends the subscription.
pub struct Tail(Arc<Shared>);

impl Tail {
    /// The next line; waits for it. `None` once the app or the log is gone.
    pub async fn next(&mut self) -> Option<LogLine> {
        loop {
            {
                let mut queue = self.0.lock();
                if let Some(line) = queue.pop() {
                    return Some(line);
                }
                if queue.ended {
                    return None;
                }
            }
            // One reader: a permit stored between the look and the wait ends the wait at once.
            self.0.filled.notified().await;
        }
    }

    /// The next line if it is there already, so that a caller can join lines into one write.
    pub fn ready(&mut self) -> Option<LogLine> {
        self.0.lock().pop()
    }
}

/// The log thread's end.
pub(crate) struct Feed {
    filter: Filter,
    shared: Arc<Shared>,
}

impl Feed {
    pub(crate) fn new(filter: Filter) -> (Feed, Tail) {
        let shared = Arc::new(Shared::default());
        (Feed { filter, shared: shared.clone() }, Tail(shared))
    }

    /// Whether the reader is gone.
    pub(crate) fn is_closed(&self) -> bool {
        Arc::strong_count(&self.shared) == 1
    }

    pub(crate) fn push(&self, lines: &[Arc<LogLine>]) {
        let mut queue = self.shared.lock();
        for line in lines.iter().filter(|line| self.filter.matches(line)) {
            queue.push(line.clone());
        }
        drop(queue);
        self.shared.filled.notify_one();
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.filled.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize) -> Vec<Arc<LogLine>> {
        let line = |n| Arc::new(LogLine::now(Source::App, "web.1", format!("line {n}")));
        (0..count).map(line).collect()
    }

    #[tokio::test]
    async fn a_slow_reader_loses_its_oldest_lines_and_is_told() {
        let (feed, mut tail) = Feed::new(Filter::default());
        let lines = lines(LOG_TAIL_LINES + 10);
        feed.push(&lines);
        let notice = tail.next().await.unwrap();
        let since = lines[0].at.log();
        assert_eq!((notice.source, notice.process.as_str()), (Source::Heroku, "logplex"));
        assert_eq!(
            notice.message,
            format!(
                "L11 (Tail buffer overflow) -> This tail session dropped 10 messages since {since}"
            )
        );
        for n in 10..LOG_TAIL_LINES + 10 {
            assert_eq!(tail.next().await.unwrap().message, format!("line {n}"));
        }
        assert!(tail.ready().is_none());
    }

    #[tokio::test]
    async fn long_lines_count_by_their_bytes() {
        let (feed, mut tail) = Feed::new(Filter::default());
        let line = Arc::new(LogLine::now(Source::App, "web.1", "x".repeat(10_000)));
        feed.push(&vec![line; 1000]);
        assert!(tail.next().await.unwrap().message.contains("dropped 581 messages"));
        assert!(tail.0.lock().bytes <= LOG_TAIL_BYTES);
    }

    #[tokio::test]
    async fn ends_when_the_feed_does_after_what_is_queued() {
        let (feed, mut tail) = Feed::new(Filter::default());
        feed.push(&lines(1));
        assert!(!feed.is_closed());
        drop(feed);
        assert!(tail.next().await.is_some());
        assert!(tail.next().await.is_none());
        let (feed, tail) = Feed::new(Filter::default());
        drop(tail);
        assert!(feed.is_closed());
    }
}
