//! What changed since the last build, as a layer over that build's layers: a release of a small
//! change stores the files that changed, and an engine is sent no more than those.

use super::layers::{Entry, Layer, Packed, Pieces, TAR_BLOCK};
use crate::error::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use tar::EntryType;

/// The prefix of a file that stands for a deleted one, in every layer format.
pub const WHITEOUT: &[u8] = b".wh.";

/// What a pile of layers holds, seen from above: paths below `/app`.
pub struct Lower {
    tars: Vec<File>,
    entries: BTreeMap<PathBuf, Below>,
}

#[derive(Debug, Clone)]
struct Below {
    kind: EntryType,
    mode: u32,
    size: u64,
    target: Option<PathBuf>,
    /// Which tar has the content, and where in it.
    tar: usize,
    offset: u64,
}

/// A layer's difference to what is below it.
pub struct Delta<'a> {
    /// New and changed ones and the directories that they are in, by path.
    changed: Vec<&'a Entry>,
    /// Topmost paths that are no longer there.
    gone: Vec<PathBuf>,
}

impl Lower {
    /// Reads what layers hold, from the bottom; only the heads of their files. Blocking.
    pub fn read(paths: &[PathBuf]) -> Result<Self> {
        let mut lower = Self { tars: Vec::new(), entries: BTreeMap::new() };
        for path in paths {
            lower.add(path).context("read a layer of the last slug")?;
        }
        Ok(lower)
    }

    fn add(&mut self, path: &Path) -> io::Result<()> {
        let tar = self.tars.len();
        let mut archive = tar::Archive::new(BufReader::new(File::open(path)?));
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            let path = entry.path()?;
            let Ok(path) = path.strip_prefix("app") else { continue };
            let name = path.file_name().map_or(&[][..], OsStrExt::as_bytes);
            if let Some(gone) = name.strip_prefix(WHITEOUT) {
                self.remove(&path.with_file_name(OsString::from_vec(gone.to_vec())));
                continue;
            }
            let header = entry.header();
            if !header.entry_type().is_dir() {
                self.remove(path);
            }
            let below = Below {
                kind: header.entry_type(),
                mode: header.mode()?,
                size: entry.size(),
                target: entry.link_name()?.map(|target| target.into_owned()),
                tar,
                offset: entry.raw_file_position(),
            };
            self.entries.insert(path.to_path_buf(), below);
        }
        self.tars.push(File::open(path)?);
        Ok(())
    }

    fn remove(&mut self, path: &Path) {
        let below = self.entries.range(path.to_path_buf()..).map(|(below, _)| below);
        let gone: Vec<PathBuf> = below.take_while(|at| at.starts_with(path)).cloned().collect();
        for path in gone {
            self.entries.remove(&path);
        }
    }

    /// Whether the file is as it was. Its time does not count: it is the commit's, or the build's.
    fn has(&self, root: &Path, entry: &Entry) -> io::Result<bool> {
        let Some(below) = self.entries.get(&entry.path) else { return Ok(false) };
        let kind = entry.meta.file_type();
        if kind.is_symlink() {
            let same = || Ok(below.target == Some(fs::read_link(root.join(&entry.path))?));
            return if below.kind.is_symlink() { same() } else { Ok(false) };
        }
        if below.mode != entry.mode() {
            return Ok(false);
        }
        if kind.is_dir() {
            return Ok(below.kind.is_dir());
        }
        if !below.kind.is_file() || below.size != entry.meta.len() {
            return Ok(false);
        }
        let old = Section { tar: &self.tars[below.tar], offset: below.offset, left: below.size };
        same_bytes(old, File::open(root.join(&entry.path))?)
    }
}

