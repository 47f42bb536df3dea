//! What a container has written into its own layer. The walk ends as soon as it has found too much,
//! so that one that fills the disk costs no more than others.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// As they take room on the disk.
    pub bytes: u64,
    /// Directories among them.
    pub files: u64,
}

impl Written {
    /// Counts until there are more bytes or files than these. Blocking.
    pub fn beneath(directory: &Path, bytes: u64, files: u64) -> Self {
        let mut found = Self::default();
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
                if found.bytes > bytes || found.files > files {
                    return found;
                }
            }
        }
        found
    }
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
        let all = Written::beneath(dir.path(), u64::MAX, u64::MAX);
        assert_eq!(all.files, 5);
        assert!((2 << 20..3 << 20).contains(&all.bytes), "{}", all.bytes);
        assert!(Written::beneath(dir.path(), 1, u64::MAX).files < 5);
        assert_eq!(Written::beneath(dir.path(), u64::MAX, 2).files, 3);
    }
}
