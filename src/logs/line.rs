//! One log line in Heroku's form, and what is done to text before it becomes one.

use crate::clock::Timestamp;
use crate::limits::LOG_LINE_BYTES;
use std::fmt;

/// Who speaks: the app's own processes (and the API on its behalf), or the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    App,
    Heroku,
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Heroku => "heroku",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "app" => Some(Self::App),
            "heroku" => Some(Self::Heroku),
            _ => None,
        }
    }
}

/// `Display` gives it as users see it: `TIME SOURCE[PROCESS]: MESSAGE`, without a newline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    pub at: Timestamp,
    pub source: Source,
    /// `web.1`, `router`, `api`, …
    pub process: String,
    pub message: String,
}

impl LogLine {
    /// A line of the platform about one of its parts, now: `heroku[web.1]: State changed …`.
    pub fn heroku(process: impl Into<String>, message: impl Into<String>) -> Self {
        Self::now(Source::Heroku, process, message)
    }

    /// A line of the API about what a user did, now: `app[api]: Deploy 4f070772 by user …`.
    pub fn api(message: impl Into<String>) -> Self {
        Self::now(Source::App, "api", message)
    }

    pub fn now(source: Source, process: impl Into<String>, message: impl Into<String>) -> Self {
        let (process, message) = (process.into(), message.into());
        Self { at: Timestamp::now(), source, process, message }
    }

    /// The lines that are stored for it: one for each line of its text, cleaned and cut at
    /// Heroku's length.
    pub(crate) fn into_stored(self, out: &mut Vec<LogLine>) {
        let plain = self.message.len() <= LOG_LINE_BYTES && !self.message.bytes().any(unwanted);
        if plain {
            return out.push(self);
        }
        let before = out.len();
        for text in self.message.split('\n') {
            let text = clean(text.strip_suffix('\r').unwrap_or(text));
            for piece in pieces(&text) {
                out.push(LogLine { message: piece.to_string(), ..self.clone_head() });
            }
        }
        // A final newline ends the last line and begins no empty one.
        if out.len() > before + 1 && out.last().is_some_and(|line| line.message.is_empty()) {
            out.pop();
        }
    }

    fn clone_head(&self) -> Self {
        let process = self.process.clone();
        Self { at: self.at, source: self.source, process, message: String::new() }
    }
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, source, process, message } = self;
        write!(f, "{} {}[{process}]: {message}", at.log(), source.as_str())
    }
}

/// Control characters that no line keeps. Tab stays, and so does escape: colours are the app's
/// business, as on Heroku.
fn unwanted(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t' && byte != 0x1b) || byte == 0x7f
}

/// Text without the control characters that would break a terminal or an event stream. A
/// carriage return (progress bars) becomes a space, the others vanish.
pub(crate) fn clean(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.bytes().any(unwanted) {
        return text.into();
    }
    let kept = text.chars().filter_map(|c| match c {
        '\r' => Some(' '),
        c if c.is_ascii() && unwanted(c as u8) => None,
        c => Some(c),
    });
    kept.collect::<String>().into()
}

/// The largest length up to `limit` that does not cut a character.
pub(crate) fn cut_at(text: &str, limit: usize) -> usize {
    if text.len() <= limit {
        return text.len();
    }
    (0..=limit).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// A long line as several messages; an empty line is one empty message.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (piece, after) = text.split_at(cut_at(text, LOG_LINE_BYTES));
        rest = (!after.is_empty()).then_some(after);
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(message: &str) -> Vec<String> {
        let mut out = Vec::new();
        LogLine::heroku("web.1", message).into_stored(&mut out);
        out.into_iter().map(|line| line.message).collect()
    }

    #[test]
    fn reads_as_heroku_writes_it() {
        let at = Timestamp::parse("2026-11-20T09:15:02.123456Z").unwrap();
        let line = LogLine { at, ..LogLine::heroku("web.1", "State changed from starting to up") };
        assert_eq!(
            line.to_string(),
            "2026-11-20T09:15:02.123456+00:00 heroku[web.1]: State changed from starting to up"
        );
        let line = LogLine { at, ..LogLine::api("Build succeeded") };
        assert_eq!(line.to_string(), "2026-11-20T09:15:02.123456+00:00 app[api]: Build succeeded");
    }

    #[test]
    fn keeps_colours_and_drops_other_controls() {
        assert_eq!(stored("\u{1b}[31mred\u{1b}[0m\tx"), ["\u{1b}[31mred\u{1b}[0m\tx"]);
        assert_eq!(stored("a\0b\u{7}c\u{7f}"), ["abc"]);
        assert_eq!(stored("10%\r20%\r"), ["10% 20%"]);
        assert_eq!(stored("one\r\ntwo\n"), ["one", "two"]);
        assert_eq!(stored(""), [""]);
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let text = format!("x{}", "é".repeat(10_000));
        let parts = stored(&text);
        assert_eq!(parts.concat(), text);
        assert_eq!(parts.len(), 3);
        assert!(parts.iter().all(|part| part.len() <= LOG_LINE_BYTES));
    }
}
