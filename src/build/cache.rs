//! What stays on the volume between builds. `cache` is the buildpacks' own. Large directories of
//! the build itself can be kept without copying: a buildpack lists them in `cache/.senryu-keep`,
//! one path a line; after a successful build they are renamed into `cache/keep`, and before the
//! next one renamed back. Their files stay the same inodes, by which an unchanged layer is known.

use super::outcome::Outcome;
use super::output::OutputSink;
use super::volume::{KEPT, USER, Volume};
use crate::error::{Context, Result};
use crate::limits;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, lchown};
use std::path::{Component, Path, PathBuf};

pub const KEEP_LIST: &str = ".senryu-keep";
/// Our copy of the list, out of the builds' sight.
const NOTE: &str = "kept";

/// Moves what the last build kept back to where it was, unless the source has that path, and tells
/// what is back. Blocking.
pub fn restore(volume: &Volume) -> Result<Vec<PathBuf>> {
    let mut paths = parse(&read_small(&volume.path(NOTE)).unwrap_or_default());
    paths.retain(|path| match move_dir(&volume.cache().join("keep"), &volume.build(), path) {
        Ok(()) => true,
        Err(error) => {
            // Only a cache: the buildpack makes it anew.
            tracing::debug!(path = %path.display(), %error, "not restored");
            false
        }
    });
    // What a failed build has put into `keep` by itself stays there for its buildpack to take.
    // The list holds for one build: a buildpack that writes none keeps nothing.
    forget_file(&volume.cache().join(KEEP_LIST))?;
    Ok(paths)
}

/// Moves the listed directories out of a finished build. Blocking.
pub fn keep(volume: &Volume) -> Result<()> {
    let list = volume.cache().join(KEEP_LIST);
    let paths = parse(&read_small(&list).unwrap_or_default());
    keep_paths(volume, &paths)?;
    forget_file(&list)
}

/// Moves back what [`restore`] moved, when the build never got to touch it. Blocking.
pub fn keep_again(volume: &Volume) -> Result<()> {
    keep_paths(volume, &parse(&read_small(&volume.path(NOTE)).unwrap_or_default()))
}

fn keep_paths(volume: &Volume, paths: &[PathBuf]) -> Result<()> {
    drop_keep(volume)?;
    let keep = volume.cache().join("keep");
    super::volume::user_dir(&keep).context("make the directory of what is kept")?;
    let mut note = String::new();
    for path in paths {
        match move_dir(&volume.build(), &keep, path) {
            Ok(()) => note.push_str(&format!("{}\n", path.display())),
            Err(error) => tracing::debug!(path = %path.display(), %error, "not kept"),
        }
    }
    fs::write(volume.path(NOTE), note).context("note what is kept")
}

/// Empties a cache that has grown too large. Blocking.
pub fn bound(volume: &Volume, out: &OutputSink) -> Result<()> {
    if !volume.has_outgrown() {
        return Ok(());
    }
    let (most, disk) = (limits::BUILD_CACHE_PERCENT, volume.megabytes());
    out.warning(&format!("The build cache had grown to more than {most} % of the {disk} MB that"));
    out.warning(
        "this app's builds have, or filled them, and was emptied: this build takes longer.",
    );
    purge(volume)
}

/// Empties the cache, for `builds:cache:purge`. Blocking.
pub fn purge(volume: &Volume) -> Result<()> {
    let remove = || -> io::Result<()> {
        for dir in KEPT.map(|name| volume.work(name)) {
            fs::remove_dir_all(&dir)?;
            super::volume::user_dir(&dir)?;
        }
        Ok(())
    };
    remove().context("purge the build cache")?;
    Outcome::forget(volume)?;
    forget_file(&volume.path(NOTE))
}

fn drop_keep(volume: &Volume) -> Result<()> {
    let keep = volume.cache().join("keep");
    let removed = match fs::symlink_metadata(&keep) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(&keep),
        Ok(_) => fs::remove_file(&keep),
        Err(_) => Ok(()),
    };
    removed.context("remove what was kept")
}

pub fn forget_file(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    removed.context("remove a note of the build")
}

/// The paths of a list: relative, plain, none inside another.
pub fn parse(list: &[u8]) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for line in list.split(|byte| *byte == b'\n') {
        let path = Path::new(OsStr::from_bytes(line.trim_ascii()));
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        let known = paths.iter().any(|other| path.starts_with(other) || other.starts_with(path));
        if plain && path.components().next().is_some() && !known {
            paths.push(path.components().collect());
        }
        if paths.len() == limits::KEPT_DIRECTORIES {
            break;
        }
    }
    paths
}