impl Layer {
    /// What differs from the layers below. None with files that have several names: each that is
    /// in another layer would be a file of its own. Blocking: reads files of an unchanged size.
    pub fn since(&self, root: &Path, lower: &Lower) -> Result<Option<Delta<'_>>> {
        let several = |entry: &Entry| entry.meta.is_file() && entry.meta.nlink() > 1;
        let linked = |below: &Below| below.kind.is_hard_link();
        if self.entries.iter().any(several) || lower.entries.values().any(linked) {
            return Ok(None);
        }
        let mut wanted: BTreeSet<&Path> = BTreeSet::new();
        for entry in &self.entries {
            if !lower.has(root, entry).context("compare a file with the last slug's")? {
                wanted.extend(entry.path.ancestors());
            }
        }
        let now: BTreeMap<&Path, &Entry> =
            self.entries.iter().map(|entry| (entry.path.as_path(), entry)).collect();
        let is_directory = |path: &Path| {
            path.as_os_str().is_empty() || now.get(path).is_some_and(|entry| entry.meta.is_dir())
        };
        let mut gone = Vec::new();
        for path in lower.entries.keys().filter(|path| !path.as_os_str().is_empty()) {
            let Some(parent) = path.parent().filter(|_| !now.contains_key(path.as_path())) else {
                continue;
            };
            // Else it went with its directory.
            if is_directory(parent) {
                wanted.extend(
                    parent.ancestors().filter_map(|path| Some(now.get(path)?.path.as_path())),
                );
                gone.push(path.clone());
            }
        }
        let changed = self.entries.iter().filter(|entry| wanted.contains(entry.path.as_path()));
        Ok(Some(Delta { changed: changed.collect(), gone }))
    }
}

impl Delta<'_> {
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.gone.is_empty()
    }

    /// About how many bytes the layer will have.
    pub fn bytes(&self) -> u64 {
        self.changed.iter().map(|entry| entry.tar_bytes()).sum::<u64>()
            + TAR_BLOCK * self.gone.len() as u64
    }

    /// Writes the layer as a tar to `file`. Blocking.
    pub fn pack(&self, root: &Path, file: &Path) -> Result<Packed> {
        let mut pieces = Pieces::create(file)?;
        for entry in &self.changed {
            pieces.add(root, entry)?;
        }
        for path in &self.gone {
            let mut name = WHITEOUT.to_vec();
            name.extend(path.file_name().map_or(&[][..], OsStrExt::as_bytes));
            pieces.empty(&path.with_file_name(OsString::from_vec(name)))?;
        }
        pieces.finish()
    }
}

/// A file in a tar.
struct Section<'a> {
    tar: &'a File,
    offset: u64,
    left: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.tar.read_at(&mut buffer[..room], self.offset)?;
        self.offset += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

