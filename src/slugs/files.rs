//! Layers of slugs as files below the data directory, each once, under the name of its content.
//! A slug outlives with them whatever happens to Docker's images.

use crate::error::{Context, Result};
use crate::tasks;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// Where layers are while they are written: what is in it at a start was cut short.
const INCOMING: &str = "incoming";

/// A handle; clones share what is held.
#[derive(Debug, Clone)]
pub struct LayerFiles(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    held: Mutex<HeldLayers>,
}

#[derive(Debug, Default)]
struct HeldLayers {
    /// Layers of slugs that are not stored yet, and how many want each.
    now: BTreeMap<String, usize>,
    /// All that was held at any time since the sweep under way began.
    since_sweep: BTreeSet<String>,
}

/// Layers that no sweep takes while this lives: their slug's row is about to be stored.
#[derive(Debug)]
pub struct Held {
    files: LayerFiles,
    layers: Vec<String>,
}

impl LayerFiles {
    /// Opens the directory, without what an earlier server did not finish. Blocking.
    pub fn open(dir: PathBuf) -> Result<Self> {
        let incoming = dir.join(INCOMING);
        let what = || format!("{} cannot be used", dir.display());
        match fs::remove_dir_all(&incoming) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context(what())?,
            _ => fs::create_dir_all(&incoming).context(what())?,
        }
        Ok(Self(Arc::new(Inner { dir, held: Mutex::default() })))
    }

    pub fn hold(&self) -> Held {
        Held { files: self.clone(), layers: Vec::new() }
    }

    /// Where a layer's file is, or would be.
    pub fn path(&self, diff_id: &str) -> PathBuf {
        self.0.dir.join(diff_id.replace(':', "-"))
    }

    /// Bytes of a layer's file; none if it is not there.
    pub fn bytes(&self, diff_id: &str) -> Option<u64> {
        fs::metadata(self.path(diff_id)).ok().map(|meta| meta.len())
    }

    /// Returns when these layers are on the disk itself.
    pub async fn sync(&self, layers: Vec<String>) -> Result<()> {
        let files = self.clone();
        tasks::blocking("write layers to the disk", move || {
            for layer in &layers {
                let file = File::open(files.path(layer)).context("open a slug's layer")?;
                file.sync_all().context("write a slug's layer to the disk")?;
            }
            let dir = File::open(&files.0.dir).context("open the slugs' directory")?;
            dir.sync_all().context("write the slugs' directory to the disk")
        })
        .await
    }

    /// Begins to look for what nobody needs. The caller reads after this which layers are wanted,
    /// and gives them to [`LayerFiles::sweep`].
    pub fn begin_sweep(&self) {
        let mut held = self.held();
        held.since_sweep = held.now.keys().cloned().collect();
    }

    /// Removes every file that is neither wanted nor was held since the sweep began, and returns
    /// how many. Blocking.
    pub fn sweep(&self, wanted: &BTreeSet<String>) -> Result<usize> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.0.dir).context("list the slugs' layers")? {
            let entry = entry.context("list the slugs' layers")?;
            let name = entry.file_name().to_string_lossy().replacen('-', ":", 1);
            if name == INCOMING || wanted.contains(&name) {
                continue;
            }
            // Held until it is gone: who wants it afterwards finds no file and writes it anew.
            let held = self.held();
            if !held.since_sweep.contains(&name) {
                fs::remove_file(entry.path()).context("remove a slug's layer")?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn held(&self) -> MutexGuard<'_, HeldLayers> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Holds a layer that is there; false if it isn't.
    pub fn take(&mut self, diff_id: &str) -> bool {
        let mut held = self.files.held();
        if self.files.bytes(diff_id).is_none() {
            return false;
        }
        note(&mut held, diff_id);
        self.layers.push(diff_id.to_string());
        true
    }

    /// Holds a layer that `write` makes as a file at the path it is given, and names. Blocking.
    pub fn add<T>(
        &mut self,
        write: impl FnOnce(&Path) -> Result<T>,
        name: impl FnOnce(&T) -> &str,
    ) -> Result<T> {
        let fresh = self.files.0.dir.join(INCOMING).join(Uuid::new_v4().to_string());
        let written = write(&fresh).and_then(|made| {
            let diff_id = name(&made).to_string();
            let mut held = self.files.held();
            fs::rename(&fresh, self.files.path(&diff_id)).context("keep a slug's layer")?;
            note(&mut held, &diff_id);
            drop(held);
            self.layers.push(diff_id);
            Ok(made)
        });
        if written.is_err() {
            // A layer that is cut short takes room and is of no use.
            let _ = fs::remove_file(&fresh);
        }
        written
    }
}

fn note(held: &mut HeldLayers, diff_id: &str) {
    *held.now.entry(diff_id.to_string()).or_default() += 1;
    held.since_sweep.insert(diff_id.to_string());
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.files.held();
        for layer in &self.layers {
            if let Some(count) = held.now.get_mut(layer) {
                *count -= 1;
                if *count == 0 {
                    held.now.remove(layer);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn write<'a>(held: &mut Held, name: &'a str) -> &'a str {
        let content = |path: &Path| {
            fs::write(path, name).unwrap();
            Ok(name)
        };
        held.add(content, |name| name).unwrap()
    }

    fn names(files: &LayerFiles) -> Vec<String> {
        let entries = fs::read_dir(&files.0.dir).unwrap().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name != INCOMING)
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_sweep_takes_what_is_neither_wanted_nor_held() {
        let dir = tempfile::tempdir().unwrap();
        let files = LayerFiles::open(dir.path().join("slugs")).unwrap();
        let mut first = files.hold();
        write(&mut first, "sha256:a");
        write(&mut first, "sha256:b");
        let mut second = files.hold();
        assert!(second.take("sha256:b"));
        assert!(!second.take("sha256:c"));
        drop(first);
        files.begin_sweep();
        assert_eq!(files.sweep(&BTreeSet::new()).unwrap(), 1);
        assert_eq!(names(&files), ["sha256-b"]);
        drop(second);
        files.begin_sweep();
        assert_eq!(files.sweep(&BTreeSet::from(["sha256:b".to_string()])).unwrap(), 0);
        files.begin_sweep();
        assert_eq!(files.sweep(&BTreeSet::new()).unwrap(), 1);
        assert!(names(&files).is_empty());
    }

    /// A slug whose row was stored while the rows were being read: the reader did not see it, and
    /// nobody holds its layers any more.
    #[test]
    fn what_was_held_since_the_sweep_began_stays() {
        let dir = tempfile::tempdir().unwrap();
        let files = LayerFiles::open(dir.path().join("slugs")).unwrap();
        write(&mut files.hold(), "sha256:old");
        files.begin_sweep();
        let mut held = files.hold();
        assert!(held.take("sha256:old"));
        write(&mut held, "sha256:new");
        drop(held);
        assert_eq!(files.sweep(&BTreeSet::new()).unwrap(), 0);
    }

    #[test]
    fn what_was_cut_short_is_gone_after_an_error_and_after_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let files = LayerFiles::open(dir.path().join("slugs")).unwrap();
        let failed = files.hold().add(
            |path| {
                fs::write(path, "half").unwrap();
                Err::<String, _>(Error::unavailable("the disk is full"))
            },
            |name| name,
        );
        assert!(failed.is_err());
        let incoming = files.0.dir.join(INCOMING);
        assert_eq!(fs::read_dir(&incoming).unwrap().count(), 0);
        fs::write(incoming.join("left"), "half").unwrap();
        write(&mut files.hold(), "sha256:whole");
        let again = LayerFiles::open(dir.path().join("slugs")).unwrap();
        assert_eq!(fs::read_dir(&incoming).unwrap().count(), 0);
        assert_eq!(again.bytes("sha256:whole"), Some(12));
    }
}
