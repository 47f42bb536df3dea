//! How fast a build's output is taken. A program that prints line after line costs every process on
//! their way a wake-up for each; while nobody takes them they come together in large pieces, and
//! then the program itself waits.

use super::output::OutputSink;
use crate::engine::Output;
use crate::limits;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// What may be taken now: it comes back with time.
#[derive(Debug)]
pub struct Pace {
    takes: Bucket,
    peak: Bucket,
    bytes: Bucket,
    counted: Instant,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    most: f64,
    per_second: f64,
}

impl Bucket {
    fn full(most: f64, per_second: f64) -> Self {
        Self { left: most, most, per_second }
    }

    /// Seconds until something is left in it.
    fn owes(&self) -> f64 {
        (-self.left / self.per_second).max(0.0)
    }
}

/// What the app's log says of a build that is held back.
fn line() -> String {
    let kilobytes = limits::BUILD_BYTES_PER_SECOND / 1000.0;
    format!(
        "Error S18 (Log limit) -> The build prints more than {kilobytes:.0}K a second, and is \
         paused until it prints less: make it print less, or into a file"
    )
}

impl Pace {
    pub fn new() -> Self {
        let bucket = Bucket::full;
        Self {
            takes: bucket(limits::BUILD_TAKES_BURST, limits::BUILD_TAKES_PER_SECOND),
            peak: bucket(limits::BUILD_PEAK_BURST, limits::BUILD_PEAK_BYTES_PER_SECOND),
            bytes: bucket(limits::BUILD_PACE_BURST, limits::BUILD_BYTES_PER_SECOND),
            counted: Instant::now(),
        }
    }

    /// Waits until more may be taken, and takes what is there; `None` when no more will come. A
    /// build that prints too much for long is noted. Nothing is lost when the caller stops waiting.
    pub async fn take(
        &mut self,
        output: &mut mpsc::Receiver<Output>,
        out: &OutputSink,
    ) -> Option<Vec<u8>> {
        if let Some(pause) = self.pause() {
            tokio::time::sleep(pause).await;
        }
        let mut pieces = Vec::new();
        output.recv_many(&mut pieces, limits::BUILD_PIECES_TOGETHER).await;
        if pieces.is_empty() {
            return None;
        }
        let mut taken = Vec::with_capacity(pieces.iter().map(|piece| piece.bytes.len()).sum());
        pieces.iter().for_each(|piece| taken.extend_from_slice(&piece.bytes));
        self.count(taken.len());
        if self.bytes.owes() > 0.0 {
            out.note(line());
        }
        Some(taken)
    }

    fn count(&mut self, bytes: usize) {
        self.refill();
        self.takes.left -= 1.0;
        self.peak.left -= bytes as f64;
        self.bytes.left -= bytes as f64;
    }

    fn pause(&mut self) -> Option<Duration> {
        self.refill();
        let seconds = [&self.takes, &self.peak, &self.bytes].map(Bucket::owes);
        let seconds = seconds.into_iter().fold(0.0, f64::max);
        (seconds > 0.0).then(|| Duration::from_secs_f64(seconds))
    }

    fn refill(&mut self) {
        let now = Instant::now();
        let seconds = now.duration_since(self.counted).as_secs_f64();
        self.counted = now;
        for bucket in [&mut self.takes, &mut self.peak, &mut self.bytes] {
            bucket.left = (bucket.left + seconds * bucket.per_second).min(bucket.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    struct Seen {
        takes: f64,
        bytes: f64,
        held: bool,
    }

    /// What is taken in `seconds` of a program that prints `piece` after `piece`, as many of them
    /// together as the engine has on their way, or so many at most.
    async fn seen(piece: usize, most: usize, seconds: u64) -> Seen {
        let dir = tempfile::tempdir().unwrap();
        let out = OutputSink::create(&dir.path().join("output")).unwrap();
        let (send, mut receive) = mpsc::channel(limits::BUILD_PIECES_TOGETHER);
        let flood = async {
            for _ in 0..most {
                let bytes = Bytes::from(vec![b'x'; piece]);
                send.send(Output { stderr: false, bytes }).await.unwrap();
            }
            std::future::pending::<()>().await
        };
        let (mut pace, mut seen) = (Pace::new(), Seen { takes: 0.0, bytes: 0.0, held: false });
        let taking = async {
            while let Some(taken) = pace.take(&mut receive, &out).await {
                seen.takes += 1.0;
                seen.bytes += taken.len() as f64;
            }
        };
        let both = async { tokio::join!(taking, flood) };
        let limit = Duration::from_secs(seconds);
        assert!(tokio::time::timeout(limit, both).await.is_err());
        seen.held = !out.notes().borrow().is_empty();
        seen
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_taken_at_its_rate_and_named() {
        let lines = seen(90, usize::MAX, 10).await;
        let most = limits::BUILD_TAKES_BURST + 11.0 * limits::BUILD_TAKES_PER_SECOND;
        assert!(lines.takes > 100.0 && lines.takes < most, "{} takes", lines.takes);
        let large = seen(32 * 1024, usize::MAX, 30).await;
        let most = limits::BUILD_PACE_BURST + 33.0 * limits::BUILD_BYTES_PER_SECOND;
        assert!(large.bytes > limits::BUILD_PACE_BURST && large.bytes < most, "{}", large.bytes);
        assert!(large.held);
    }

    /// It had two of a machine's two cores for a second, and requests of other apps waited.
    #[tokio::test(start_paused = true)]
    async fn a_floods_first_megabytes_do_not_come_at_once() {
        let begun = seen(32 * 1024, usize::MAX, 1).await;
        let most = limits::BUILD_PEAK_BURST + 1.7 * limits::BUILD_PEAK_BYTES_PER_SECOND;
        assert!(begun.bytes < most, "{}", begun.bytes);
    }

    #[tokio::test(start_paused = true)]
    async fn a_compilers_three_megabytes_are_taken_in_two_seconds() {
        let seen = seen(32 * 1024, 96, 2).await;
        assert_eq!((seen.bytes, seen.held), (3.0 * 1024.0 * 1024.0, false));
    }
}
