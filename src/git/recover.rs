//! What a start does before it takes pushes: git processes that outlived the server before this
//! one are waited for or ended, since they can still move a ref, and their litter is removed.

use super::repo::{NEW_PREFIX, TRASH_PREFIX};
use super::{GitHost, process};
use crate::error::{Context, Result};
use crate::{limits, tasks};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// Between two looks at the process table.
const LOOK: Duration = Duration::from_millis(10);

impl GitHost {
    /// Returns when no old process can move a ref any more. Call it before anything reads refs to
    /// decide about builds, and before [`GitHost::start_hooks_listener`].
    pub async fn recover(&self) -> Result<()> {
        let mark = [process::HOOK_SOCKET.as_bytes(), b"=", self.socket().as_os_str().as_bytes()];
        end_processes(&mark.concat()).await;
        let dir = self.repositories.dir().to_path_buf();
        tasks::blocking("tidying repositories", move || {
            tidy(&dir).context(format!("{} cannot be tidied", dir.display()))
        })
        .await
    }
}

/// Waits for the processes whose environment holds `mark`, then kills them.
async fn end_processes(mark: &[u8]) {
    let patience = tokio::time::Instant::now() + limits::GIT_OUTLIVED_WAIT;
    let mut killed = false;
    loop {
        let left = marked(mark);
        if left.is_empty() {
            return;
        }
        if tokio::time::Instant::now() >= patience {
            if killed {
                // A process that a signal does not end hangs in the kernel, and moves no ref.
                return tracing::error!(?left, "git processes of the last server do not end");
            }
            tracing::warn!(?left, "ending git processes of the last server");
            for pid in left {
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
            killed = true;
            tokio::time::sleep(limits::GIT_OUTLIVED_WAIT / 4).await;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Processes with `mark` among their variables. A zombie has none.
fn marked(mark: &[u8]) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            if u32::try_from(pid) == Ok(std::process::id()) {
                return None;
            }
            let variables = std::fs::read(entry.path().join("environ")).ok()?;
            variables.split(|b| *b == 0).any(|variable| variable == mark).then_some(pid)
        })
        .collect()
}

/// Removes what ended processes leave: half-made repositories, quarantines, half packs, and locks,
/// which would refuse every later push.
fn tidy(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(NEW_PREFIX) || name.starts_with(TRASH_PREFIX) {
            std::fs::remove_dir_all(entry.path())?;
        } else if name.ends_with(".git") {
            tidy_repository(&entry.path())?;
        }
    }
    Ok(())
}

fn tidy_repository(git_dir: &Path) -> std::io::Result<()> {
    sweep(git_dir, false, &|name| name.ends_with(".lock") || name == "gc.pid")?;
    sweep(&git_dir.join("refs"), true, &|name| name.ends_with(".lock"))?;
    sweep(&git_dir.join("objects"), false, &|name| {
        name.starts_with("tmp_objdir-") || name.starts_with("incoming-")
    })?;
    sweep(&git_dir.join("objects/pack"), false, &|name| {
        name.starts_with("tmp_") || name.starts_with(".tmp-")
    })
}

/// Removes the entries of `dir` whose names are litter. A branch may not end in `.lock`.
fn sweep(dir: &Path, deep: bool, litter: &dyn Fn(&str) -> bool) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let is_dir = entry.file_type()?.is_dir();
        if litter(&entry.file_name().to_string_lossy()) {
            tracing::info!(path = %entry.path().display(), "removing what git left behind");
            if is_dir {
                std::fs::remove_dir_all(entry.path())?;
            } else {
                std::fs::remove_file(entry.path())?;
            }
        } else if is_dir && deep {
            sweep(&entry.path(), true, litter)?;
        }
    }
    Ok(())
}
