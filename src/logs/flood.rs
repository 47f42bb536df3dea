//! A dyno that writes more to its log than it may is held for parts of each second, by its control
//! group's freezer: Docker copies what is written at the cost of everybody's processor, and has no
//! limit of its own. Nothing is lost, the dyno is as slow as its log.

use crate::cgroup::Freezer;
use crate::limits::{
    LOG_FLOOD_BURST, LOG_FLOOD_BYTES_PER_SECOND, LOG_FLOOD_HOLD, LOG_FLOOD_PULSE, LOG_FLOOD_TOLD,
    LOG_FLOOD_WATCH,
};
use std::time::Duration;
use tokio::time::Instant;

/// What a dyno may write now: it comes back with time, and is negative while it owes.
#[derive(Debug)]
pub(crate) struct Flood {
    freezer: Option<Freezer>,
    bytes: i64,
    counted: Instant,
    /// Held until then.
    held: Option<Instant>,
    /// Held at some time before this; looked at often until then.
    watched_until: Option<Instant>,
    told: Option<Instant>,
}

/// What to do after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Next {
    /// It is to be looked at again by then.
    pub look: Option<Instant>,
    /// The log is to name it.
    pub tell: bool,
}

const RATE: i64 = LOG_FLOOD_BYTES_PER_SECOND as i64;
const BURST: i64 = LOG_FLOOD_BURST as i64;

impl Flood {
    /// Whatever an earlier server held is let go.
    pub(crate) fn new(freezer: Option<Freezer>, now: Instant) -> Self {
        let flood = Self {
            freezer,
            bytes: BURST,
            counted: now,
            held: None,
            watched_until: None,
            told: None,
        };
        flood.free();
        flood
    }

    /// Takes note of what was written since the last look, and holds the dyno or lets it go.
    pub(crate) fn look(&mut self, now: Instant, written: u64) -> Next {
        let micros = i64::try_from(now.duration_since(self.counted).as_micros()).unwrap_or(0);
        self.counted = now;
        let back = micros.saturating_mul(RATE / 1_000_000);
        let written = i64::try_from(written).unwrap_or(i64::MAX);
        self.bytes = self.bytes.saturating_add(back).saturating_sub(written).min(BURST);
        if self.freezer.is_none() {
            return Next { look: None, tell: false };
        }
        if let Some(until) = self.held {
            if now < until {
                return Next { look: Some(until), tell: false };
            }
            self.held = None;
            self.free();
            return Next { look: Some(now + LOG_FLOOD_PULSE), tell: false };
        }
        if self.bytes < 0 {
            return self.hold(now);
        }
        let watched = self.watched_until.is_some_and(|until| now < until);
        Next { look: watched.then(|| now + LOG_FLOOD_PULSE), tell: false }
    }

    fn hold(&mut self, now: Instant) -> Next {
        let owed = u64::try_from(-self.bytes).unwrap_or(0);
        let pause =
            Duration::from_micros(owed.saturating_mul(1_000_000) / LOG_FLOOD_BYTES_PER_SECOND);
        // More than it can be held for is forgiven: what counts is that the others have peace.
        self.bytes = self.bytes.max(-RATE);
        let until = now + pause.clamp(LOG_FLOOD_PULSE, LOG_FLOOD_HOLD);
        if let Some(Err(error)) = self.freezer.as_ref().map(Freezer::hold) {
            tracing::warn!(%error, "a dyno that floods its log can't be held");
            self.freezer = None;
            return Next { look: None, tell: false };
        }
        self.held = Some(until);
        self.watched_until = Some(now + LOG_FLOOD_WATCH);
        let tell = self.told.is_none_or(|told| now.duration_since(told) >= LOG_FLOOD_TOLD);
        if tell {
            self.told = Some(now);
        }
        Next { look: Some(until), tell }
    }

    fn free(&self) {
        if let Some(Err(error)) = self.freezer.as_ref().map(Freezer::free) {
            tracing::error!(%error, "a dyno that was held for its log can't be let go");
        }
    }
}

impl Drop for Flood {
    /// Nobody looks any more.
    fn drop(&mut self) {
        if self.held.is_some() {
            self.free();
        }
    }
}

/// In the form of Heroku's codes, which know lost lines only.
pub(crate) fn line() -> String {
    let megabytes = LOG_FLOOD_BYTES_PER_SECOND / 1_000_000;
    format!(
        "Error S18 (Log limit) -> It writes more than {megabytes}M a second to its log, and is \
         paused for parts of each second until it writes less: log less, or write what nobody \
         reads to a file"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flood() -> (tempfile::TempDir, std::path::PathBuf, Flood, Instant) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("freezer.state");
        let begun = Instant::now();
        let flood = Flood::new(Some(Freezer::in_file(file.clone())), begun);
        (dir, file, flood, begun)
    }

    #[test]
    fn a_flood_is_held_to_its_rate_and_named_now_and_then() {
        let (_dir, file, mut flood, begun) = flood();
        let (mut now, mut written, mut told) = (begun, 0_u64, 0);
        let end = begun + Duration::from_secs(60);
        while now < end {
            // 200 MB a second whenever it runs.
            let held = std::fs::read_to_string(&file).unwrap() == "FROZEN";
            let next = now + if held { Duration::from_millis(50) } else { LOG_FLOOD_PULSE };
            let wrote = if held { 0 } else { 200 * (next - now).as_micros() as u64 };
            now = next;
            written += wrote;
            told += u64::from(flood.look(now, wrote).tell);
        }
        let most = LOG_FLOOD_BURST + 60 * LOG_FLOOD_BYTES_PER_SECOND * 11 / 10;
        assert!(written > LOG_FLOOD_BURST && written < most, "{written} bytes in a minute");
        assert!((2..=4).contains(&told), "told {told} times");
        drop(flood);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "THAWED");
    }

    #[test]
    fn an_ordinary_dyno_is_left_alone_and_one_that_stops_flooding_too() {
        let (_dir, file, mut flood, begun) = flood();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "THAWED", "by an earlier server");
        let quiet = Next { look: None, tell: false };
        let second = |n: u64| begun + Duration::from_secs(n);
        assert_eq!(flood.look(second(1), 30_000_000), quiet);
        for n in 2..30 {
            assert_eq!(flood.look(second(n), 9_900_000), quiet);
        }
        let held = flood.look(second(30), 60_000_000);
        assert!(held.tell && held.look == Some(second(30) + LOG_FLOOD_HOLD), "{held:?}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "FROZEN");
        assert_eq!(flood.look(second(31), 0).look, Some(second(31) + LOG_FLOOD_PULSE));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "THAWED");
        assert_eq!(flood.look(second(60), 0), quiet);
    }

    #[test]
    fn what_can_not_be_held_is_not_named_either() {
        let begun = Instant::now();
        let mut flood = Flood::new(None, begun);
        assert_eq!(flood.look(begun, 1 << 40), Next { look: None, tell: false });
    }
}
