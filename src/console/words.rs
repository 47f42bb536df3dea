//! How things are called on pages: times, states, numbers.

use crate::clock::Timestamp;
use crate::dynos::{AppDynos, Progress};
use crate::model::{AutoState, BuildStatus, DynoState, Formation, ReleaseStatus};

/// A word for a state, and the colour that goes with it. The word says it all: colour is for those
/// who see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub word: &'static str,
    /// `ok`, `busy`, `bad` or `off`.
    pub tone: &'static str,
}

pub fn of_dyno(state: DynoState) -> Mark {
    match state {
        DynoState::Starting => Mark { word: "starting", tone: "busy" },
        DynoState::Up => Mark { word: "up", tone: "ok" },
        DynoState::Crashed => Mark { word: "crashed", tone: "bad" },
        DynoState::Down => Mark { word: "down", tone: "off" },
    }
}

pub fn of_release(status: ReleaseStatus) -> Mark {
    match status {
        ReleaseStatus::Pending => Mark { word: "release command runs", tone: "busy" },
        ReleaseStatus::Succeeded => Mark { word: "succeeded", tone: "ok" },
        ReleaseStatus::Failed => Mark { word: "failed", tone: "bad" },
        ReleaseStatus::Expired => Mark { word: "expired", tone: "off" },
    }
}

pub fn of_build(status: BuildStatus) -> Mark {
    match status {
        BuildStatus::Pending => Mark { word: "building", tone: "busy" },
        BuildStatus::Succeeded => Mark { word: "succeeded", tone: "ok" },
        BuildStatus::Failed => Mark { word: "failed", tone: "bad" },
    }
}

/// How far an automatic certificate is, in Heroku's words where it has some.
pub fn of_auto(state: AutoState) -> Mark {
    let word = state.word().unwrap_or("waiting");
    let tone = match state {
        AutoState::Waiting => "off",
        AutoState::DnsVerified | AutoState::InProgress => "busy",
        AutoState::Issued => "ok",
        AutoState::Failing | AutoState::Failed => "bad",
    };
    Mark { word, tone }
}

/// `0.8 s`, `12 s`, `3 min 5 s`
pub fn took(millis: i64) -> String {
    match (millis / 60_000, millis / 1000) {
        (0, seconds @ ..10) => format!("{seconds}.{} s", millis % 1000 / 100),
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {} s", seconds % 60),
    }
}

/// `512 MB`, `7.5 GB`
pub fn size(bytes: i64) -> String {
    let megabytes = bytes.max(0) >> 20;
    match megabytes {
        0..1024 => format!("{megabytes} MB"),
        _ => format!("{}.{} GB", megabytes >> 10, (megabytes & 1023) * 10 / 1024),
    }
}

/// Text from outside, with what would steer a terminal or turn its direction made visible. Lines
/// and tabs stay.
pub fn visible(text: &str) -> String {
    let steers = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    // A line's end as other systems write it is just that.
    let text = text.replace("\r\n", "\n");
    if !text.contains(steers) {
        return text;
    }
    let shown = |c: char| match u32::from(c) {
        code @ 0..0x20 if steers(c) => char::from_u32(0x2400 + code).unwrap_or('\u{fffd}'),
        0x7f => '\u{2421}',
        _ if steers(c) => '\u{fffd}',
        _ => c,
    };
    text.chars().map(shown).collect()
}

/// Output that comes in pieces, which may end in the middle of a character or of a line's end.
#[derive(Default)]
pub struct Pieces(Vec<u8>);

impl Pieces {
    /// What can be shown with this piece.
    pub fn next(&mut self, piece: &[u8]) -> String {
        self.0.extend_from_slice(piece);
        let rest = self.0.split_off(self.0.len() - begun(&self.0));
        let text = visible(&String::from_utf8_lossy(&self.0));
        self.0 = rest;
        text
    }
}

