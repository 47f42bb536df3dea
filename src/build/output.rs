//! A build's output: one file that is the truth, and readers that follow it at their own pace.
//! Because nobody is handed output through a queue, a slow or vanished reader costs the build
//! nothing and loses nothing. Here too is the voice: `----->` headlines, indented details, ` !`.

use crate::error::{Context, Result};
use crate::limits;
use bytes::Bytes;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Where a build writes. Clones write to the same output.
#[derive(Clone)]
pub struct OutputSink {
    shared: Arc<Shared>,
}

struct Shared {
    writing: Mutex<Writing>,
    /// Bytes that are kept.
    limit: u64,
    progress: watch::Sender<Progress>,
    reader: Arc<File>,
    notes: watch::Sender<Vec<String>>,
}

struct Writing {
    file: File,
    written: u64,
    /// Output of the buildpacks has been cut; what we say ourselves still goes in.
    cut: bool,
    middle_of_line: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    written: u64,
    finished: bool,
}

impl OutputSink {
    /// Starts an empty output in `path`, readable by us alone: builds may print secrets.
    pub fn create(path: &Path) -> Result<Self> {
        Self::open(path, true, limits::BUILD_OUTPUT_BYTES)
    }

    /// Goes on with an output that an earlier server began.
    pub fn resume(path: &Path) -> Result<Self> {
        Self::open(path, false, limits::BUILD_OUTPUT_BYTES)
    }

    /// The same for a release's command, which says more; or goes on with an output that an
    /// earlier server began.
    pub fn of_release(path: &Path, anew: bool) -> Result<Self> {
        Self::open(path, anew, limits::RELEASE_OUTPUT_BYTES)
    }

    fn open(path: &Path, anew: bool, limit: u64) -> Result<Self> {
        let open = || {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(anew).mode(0o600);
            let mut file = options.open(path)?;
            let reader = Arc::new(file.try_clone()?);
            let written = file.seek(SeekFrom::End(0))?;
            std::io::Result::Ok((file, reader, written))
        };
        let (file, reader, written) = open().context("open the file of a build's output")?;
        let cut = written > limit;
        let writing = Mutex::new(Writing { file, written, cut, middle_of_line: written > 0 });
        let progress = watch::Sender::new(Progress { written, finished: false });
        let notes = watch::Sender::default();
        Ok(Self { shared: Arc::new(Shared { writing, limit, progress, reader, notes }) })
    }

    /// Output of a program, as it came. Past the limit it is dropped, and that is said once.
    pub fn bytes(&self, bytes: &[u8]) {
        let mut writing = self.lock();
        let room = self.shared.limit.saturating_sub(writing.written);
        let fits = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        self.write(&mut writing, &bytes[..fits]);
        if fits < bytes.len() && !writing.cut {
            writing.cut = true;
            let megabytes = self.shared.limit / (1024 * 1024);
            let note = format!("\n !     Output is longer than {megabytes} MB: the rest is cut\n");
            self.write(&mut writing, note.as_bytes());
        }
    }

    /// A line of our own. These are few, so the limit does not touch them.
    pub fn line(&self, text: &str) {
        let mut writing = self.lock();
        let line = format!("{text}\n");
        // A program may have ended without ending its last line.
        if writing.middle_of_line {
            self.write(&mut writing, b"\n");
        }
        self.write(&mut writing, line.as_bytes());
    }

    /// `-----> Compressing...`
    pub fn headline(&self, text: &str) {
        self.line(&format!("-----> {text}"));
    }

    /// Seven spaces: belongs to the headline above.
    pub fn detail(&self, text: &str) {
        self.line(&format!("       {text}"));
    }

    /// ` !     Push failed`
    pub fn warning(&self, text: &str) {
        self.line(&format!(" !     {text}"));
    }

    /// What the app's log shall say of this build too; the same only once.
    pub fn note(&self, text: String) {
        self.shared.notes.send_if_modified(|notes| {
            let new = !notes.contains(&text);
            if new {
                notes.push(text);
            }
            new
        });
    }

    /// All that was noted, and what will be.
    pub fn notes(&self) -> watch::Receiver<Vec<String>> {
        self.shared.notes.subscribe()
    }

    /// No more will come: readers end when they have read everything.
    pub fn finish(&self) {
        self.shared.progress.send_modify(|progress| progress.finished = true);
    }

    /// A reader from the first byte.
    pub fn follow(&self) -> OutputReader {
        OutputReader {
            file: Arc::clone(&self.shared.reader),
            progress: self.shared.progress.subscribe(),
            offset: 0,
        }
    }

    /// A reader of what is written from now on.
    pub fn follow_on(&self) -> OutputReader {
        let progress = self.shared.progress.subscribe();
        let offset = progress.borrow().written;
        OutputReader { file: Arc::clone(&self.shared.reader), progress, offset }
    }

