//! What is built, and how a commit's tree becomes files in the build directory. Names and links
//! come from strangers: every file is made anew by its checked name, and no symbolic link is ever
//! followed.

use super::BuildFailure;
use super::lfs::Pointers;
use super::output::OutputSink;
use super::slugignore::SlugIgnore;
use super::submodules::{self, Submodules};
use super::volume::USER;
use crate::error::{Context, Error, Result};
use crate::limits;
use git2::{ObjectType, Odb, Oid, Repository};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, FileTimes};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, fchown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

const MODE_TYPE: i32 = 0o170_000;
const MODE_TREE: i32 = 0o040_000;
const MODE_FILE: i32 = 0o100_000;
const MODE_LINK: i32 = 0o120_000;
const MODE_MODULE: i32 = 0o160_000;

/// What is built.
#[derive(Debug, Clone)]
pub enum Source {
    GitTree(GitTree),
    Tarball(Tarball),
}

/// The tree of a commit. `git_env` is what git gave its hook (`GIT_OBJECT_DIRECTORY` and the
/// like), so that objects in quarantine are found; empty for objects that are in.
#[derive(Debug, Clone)]
pub struct GitTree {
    pub git_dir: PathBuf,
    pub git_env: Vec<(OsString, OsString)>,
    pub commit: String,
}

/// A tar archive, uploaded or to be fetched.
#[derive(Debug, Clone)]
pub struct Tarball {
    pub archive: Archive,
    /// Of the archive as it comes, in hexadecimal digits.
    pub sha256: Option<String>,
    /// What the user calls it, such as a commit's id.
    pub version: Option<String>,
}

#[derive(Clone)]
pub enum Archive {
    File(PathBuf),
    /// By HTTP; it may hold a secret.
    Url(String),
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Url(_) => f.write_str("Url"),
        }
    }
}

impl Source {
    /// The commit, or what the user calls it.
    pub fn version(&self) -> Option<&str> {
        match self {
            Self::GitTree(tree) => Some(&tree.commit),
            Self::Tarball(tarball) => tarball.version.as_deref(),
        }
    }
}

/// Writes the tree into `root`, which is there and empty, and finds its submodules. Blocking.
pub fn unpack(source: &GitTree, root: &Path, out: &OutputSink) -> Result<Submodules, BuildFailure> {
    let GitTree { git_dir, git_env, commit } = source;
    let repository = open(git_dir, git_env)?;
    let found = Oid::from_str(commit).and_then(|id| repository.find_commit(id));
    let commit = found.context("read the commit")?;
    let tree = commit.tree().context("read the commit's tree")?;
    let ignore = match tree.get_name(".slugignore").filter(|entry| is_file(entry.filemode())) {
        Some(entry) => {
            let blob = small_blob(&repository, entry.id(), limits::SLUGIGNORE_BYTES)?;
            SlugIgnore::parse(&blob)
        }
        None => SlugIgnore::default(),
    };
    // The commit's time, as in an archive made by git: the same commit gives the same slug.
    let seconds = u64::try_from(commit.time().seconds()).unwrap_or(0);
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(limits::TIME_MAX_SECONDS));
    let mut unpacking = Unpacking {
        odb: repository.odb().context("open the objects")?,
        repository: &repository,
        git_env,
        ignore,
        time,
        bytes: 0,
        entries: 0,
        submodules: Submodules::new(time),
        pointers: Pointers::default(),
    };
    let result = unpacking.directory(tree.id(), root, &mut Vec::new(), 0);
    set_time(root, time).context("date the source")?;
    result?;
    let Unpacking { mut submodules, pointers, .. } = unpacking;
    pointers.tell(out);
    let list = tree.get_name(submodules::LIST).is_some_and(|entry| is_file(entry.filemode()));
    if !list {
        submodules.give_up(out);
    }
    Ok(submodules)
}

