//! Which processes belong to which dyno, and how many files they have open: all from `/proc`, in
//! one look for all dynos.

use crate::limits;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// All processes of the host by their process namespace.
pub struct Processes(BTreeMap<u64, Vec<u32>>);

impl Processes {
    pub fn look() -> Self {
        let mut by_namespace: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(pid) = pid
                && let Some(namespace) = namespace(pid)
            {
                by_namespace.entry(namespace).or_default().push(pid);
            }
        }
        Self(by_namespace)
    }

    /// The processes that share the namespace of `pid`, as far as they are looked at.
    fn beside(&self, pid: u32) -> impl Iterator<Item = u32> + '_ {
        let all = namespace(pid).and_then(|namespace| self.0.get(&namespace));
        all.into_iter().flatten().copied().take(limits::SAMPLED_PROCESSES)
    }

    /// Open files and sockets of the process beside `pid` that has most.
    pub fn open_files(&self, pid: u32) -> i64 {
        let count = |pid| {
            let open = directory(pid);
            // Kernels since 6.2 say it as the directory's size.
            match fs::metadata(&open).map_or(0, |metadata| metadata.size()) {
                0 => fs::read_dir(&open).map_or(0, Iterator::count) as u64,
                size => size,
            }
        };
        i64::try_from(self.beside(pid).map(count).max().unwrap_or(0)).unwrap_or(i64::MAX)
    }

    /// Bytes of files that processes beside `pid` have open though they were removed: they take
    /// room that no directory shows. `on` is the device that counts.
    pub fn removed_bytes(&self, pid: u32, on: impl Fn(u64) -> bool) -> u64 {
        let mut seen = std::collections::BTreeSet::new();
        let mut bytes = 0;
        for pid in self.beside(pid) {
            for entry in fs::read_dir(directory(pid)).into_iter().flatten().flatten() {
                let Ok(metadata) = fs::metadata(entry.path()) else { continue };
                let removed = metadata.is_file() && metadata.nlink() == 0;
                if removed && on(metadata.dev()) && seen.insert((metadata.dev(), metadata.ino())) {
                    bytes += metadata.blocks() * 512;
                }
            }
        }
        bytes
    }
}

/// The device of the dyno's root file system, as its processes see it.
pub fn root_device(pid: u32) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/root/")).ok().map(|metadata| metadata.dev())
}

fn directory(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join("fd")
}

fn namespace(pid: u32) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/ns/pid")).ok().map(|metadata| metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn open_and_removed_files_of_this_process_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let mut file = fs::File::create(&path).unwrap();
        file.write_all(&[7; 1 << 20]).unwrap();
        file.sync_all().unwrap();
        let device = file.metadata().unwrap().dev();
        let me = std::process::id();
        let before = Processes::look().removed_bytes(me, |dev| dev == device);
        fs::remove_file(&path).unwrap();
        let after = Processes::look().removed_bytes(me, |dev| dev == device);
        // Other tests of this process come and go with files of their own.
        assert!(after >= 1 << 20, "{before} {after}");
        assert!(Processes::look().open_files(me) > 3);
    }
}
