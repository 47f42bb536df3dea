//! Processes of a test, found by what is in their command lines and ended by their ids.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Ids of processes whose command line holds each of these words.
pub fn find(words: &[&str]) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if !line.is_empty() && words.iter().all(|word| line.contains(word)) {
            found.push(pid);
        }
    }
    found
}

/// Sends a signal; a process that has gone needs none.
pub fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}
