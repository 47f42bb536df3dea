//! What a dyno has written outside its slug, and what it keeps open though it removed it.

use super::Watched;
use super::processes::{Processes, root_device};
use crate::engine::Written;
use crate::limits;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// Files that are there, and those that are open though they were removed.
pub fn written(watched: &Watched, processes: &Processes) -> Written {
    let Some(directory) = &watched.written else { return Written::default() };
    let enough = watched.size.disk_bytes.unsigned_abs();
    let mut found = Written::beneath(directory, enough, limits::DYNO_FILES);
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
