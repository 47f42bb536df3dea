//! The control groups of containers, in both versions: where the kernel's files of one are, and
//! the two things that Docker's API does not offer, holding a container for a moment and giving
//! it only what nobody else wants of the processor.

use std::io;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

/// The directory of a controller (`cpu`, `freezer`) for the container that this process belongs
/// to; `None` where it has none of its own. Process ids are given anew, so the container's id must
/// be part of the path.
pub fn directory(pid: u32, container: &str, controller: &str) -> Option<PathBuf> {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let found = find(&groups, controller, Path::new(ROOT))?;
    (!container.is_empty() && found.to_string_lossy().contains(container)).then_some(found)
}

/// Reads `/proc/PID/cgroup`: `4:cpu,cpuacct:/docker/ID` in version 1, `0::/docker/ID` in version 2,
/// both at once where the host mixes them.
fn find(groups: &str, controller: &str, root: &Path) -> Option<PathBuf> {
    let mut unified = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (names, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
        // Never the host's own.
        if path.is_empty() || path.split('/').any(|part| part == "..") {
            continue;
        }
        if names.split(',').any(|name| name == controller) {
            return Some(root.join(controller).join(path));
        }
        if names.is_empty() {
            unified = Some(root.join(path));
        }
    }
    unified
}

/// What holds a container: none of its processes runs until they are let go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freezer {
    file: PathBuf,
    hold: &'static str,
    free: &'static str,
}

impl Freezer {
    /// That of the container to which this process belongs.
    pub fn of(pid: Option<u32>, container: &str) -> Option<Self> {
        let directory = directory(pid?, container, "freezer")?;
        let (v1, v2) = (directory.join("freezer.state"), directory.join("cgroup.freeze"));
        if v1.exists() {
            return Some(Self { file: v1, hold: "FROZEN", free: "THAWED" });
        }
        v2.exists().then_some(Self { file: v2, hold: "1", free: "0" })
    }

    #[cfg(test)]
    pub fn in_file(file: PathBuf) -> Self {
        Self { file, hold: "FROZEN", free: "THAWED" }
    }

    pub fn hold(&self) -> io::Result<()> {
        std::fs::write(&self.file, self.hold)
    }

    /// One whose container has gone is fine.
    pub fn free(&self) -> io::Result<()> {
        match std::fs::write(&self.file, self.free) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => Ok(()),
            other => other,
        }
    }
}

/// Whether the processes of a group run only when nobody else wants to. The kernel knows no such
/// class before Linux 5.15; there the weight alone counts.
pub fn set_idle(directory: &Path, idle: bool, shares: i64) -> io::Result<()> {
    std::fs::write(directory.join("cpu.idle"), if idle { "1" } else { "0" })?;
    if idle {
        return Ok(());
    }
    // Leaving the class gives it the ordinary weight; version 2 counts from 1 to 10,000.
    let v1 = directory.join("cpu.shares");
    match v1.exists() {
        true => std::fs::write(v1, shares.to_string()),
        false => std::fs::write(directory.join("cpu.weight"), weight(shares).to_string()),
    }
}

/// Removes a group at the top, in every controller, unless something runs in it.
pub fn remove_empty(name: &str) {
    let controllers = std::fs::read_dir(ROOT).into_iter().flatten().flatten();
    for controller in controllers.map(|entry| entry.path()).chain([ROOT.into()]) {
        // Most controllers are files of version 2, and the group is not in all of the others.
        let _ = std::fs::remove_dir(controller.join(name));
    }
}

/// As Docker converts them.
fn weight(shares: i64) -> i64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142
}

/// What the processes of a group have used of the processor, in microseconds.
pub fn processor_time(pid: u32, container: &str) -> Option<u64> {
    let v1 = directory(pid, container, "cpuacct")?.join("cpuacct.usage");
    if let Ok(nanos) = std::fs::read_to_string(v1) {
        return Some(nanos.trim().parse::<u64>().ok()? / 1000);
    }
    let v2 = directory(pid, container, "cpu")?.join("cpu.stat");
    let stat = std::fs::read_to_string(v2).ok()?;
    stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_and_both_drivers_are_found_and_the_hosts_own_group_never_is() {
        let v1 =
            "9:name=systemd:/docker/ab\n6:freezer:/docker/ab\n2:cpu,cpuacct:/docker/ab\n0::/\n";
        let at = |groups: &str, controller: &str| find(groups, controller, Path::new("/c"));
        assert_eq!(at(v1, "freezer"), Some("/c/freezer/docker/ab".into()));
        assert_eq!(at(v1, "cpuacct"), Some("/c/cpuacct/docker/ab".into()));
        let v2 = "0::/system.slice/docker-ab.scope\n";
        assert_eq!(at(v2, "cpu"), Some("/c/system.slice/docker-ab.scope".into()));
        assert_eq!(at("0::/\n", "cpu"), None);
        assert_eq!(at("6:freezer:/\n0::/\n", "freezer"), None);
        assert_eq!(at("6:freezer:/../other\n", "freezer"), None);
        // A process that took the number of one that is gone.
        assert_eq!(directory(std::process::id(), "0123456789ab", "cpu"), None);
    }

    #[test]
    fn weights_are_dockers() {
        assert_eq!([2, 512, 1024, 262_144].map(weight), [1, 20, 39, 10_000]);
    }
}
