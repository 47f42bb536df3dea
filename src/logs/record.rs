//! What stands in a segment: frames of a length, a checksum and records. A record is a line, how
//! far a container's output has been stored, or that a container is gone.

use super::line::{LogLine, Source};
use crate::clock::Timestamp;
use crate::limits::LOG_SEGMENT_BYTES;

/// How far a container's log is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Checkpoint {
    pub container: String,
    /// Bytes of the log file that are done.
    pub offset: u64,
    /// Checksum of the bytes that end at `offset`: they hold a time in nanoseconds, so this tells
    /// the file from every other. Its inode would not: Docker deletes one of its two files as it
    /// makes the next, which then gets the freed number.
    pub mark: u32,
    /// The time of the newest line that is stored.
    pub last: Timestamp,
    /// The begun lines of standard output and standard error.
    pub parts: [Option<Part>; 2],
}

/// The begin of a line whose end has not been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub at: Timestamp,
    pub text: String,
}

/// A line in a segment that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineRef<'a> {
    pub at: Timestamp,
    pub source: Source,
    pub process: &'a str,
    pub message: &'a str,
}

impl LineRef<'_> {
    pub(crate) fn to_line(self) -> LogLine {
        let Self { at, source, process, message } = self;
        LogLine { at, source, process: process.into(), message: message.into() }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    Line(LineRef<'a>),
    Checkpoint(Checkpoint),
    Gone(&'a str),
}

/// Bytes of a frame before its records: length and CRC-32, both little-endian.
const HEAD: usize = 8;

/// A frame that is being made. It reaches the disk in one write.
pub(crate) struct Frame(Vec<u8>);

impl Frame {
    pub(crate) fn new() -> Self {
        Self(vec![0; HEAD])
    }

    pub(crate) fn line(&mut self, line: &LogLine) {
        self.0.push(1);
        self.number(line.at.0.cast_unsigned());
        self.0.push(u8::from(line.source == Source::Heroku));
        self.text(&line.process);
        self.text(&line.message);
    }

    pub(crate) fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        self.0.push(2);
        self.text(&checkpoint.container);
        self.number(checkpoint.offset);
        self.number(u64::from(checkpoint.mark));
        self.number(checkpoint.last.0.cast_unsigned());
        for part in &checkpoint.parts {
            self.0.push(u8::from(part.is_some()));
            if let Some(part) = part {
                self.number(part.at.0.cast_unsigned());
                self.text(&part.text);
            }
        }
    }

    pub(crate) fn gone(&mut self, container: &str) {
        self.0.push(3);
        self.text(container);
    }

    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        // Nothing here comes near 4 GB: a message has 10,000 bytes at most.
        let length = u32::try_from(text.len()).unwrap_or(0);
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(&text.as_bytes()[..length as usize]);
    }

    /// The frame as it is written.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len() - HEAD).unwrap_or(0);
        let sum = crc32fast::hash(&self.0[HEAD..]);
        self.0[..4].copy_from_slice(&length.to_le_bytes());
        self.0[4..HEAD].copy_from_slice(&sum.to_le_bytes());
        self.0
    }
}

/// The records of the frame that `bytes` begin with, and its length; `None` when it is torn.
pub(crate) fn frame(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    let sum = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
    // A frame is never empty, and never much larger than a segment; zeros that a power cut left
    // would otherwise pass as an empty frame with the right sum.
    if length == 0 || length as u64 > 4 * LOG_SEGMENT_BYTES {
        return None;
    }
    let records = bytes.get(HEAD..HEAD + length)?;
    (crc32fast::hash(records) == sum).then_some((records, HEAD + length))
}

/// Reads records one after the other; ends early at one that it does not know.
pub(crate) struct Records<'a>(pub &'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        match self.byte()? {
            1 => Some(Record::Line(LineRef {
                at: self.time()?,
                source: if self.byte()? == 0 { Source::App } else { Source::Heroku },
                process: self.text()?,
                message: self.text()?,
            })),
            2 => Some(Record::Checkpoint(Checkpoint {
                container: self.text()?.to_string(),
                offset: self.number()?,
                mark: u32::try_from(self.number()?).ok()?,
                last: self.time()?,
                parts: [self.part()?, self.part()?],
            })),
            3 => Some(Record::Gone(self.text()?)),
            _ => None,
        }
    }
}

impl<'a> Records<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.take(8)?.first_chunk()?))
    }

    fn time(&mut self) -> Option<Timestamp> {
        self.number().map(|number| Timestamp(number.cast_signed()))
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = u32::from_le_bytes(*self.take(4)?.first_chunk()?);
        std::str::from_utf8(self.take(length as usize)?).ok()
    }

    /// The outer `None` means that the record is broken.
    #[allow(clippy::option_option, reason = "the two absences are different")]
    fn part(&mut self) -> Option<Option<Part>> {
        if self.byte()? == 0 {
            return Some(None);
        }
        Some(Some(Part { at: self.time()?, text: self.text()?.to_string() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reads_back_and_a_torn_one_does_not() {
        let line = LogLine::heroku("web.1", "State changed from starting to up é");
        let part = Part { at: Timestamp(-5), text: "begun".into() };
        let checkpoint = Checkpoint {
            container: "c1".into(),
            offset: 77,
            mark: u32::MAX,
            last: Timestamp(9),
            parts: [None, Some(part)],
        };
        let mut made = Frame::new();
        made.line(&line);
        made.checkpoint(&checkpoint);
        made.gone("c0");
        let bytes = made.finish();
        let (records, length) = frame(&bytes).unwrap();
        assert_eq!(length, bytes.len());
        let records: Vec<Record> = Records(records).collect();
        assert_eq!(records.len(), 3);
        assert!(matches!(&records[0], Record::Line(read) if read.to_line() == line));
        assert_eq!(records[1], Record::Checkpoint(checkpoint));
        assert_eq!(records[2], Record::Gone("c0"));
        for end in 0..bytes.len() {
            assert!(frame(&bytes[..end]).is_none());
            let mut broken = bytes.clone();
            broken[end] ^= 1;
            assert!(frame(&broken).is_none());
        }
        assert!(frame(&[0; 64]).is_none());
    }
}
