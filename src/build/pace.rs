//! How fast a build's output is taken. A program that prints line after line costs every process on
//! their way a wake-up for each; while nobody takes them they come together in large pieces, and
//! then the program itself waits.

use crate::limits;
use std::time::Duration;
use tokio::time::Instant;

/// What may be taken now: it comes back with time.
#[derive(Debug)]
pub struct Pace {
    pieces: f64,
    bytes: f64,
    counted: Instant,
}

/// What the app's log says of a build that is held back.
pub fn line() -> String {
    let kilobytes = limits::BUILD_BYTES_PER_SECOND / 1000.0;
    let pieces = limits::BUILD_PIECES_PER_SECOND;
    format!(
        "Error S18 (Log limit) -> The build prints more than {kilobytes}K or {pieces} times a \
         second, and is paused until it prints less: make it print less, or into a file"
    )
}

impl Pace {
    pub fn new() -> Self {
        let (pieces, bytes) = (limits::BUILD_PIECES_BURST, limits::BUILD_PACE_BURST);
        Self { pieces, bytes, counted: Instant::now() }
    }

    /// Takes note of a piece that was taken.
    pub fn take(&mut self, bytes: usize) {
        self.refill();
        self.pieces -= 1.0;
        self.bytes -= bytes as f64;
    }

    /// Until the next one may be taken.
    pub fn pause(&mut self) -> Option<Duration> {
        self.refill();
        let owed = |have: f64, rate: f64| if have < 0.0 { -have / rate } else { 0.0 };
        let seconds = owed(self.pieces, limits::BUILD_PIECES_PER_SECOND)
            .max(owed(self.bytes, limits::BUILD_BYTES_PER_SECOND));
        (seconds > 0.0).then(|| Duration::from_secs_f64(seconds))
    }

    fn refill(&mut self) {
        let now = Instant::now();
        let seconds = now.duration_since(self.counted).as_secs_f64();
        self.counted = now;
        self.pieces = (self.pieces + seconds * limits::BUILD_PIECES_PER_SECOND)
            .min(limits::BUILD_PIECES_BURST);
        self.bytes =
            (self.bytes + seconds * limits::BUILD_BYTES_PER_SECOND).min(limits::BUILD_PACE_BURST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces and bytes that are taken in ten seconds of a program that never waits.
    async fn taken(piece: usize) -> (f64, f64) {
        let (mut pace, end) = (Pace::new(), Instant::now() + Duration::from_secs(10));
        let (mut pieces, mut bytes) = (0.0, 0.0);
        while Instant::now() < end {
            match pace.pause() {
                Some(pause) => tokio::time::sleep(pause).await,
                None => {
                    pace.take(piece);
                    pieces += 1.0;
                    bytes += piece as f64;
                }
            }
        }
        (pieces, bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_taken_at_its_rate_and_an_ordinary_build_at_once() {
        let (pieces, _) = taken(90).await;
        let most = limits::BUILD_PIECES_BURST + 11.0 * limits::BUILD_PIECES_PER_SECOND;
        assert!(pieces > limits::BUILD_PIECES_BURST && pieces < most, "{pieces} pieces");
        let (_, bytes) = taken(32 * 1024).await;
        let most = limits::BUILD_PACE_BURST + 11.0 * limits::BUILD_BYTES_PER_SECOND;
        assert!(bytes > limits::BUILD_PACE_BURST && bytes < most, "{bytes} bytes");
        let mut pace = Pace::new();
        for _ in 0..1000 {
            pace.take(200);
        }
        assert_eq!(pace.pause(), None);
    }
}
