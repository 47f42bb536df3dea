//! One container's json-file log through its rotations. Files that Docker rotates stay open until
//! they are read, so that nothing is lost while the reader is behind.

use super::Follow;
use super::gap::{self, Sample};
use super::json_file::Joiner;
use super::line::LogLine;
use super::record::Checkpoint;
use crate::limits::{LOG_READ_BYTES, LOG_ROTATED_FILES};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

struct LogFile {
    file: File,
    /// Cannot be given to another file while this one is open.
    inode: u64,
    offset: u64,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let inode = file.metadata()?.ino();
        Ok(Some(Self { file, inode, offset: 0 }))
    }
}

/// What was read, to be stored; [`Followed::accept`] once it is.
pub(crate) struct Chunk {
    pub lines: Vec<LogLine>,
    pub checkpoint: Checkpoint,
    /// More is there to be read at once.
    pub more: bool,
    joiner: Joiner,
}

pub(crate) struct Followed {
    pub follow: Follow,
    /// Bytes at which Docker rotates a file.
    full: u64,
    /// What was stored when the server started, until the files have been opened.
    resume: Option<Checkpoint>,
    /// In the order they were written; the first is being read.
    files: VecDeque<LogFile>,
    joiner: Joiner,
    /// What stands in for lines that are missing, before the next chunk.
    gap: Vec<LogLine>,
    /// Length of the newest file at the last look.
    seen: u64,
    /// Bytes written since somebody asked.
    grown: u64,
}

impl Followed {
    pub(crate) fn new(follow: Follow, full: u64, resume: Option<Checkpoint>) -> Self {
        let (files, joiner, gap) = (VecDeque::new(), Joiner::default(), Vec::new());
        Self { follow, full, resume, files, joiner, gap, seen: 0, grown: 0 }
    }

    /// The next lines, of one read at most. `None`: everything that is there has been read.
    pub(crate) fn read(&mut self) -> io::Result<Option<Chunk>> {
        let length = self.refresh()?;
        loop {
            let rotated = self.files.len() > 1;
            let Some(front) = self.files.front_mut() else { return Ok(None) };
            if !rotated && length == Some(front.offset) {
                return Ok(None);
            }
            if !rotated && length.is_some_and(|length| length < front.offset) {
                // Somebody truncated it.
                front.offset = 0;
            }
            let records = read_records(front, rotated)?;
            if records.is_empty() {
                if !rotated {
                    return Ok(None);
                }
                self.files.pop_front();
                continue;
            }
            return self.chunk(&records).map(Some);
        }
    }

    fn chunk(&mut self, records: &[u8]) -> io::Result<Chunk> {
        let process = &self.follow.process;
        let mut lines: Vec<LogLine> = self.gap.clone();
        let mut joiner = self.joiner.clone();
        let unreadable = joiner.take(records, process, &mut lines);
        if unreadable > 0 {
            let container = &self.follow.container;
            tracing::warn!(container, process, unreadable, "records in a dyno's log were skipped");
        }
        let checkpoint = self.checkpoint(records.len() as u64, &joiner)?;
        let more = records.len() > LOG_READ_BYTES / 2 || self.files.len() > 1;
        Ok(Chunk { lines, checkpoint, more, joiner })
    }

    /// What the end of the container leaves: begun lines that nothing will continue.
    pub(crate) fn rest(&mut self) -> io::Result<Option<Chunk>> {
        let mut lines: Vec<LogLine> = self.gap.clone();
        let mut joiner = self.joiner.clone();
        joiner.flush(&self.follow.process, &mut lines);
        if lines.is_empty() || self.files.is_empty() {
            return Ok(None);
        }
        let checkpoint = self.checkpoint(0, &joiner)?;
        Ok(Some(Chunk { lines, checkpoint, more: false, joiner }))
    }

    fn checkpoint(&self, more: u64, joiner: &Joiner) -> io::Result<Checkpoint> {
        let container = self.follow.container.clone();
        let (last, parts) = (joiner.last, joiner.parts.clone());
        let Some(front) = self.files.front() else {
            return Ok(Checkpoint { container, last, parts, ..Checkpoint::default() });
        };
        let offset = front.offset + more;
        let mark = mark(&front.file, offset)?;
        Ok(Checkpoint { container, offset, mark, last, parts })
    }

    /// The chunk is stored: go on behind it.
    pub(crate) fn accept(&mut self, chunk: Chunk) {
        if let Some(front) = self.files.front_mut() {
            front.offset = chunk.checkpoint.offset;
        }
        self.joiner = chunk.joiner;
        self.gap.clear();
    }

    /// Bytes that Docker has written to the log since this was last asked.
    pub(crate) fn take_grown(&mut self) -> u64 {
        std::mem::take(&mut self.grown)
    }

    /// Whether the container's log was deleted.
    pub(crate) fn is_gone(&self) -> bool {
        !self.follow.path.exists()
    }

