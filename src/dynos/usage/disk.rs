//! What a dyno has written outside its slug. The walk ends as soon as it has found too much, so
//! that one that fills the disk costs no more than others.

use super::Watched;
use super::processes::{Processes, root_device};
use crate::limits;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    pub bytes: u64,
    pub files: u64,
}

/// Files that are there, and those that are open though they were removed.
pub fn written(watched: &Watched, processes: &Processes) -> Written {
    let Some(directory) = &watched.written else { return Written::default() };
    let enough = watched.size.disk_bytes.unsigned_abs();
    let mut found = walk(directory, enough);
    if found.bytes <= enough
        && let Some(pid) = watched.pid
    {
        let root = root_device(pid);
        let layer = fs::metadata(directory).ok().map(|metadata| metadata.dev());
        // A file on an overlay has the number of the overlay or of what lies under it.
        found.bytes += processes.removed_bytes(pid, |dev| Some(dev) == root || Some(dev) == layer);
    }
    found
}

fn walk(directory: &Path, enough: u64) -> Written {
    let mut found = Written::default();
    let mut left: Vec<PathBuf> = vec![directory.to_path_buf()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            // Of the link itself, never of what a dyno's link points to.
            let Ok(metadata) = entry.metadata() else { continue };
            found.bytes += metadata.blocks() * 512 / metadata.nlink().max(1);
            found.files += 1;
            if metadata.is_dir() {
                left.push(entry.path());
            }
            if found.bytes > enough || found.files > limits::DYNO_FILES {
                return found;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_counts_what_takes_room_and_stops_at_enough() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        for name in ["a/one", "two"] {
            fs::write(dir.path().join(name), vec![1; 1 << 20]).unwrap();
        }
        // Takes no room, whatever its length; and a link out of the tree is not followed.
        fs::File::create(dir.path().join("sparse")).unwrap().set_len(1 << 40).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("out")).unwrap();
        let all = walk(dir.path(), u64::MAX);
        assert_eq!(all.files, 5);
        assert!((2 << 20..3 << 20).contains(&all.bytes), "{}", all.bytes);
        assert!(walk(dir.path(), 1).files < 5);
    }
}