fn same_bytes(mut one: impl Read, mut other: impl Read) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let read = one.read(&mut left)?;
        if read == 0 {
            return Ok(other.read(&mut right[..1])? == 0);
        }
        match other.read_exact(&mut right[..read]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            result => result?,
        }
        if left[..read] != right[..read] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::OutputSink;
    use crate::build::layers::scan;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A build directory and the tars that were made of it.
    struct App {
        dir: tempfile::TempDir,
        tars: Vec<PathBuf>,
    }

    impl App {
        /// With a first layer that holds all.
        fn new(files: &[&str]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("build")).unwrap();
            let mut app = Self { dir, tars: Vec::new() };
            for file in files {
                app.write(file, &format!("first {file}"));
            }
            let tar = app.next_tar();
            app.layer().pack(&app.root(), &tar).unwrap();
            app
        }

        fn root(&self) -> PathBuf {
            self.dir.path().join("build")
        }

        fn next_tar(&mut self) -> PathBuf {
            self.tars.push(self.dir.path().join(self.tars.len().to_string()));
            self.tars.last().unwrap().clone()
        }

        fn write(&self, path: &str, content: &str) {
            let path = self.root().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }

        fn layer(&self) -> Layer {
            let out = OutputSink::create(&self.dir.path().join("output")).unwrap();
            scan(&self.root(), &out).unwrap().layers.remove(0)
        }

        /// Adds a layer of what has changed; returns the paths in it but for the top.
        fn change(&mut self) -> Vec<String> {
            let lower = Lower::read(&self.tars).unwrap();
            let layer = self.layer();
            let delta = layer.since(&self.root(), &lower).unwrap().expect("a difference");
            let tar = self.next_tar();
            let packed = delta.pack(&self.root(), &tar).unwrap();
            let rough = delta.bytes();
            assert!(packed.bytes >= rough && packed.bytes < rough + 16_384, "{rough}");
            let mut archive = tar::Archive::new(File::open(tar).unwrap());
            let paths = archive.entries().unwrap().map(|entry| {
                let path = entry.unwrap().path().unwrap().into_owned();
                path.strip_prefix("app").unwrap().display().to_string()
            });
            let paths: Vec<_> = paths.filter(|path| !path.is_empty()).collect();
            assert!(
                self.layer()
                    .since(&self.root(), &Lower::read(&self.tars).unwrap())
                    .unwrap()
                    .unwrap()
                    .is_empty(),
                "the pile holds what is there"
            );
            paths
        }
    }

    #[test]
    fn a_changed_file_comes_with_its_directories_and_nothing_else() {
        let mut app = App::new(&["a/b/c", "a/b/d", "a/e", "f"]);
        assert!(app.change().is_empty());
        app.write("a/b/c", "other");
        assert_eq!(app.change(), ["a", "a/b", "a/b/c"]);
        // As long as it was.
        app.write("f", "First f");
        app.write("g/new", "");
        assert_eq!(app.change(), ["f", "g", "g/new"]);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(app.root().join("a/e"), mode).unwrap();
        assert_eq!(app.change(), ["a", "a/e"]);
        // And back again: it is compared with the newest.
        app.write("a/b/c", "first a/b/c");
        assert_eq!(app.change(), ["a", "a/b", "a/b/c"]);
    }

    #[test]
    fn what_is_gone_is_named_once() {
        let mut app = App::new(&["a/b/c", "a/b/d", "a/e", "f"]);
        fs::remove_dir_all(app.root().join("a/b")).unwrap();
        fs::remove_file(app.root().join("f")).unwrap();
        assert_eq!(app.change(), ["a", "a/.wh.b", ".wh.f"]);
        app.write("a/b/c", "again");
        assert_eq!(app.change(), ["a", "a/b", "a/b/c"]);
    }

    #[test]
    fn a_path_may_become_something_else() {
        let mut app = App::new(&["a/b", "f", "g"]);
        fs::remove_dir_all(app.root().join("a")).unwrap();
        app.write("a", "a file");
        fs::remove_file(app.root().join("f")).unwrap();
        app.write("f/in", "a directory");
        fs::remove_file(app.root().join("g")).unwrap();
        symlink("/etc/passwd", app.root().join("g")).unwrap();
        assert_eq!(app.change(), ["a", "f", "f/in", "g"]);
        fs::remove_file(app.root().join("g")).unwrap();
        symlink("/etc/shadow", app.root().join("g")).unwrap();
        fs::remove_file(app.root().join("a")).unwrap();
        app.write("a/c", "a directory again");
        assert_eq!(app.change(), ["a", "a/c", "g"]);
    }

    #[test]
    fn a_time_alone_is_no_change() {
        let mut app = App::new(&["f"]);
        let file = File::options().write(true).open(app.root().join("f")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert!(app.change().is_empty());
    }

    #[test]
    fn names_that_are_long_or_no_text_are_compared_too() {
        let long = format!("{}/{}/f", "d".repeat(150), "e".repeat(150));
        let mut app = App::new(&[&long, "x"]);
        let odd = app.root().join(std::ffi::OsStr::from_bytes(b"\xff\xfe"));
        fs::write(&odd, "odd").unwrap();
        assert_eq!(app.change().len(), 1);
        app.write(&long, "other");
        assert_eq!(app.change().last(), Some(&long));
        fs::remove_file(odd).unwrap();
        assert_eq!(app.change().len(), 1);
    }

    #[test]
    fn several_names_of_one_file_stay_one_file() {
        let app = App::new(&["f"]);
        fs::hard_link(app.root().join("f"), app.root().join("g")).unwrap();
        let lower = Lower::read(&app.tars).unwrap();
        assert!(app.layer().since(&app.root(), &lower).unwrap().is_none());
    }
}
