//! The build directory as up to three layers: the runtime, the dependencies, the rest, in the
//! order in which they seldom change. The same files give the same bytes, and a layer whose files
//! are the same inodes as last time is known without reading them.

use super::output::OutputSink;
use super::{BuildFailure, volume::USER};
use crate::error::{Context, Error, Result};
use crate::limits;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Bytes in which a tar counts.
pub(super) const TAR_BLOCK: u64 = 512;

/// What a layer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `.heroku`: language runtimes.
    Runtime,
    /// Installed dependencies.
    Dependencies,
    Rest,
}

impl Part {
    pub const ALL: [Part; 3] = [Part::Runtime, Part::Dependencies, Part::Rest];

    /// Where a path belongs. `node_modules` may be anywhere: workspaces have several.
    fn of(path: &Path) -> Self {
        let mut parts = path.iter();
        let first = parts.next().unwrap_or_default();
        if first == ".heroku" {
            return Part::Runtime;
        }
        let dependencies = first == "vendor"
            || first == "node_modules"
            || parts.any(|part| part == "node_modules");
        if dependencies { Part::Dependencies } else { Part::Rest }
    }
}

/// One layer's files, not yet read.
pub struct Layer {
    pub part: Part,
    pub(super) entries: Vec<Entry>,
    /// Changes with anything that could change the layer's bytes.
    pub fingerprint: String,
}

pub(super) struct Entry {
    pub path: PathBuf,
    pub meta: Metadata,
}

/// All of the build directory.
pub struct Scan {
    /// Without empty ones; `Rest` is always there.
    pub layers: Vec<Layer>,
    /// Bytes of all files.
    pub bytes: u64,
}

/// A layer as a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Packed {
    /// `sha256:…` of the tar.
    pub diff_id: String,
    pub bytes: u64,
}

/// Looks at every entry once. Blocking.
pub fn scan(root: &Path, out: &OutputSink) -> Result<Scan, BuildFailure> {
    let mut entries: [Vec<Entry>; 3] = Default::default();
    let (mut bytes, mut count) = (0, 0);
    let mut list = |directory: &Path| -> Result<_, BuildFailure> {
        let left = limits::SLUG_ENTRIES - count;
        let names = names(&root.join(directory), left + 1).context("list the build directory")?;
        if names.len() > left {
            return Err(BuildFailure::Source(format!(
                "The slug would have more than {} files and directories.",
                limits::SLUG_ENTRIES
            )));
        }
        count += names.len();
        Ok((directory.to_path_buf(), names.into_iter()))
    };
    // In the order of their paths, a directory before what is in it.
    let mut open = vec![list(Path::new(""))?];
    while let Some((directory, names)) = open.last_mut() {
        let Some((name, meta)) = names.next() else {
            open.pop();
            continue;
        };
        let (path, kind) = (directory.join(&name), meta.file_type());
        if let Some(reason) = skipped(&name, kind) {
            out.warning(&format!("{} is not in the slug: {reason}", path.display()));
            continue;
        }
        if kind.is_file() {
            bytes += meta.len();
        }
        if bytes > limits::SLUG_BYTES {
            return Err(BuildFailure::SlugTooLarge { bytes });
        }
        if kind.is_dir() {
            open.push(list(&path)?);
        }
        entries[Part::of(&path) as usize].push(Entry { path, meta });
    }
    let mut layers = Vec::new();
    for (part, entries) in Part::ALL.into_iter().zip(entries) {
        if entries.is_empty() && part != Part::Rest {
            continue;
        }
        let fingerprint = fingerprint(&entries);
        layers.push(Layer { part, entries, fingerprint });
    }
    Ok(Scan { layers, bytes })
}

