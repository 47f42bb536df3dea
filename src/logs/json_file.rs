//! Records of Docker's json-file log become lines. A record holds at most 16 KB of a line; parts
//! of longer ones are joined, stream by stream, and cut anew at Heroku's length.

use super::line::{LogLine, Source, clean, cut_at, pieces};
use super::record::Part;
use crate::clock::Timestamp;
use crate::limits::LOG_LINE_BYTES;
use serde::Deserialize;
use std::borrow::Cow;

#[derive(Deserialize)]
struct JsonRecord<'a> {
    #[serde(borrow, default)]
    log: Cow<'a, str>,
    #[serde(borrow, default)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

/// Joins the records of one container, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Joiner {
    pub parts: [Option<Part>; 2],
    /// The time of the newest record.
    pub last: Timestamp,
    /// Records up to this time are stored already; set when only their time can tell.
    pub known: Option<Timestamp>,
}

impl Joiner {
    /// Takes whole records, each ended by a newline, and gives the lines that they complete.
    /// Returns how many records could not be read.
    pub(crate) fn take(&mut self, records: &[u8], process: &str, out: &mut Vec<LogLine>) -> u64 {
        let mut unreadable = 0;
        let records = records.strip_suffix(b"\n").unwrap_or(records);
        for record in records.split(|byte| *byte == b'\n') {
            match parse(record) {
                Some((record, at)) => self.record(&record, at, process, out),
                None => unreadable += u64::from(!record.is_empty()),
            }
        }
        unreadable
    }

    fn record(
        &mut self,
        record: &JsonRecord<'_>,
        at: Timestamp,
        process: &str,
        out: &mut Vec<LogLine>,
    ) {
        if self.known.is_some_and(|known| at <= known) {
            return;
        }
        self.known = None;
        self.last = at;
        let (text, ended) = match record.log.strip_suffix('\n') {
            Some(text) => (text.strip_suffix('\r').unwrap_or(text), true),
            None => (&*record.log, false),
        };
        let text = clean(text);
        let part = &mut self.parts[usize::from(record.stream == "stderr")];
        if ended && part.is_none() {
            return out.extend(pieces(&text).map(|piece| line(at, process, piece)));
        }
        let begun = part.get_or_insert_with(|| Part { at, text: String::new() });
        begun.text.push_str(&text);
        while begun.text.len() > LOG_LINE_BYTES {
            let rest = begun.text.split_off(cut_at(&begun.text, LOG_LINE_BYTES));
            let full = std::mem::replace(&mut begun.text, rest);
            out.push(line(begun.at, process, &full));
        }
        if ended {
            out.extend(part.take().map(|part| line(part.at, process, &part.text)));
        }
    }

    /// What was begun and will not be continued is a line too.
    pub(crate) fn flush(&mut self, process: &str, out: &mut Vec<LogLine>) {
        let parts = self.parts.iter_mut().filter_map(Option::take);
        out.extend(parts.map(|part| line(part.at, process, &part.text)));
    }
}

fn line(at: Timestamp, process: &str, message: &str) -> LogLine {
    LogLine { at, source: Source::App, process: process.into(), message: message.into() }
}

fn parse(record: &[u8]) -> Option<(JsonRecord<'_>, Timestamp)> {
    let read = |bytes| -> Option<(JsonRecord<'_>, Timestamp)> {
        let record: JsonRecord = serde_json::from_slice(bytes).ok()?;
        let at = Timestamp::parse(&record.time)?;
        Some((record, at))
    };
    read(record).or_else(|| {
        // When dockerd dies in the middle of a record, the next one follows on the same line.
        // Inside a record's strings the quotes are escaped, so this finds the begin of one only.
        const BEGIN: &[u8] = br#"{"log":"#;
        let begin = record.windows(BEGIN.len()).rposition(|window| window == BEGIN)?;
        read(&record[begin..])
    })
}

/// The time of a record, for estimates.
pub(crate) fn time_of(record: &[u8]) -> Option<Timestamp> {
    parse(record).map(|(_, at)| at)
}

#[cfg(test)]
pub(crate) fn docker_record(log: &str, stream: &str, nanos: u64) -> String {
    let time =
        format!("2026-11-20T09:15:{:02}.{:09}Z", nanos / 1_000_000_000, nanos % 1_000_000_000);
    let log = serde_json::to_string(log).unwrap();
    format!("{{\"log\":{log},\"stream\":\"{stream}\",\"time\":\"{time}\"}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(joiner: &mut Joiner, records: &[(&str, &str)]) -> Vec<String> {
        let text: String =
            records.iter().map(|(log, stream)| docker_record(log, stream, 5)).collect();
        let mut out = Vec::new();
        assert_eq!(joiner.take(text.as_bytes(), "web.1", &mut out), 0);
        out.into_iter().map(|line| line.message).collect()
    }

    #[test]
    fn parts_are_joined_by_stream() {
        let mut joiner = Joiner::default();
        let records =
            [("one ", "stdout"), ("err ", "stderr"), ("two\n", "stdout"), ("plain\n", "stdout")];
        assert_eq!(lines(&mut joiner, &records), ["one two", "plain"]);
        assert_eq!(lines(&mut joiner, &[("or\r\n", "stderr"), ("\n", "stdout")]), ["err or", ""]);
        assert_eq!(joiner.parts, [None, None]);
        lines(&mut joiner, &[("unended", "stdout")]);
        let mut out = Vec::new();
        joiner.flush("web.1", &mut out);
        assert_eq!(out[0].message, "unended");
    }

    #[test]
    fn a_line_without_end_is_cut_and_never_grows() {
        let mut joiner = Joiner::default();
        let part = "x".repeat(16 * 1024);
        for _ in 0..50 {
            let lines = lines(&mut joiner, &[(&part, "stdout")]);
            assert!(lines.iter().all(|line| line.len() == LOG_LINE_BYTES));
            assert!(joiner.parts[0].as_ref().unwrap().text.len() <= LOG_LINE_BYTES);
        }
        // Exactly one length leaves no empty line behind.
        let mut joiner = Joiner::default();
        let exact = "y".repeat(LOG_LINE_BYTES);
        assert_eq!(lines(&mut joiner, &[(&exact, "stdout"), ("\n", "stdout")]), [exact]);
    }

    #[test]
    fn a_record_cut_by_a_crash_loses_only_itself() {
        let whole = docker_record("whole {\"log\":\n", "stdout", 5);
        let text = format!("{}{whole}nonsense\n{whole}", &whole[..12]);
        let mut out = Vec::new();
        assert_eq!(Joiner::default().take(text.as_bytes(), "web.1", &mut out), 1);
        let messages: Vec<&str> = out.iter().map(|line| line.message.as_str()).collect();
        assert_eq!(messages, ["whole {\"log\":", "whole {\"log\":"]);
    }
}