/// The repository with the objects that git still holds in quarantine.
fn open(git_dir: &Path, git_env: &[(OsString, OsString)]) -> Result<Repository> {
    let repository = Repository::open_bare(git_dir).context("open the repository")?;
    let odb = repository.odb().context("open the objects")?;
    for (key, value) in git_env {
        if key == "GIT_OBJECT_DIRECTORY" {
            let path = git_dir.join(value);
            let path = path.to_str().ok_or_else(|| {
                Error::internal("open the pushed objects", "their path is not UTF-8")
            })?;
            odb.add_disk_alternate(path).context("open the pushed objects")?;
        }
    }
    drop(odb);
    Ok(repository)
}

struct Unpacking<'a> {
    repository: &'a Repository,
    git_env: &'a [(OsString, OsString)],
    odb: Odb<'a>,
    ignore: SlugIgnore,
    time: SystemTime,
    bytes: u64,
    entries: u64,
    submodules: Submodules,
    pointers: Pointers,
}

impl Unpacking<'_> {
    fn directory(
        &mut self,
        tree: Oid,
        at: &Path,
        path: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), BuildFailure> {
        if depth > limits::SOURCE_DEPTH {
            return Err(refused(format!(
                "The source has directories more than {} deep.",
                limits::SOURCE_DEPTH
            )));
        }
        let tree = self.repository.find_tree(tree).context("read a tree")?;
        for entry in &tree {
            let name = entry.name_bytes();
            check_name(name)?;
            let parent = path.len();
            if parent > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            let mode = entry.filemode();
            let is_directory = [MODE_TREE, MODE_MODULE].contains(&(mode & MODE_TYPE));
            // Without their list no submodule could be installed.
            if path == submodules::LIST.as_bytes() || !self.ignore.matches(path, is_directory) {
                self.entries += 1;
                if self.entries > limits::SOURCE_ENTRIES {
                    return Err(refused(format!(
                        "The source has more than {} files and directories.",
                        limits::SOURCE_ENTRIES
                    )));
                }
                self.entry(entry.id(), mode, &at.join(OsStr::from_bytes(name)), path, depth)?;
            }
            path.truncate(parent);
        }
        Ok(())
    }

    fn entry(
        &mut self,
        id: Oid,
        mode: i32,
        at: &Path,
        path: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), BuildFailure> {
        match mode & MODE_TYPE {
            MODE_TREE => {
                make_directory(at).map_err(|error| failed(path, error))?;
                self.directory(id, at, path, depth + 1)?;
                set_time(at, self.time).map_err(|error| failed(path, error))
            }
            MODE_FILE => self.file(id, mode, at, path),
            MODE_LINK => {
                let target = small_blob(self.repository, id, limits::LINK_BYTES)?;
                symlink(OsStr::from_bytes(&target), at)
                    .and_then(|()| lchown(at, Some(USER), Some(USER)))
                    .and_then(|()| set_link_time(at, self.time))
                    .map_err(|error| failed(path, error))
            }
            MODE_MODULE => {
                // As git checks it out: empty until it is installed.
                let made = make_directory(at).and_then(|()| set_time(at, self.time));
                made.map_err(|error| failed(path, error))?;
                self.submodules.add(&id.to_string(), path).map_err(refused)
            }
            _ => Err(refused(format!(
                "{} is neither a file, a directory nor a link.",
                String::from_utf8_lossy(path)
            ))),
        }
    }

    fn file(&mut self, id: Oid, mode: i32, at: &Path, path: &[u8]) -> Result<(), BuildFailure> {
        let (size, kind) = self.odb.read_header(id).context("read a file's size")?;
        if kind != ObjectType::Blob {
            return Err(refused(format!("{} is no file.", String::from_utf8_lossy(path))));
        }
        self.bytes += size as u64;
        if self.bytes > limits::SOURCE_BYTES {
            return Err(refused(format!(
                "The source is larger than {} MB.",
                limits::SOURCE_BYTES / (1024 * 1024)
            )));
        }
        let mode = if mode & 0o111 == 0 { 0o644 } else { 0o755 };
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(at)
            .map_err(|error| failed(path, error))?;
        if size as u64 > limits::SOURCE_BLOB_IN_MEMORY {
            self.stream(id, &file)?;
        } else {
            let blob = self.odb.read(id).context("read a file")?;
            self.pointers.look(path, blob.data());
            file.write_all(blob.data()).map_err(|error| failed(path, error))?;
        }
        fchown(&file, Some(USER), Some(USER))
            .and_then(|()| file.set_times(FileTimes::new().set_modified(self.time)))
            .map_err(|error| failed(path, error))
    }

    /// A large file goes from git to the disk without passing through this process.
    fn stream(&self, id: Oid, file: &File) -> Result<()> {
        let to = file.try_clone().context("write a large file")?;
        let status = Command::new("git")
            .arg("--git-dir")
            .arg(self.repository.path())
            .args(["cat-file", "blob", &id.to_string()])
            .envs(self.git_env.iter().map(|(key, value)| (key, value)))
            .current_dir(self.repository.path())
            .stdin(Stdio::null())
            .stdout(to)
            .stderr(Stdio::null())
            .status()
            .context("run git cat-file")?;
        if status.success() {
            return Ok(());
        }
        Err(Error::internal("read a large file", format!("git cat-file {id}: {status}")))
    }
}

