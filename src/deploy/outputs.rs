//! Outputs of builds and release phases: followed while they run, read from their files later.
//! Their ids are unguessable, which is all that protects them: Heroku's clients fetch output
//! streams without a token.

use crate::build::{OutputReader, OutputSink};
use crate::error::{Context, Result};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

#[derive(Clone)]
pub struct Outputs {
    dir: PathBuf,
    running: Arc<Mutex<BTreeMap<Uuid, OutputSink>>>,
}

/// What there is to read of an output.
pub enum Stream {
    Running(OutputReader),
    Ended(PathBuf),
}

impl Outputs {
    pub fn open(dir: &Path) -> Result<Self> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .context(format!("{} cannot be made", dir.display()))?;
        Ok(Self { dir: dir.to_path_buf(), running: Arc::default() })
    }

    pub fn create(&self, id: Uuid) -> Result<OutputSink> {
        let sink = OutputSink::create(&self.path(id))?;
        self.lock().insert(id, sink.clone());
        Ok(sink)
    }

    /// Goes on with an output whose server died.
    pub fn resume(&self, id: Uuid) -> Result<OutputSink> {
        let sink = OutputSink::resume(&self.path(id))?;
        self.lock().insert(id, sink.clone());
        Ok(sink)
    }

    /// Of a release's command; not `anew` goes on with one whose server died.
    pub fn of_release(&self, id: Uuid, anew: bool) -> Result<OutputSink> {
        let sink = OutputSink::of_release(&self.path(id), anew)?;
        self.lock().insert(id, sink.clone());
        Ok(sink)
    }

    pub fn finish(&self, id: Uuid) {
        if let Some(sink) = self.lock().remove(&id) {
            sink.finish();
        }
    }

    /// Adds a line to an output whose server died before it could.
    pub fn append(&self, id: Uuid, line: &str) {
        let file = std::fs::File::options().append(true).open(self.path(id));
        if let Err(error) = file.and_then(|mut file| writeln!(file, "\n{line}")) {
            tracing::warn!(%error, output = %id, "an output could not be ended");
        }
    }

    pub fn running(&self, id: Uuid) -> Option<OutputSink> {
        self.lock().get(&id).cloned()
    }

    pub fn get(&self, id: Uuid) -> Option<Stream> {
        if let Some(sink) = self.lock().get(&id) {
            return Some(Stream::Running(sink.follow()));
        }
        let path = self.path(id);
        path.exists().then_some(Stream::Ended(path))
    }

    /// Removes an output's file; one that is gone is fine.
    pub fn remove(&self, id: Uuid) {
        let path = self.path(id);
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %path.display(), "an output could not be removed");
        }
    }

    /// The ids of all files, and the bytes that each has. Blocking.
    pub fn files(&self) -> BTreeMap<Uuid, u64> {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return BTreeMap::new() };
        let file = |entry: std::fs::DirEntry| {
            let id = entry.file_name().to_string_lossy().strip_suffix(".log")?.parse().ok()?;
            Some((id, entry.metadata().ok()?.len()))
        };
        entries.flatten().filter_map(file).collect()
    }

    fn path(&self, id: Uuid) -> PathBuf {
        self.dir.join(format!("{id}.log"))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, OutputSink>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