/// What is in a directory, so much of it at most, by name. Each is looked at from its directory, and not by a path that
/// the kernel would have to go along for every file.
fn names(directory: &Path, most: usize) -> io::Result<Vec<(OsString, Metadata)>> {
    let look = |entry: io::Result<fs::DirEntry>| {
        let entry = entry?;
        Ok((entry.file_name(), entry.metadata()?))
    };
    let mut names =
        fs::read_dir(directory)?.take(most).map(look).collect::<io::Result<Vec<_>>>()?;
    names.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(names)
}

/// What no layer can hold. Names with `.wh.` mean "deleted" in every layer format.
fn skipped(name: &OsStr, kind: fs::FileType) -> Option<&'static str> {
    if name.as_bytes().starts_with(b".wh.") {
        return Some("names that begin with .wh. mean deleted files in an image");
    }
    let special = kind.is_socket() || kind.is_fifo() || kind.is_block_device();
    (special || kind.is_char_device()).then_some("it is neither a file, a directory nor a link")
}

fn fingerprint(entries: &[Entry]) -> String {
    let mut hash = Sha256::new();
    for Entry { path, meta } in entries {
        hash.update(path.as_os_str().as_bytes());
        hash.update(b"\0");
        let mut number = |value: i64| hash.update(value.to_le_bytes());
        number(i64::from(meta.mode()));
        // A directory's numbers change when it is moved or kept, which changes nothing in it.
        if !meta.is_dir() {
            number(meta.mtime());
            number(meta.mtime_nsec());
            number(meta.ino().cast_signed());
            number(meta.len().cast_signed());
            number(meta.ctime());
            number(meta.ctime_nsec());
        }
    }
    hex(&hash.finalize())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Entry {
    pub fn mode(&self) -> u32 {
        self.meta.mode() & 0o1777
    }

    /// About how many bytes of a tar it takes.
    pub fn tar_bytes(&self) -> u64 {
        let content = if self.meta.is_file() { self.meta.len() } else { 0 };
        TAR_BLOCK + content.next_multiple_of(TAR_BLOCK)
    }
}

impl Layer {
    /// Writes the layer as a tar to `file`. Blocking.
    pub fn pack(&self, root: &Path, file: &Path) -> Result<Packed> {
        let mut pieces = Pieces::create(file)?;
        for entry in &self.entries {
            pieces.add(root, entry)?;
        }
        pieces.finish()
    }

    /// About how many bytes that tar will have.
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(Entry::tar_bytes).sum()
    }
}

/// A layer that is being written. Blocking.
pub(super) struct Pieces {
    tar: tar::Builder<Hashing<BufWriter<File>>>,
    /// The first name of each file that has several.
    links: HashMap<u64, PathBuf>,
}

impl Pieces {
    pub fn create(file: &Path) -> Result<Self> {
        let target = File::create(file).context("make a layer's file")?;
        let inner = BufWriter::with_capacity(1 << 18, target);
        let mut tar = tar::Builder::new(Hashing { inner, hash: Sha256::new(), bytes: 0 });
        tar.mode(tar::HeaderMode::Complete);
        let mut header = header(tar::EntryType::Directory, 0o755, 0, 0);
        tar.append_data(&mut header, "app", io::empty()).context("write a layer")?;
        Ok(Self { tar, links: HashMap::new() })
    }

    pub fn add(&mut self, root: &Path, entry: &Entry) -> Result<()> {
        let what = || format!("write {} into a layer", entry.path.display());
        self.append(root, entry).map_err(|error| Error::internal(what(), error))
    }

    /// A file of no bytes.
    pub fn empty(&mut self, path: &Path) -> Result<()> {
        let mut header = header(tar::EntryType::Regular, 0o644, 0, 0);
        let name = Path::new("app").join(path);
        self.tar.append_data(&mut header, name, io::empty()).context("write a layer")
    }

    pub fn finish(self) -> Result<Packed> {
        let mut hashing = self.tar.into_inner().context("write a layer")?;
        hashing.flush().context("write a layer")?;
        let diff_id = format!("sha256:{}", hex(&hashing.hash.finalize()));
        Ok(Packed { diff_id, bytes: hashing.bytes })
    }

