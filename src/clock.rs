//! Wall time as a value. Monotonic time is always tokio's, so that tests can pause it.

use crate::limits;
use chrono::{DateTime, SecondsFormat, Utc};
use std::time::Duration;
use tokio::time::Instant;

/// Microseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub fn now() -> Self {
        Self(Utc::now().timestamp_micros())
    }

    /// Reads RFC 3339 with up to nine digits, as Docker writes it.
    pub fn parse(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc3339(text).ok().map(|at| Self(at.timestamp_micros()))
    }

    fn utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or_default()
    }

    /// `2012-01-01T12:00:00Z`, as the Platform API writes it.
    pub fn api(self) -> String {
        self.utc().to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    /// `2012-01-01T12:00:00.000000+00:00`, as Heroku's log lines begin.
    pub fn log(self) -> String {
        self.utc().to_rfc3339_opts(SecondsFormat::Micros, false)
    }

    /// This and so much later.
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(time.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Whole seconds from `earlier` to this, never negative.
    pub fn seconds_since(self, earlier: Timestamp) -> u64 {
        u64::try_from((self.0 - earlier.0) / 1_000_000).unwrap_or(0)
    }
}

/// Finds out when somebody sets the clock: wall time and monotonic time part. A machine that was
/// suspended looks the same.
#[derive(Debug)]
pub struct Jumps {
    wall: Timestamp,
    at: Instant,
}

impl Jumps {
    pub fn new(wall: Timestamp, at: Instant) -> Self {
        Self { wall, at }
    }

    /// By how many seconds the clock was set since the last look, forward or back; none if it was
    /// not, or by so little that a slewing clock might do it.
    pub fn look(&mut self, wall: Timestamp, at: Instant) -> Option<i64> {
        let passed = i64::try_from(at.saturating_duration_since(self.at).as_micros());
        let jump = (wall.0 - self.wall.0 - passed.unwrap_or(0)) / 1_000_000;
        *self = Self::new(wall, at);
        (jump.unsigned_abs() >= limits::CLOCK_JUMP.as_secs()).then_some(jump)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_told_from_one_that_runs() {
        let (wall, at) = (Timestamp(1_000_000_000), Instant::now());
        let mut jumps = Jumps::new(wall, at);
        let after = |seconds: i64| Timestamp(wall.0 + seconds * 1_000_000);
        let later = |seconds: u64| at + Duration::from_secs(seconds);
        assert_eq!(jumps.look(after(10), later(10)), None);
        assert_eq!(jumps.look(after(21), later(20)), None);
        assert_eq!(jumps.look(after(3631), later(30)), Some(3600));
        assert_eq!(jumps.look(after(40), later(40)), Some(-3601));
        assert_eq!(jumps.look(after(50), later(50)), None);
    }

    #[test]
    fn formats_as_heroku_does() {
        let at = Timestamp::parse("2026-11-20T09:15:02.123456789Z").unwrap();
        assert_eq!(at.api(), "2026-11-20T09:15:02Z");
        assert_eq!(at.log(), "2026-11-20T09:15:02.123456+00:00");
    }
}