/// How many bytes at the end may be the beginning of something longer.
fn begun(bytes: &[u8]) -> usize {
    if bytes.ends_with(b"\r") {
        return 1;
    }
    let tail = bytes.iter().rev().take(3).enumerate();
    let Some((after, first)) = tail.clone().find(|(_, byte)| **byte & 0xc0 != 0x80) else {
        return 0;
    };
    let takes = match first {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        _ => 1,
    };
    if takes > after + 1 { after + 1 } else { 0 }
}

/// What an app as a whole does.
pub fn of_app(maintenance: bool, dynos: Option<&AppDynos>, wanted: &[Formation]) -> Mark {
    if maintenance {
        return Mark { word: "in maintenance", tone: "busy" };
    }
    let Some(app) = dynos else { return Mark { word: "unknown", tone: "off" } };
    if app.current.is_none() || wanted.is_empty() {
        return Mark { word: "not deployed", tone: "off" };
    }
    if app.dynos.iter().any(|dyno| dyno.state == DynoState::Crashed) {
        return Mark { word: "crashed", tone: "bad" };
    }
    match app.progress {
        Progress::Failing(_) => Mark { word: "failing", tone: "bad" },
        Progress::Converging => Mark { word: "changing", tone: "busy" },
        Progress::Settled if wanted.iter().all(|row| row.quantity == 0) => {
            Mark { word: "scaled to 0", tone: "off" }
        }
        Progress::Settled => Mark { word: "up", tone: "ok" },
    }
}

/// `2 of 3 up`, for a process type.
pub fn share(up: usize, wanted: u32) -> String {
    match (up, wanted) {
        (0, 0) => "off".to_string(),
        (up, wanted) => format!("{up} of {wanted} up"),
    }
}

/// `just now`, `5 minutes ago`, `3 hours ago`, then the date.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.seconds_since(at);
    let (count, unit) = match seconds {
        0..=44 => return "just now".to_string(),
        45..=3569 => ((seconds + 30) / 60, "minute"),
        3570..=84_599 => ((seconds + 1800) / 3600, "hour"),
        84_600..=2_591_999 => ((seconds + 43_200) / 86_400, "day"),
        _ => return format!("on {}", date(at)),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural} ago")
}

/// `2026-11-21 12:00:00`, UTC
pub fn exact(at: Timestamp) -> String {
    at.api().replace('T', " ").chars().take(19).collect()
}

/// `2026-11-21`
pub fn date(at: Timestamp) -> String {
    at.api().chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown_as_text() {
        assert_eq!(visible("plain\ttext\n"), "plain\ttext\n");
        assert_eq!(visible("\u{1b}[31mred\u{7}\u{7f}\r\n"), "\u{241b}[31mred\u{2407}\u{2421}\n");
        assert_eq!(visible("a\u{202e}b\u{9b}"), "a\u{fffd}b\u{fffd}");
    }

    #[test]
    fn a_character_or_line_end_cut_in_two_is_shown_whole() {
        let mut pieces = Pieces::default();
        let check = "✓ done\r\nnext".as_bytes();
        let shown: Vec<String> = [&check[..2], &check[2..9], &check[9..]]
            .into_iter()
            .map(|piece| pieces.next(piece))
            .collect();
        assert_eq!(shown.concat(), "✓ done\nnext");
        assert_eq!(pieces.next(b"\xffa\xe2"), "\u{fffd}a", "what is no text is shown as that");
    }

    #[test]
    fn durations_are_short() {
        assert_eq!([840, 12_400, 185_000].map(took), ["0.8 s", "12 s", "3 min 5 s"]);
    }

    #[test]
    fn times_are_told_as_people_do() {
        let now = Timestamp::parse("2026-11-21T12:00:00Z").unwrap();
        let before = |seconds: i64| ago(Timestamp(now.0 - seconds * 1_000_000), now);
        assert_eq!(before(3), "just now");
        assert_eq!(before(50), "1 minute ago");
        assert_eq!(before(3500), "58 minutes ago");
        assert_eq!(before(3600), "1 hour ago");
        assert_eq!(before(86_400), "1 day ago");
        assert_eq!(before(40 * 86_400), "on 2026-10-12");
        assert_eq!(before(-5), "just now");
        assert_eq!(exact(now), "2026-11-21 12:00:00");
    }
}
