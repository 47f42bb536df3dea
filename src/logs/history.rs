//! The newest lines of an app, read from the end of its segments backwards.

use super::filter::Filter;
use super::line::LogLine;
use super::record::{Record, Records, frame};
use super::segment::{MAGIC, Position, numbers, path};
use std::io;
use std::path::Path;

/// The newest `n` lines that fit and are stored before `end`, oldest first.
pub(crate) fn last(
    dir: &Path,
    end: Position,
    filter: &Filter,
    n: usize,
) -> io::Result<Vec<LogLine>> {
    // Newest first until the end.
    let mut found = Vec::new();
    for number in numbers(dir)?.into_iter().rev().filter(|number| *number <= end.segment) {
        if found.len() >= n {
            break;
        }
        let mut content = match std::fs::read(path(dir, number)) {
            // It was the oldest, and made room while this was on its way.
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            other => other?,
        };
        if number == end.segment {
            content.truncate(usize::try_from(end.bytes).unwrap_or(usize::MAX));
        }
        from_segment(&content, filter, n, &mut found);
    }
    found.reverse();
    // Lines of a dyno reach the store a poll later than the platform's about it. Stable, so that
    // lines of one time keep their order.
    found.sort_by_key(|line| line.at);
    Ok(found)
}

fn from_segment(content: &[u8], filter: &Filter, n: usize, found: &mut Vec<LogLine>) {
    let mut frames = Vec::new();
    let mut rest = content.strip_prefix(MAGIC).unwrap_or_default();
    while let Some(length) = rest.first_chunk().map(|length| u32::from_le_bytes(*length)) {
        frames.push(rest);
        rest = rest.get(8 + length as usize..).unwrap_or_default();
    }
    for records in frames.into_iter().rev().filter_map(frame).map(|(records, _)| records) {
        let fitting = Records(records).filter_map(|record| match record {
            Record::Line(line) if filter.fits(line.source, line.process) => Some(line),
            _ => None,
        });
        let fitting: Vec<_> = fitting.collect();
        let wanted = n - found.len();
        found.extend(fitting.into_iter().rev().take(wanted).map(|line| line.to_line()));
        if found.len() >= n {
            return;
        }
    }
}
