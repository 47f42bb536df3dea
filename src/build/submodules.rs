//! The source's git submodules: found while its tree is unpacked, installed by `submodules.sh` in
//! the build container, where nothing that their addresses say can touch the host.

use super::output::OutputSink;
use super::volume::Volume;
use crate::error::{Context, Result};
use crate::limits;
use std::fs;
use std::time::SystemTime;

/// Where a source lists them.
pub const LIST: &str = ".gitmodules";
/// Among a build's results: those that its container has to install.
pub const FOUND: &str = "submodules";

#[derive(Debug)]
pub struct Submodules {
    /// Of all files in them: the same commit gives the same slug.
    time: SystemTime,
    /// Commits and paths.
    found: Vec<(String, Vec<u8>)>,
}

impl Submodules {
    pub fn new(time: SystemTime) -> Self {
        Self { time, found: Vec::new() }
    }

    pub fn add(&mut self, commit: &str, path: &[u8]) -> Result<(), String> {
        if self.found.len() == limits::SUBMODULES {
            return Err(format!("The source has more than {} submodules.", limits::SUBMODULES));
        }
        self.found.push((commit.to_string(), path.to_vec()));
        Ok(())
    }

    /// A repository that was added like a file has no address. As on Heroku, that is no error.
    pub fn give_up(&mut self, out: &OutputSink) {
        for (_, path) in self.found.drain(..) {
            let path = String::from_utf8_lossy(&path);
            out.warning(&format!(
                "Git submodule {path} is not in .gitmodules, so nobody can say where it is:"
            ));
            out.warning("its directory stays empty.");
        }
    }

    /// The builder of Dockerfiles gets the source as it is.
    pub fn leave_out(&mut self, out: &OutputSink) {
        for (_, path) in self.found.drain(..) {
            let path = String::from_utf8_lossy(&path);
            out.warning(&format!(
                "Git submodule {path} is not installed for a Dockerfile: skipped"
            ));
        }
    }

    /// Tells the build container what there is.
    pub fn note(&self, volume: &Volume) -> Result<()> {
        if self.found.is_empty() {
            return Ok(());
        }
        let path = volume.work("result").join(FOUND);
        fs::write(path, self.list()).context("note the submodules")
    }

    /// Seconds since 1970, then what `git update-index -z --index-info` reads.
    pub fn list(&self) -> Vec<u8> {
        let since = self.time.duration_since(SystemTime::UNIX_EPOCH);
        let mut list = since.map_or(0, |since| since.as_secs()).to_string().into_bytes();
        list.push(0);
        for (commit, path) in &self.found {
            list.extend_from_slice(format!("160000 {commit}\t").as_bytes());
            list.extend_from_slice(path);
            list.push(0);
        }
        list
    }
}
