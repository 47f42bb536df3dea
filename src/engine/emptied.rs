//! The end of a container as the kernel tells it. Docker tells it thirty milliseconds later, when
//! it has looked after the container, for which the build of a small change need not wait.

use super::Engine;
use super::docker::DockerEngine;
use crate::error::Context;
use crate::{limits, tasks};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::OwnedFd;
use tokio::sync::oneshot;

/// After which a thread looks whether anybody still waits.
const PERIOD: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

impl DockerEngine {
    /// A container's first process and its id, as soon as it runs; none if the engine is away.
    pub(super) async fn first_process(&self, container: &str) -> Option<(u32, String)> {
        loop {
            let found = self.inspect(container).await.ok()?;
            if let Some(running) = found.and_then(|found| Some((found.pid?, found.id))) {
                return Some(running);
            }
            tokio::time::sleep(limits::BACKGROUND_RETRY).await;
        }
    }

    /// Waits for the end of that process, before which the kernel ends all others of its
    /// namespace. None if it can't be waited for.
    pub(super) async fn all_ended(&self, container: &str) -> Option<()> {
        let (pid, _) = self.first_process(container).await?;
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        ended(pidfd_open(pid, PidfdFlags::empty()).ok()?).await
    }
}

/// In a thread of its own, which ends when this is not awaited any more.
async fn ended(process: OwnedFd) -> Option<()> {
    let (awaited, _awaits) = oneshot::channel::<()>();
    let wait = move || {
        while !awaited.is_closed() {
            let mut polled = [PollFd::new(&process, PollFlags::IN)];
            let ready = poll(&mut polled, Some(&PERIOD)).context("wait for a process")?;
            if ready > 0 {
                break;
            }
        }
        Ok(())
    };
    tasks::blocking("wait for a process", wait).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_a_process_is_told_and_not_before() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let mut end = std::pin::pin!(ended(process));
        assert!(futures_util::poll!(end.as_mut()).is_pending());
        drop(child.stdin.take());
        let told = tokio::time::timeout(std::time::Duration::from_secs(10), end).await;
        assert_eq!(told.unwrap(), Some(()));
        assert!(child.wait().unwrap().success());
    }
}