fn small_blob(repository: &Repository, id: Oid, limit: usize) -> Result<Vec<u8>, BuildFailure> {
    let odb = repository.odb().context("open the objects")?;
    let (size, _) = odb.read_header(id).context("read a file's size")?;
    if size > limit {
        return Err(refused(format!(
            "The source has a symbolic link or .slugignore of {size} bytes; the limit is {limit}."
        )));
    }
    let blob = repository.find_blob(id).context("read a small file")?;
    Ok(blob.content().to_vec())
}

fn make_directory(at: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o755).create(at)?;
    lchown(at, Some(USER), Some(USER))
}

fn is_file(mode: i32) -> bool {
    mode & MODE_TYPE == MODE_FILE
}

/// Git itself refuses such names when it checks out, but not when it receives.
fn check_name(name: &[u8]) -> Result<(), BuildFailure> {
    let odd = name.is_empty()
        || name == b"."
        || name == b".."
        || name.eq_ignore_ascii_case(b".git")
        || name.contains(&b'/')
        || name.contains(&0)
        || name.len() > 255;
    if odd {
        let shown = name.escape_ascii().to_string();
        return Err(refused(format!("The source has an entry with the name \"{shown}\".")));
    }
    Ok(())
}

fn refused(reason: String) -> BuildFailure {
    BuildFailure::Source(reason)
}

fn failed(path: &[u8], error: io::Error) -> BuildFailure {
    let shown = String::from_utf8_lossy(path);
    match error.kind() {
        // Whoever sees the volume full knows its size.
        io::ErrorKind::StorageFull => Error::internal("the build's disk is full", error).into(),
        io::ErrorKind::AlreadyExists => {
            refused(format!("The source has two entries with the name {shown}."))
        }
        io::ErrorKind::InvalidFilename => refused(format!("The name {shown} is too long.")),
        io::ErrorKind::NotFound | io::ErrorKind::InvalidInput => {
            refused(format!("{shown} is a link that leads nowhere."))
        }
        _ => BuildFailure::Platform(Error::internal(format!("write {shown}"), error)),
    }
}

/// Dates a directory that has just been filled.
pub fn set_time(path: &Path, time: SystemTime) -> io::Result<()> {
    File::open(path)?.set_times(FileTimes::new().set_modified(time))
}