    fn append(&mut self, root: &Path, entry: &Entry) -> io::Result<()> {
        let (Entry { path, meta }, tar) = (entry, &mut self.tar);
        let name = Path::new("app").join(path);
        let (mode, mtime) = (entry.mode(), meta.mtime());
        let kind = meta.file_type();
        if kind.is_dir() {
            // Without its time, which says when it was last put together and not what is in it.
            let mut header = header(tar::EntryType::Directory, mode, 0, 0);
            return tar.append_data(&mut header, &name, io::empty());
        }
        if kind.is_symlink() {
            let mut header = header(tar::EntryType::Symlink, 0o777, mtime, 0);
            let target = fs::read_link(root.join(path))?;
            return tar.append_link(&mut header, &name, target);
        }
        if meta.nlink() > 1 {
            if let Some(first) = self.links.get(&meta.ino()) {
                let mut header = header(tar::EntryType::Link, mode, mtime, 0);
                return tar.append_link(&mut header, &name, first);
            }
            self.links.insert(meta.ino(), name.clone());
        }
        let mut header = header(tar::EntryType::Regular, mode, mtime, meta.len());
        let file = File::open(root.join(path))?;
        let content = Exactly { inner: BufReader::new(file), left: meta.len() };
        tar.append_data(&mut header, &name, content)
    }
}

fn header(kind: tar::EntryType, mode: u32, mtime: i64, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(u64::from(USER));
    header.set_gid(u64::from(USER));
    header.set_mtime(u64::try_from(mtime).unwrap_or(0));
    header.set_size(size);
    header
}

/// A file's promised size, no more and no less: a wrong one would spoil all that follows.
struct Exactly<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 {
            return Ok(0);
        }
        let read = self.inner.read(&mut buffer[..room])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