    /// Opens what is new; gives the current file's length. The order matters: a file that is seen
    /// to be replaced here is complete when it is read afterwards.
    pub(crate) fn refresh(&mut self) -> io::Result<Option<u64>> {
        let path = &self.follow.path;
        let current = match std::fs::metadata(path) {
            // Not made yet, or the container is gone; what is open can still be read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let Some(newest) = self.files.back() else {
            self.begin()?;
            self.seen = current.len();
            return Ok(None);
        };
        if newest.inode == current.ino() {
            self.grown += current.len().saturating_sub(self.seen);
            self.seen = current.len();
            return Ok(Some(current.len()));
        }
        // At least the rest of the file before it, and what is in the new one.
        self.grown += self.full.saturating_sub(self.seen) + current.len();
        self.seen = current.len();
        let newest = newest.inode;
        if self.files.len() < LOG_ROTATED_FILES
            && let Some((rotated, current)) = open_both(path)?
        {
            if let Some(rotated) = rotated
                && rotated.inode != newest
            {
                // Two rotations or more since the last look.
                self.note_gap(&rotated)?;
                self.files.push_back(rotated);
            }
            self.files.push_back(current);
        }
        Ok(None)
    }

    /// Opens the files for the first time and finds the checkpoint's place in them.
    fn begin(&mut self) -> io::Result<()> {
        let Some((rotated, current)) = open_both(&self.follow.path)? else { return Ok(()) };
        let Some(resume) = self.resume.clone() else {
            self.files.extend(rotated.into_iter().chain([current]));
            return Ok(());
        };
        self.joiner = Joiner { parts: resume.parts.clone(), last: resume.last, known: None };
        let mut files: VecDeque<LogFile> = rotated.into_iter().chain([current]).collect();
        for index in (0..files.len()).rev() {
            if holds(&files[index].file, &resume)? {
                files[index].offset = resume.offset;
                self.files.extend(files.drain(index..));
                return Ok(());
            }
        }
        // The place is gone: rotated away, or cut off when the host lost power before its disk had
        // it. In neither case is what is older than the checkpoint wanted again.
        self.joiner.known = Some(resume.last);
        if files.len() > 1 {
            self.note_gap(&files[0])?;
        }
        self.files = files;
        Ok(())
    }

    /// Lines between what has been read and the begin of `next` may have been rotated away.
    fn note_gap(&mut self, next: &LogFile) -> io::Result<()> {
        let Some(sample) = Sample::of(&next.file)? else { return Ok(()) };
        let at = match self.files.back() {
            Some(back) => {
                let offset = back.file.metadata()?.len();
                Checkpoint { offset, last: last_time(back)?, ..Checkpoint::default() }
            }
            None => self.resume.clone().unwrap_or_default(),
        };
        let missed = sample.missed_since(&at, self.full);
        if missed > 0 {
            tracing::warn!(container = self.follow.container, missed, "a dyno's log has a gap");
            let process = &self.follow.process;
            self.joiner.flush(process, &mut self.gap);
            self.gap.push(gap::line(process, missed, at.last, sample.first));
        }
        Ok(())
    }
}

fn last_time(file: &LogFile) -> io::Result<crate::clock::Timestamp> {
    Ok(Sample::of(&file.file)?.map(|sample| sample.last).unwrap_or_default())
}

/// Whole records from where the file stands; empty when there is none (yet).
fn read_records(from: &mut LogFile, complete: bool) -> io::Result<Vec<u8>> {
    loop {
        let mut buffer = vec![0; LOG_READ_BYTES];
        let mut filled = 0;
        while filled < buffer.len() {
            match from.file.read_at(&mut buffer[filled..], from.offset + filled as u64)? {
                0 => break,
                more => filled += more,
            }
        }
        let full = filled == buffer.len();
        buffer.truncate(filled);
        match buffer.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => buffer.truncate(end + 1),
            // No record of Docker's is so long: find the next one.
            None if full => {
                from.offset += filled as u64;
                continue;
            }
            // The begin of a record that dockerd is writing, or has died over.
            None => {
                if complete && filled > 0 {
                    tracing::warn!(bytes = filled, "a rotated log ends within a record");
                }
                buffer.clear();
            }
        }
        return Ok(buffer);
    }
}

fn rotated_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// The rotated file and the current one, as they were at one moment; `None` when there is no
/// current one or Docker rotates too fast just now.
fn open_both(path: &Path) -> io::Result<Option<(Option<LogFile>, LogFile)>> {
    for _ in 0..3 {
        let Some(current) = LogFile::open(path)? else { continue };
        let rotated = LogFile::open(&rotated_path(path))?;
        let unchanged = std::fs::metadata(path).is_ok_and(|now| now.ino() == current.inode);
        if unchanged && rotated.as_ref().is_none_or(|rotated| rotated.inode != current.inode) {
            return Ok(Some((rotated, current)));
        }
    }
    Ok(None)
}

/// Checksum of the bytes before `offset`, enough of them to hold a record's time.
fn mark(file: &File, offset: u64) -> io::Result<u32> {
    let begin = offset.saturating_sub(256);
    let mut bytes = vec![0; usize::try_from(offset - begin).unwrap_or(0)];
    file.read_exact_at(&mut bytes, begin)?;
    Ok(crc32fast::hash(&bytes))
}

fn holds(file: &File, checkpoint: &Checkpoint) -> io::Result<bool> {
    let long_enough = file.metadata()?.len() >= checkpoint.offset;
    Ok(checkpoint.offset > 0 && long_enough && mark(file, checkpoint.offset)? == checkpoint.mark)
}
