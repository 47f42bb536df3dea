//! How many lines Docker rotated away before they could be read. Nothing says so exactly; the
//! file that is left tells how long a line is and how fast they came.

use super::json_file::time_of;
use super::line::{LogLine, Source};
use super::record::Checkpoint;
use crate::clock::Timestamp;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What the oldest file that is left looks like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub bytes: u64,
    pub bytes_per_line: u64,
    pub first: Timestamp,
    pub last: Timestamp,
}

impl Sample {
    /// Reads a little from both ends; `None` when there is no whole record.
    pub(crate) fn of(file: &File) -> io::Result<Option<Sample>> {
        const ENDS: u64 = 128 * 1024;
        let bytes = file.metadata()?.len();
        let mut buffer = vec![0; usize::try_from(bytes.min(ENDS)).unwrap_or(0)];
        file.read_exact_at(&mut buffer, 0)?;
        let records = || buffer.split_inclusive(|byte| *byte == b'\n');
        let (whole, lines) = records()
            .filter(|record| record.ends_with(b"\n"))
            .fold((0, 0), |(bytes, lines), record| (bytes + record.len() as u64, lines + 1));
        let first = records().find_map(time_of);
        file.read_exact_at(&mut buffer, bytes.saturating_sub(ENDS))?;
        let last = buffer.split(|byte| *byte == b'\n').rev().find_map(time_of);
        Ok(first.zip(last).filter(|_| lines > 0).map(|(first, last)| Sample {
            bytes,
            bytes_per_line: whole / lines,
            first,
            last,
        }))
    }

    /// Lines between the checkpoint and this file. Files are rotated once they have `full`
    /// bytes, so what was left of the checkpoint's file is known; whole files that came and went
    /// after it are told by the time that passed.
    pub(crate) fn missed_since(&self, checkpoint: &Checkpoint, full: u64) -> u64 {
        let line = self.bytes_per_line.max(1);
        let unread = match self.bytes.saturating_sub(checkpoint.offset) {
            _ if checkpoint.offset >= full => 0,
            rest => rest.max(line),
        };
        let away = micros(checkpoint.last, self.first);
        let by_time = u128::from(self.bytes) * away / micros(self.first, self.last).max(1);
        let beyond = by_time.saturating_sub(u128::from(unread));
        let size = u128::from(self.bytes.max(1));
        let files = (beyond + size / 2) / size;
        let lost = u128::from(unread) + files * size;
        u64::try_from(lost / u128::from(line)).unwrap_or(u64::MAX)
    }
}

fn micros(from: Timestamp, to: Timestamp) -> u128 {
    u128::try_from(to.0.saturating_sub(from.0)).unwrap_or(0)
}

/// The line that stands in for them, in Heroku's words, at the time where they are missing.
pub(crate) fn line(process: &str, missed: u64, since: Timestamp, at: Timestamp) -> LogLine {
    let since = since.log();
    let message =
        format!("Error L12: {missed} messages dropped since {since}. ({process}, estimated)");
    LogLine { at, source: Source::App, process: "log-shuttle".into(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missed(offset: u64, last: i64) -> u64 {
        // 1000 lines of 100 bytes a file, a line a second; this is the file from 10,000 s on.
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        let sample =
            Sample { bytes: 100_000, bytes_per_line: 100, first: at(10_000), last: at(10_999) };
        let checkpoint = Checkpoint { offset, last: at(last), ..Checkpoint::default() };
        sample.missed_since(&checkpoint, 99_950)
    }

    #[test]
    fn counts_the_rest_of_the_file_and_whole_files_after_it() {
        assert_eq!(missed(40_000, 9_400), 600);
        assert_eq!(missed(40_000, 8_400), 1600);
        assert_eq!(missed(40_000, 5_400), 4600);
        // The file before this one was read to its end.
        assert_eq!(missed(99_980, 9_999), 0);
        assert_eq!(missed(100_050, 9_999), 0);
    }
}