    fn write(&self, writing: &mut Writing, bytes: &[u8]) {
        // A full disk must not fail the build: its output is the lesser loss.
        if let Err(error) = writing.file.write_all(bytes) {
            tracing::warn!(%error, "a build's output could not be written");
            return;
        }
        writing.written += bytes.len() as u64;
        if let Some(last) = bytes.last() {
            writing.middle_of_line = *last != b'\n';
        }
        let written = writing.written;
        self.shared.progress.send_modify(|progress| progress.written = written);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Writing> {
        self.shared.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows an output from its start to its end.
pub struct OutputReader {
    file: Arc<File>,
    progress: watch::Receiver<Progress>,
    offset: u64,
}

impl OutputReader {
    /// The next piece; `None` when the output is finished or its writers are gone. Nothing is
    /// lost when the caller stops waiting.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            let progress = *self.progress.borrow_and_update();
            if progress.written > self.offset {
                return self.read(progress.written);
            }
            if progress.finished || self.progress.changed().await.is_err() {
                let written = self.progress.borrow().written;
                return if written > self.offset { self.read(written) } else { None };
            }
        }
    }

    /// A piece that is there already.
    pub fn ready(&mut self) -> Option<Bytes> {
        let written = self.progress.borrow_and_update().written;
        if written > self.offset { self.read(written) } else { None }
    }

    fn read(&mut self, written: u64) -> Option<Bytes> {
        let size = (written - self.offset).min(limits::OUTPUT_PIECE_BYTES);
        let mut piece = vec![0; usize::try_from(size).ok()?];
        // From the page cache: it was written a moment ago.
        let read = self.file.read_at(&mut piece, self.offset).ok().filter(|read| *read > 0)?;
        piece.truncate(read);
        self.offset += read as u64;
        Some(piece.into())
    }
}

/// `42.2M`, as Heroku writes sizes.
pub fn megabytes(bytes: u64) -> String {
    // In tenths, rounded up, so that nothing has no size.
    let tenths = (bytes * 10).div_ceil(1024 * 1024);
    format!("{}.{}M", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink() -> (tempfile::TempDir, OutputSink) {
        let dir = tempfile::tempdir().unwrap();
        let sink = OutputSink::create(&dir.path().join("output")).unwrap();
        (dir, sink)
    }

    async fn all(mut reader: OutputReader) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(piece) = reader.next().await {
            all.extend_from_slice(&piece);
        }
        all
    }

    #[tokio::test]
    async fn a_reader_that_comes_late_gets_everything() {
        let (_dir, sink) = sink();
        sink.headline("Compressing...");
        let early = crate::build::output::tests::all(sink.follow());
        sink.detail("Done: 1.0M");
        sink.finish();
        let expected = b"-----> Compressing...\n       Done: 1.0M\n";
        assert_eq!(early.await, expected);
        assert_eq!(all(sink.follow()).await, expected);
    }

    #[test]
    fn a_note_is_there_once_however_often_it_is_made() {
        let (_dir, sink) = sink();
        let mut notes = sink.notes();
        for note in ["a", "a", "b", "a"] {
            sink.note(note.to_string());
        }
        assert!(notes.has_changed().unwrap());
        assert_eq!(*notes.borrow_and_update(), ["a", "b"]);
        sink.note("b".to_string());
        assert!(!notes.has_changed().unwrap());
    }

    #[tokio::test]
    async fn a_reader_ends_when_the_writers_are_dropped() {
        let (_dir, sink) = sink();
        sink.warning("x");
        let reader = sink.follow();
        drop(sink);
        assert_eq!(all(reader).await, b" !     x\n");
    }

    #[tokio::test]
    async fn what_is_too_long_is_cut_but_our_last_words_are_kept() {
        let (_dir, sink) = sink();
        let megabyte = vec![b'x'; 1024 * 1024];
        for _ in 0..70 {
            sink.bytes(&megabyte);
        }
        sink.warning("Push failed");
        sink.finish();
        let all = all(sink.follow()).await;
        assert!(all.len() as u64 <= limits::BUILD_OUTPUT_BYTES + 200);
        let end = String::from_utf8_lossy(&all[all.len() - 120..]).into_owned();
        assert!(end.contains("the rest is cut\n !     Push failed\n"), "{end}");
    }

    /// A third of a release command's 100 MB was cut, as a build's would be.
    #[tokio::test]
    async fn of_a_release_command_a_hundred_megabytes_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("output");
        let (block, blocks) = (vec![b'x'; 1_000_000], 50);
        for anew in [true, false] {
            let sink = OutputSink::of_release(&path, anew).unwrap();
            (0..blocks).for_each(|_| sink.bytes(&block));
            sink.finish();
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 100_000_000);
    }
}
