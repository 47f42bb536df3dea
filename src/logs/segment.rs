//! One app's log on disk: numbered segment files of a few megabytes, the oldest removed when the
//! app's share is used up. Each segment begins with all checkpoints, so that a start reads only
//! the newest one.

use super::record::{Checkpoint, Frame, Record, Records, frame};
use crate::limits::{LOG_SEGMENT_BYTES, LOG_SEGMENTS_MIN};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub(crate) const MAGIC: &[u8; 8] = b"SENRYUL1";

/// The end of what is stored: readers look no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Position {
    pub segment: u64,
    pub bytes: u64,
}

struct Segment {
    number: u64,
    bytes: u64,
}

/// The writing end; there is one per app, owned by the log thread.
pub(crate) struct AppLog {
    pub dir: PathBuf,
    max_bytes: u64,
    /// Oldest first; the last one is written to.
    segments: VecDeque<Segment>,
    file: Option<File>,
    pub checkpoints: BTreeMap<String, Checkpoint>,
}

impl AppLog {
    /// Opens what is there and cuts a half-written end off. Makes nothing if there is nothing.
    pub(crate) fn open(dir: PathBuf, max_bytes: u64) -> io::Result<Self> {
        let mut segments = VecDeque::new();
        for number in numbers(&dir)? {
            let bytes = std::fs::metadata(path(&dir, number))?.len();
            segments.push_back(Segment { number, bytes });
        }
        let checkpoints = BTreeMap::new();
        let mut log = Self { dir, max_bytes, segments, file: None, checkpoints };
        log.recover()?;
        Ok(log)
    }

    fn recover(&mut self) -> io::Result<()> {
        while let Some(last) = self.segments.back_mut() {
            let path = path(&self.dir, last.number);
            let content = std::fs::read(&path)?;
            let Some(end) = replay(&content, &mut self.checkpoints) else {
                // Killed while it was made: its checkpoints, all it could hold, are incomplete.
                std::fs::remove_file(&path)?;
                self.segments.pop_back();
                continue;
            };
            if end < content.len() {
                OpenOptions::new().write(true).open(&path)?.set_len(end as u64)?;
            }
            last.bytes = end as u64;
            break;
        }
        Ok(())
    }

    pub(crate) fn end(&self) -> Position {
        let end = |last: &Segment| Position { segment: last.number, bytes: last.bytes };
        self.segments.back().map(end).unwrap_or_default()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Gives the file handle back; the next append opens it again.
    pub(crate) fn close(&mut self) {
        self.file = None;
    }

    /// Writes one frame: all of it is stored, or nothing.
    pub(crate) fn append(
        &mut self,
        frame: Frame,
        checkpoint: Option<&Checkpoint>,
        gone: &[String],
    ) -> io::Result<()> {
        let bytes = frame.finish();
        match self.write(&bytes) {
            Err(error) if full(&error) && self.segments.len() > 1 => {
                // Better to lose the oldest lines than the newest.
                self.drop_oldest();
                self.write(&bytes)?;
            }
            other => other?,
        }
        for container in gone {
            self.checkpoints.remove(container);
        }
        if let Some(checkpoint) = checkpoint {
            self.checkpoints.insert(checkpoint.container.clone(), checkpoint.clone());
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let room = self.segment_bytes();
        let more = bytes.len() as u64;
        let fits = |last: &Segment| {
            let there = self.file.is_some() || path(&self.dir, last.number).exists();
            there && last.bytes + more <= room
        };
        if !self.segments.back().is_some_and(fits) {
            self.start_segment()?;
        }
        while self.segments.len() > 1 && self.bytes() + more > self.max_bytes {
            self.drop_oldest();
        }
        let Some(last) = self.segments.back_mut() else { return Ok(()) };
        let file = match self.file.take() {
            Some(file) => file,
            None => OpenOptions::new().write(true).open(path(&self.dir, last.number))?,
        };
        if let Err(error) = file.write_all_at(bytes, last.bytes) {
            // What was written of it must not stand before the next frame.
            let _ = file.set_len(last.bytes);
            return Err(error);
        }
        last.bytes += more;
        self.file = Some(file);
        Ok(())
    }

    fn start_segment(&mut self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let mut bytes = MAGIC.to_vec();
        let mut first = Frame::new();
        for checkpoint in self.checkpoints.values() {
            first.checkpoint(checkpoint);
        }
        // Never empty, so that the begin of a segment is known to be whole.
        first.gone("");
        bytes.extend(first.finish());
        let number = self.end().segment + 1;
        let path = path(&self.dir, number);
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        if let Err(error) = file.write_all_at(&bytes, 0) {
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        self.segments.push_back(Segment { number, bytes: bytes.len() as u64 });
        self.file = Some(file);
        Ok(())
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.segments.pop_front()
            && let Err(error) = std::fs::remove_file(path(&self.dir, oldest.number))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(dir = %self.dir.display(), %error, "old log segment stays");
        }
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    fn segment_bytes(&self) -> u64 {
        LOG_SEGMENT_BYTES.min(self.max_bytes / LOG_SEGMENTS_MIN)
    }
}

fn full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Takes the checkpoints from a segment; gives where its last whole frame ends, or `None` if not
/// even the first is whole.
fn replay(content: &[u8], checkpoints: &mut BTreeMap<String, Checkpoint>) -> Option<usize> {
    let mut end = MAGIC.len();
    let mut whole = None;
    while content.starts_with(MAGIC)
        && let Some((records, length)) = frame(&content[end..])
    {
        for record in Records(records) {
            match record {
                Record::Checkpoint(one) => {
                    checkpoints.insert(one.container.clone(), one);
                }
                Record::Gone(container) => {
                    checkpoints.remove(container);
                }
                Record::Line(_) => {}
            }
        }
        end += length;
        whole = Some(end);
    }
    whole
}

/// The numbers of the segments in a folder, oldest first.
pub(crate) fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".segment"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

pub(crate) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:012}.segment"))
}
