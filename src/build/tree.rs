//! Files, directories and links below a root, by names that come from strangers: each is made
//! anew, and the kernel sees to it that no symbolic link is followed and nothing lies outside.

use super::cache::open_beneath;
use super::volume::USER;
use crate::limits;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The parts of a relative path, each a plain name.
pub type Parts = [Vec<u8>];

/// A root, and the directory in it that was used last: archives list what lies together together.
pub struct Tree {
    root: PathBuf,
    last: Option<(PathBuf, OwnedFd)>,
    /// Directories that were made.
    pub made: u64,
}

impl Tree {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf(), last: None, made: 0 }
    }

    /// Makes a directory and those above it, unless they are there.
    pub fn directory(&mut self, parts: &Parts) -> io::Result<()> {
        let path = joined(parts);
        if self.last.as_ref().is_some_and(|(last, _)| *last == path) {
            return Ok(());
        }
        let mut made = PathBuf::new();
        let mut at = open_beneath(&self.root, &made)?;
        for part in parts {
            let name = OsStr::from_bytes(part);
            match rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o755)) {
                Ok(()) => {
                    self.made += 1;
                    own(&at, name)?;
                }
                Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            made.push(name);
            at = open_beneath(&self.root, &made)?;
        }
        self.last = Some((path, at));
        Ok(())
    }

    /// An empty file in the place of a file or link of that name.
    pub fn file(&mut self, parts: &Parts, mode: u32) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let (at, name) = self.place(parts)?;
        let made =
            rustix::fs::openat(at, name, flags | OFlags::CLOEXEC, Mode::from_raw_mode(mode))?;
        rustix::fs::fchown(&made, Some(Uid::from_raw(USER)), Some(Gid::from_raw(USER)))?;
        rustix::fs::fchmod(&made, Mode::from_raw_mode(mode))?;
        Ok(made.into())
    }

    /// A symbolic link in the place of a file or link of that name.
    pub fn link(&mut self, parts: &Parts, target: &[u8], seconds: u64) -> io::Result<()> {
        let (at, name) = self.place(parts)?;
        rustix::fs::symlinkat(OsStr::from_bytes(target), at, name)?;
        own(at, name)?;
        let time = Timespec { tv_sec: seconds.cast_signed(), tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        Ok(rustix::fs::utimensat(at, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// A file that has been made before, for reading.
    pub fn read(&self, parts: &Parts) -> io::Result<File> {
        let root = File::open(&self.root)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let opened = rustix::fs::openat2(&root, joined(parts), flags, Mode::empty(), resolve)?;
        let file = File::from(opened);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// The directory and the name for a new entry; what had that name and was no directory goes.
    fn place<'a>(&mut self, parts: &'a Parts) -> io::Result<(&OwnedFd, &'a OsStr)> {
        let Some((name, above)) = parts.split_last() else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        self.directory(above)?;
        let Some((_, at)) = &self.last else { return Err(io::ErrorKind::NotFound.into()) };
        let name = OsStr::from_bytes(name);
        match rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            Ok(_) => rustix::fs::unlinkat(at, name, AtFlags::empty())?,
            Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        Ok((at, name))
    }
}

fn own(at: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(USER), Gid::from_raw(USER));
    Ok(rustix::fs::chownat(at, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn joined(parts: &Parts) -> PathBuf {
    parts.iter().map(|part| OsStr::from_bytes(part)).collect()
}

/// Why a path can't be one below a root.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    Absolute,
    Up,
    /// A part that is too long or holds a zero byte, or too many parts.
    Odd,
}

/// The parts of a path below the root, without those that change nothing.
pub fn parts(path: &[u8]) -> Result<Vec<Vec<u8>>, Wrong> {
    if path.first() == Some(&b'/') {
        return Err(Wrong::Absolute);
    }
    let mut parts = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(Wrong::Up),
            part if part.len() > 255 || part.contains(&0) => return Err(Wrong::Odd),
            part => parts.push(part.to_vec()),
        }
    }
    match parts.len() > limits::SOURCE_DEPTH {
        true => Err(Wrong::Odd),
        false => Ok(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn path(text: &str) -> Vec<Vec<u8>> {
        parts(text.as_bytes()).unwrap()
    }

    #[test]
    fn paths_that_leave_the_root_are_told_apart() {
        assert_eq!(parts(b"./a//b/"), Ok(vec![b"a".to_vec(), b"b".to_vec()]));
        assert_eq!(parts(b"/etc/passwd"), Err(Wrong::Absolute));
        assert_eq!(parts(b"a/../../b"), Err(Wrong::Up));
        assert_eq!(parts(b"a\0b"), Err(Wrong::Odd));
        assert_eq!(parts(&[b'x'; 256]), Err(Wrong::Odd));
        assert_eq!(parts(&b"d/".repeat(limits::SOURCE_DEPTH + 1)), Err(Wrong::Odd));
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        for path in [&root, &outside] {
            fs::create_dir(path).unwrap();
        }
        fs::write(outside.join("file"), "kept").unwrap();
        let mut tree = Tree::new(&root);
        tree.link(&path("dir"), outside.as_os_str().as_bytes(), 0).unwrap();
        tree.link(&path("file"), outside.join("file").as_os_str().as_bytes(), 0).unwrap();
        assert!(tree.file(&path("dir/new"), 0o644).is_err());
        assert!(tree.directory(&path("dir/sub")).is_err());
        assert!(tree.read(&path("dir/file")).is_err() && tree.read(&path("file")).is_err());
        // The link itself is replaced, not what it leads to.
        tree.file(&path("file"), 0o644).unwrap();
        assert_eq!(fs::read(outside.join("file")).unwrap(), b"kept");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        tree.directory(&path("d")).unwrap();
        assert!(tree.file(&path("d"), 0o644).is_err(), "a directory is not replaced");
    }
}
