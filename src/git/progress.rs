//! What a deploy says to whoever pushed. The queue is bounded; output for a client that is gone
//! or has stopped reading is dropped, and the deploy goes on.

use crate::limits;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

/// The writing end. Clones write to the same reader.
#[derive(Clone, Debug)]
pub struct Progress {
    queue: mpsc::Sender<Bytes>,
    gone: Arc<AtomicBool>,
}

impl Progress {
    /// A writer, and the chunks that it writes, in order. The chunks end when the last clone of
    /// the writer is dropped.
    pub fn channel() -> (Self, mpsc::Receiver<Bytes>) {
        let (queue, chunks) = mpsc::channel(limits::OUTPUT_QUEUE);
        (Self { queue, gone: Arc::default() }, chunks)
    }

    /// A writer that nobody reads.
    pub fn silent() -> Self {
        Self::channel().0
    }

    /// Writes `text` and a newline.
    pub async fn line(&self, text: impl AsRef<str>) {
        let text = text.as_ref();
        let mut line = Vec::with_capacity(text.len() + 1);
        line.extend_from_slice(text.as_bytes());
        line.push(b'\n');
        self.bytes(line).await;
    }

    /// Writes as it is: an unfinished line too is shown at once.
    pub async fn bytes(&self, chunk: impl Into<Bytes>) {
        let chunk = chunk.into();
        if chunk.is_empty() || self.is_gone() {
            return;
        }
        let sent = self.queue.send_timeout(chunk, limits::GIT_CLIENT_STALL).await;
        if sent.is_err() {
            self.gone.store(true, Ordering::Relaxed);
        }
    }

    /// Nobody reads any more.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed) || self.queue.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn writes_in_order_and_forgets_when_nobody_reads() {
        let (progress, mut chunks) = Progress::channel();
        progress.line("-----> one").await;
        progress.bytes("two").await;
        assert_eq!(chunks.recv().await.unwrap(), "-----> one\n");
        assert_eq!(chunks.recv().await.unwrap(), "two");
        drop(chunks);
        progress.line("three").await;
        assert!(progress.is_gone());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stalls_costs_one_wait_and_no_more() {
        let (progress, _chunks) = Progress::channel();
        for _ in 0..limits::OUTPUT_QUEUE {
            progress.line("x").await;
        }
        let start = tokio::time::Instant::now();
        for _ in 0..1000 {
            progress.line("y").await;
        }
        assert_eq!(start.elapsed(), limits::GIT_CLIENT_STALL);
    }
}