fn set_link_time(path: &Path, time: SystemTime) -> io::Result<()> {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let time = Timespec { tv_sec: seconds.cast_signed(), tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

impl GitTree {
    /// For callers that hold no quarantine.
    #[cfg(test)]
    pub fn stored(git_dir: PathBuf, commit: String) -> Self {
        Self { git_dir, git_env: Vec::new(), commit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use git2::Signature;
    use std::os::unix::fs::MetadataExt;

    struct Fixture {
        dir: tempfile::TempDir,
        repository: Repository,
        out: OutputSink,
    }

    /// A tree's entries: mode, name, content.
    type Entries<'a> = &'a [(&'a str, &'a [u8], Oid)];

    impl Fixture {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let repository = Repository::init_bare(dir.path().join("repo")).unwrap();
            let out = OutputSink::create(&dir.path().join("output")).unwrap();
            Self { dir, repository, out }
        }

        fn blob(&self, content: &[u8]) -> Oid {
            self.repository.blob(content).unwrap()
        }

        /// Written raw, since git's own tools refuse to make what attackers send.
        fn tree(&self, entries: Entries) -> Oid {
            let mut raw = Vec::new();
            for (mode, name, id) in entries {
                raw.extend_from_slice(mode.as_bytes());
                raw.push(b' ');
                raw.extend_from_slice(name);
                raw.push(0);
                raw.extend_from_slice(id.as_bytes());
            }
            self.repository.odb().unwrap().write(ObjectType::Tree, &raw).unwrap()
        }

        fn commit(&self, tree: Oid) -> String {
            let who = Signature::new("a", "a@example.com", &git2::Time::new(1_000_000, 0)).unwrap();
            let tree = self.repository.find_tree(tree).unwrap();
            self.repository.commit(None, &who, &who, "x", &tree, &[]).unwrap().to_string()
        }

        fn root(&self) -> PathBuf {
            let root = self.dir.path().join("build");
            fs::create_dir_all(&root).unwrap();
            root
        }

        fn unpack(&self, entries: Entries) -> Result<PathBuf, BuildFailure> {
            let commit = self.commit(self.tree(entries));
            let git_dir = self.repository.path().to_path_buf();
            let root = self.root();
            unpack(&GitTree::stored(git_dir, commit), &root, &self.out).map(|_| root)
        }

        fn said(&self) -> String {
            fs::read_to_string(self.dir.path().join("output")).unwrap()
        }
    }

    #[test]
    fn files_modes_links_and_odd_names_arrive() {
        let fixture = Fixture::new();
        let (one, link) = (fixture.blob(b"one"), fixture.blob(b"../../etc/passwd"));
        let inner = fixture.tree(&[("100644", b"f\xff \n", one), ("100644", b"-rf", one)]);
        let empty = fixture.tree(&[]);
        let root = fixture
            .unpack(&[
                ("100644", b"a", one),
                ("100755", b"b", one),
                ("40000", b"dir", inner),
                ("40000", b"empty", empty),
                ("120000", b"link", link),
                ("160000", b"module", one),
            ])
            .unwrap();
        assert_eq!(fs::read(root.join("a")).unwrap(), b"one");
        let mode = |name: &str| fs::symlink_metadata(root.join(name)).unwrap().mode() & 0o777;
        assert_eq!((mode("a"), mode("b")), (0o644, 0o755));
        assert!(root.join("dir").join(OsStr::from_bytes(b"f\xff \n")).is_file());
        assert_eq!(fs::read_link(root.join("link")).unwrap(), Path::new("../../etc/passwd"));
        assert_eq!(fs::read_dir(root.join("module")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(root.join("empty")).unwrap().count(), 0);
        assert!(root.join("dir/-rf").is_file());
        for name in ["a", "dir", "empty", "link", "module"] {
            assert_eq!(fs::symlink_metadata(root.join(name)).unwrap().mtime(), 1_000_000, "{name}");
            assert_eq!(fs::symlink_metadata(root.join(name)).unwrap().uid(), USER, "{name}");
        }
        let said = fixture.said();
        assert!(said.starts_with(" !     Git submodule module is not in .gitmodules"), "{said}");
    }

    #[test]
    fn submodules_are_noted_for_the_build_container_unless_they_are_ignored() {
        let fixture = Fixture::new();
        let one = fixture.blob(b"one");
        let inner = fixture.tree(&[("160000", b"x", one), ("160000", b"y", one)]);
        let ignore = fixture.blob(b"y/\n.gitmodules\n");
        let commit = fixture.commit(fixture.tree(&[
            ("100644", b".gitmodules", one),
            ("100644", b".slugignore", ignore),
            ("40000", b"dir", inner),
        ]));
        let git_dir = fixture.repository.path().to_path_buf();
        let source = GitTree::stored(git_dir, commit);
        let found = unpack(&source, &fixture.root(), &fixture.out).unwrap();
        let expected = format!("1000000\x00160000 {one}\tdir/x\0");
        assert_eq!(String::from_utf8(found.list()).unwrap(), expected);
        assert_eq!(fixture.said(), "");
        assert!(fixture.root().join(".gitmodules").exists());
    }

    #[test]
    fn files_that_git_lfs_has_elsewhere_are_named() {
        let fixture = Fixture::new();
        let pointer = fixture
            .blob(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n");
        let text = fixture.blob(b"version https://git-lfs.github.com/spec/v1 is how they begin\n");
        let inner = fixture.tree(&[("100644", b"logo.psd", pointer)]);
        let entries: Entries = &[
            ("40000", b"images", inner),
            ("100644", b"notes", text),
            ("100644", b"video", pointer),
        ];
        fixture.unpack(entries).unwrap();
        let said = fixture.said();
        assert!(said.contains("2 files are Git LFS pointers: images/logo.psd, video\n"), "{said}");
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        for name in [&b".."[..], b".", b"a/b", b".git", b".GIT", b"/etc"] {
            let fixture = Fixture::new();
            let blob = fixture.blob(b"x");
            let refused = fixture.unpack(&[("100644", name, blob)]);
            assert!(refused.is_err(), "{}", name.escape_ascii());
        }
        assert!(!Path::new("/etc/x").exists());
    }

    #[test]
    fn a_link_and_a_directory_of_one_name_write_nothing_outside() {
        let fixture = Fixture::new();
        let outside = fixture.dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let link = fixture.blob(outside.as_os_str().as_bytes());
        let inner = fixture.tree(&[("100644", b"evil", fixture.blob(b"x"))]);
        let refused = fixture.unpack(&[("120000", b"a", link), ("40000", b"a", inner)]);
        assert!(matches!(refused, Err(BuildFailure::Source(_))), "{refused:?}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn what_slugignore_names_is_left_out() {
        let fixture = Fixture::new();
        let one = fixture.blob(b"one");
        let inner = fixture.tree(&[("100644", b"x.psd", one), ("100644", b"y", one)]);
        let ignore = fixture.blob(b"*.psd\n/log/\n");
        let root = fixture
            .unpack(&[
                ("100644", b".slugignore", ignore),
                ("40000", b"images", inner),
                ("40000", b"log", inner),
            ])
            .unwrap();
        assert!(root.join("images/y").exists() && !root.join("images/x.psd").exists());
        assert!(!root.join("log").exists());
    }

    #[test]
    fn a_tree_that_holds_itself_too_deep_is_refused() {
        let fixture = Fixture::new();
        let mut tree = fixture.tree(&[("100644", b"f", fixture.blob(b"x"))]);
        for _ in 0..limits::SOURCE_DEPTH + 2 {
            tree = fixture.tree(&[("40000", b"d", tree)]);
        }
        let refused = fixture.unpack(&[("40000", b"d", tree)]);
        assert!(matches!(refused, Err(BuildFailure::Source(_))), "{refused:?}");
    }

    #[test]
    fn large_files_and_objects_in_quarantine_are_found() {
        let fixture = Fixture::new();
        let size = usize::try_from(limits::SOURCE_BLOB_IN_MEMORY).unwrap() + 1;
        let large = fixture.blob(&vec![b'x'; size]);
        let commit = fixture.commit(fixture.tree(&[("100644", b"large", large)]));
        let git_dir = fixture.repository.path().to_path_buf();
        // As git does it: the new objects are elsewhere, and the hook is told where.
        let quarantine = git_dir.join("objects/tmp_objdir-incoming-x");
        fs::create_dir(&quarantine).unwrap();
        for entry in fs::read_dir(git_dir.join("objects")).unwrap().flatten() {
            if entry.file_name().len() == 2 {
                fs::rename(entry.path(), quarantine.join(entry.file_name())).unwrap();
            }
        }
        let root = fixture.root();
        let stored = GitTree::stored(git_dir.clone(), commit.clone());
        assert!(unpack(&stored, &root, &fixture.out).is_err());
        let git_env = vec![
            ("GIT_OBJECT_DIRECTORY".into(), quarantine.into_os_string()),
            ("GIT_ALTERNATE_OBJECT_DIRECTORIES".into(), git_dir.join("objects").into_os_string()),
        ];
        let source = GitTree { git_dir, git_env, commit };
        unpack(&source, &root, &fixture.out).unwrap();
        assert_eq!(fs::metadata(root.join("large")).unwrap().len(), size as u64);
    }
}