/// Renames `from/path` to `to/path`, if it is a directory and nothing is in the way. No symbolic
/// link is followed on either side; the kernel sees to it.
fn move_dir(from: &Path, to: &Path, path: &Path) -> io::Result<()> {
    let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let source = open_beneath(from, parent)?;
    let stat = rustix::fs::statat(&source, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    make_parents(to, parent)?;
    let target = open_beneath(to, parent)?;
    rustix::fs::renameat_with(&source, name, &target, name, RenameFlags::NOREPLACE)?;
    Ok(())
}

/// Opens a directory below `root` without following any link.
pub fn open_beneath(root: &Path, path: &Path) -> io::Result<OwnedFd> {
    let root = File::open(root)?;
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve)?)
}

pub fn make_parents(root: &Path, path: &Path) -> io::Result<()> {
    let mut made = PathBuf::new();
    for part in path.components() {
        let parent = open_beneath(root, &made)?;
        made.push(part);
        match rustix::fs::mkdirat(&parent, part.as_os_str(), Mode::from_raw_mode(0o755)) {
            Ok(()) => lchown(root.join(&made), Some(USER), Some(USER))?,
            Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A small file that a build may have written: not through a link, not from a pipe, not too much.
pub fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut content = Vec::new();
    file.take(limits::BUILD_RESULT_BYTES).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_are_kept() {
        let list =
            b"node_modules\n/etc\n../x\na/../b\n./c\n\na//b/\nnode_modules/x\n.heroku/node\n.\n";
        let paths = parse(list);
        let shown: Vec<_> = paths.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(shown, ["node_modules", "a/b", ".heroku/node"]);
    }

    #[test]
    fn a_cache_that_has_grown_too_large_is_emptied_and_that_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let volume = Volume::unmounted(dir.path().to_path_buf());
        let out = OutputSink::create(&dir.path().join("said")).unwrap();
        fs::write(volume.cache().join("kept"), "x").unwrap();
        bound(&volume, &out).unwrap();
        assert!(volume.cache().join("kept").exists());
        fs::write(volume.path("outgrown"), "").unwrap();
        bound(&volume, &out).unwrap();
        assert!(!volume.cache().join("kept").exists() && !volume.has_outgrown());
        let said = fs::read_to_string(dir.path().join("said")).unwrap();
        assert!(said.contains("and was emptied"), "{said}");
    }

    #[test]
    fn a_directory_moves_there_and_back_with_its_inodes() {
        let dir = tempfile::tempdir().unwrap();
        let (build, keep) = (dir.path().join("build"), dir.path().join("keep"));
        fs::create_dir_all(build.join("a/b")).unwrap();
        fs::create_dir(&keep).unwrap();
        fs::write(build.join("a/b/f"), "x").unwrap();
        move_dir(&build, &keep, Path::new("a/b")).unwrap();
        assert!(!build.join("a/b").exists());
        fs::remove_dir(build.join("a")).unwrap();
        move_dir(&keep, &build, Path::new("a/b")).unwrap();
        assert_eq!(fs::read(build.join("a/b/f")).unwrap(), b"x");
    }

    #[test]
    fn what_the_source_has_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (build, keep) = (dir.path().join("build"), dir.path().join("keep"));
        fs::create_dir_all(build.join("vendor")).unwrap();
        fs::create_dir_all(keep.join("vendor")).unwrap();
        fs::write(keep.join("vendor/old"), "x").unwrap();
        assert!(move_dir(&keep, &build, Path::new("vendor")).is_err());
        assert!(!build.join("vendor/old").exists());
    }

    #[test]
    fn no_link_leads_out_of_the_volume() {
        let dir = tempfile::tempdir().unwrap();
        let (build, keep) = (dir.path().join("build"), dir.path().join("keep"));
        let outside = dir.path().join("outside");
        for path in [&build, &keep, &outside.join("etc"), &keep.join("up/etc")] {
            fs::create_dir_all(path).unwrap();
        }
        std::os::unix::fs::symlink(&outside, build.join("up")).unwrap();
        assert!(move_dir(&build, &keep, Path::new("up/etc")).is_err());
        assert!(move_dir(&keep, &build, Path::new("up/etc")).is_err());
        assert!(outside.join("etc").exists());
        std::os::unix::fs::symlink(dir.path().join("keep"), build.join("link")).unwrap();
        assert!(move_dir(&build, &keep, Path::new("link")).is_err());
        assert!(read_small(&build.join("link")).is_err());
    }
}
