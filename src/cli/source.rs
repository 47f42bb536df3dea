//! The current directory as a source tarball, for `builds:create`: all but what `.gitignore`
//! leaves out and git's own directory, as the Heroku CLI's plugin packs it. What git tracks is
//! there even where it is ignored.

use super::failure::{Failure, Result};
use crate::limits;
use flate2::Compression;
use flate2::write::GzEncoder;
use git2::{ErrorCode, Index, Repository};
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Seek};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Packs `dir` into a file that has no name any more, and is read from its beginning.
pub fn pack(dir: &Path) -> Result<File> {
    let unpacked = |error| Failure::refused(format!("Can't pack {}: {error}", dir.display()));
    let dir = dir.canonicalize().map_err(unpacked)?;
    let rules = Rules::of(&dir)?;
    let file = nameless().map_err(unpacked)?;
    let mut packing = Packing {
        dir: &dir,
        rules: &rules,
        tar: tar::Builder::new(GzEncoder::new(file, Compression::fast())),
        bytes: 0,
        entries: 0,
    };
    packing.tar.follow_symlinks(false);
    packing.directory(&dir)?;
    if packing.entries == 0 {
        return Err(Failure::refused(format!("There is nothing to build in {}", dir.display())));
    }
    let written = packing.tar.into_inner().and_then(GzEncoder::finish);
    let mut file = written.map_err(unpacked)?;
    file.rewind().map_err(unpacked)?;
    Ok(file)
}

/// Goes by itself, whatever ends us.
fn nameless() -> io::Result<File> {
    let path = scratch();
    let mut options = File::options();
    let file = options.read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(path)?;
    Ok(file)
}

fn scratch() -> PathBuf {
    std::env::temp_dir().join(format!("senryu-{}", Uuid::new_v4()))
}

/// What git thinks of a path.
struct Rules {
    repository: Repository,
    index: Index,
    /// Of the paths that git knows.
    root: PathBuf,
    /// A repository of no content, where there is none: `.gitignore` holds there as well.
    made: Option<PathBuf>,
}

impl Rules {
    fn of(dir: &Path) -> Result<Self> {
        let (repository, made) = match Repository::discover(dir) {
            Err(error) if error.code() == ErrorCode::NotFound => {
                let path = scratch();
                let made = Repository::init_bare(&path);
                let made = made.and_then(|made| made.set_workdir(dir, false).map(|()| made));
                (made, Some(path))
            }
            // A bare one has no work tree to ask about.
            found => (found, None),
        };
        let read = repository.and_then(|repository| Ok((repository.index()?, repository)));
        let (index, repository) = match read {
            Ok(read) => read,
            Err(error) => {
                made.iter().for_each(remove);
                let why = error.message().to_string();
                return Err(Failure::refused(format!("Can't read the git repository here: {why}")));
            }
        };
        let root = repository.workdir().and_then(|root| root.canonicalize().ok());
        let root = root.unwrap_or_else(|| dir.to_path_buf());
        Ok(Self { repository, index, root, made })
    }

    fn leave_out(&self, path: &Path) -> bool {
        let Ok(path) = path.strip_prefix(&self.root) else { return false };
        let ignored = self.repository.is_path_ignored(path).unwrap_or(false);
        ignored
            && self.index.get_path(path, 0).is_none()
            && self.index.find_prefix(path.join("")).is_err()
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        self.made.iter().for_each(remove);
    }
}

/// It holds nothing of anybody's.
fn remove(path: &PathBuf) {
    let _ = fs::remove_dir_all(path);
}

struct Packing<'a> {
    dir: &'a Path,
    rules: &'a Rules,
    tar: tar::Builder<GzEncoder<File>>,
    bytes: u64,
    entries: u64,
}

impl Packing<'_> {
    fn directory(&mut self, path: &Path) -> Result {
        let unread =
            |error: io::Error| Failure::refused(format!("Can't read {}: {error}", path.display()));
        let mut entries: Vec<_> =
            fs::read_dir(path).and_then(|entries| entries.collect()).map_err(unread)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            if entry.file_name() == OsStr::new(".git") || self.rules.leave_out(&path) {
                continue;
            }
            let meta = entry.metadata().map_err(|error| {
                Failure::refused(format!("Can't read {}: {error}", path.display()))
            })?;
            self.count(&meta)?;
            self.add(&path, &meta)?;
            if meta.is_dir() {
                self.directory(&path)?;
            }
        }
        Ok(())
    }

    /// Sockets, devices and the like are nothing that a source can have.
    fn add(&mut self, path: &Path, meta: &Metadata) -> Result {
        if !(meta.is_file() || meta.is_dir() || meta.is_symlink()) {
            return Ok(());
        }
        let name = path.strip_prefix(self.dir).unwrap_or(path);
        let added = match meta.is_dir() {
            true => self.tar.append_dir(name, path),
            false => self.tar.append_path_with_name(path, name),
        };
        added.map_err(|error| Failure::refused(format!("Can't pack {}: {error}", path.display())))
    }

    /// Whoever is in the wrong directory learns it before the whole disk was read.
    fn count(&mut self, meta: &Metadata) -> Result {
        self.entries += 1;
        self.bytes += if meta.is_file() { meta.len() } else { 0 };
        if self.bytes <= limits::SOURCE_BYTES && self.entries <= limits::SOURCE_ENTRIES {
            return Ok(());
        }
        Err(Failure::with_hint(
            format!(
                "{} is too large for a source: over {} MB or {} files",
                self.dir.display(),
                limits::SOURCE_BYTES >> 20,
                limits::SOURCE_ENTRIES
            ),
            "Is this the app's directory? What a build does not need, .gitignore leaves out.",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;

    fn write(dir: &Path, files: &[&str]) {
        for file in files {
            let path = dir.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
    }

    fn packed(dir: &Path) -> Vec<String> {
        let mut tar = tar::Archive::new(GzDecoder::new(pack(dir).unwrap()));
        let entries = tar.entries().unwrap();
        entries.map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
    }

    #[test]
    fn what_gitignore_leaves_out_is_not_packed_with_or_without_a_repository() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path();
        write(dir, &["app.js", "node_modules/a/index.js", "lib/b.js", "lib/b.log"]);
        fs::write(dir.join(".gitignore"), "node_modules/\n*.log\n").unwrap();
        std::os::unix::fs::symlink("app.js", dir.join("link")).unwrap();
        let expected = [".gitignore", "app.js", "lib", "lib/b.js", "link"];
        assert_eq!(packed(dir), expected);

        let repository = Repository::init(dir).unwrap();
        assert_eq!(packed(dir), expected);
        let mut index = repository.index().unwrap();
        index.add_path(Path::new("node_modules/a/index.js")).unwrap();
        index.write().unwrap();
        let tracked = ["node_modules", "node_modules/a", "node_modules/a/index.js"];
        assert_eq!(packed(dir), [&expected[..], &tracked].concat());
        // Below the repository's root its rules hold too.
        assert_eq!(packed(&dir.join("lib")), ["b.js"]);
    }

    #[test]
    fn an_empty_directory_is_no_source() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".git")).unwrap();
        let refused = pack(home.path()).unwrap_err();
        assert!(format!("{refused:?}").contains("nothing to build"), "{refused:?}");
    }
}