struct Hashing<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hash.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::os::unix::fs::{PermissionsExt, symlink};

    struct App {
        dir: tempfile::TempDir,
        out: OutputSink,
    }

    impl App {
        fn new(files: &[&str]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let out = OutputSink::create(&dir.path().join("output")).unwrap();
            let app = Self { dir, out };
            for file in files {
                app.write(file, file);
            }
            app
        }

        fn root(&self) -> PathBuf {
            self.dir.path().join("build")
        }

        fn write(&self, path: &str, content: &str) {
            let path = self.root().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }

        fn scan(&self) -> Scan {
            scan(&self.root(), &self.out).unwrap()
        }

        fn pack(&self, layer: &Layer) -> Packed {
            layer.pack(&self.root(), &self.dir.path().join("tar")).unwrap()
        }

        /// What is in a layer: path and kind of each entry, in order.
        fn entries(&self, layer: &Layer) -> Vec<(String, tar::EntryType)> {
            self.pack(layer);
            let mut archive = tar::Archive::new(File::open(self.dir.path().join("tar")).unwrap());
            let entries = archive.entries().unwrap().map(|entry| {
                let entry = entry.unwrap();
                assert_eq!(entry.header().uid().unwrap(), 1000);
                (entry.path().unwrap().display().to_string(), entry.header().entry_type())
            });
            entries.collect()
        }
    }

    #[test]
    fn three_layers_hold_what_changes_together() {
        let app = App::new(&[
            ".heroku/node/bin/node",
            "node_modules/a/b.js",
            "packages/x/node_modules/c/d.js",
            "packages/x/index.js",
            "index.js",
        ]);
        let layers = app.scan().layers;
        let parts: Vec<_> = layers.iter().map(|layer| layer.part).collect();
        assert_eq!(parts, Part::ALL);
        let paths = |layer: &Layer| {
            let entries = app.entries(layer).into_iter();
            let files = entries.filter(|(_, kind)| kind.is_file());
            files.map(|(path, _)| path).collect::<Vec<_>>()
        };
        assert_eq!(paths(&layers[0]), ["app/.heroku/node/bin/node"]);
        assert_eq!(
            paths(&layers[1]),
            ["app/node_modules/a/b.js", "app/packages/x/node_modules/c/d.js"]
        );
        assert_eq!(paths(&layers[2]), ["app/index.js", "app/packages/x/index.js"]);
        let empty = App::new(&["x"]);
        fs::remove_file(empty.root().join("x")).unwrap();
        assert_eq!(empty.entries(&empty.scan().layers[0])[0].0, "app");
    }

    #[test]
    fn the_same_files_give_the_same_bytes_in_another_directory() {
        let ids: Vec<String> = (0..2)
            .map(|round| {
                // Made in another order, with other inodes.
                let mut names = ["z/1", "a/2", "m"];
                names.rotate_left(round);
                let app = App::new(&names);
                for name in names {
                    let file = File::options().write(true).open(app.root().join(name)).unwrap();
                    file.set_modified(std::time::UNIX_EPOCH).unwrap();
                }
                app.pack(&app.scan().layers[0]).diff_id
            })
            .collect();
        assert_eq!(ids[0], ids[1]);
    }

    #[test]
    fn a_moved_tree_keeps_its_fingerprint_and_a_changed_file_does_not() {
        let app = App::new(&["node_modules/a/b.js", "index.js"]);
        let before = app.scan().layers.remove(0).fingerprint;
        let (from, to) = (app.root().join("node_modules"), app.dir.path().join("kept"));
        fs::rename(&from, &to).unwrap();
        fs::rename(&to, &from).unwrap();
        assert_eq!(app.scan().layers.remove(0).fingerprint, before);
        app.write("node_modules/a/b.js", "other");
        assert_ne!(app.scan().layers.remove(0).fingerprint, before);
    }

    #[test]
    fn links_modes_and_long_names_are_kept() {
        let long = format!("{}/{}/f", "d".repeat(150), "e".repeat(150));
        let app = App::new(&["first", &long]);
        fs::hard_link(app.root().join("first"), app.root().join("second")).unwrap();
        symlink("/etc/passwd", app.root().join("link")).unwrap();
        let mode = fs::Permissions::from_mode(0o4755);
        fs::set_permissions(app.root().join("first"), mode).unwrap();
        let layer = app.scan().layers.remove(0);
        let entries: BTreeMap<_, _> = app.entries(&layer).into_iter().collect();
        assert_eq!(entries["app/first"], tar::EntryType::Regular);
        assert_eq!(entries["app/second"], tar::EntryType::Link);
        assert_eq!(entries["app/link"], tar::EntryType::Symlink);
        assert_eq!(entries[&format!("app/{long}")], tar::EntryType::Regular);
        let mut archive = tar::Archive::new(File::open(app.dir.path().join("tar")).unwrap());
        for entry in archive.entries().unwrap() {
            assert_eq!(entry.unwrap().header().mode().unwrap() & 0o4000, 0);
        }
    }

    #[test]
    fn what_no_image_can_hold_is_left_out_with_a_word() {
        let app = App::new(&["index.js", ".wh.index.js", "a/.wh..wh..opq"]);
        let _socket = std::os::unix::net::UnixListener::bind(app.root().join("socket")).unwrap();
        let entries = app.entries(&app.scan().layers[0]);
        let paths: Vec<_> = entries.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["app", "app/a", "app/index.js"]);
        let said = fs::read_to_string(app.dir.path().join("output")).unwrap();
        assert!(said.contains(" !     socket is not in the slug"), "{said}");
        assert!(said.contains(".wh.index.js"), "{said}");
    }

    #[test]
    fn a_slug_that_is_too_large_is_refused_before_it_is_read() {
        let app = App::new(&["small"]);
        let sparse = File::create(app.root().join("large")).unwrap();
        sparse.set_len(limits::SLUG_BYTES + 1).unwrap();
        let refused = scan(&app.root(), &app.out);
        assert!(matches!(refused, Err(BuildFailure::SlugTooLarge { .. })));
    }
}
