//! Wall time as a value. Monotonic time is always tokio's, so that tests can pause it.

use chrono::{DateTime, SecondsFormat, Utc};

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

    /// Whole seconds from `earlier` to this, never negative.
    pub fn seconds_since(self, earlier: Timestamp) -> u64 {
        u64::try_from((self.0 - earlier.0) / 1_000_000).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_as_heroku_does() {
        let at = Timestamp::parse("2026-11-20T09:15:02.123456789Z").unwrap();
        assert_eq!(at.api(), "2026-11-20T09:15:02Z");
        assert_eq!(at.log(), "2026-11-20T09:15:02.123456+00:00");
    }
}
