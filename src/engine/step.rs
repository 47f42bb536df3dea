//! The containers in which Docker's builder does the steps of a Dockerfile. It bounds their memory
//! and weight only, so that what else they may take is said, or watched, as soon as it names one.

use super::background;
use super::docker::{DockerEngine, failed, status};
use super::image_build::ImageBuild;
use super::written::Written;
use crate::error::{Error, Result};
use crate::{cgroup, limits, tasks};
use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum as Status, ContainerUpdateBody,
};
use bollard::query_parameters::InspectContainerOptions;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::future::pending;
use std::path::PathBuf;

/// The container that a step begins in, if the builder says so here.
pub fn begun(text: &str) -> Option<&str> {
    let id = text.lines().find_map(|line| line.trim().strip_prefix("---> Running in "))?;
    (id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// A step that runs.
#[derive(Debug)]
pub(super) struct Step {
    pid: u32,
    container: String,
    layer: Option<Layer>,
}

impl Step {
    /// Keeps it in the background, as any build, for as long as this is waited for. Ends with the
    /// room that there was on its disk once more than that is written.
    pub(super) async fn watch(self) -> u64 {
        let full = async {
            match self.layer {
                Some(layer) => layer.full().await,
                None => pending().await,
            }
        };
        let low = background::keep_low(self.pid, &self.container, None);
        let low = async {
            low.await;
            pending().await
        };
        tokio::select! { room = full => room, room = low => room }
    }
}

/// What a step writes is on the host in a directory of its own.
#[derive(Debug)]
struct Layer {
    directory: PathBuf,
    /// Bytes that may be in it.
    room: u64,
}

impl Layer {
    /// Ends with the room that there was once more than that is written.
    async fn full(self) -> u64 {
        loop {
            tokio::time::sleep(limits::STEP_DISK_PERIOD).await;
            let directory = self.directory.clone();
            let written = tasks::blocking("look at a step's disk", move || {
                Ok(Written::beneath(&directory, self.room, limits::STEP_FILES))
            });
            let written = written.await.unwrap_or_default();
            if written.bytes > self.room || written.files > limits::STEP_FILES {
                return self.room;
            }
        }
    }
}

impl DockerEngine {
    /// Bounds a step's processes, before it begins if there is time, and their open files, and has
    /// the kernel take them before any dyno when the host is out of memory; returns what is to be
    /// watched. A step that has ended needs nothing.
    pub(super) async fn bound_step(
        &self,
        id: &str,
        memory: i64,
        build: &ImageBuild,
    ) -> Result<Option<Step>> {
        let (pids, open_files) = (build.pids, build.open_files.unsigned_abs());
        for look in 0..limits::STEP_LOOKS {
            // A step may print what looks like another one's beginning.
            let found = self.step(id).await?.filter(|found| self.is_step(found, memory));
            let Some(found) = found else { return Ok(None) };
            let id = found.id.clone().unwrap_or_default();
            let pid = found.state.as_ref().and_then(|state| state.pid).filter(|pid| *pid > 0);
            let pid = pid.and_then(|pid| u32::try_from(pid).ok());
            if look == 0 || pid.is_some() {
                let bounds = ContainerUpdateBody { pids_limit: Some(pids), ..Default::default() };
                let bounded = self.docker.update_container(&id, bounds).await;
                if let (Err(error), Some(_)) = (bounded, self.step(&id).await?) {
                    return Err(failed("bound a step of a build", error));
                }
            }
            if let Some(pid) = pid {
                let container = id.clone();
                tasks::blocking("bound a step's processes", move || {
                    bound_processes(pid, &id, open_files);
                    // One that began meanwhile has the old limits of the one that began it.
                    bound_processes(pid, &id, open_files);
                    Ok(())
                })
                .await?;
                let layer = self.layer(found, build).await?;
                return Ok(Some(Step { pid, container, layer }));
            }
            tokio::time::sleep(limits::STEP_PERIOD).await;
        }
        Ok(None)
    }

    /// Where a step writes to, with the room that the image so far leaves it.
    async fn layer(
        &self,
        found: ContainerInspectResponse,
        build: &ImageBuild,
    ) -> Result<Option<Layer>> {
        let so_far = self.facts(found.image.as_deref().unwrap_or_default()).await?;
        let so_far = so_far.map_or(0, |facts| facts.size);
        let room = build.disk_bytes.min(build.image_bytes.saturating_sub(so_far));
        let room = u64::try_from(room).unwrap_or(0);
        let upper = found.graph_driver.and_then(|driver| driver.data.get("UpperDir").cloned());
        Ok(upper.map(|upper| Layer { directory: upper.into(), room }))
    }

    /// What Docker says of it, unless it has ended.
    async fn step(&self, id: &str) -> Result<Option<ContainerInspectResponse>> {
        match self.docker.inspect_container(id, None::<InspectContainerOptions>).await {
            Ok(found) => {
                let status = found.state.as_ref().and_then(|state| state.status);
                Ok(matches!(status, Some(Status::CREATED | Status::RUNNING)).then_some(found))
            }
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err::<_, Error>(failed("inspect a step of a build", error)),
        }
    }

    /// All containers of ours have an init; the builder's have none.
    fn is_step(&self, found: &ContainerInspectResponse, memory: i64) -> bool {
        let host = found.host_config.as_ref();
        host.is_some_and(|host| {
            host.network_mode.as_deref() == Some(self.network.as_str())
                && host.memory == Some(memory)
                && host.init != Some(true)
        })
    }
}

/// Which of them dies first when the host is out of memory, and how many files each may have open.
/// What is started later inherits both. A process that has ended meanwhile is fine.
fn bound_processes(pid: u32, container: &str, open_files: u64) {
    let limit = Rlimit { current: Some(open_files), maximum: Some(open_files) };
    let group = cgroup::directory(pid, container, "memory").map(|dir| dir.join("cgroup.procs"));
    let listed = group.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    for pid in listed.split_ascii_whitespace() {
        let score = limits::OOM_SCORE_BUILD.to_string();
        let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), score);
        let limited = pid.parse().ok().and_then(Pid::from_raw);
        if let Some(pid) = limited {
            let _ = prlimit(Some(pid), Resource::Nofile, limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_begins_is_named_by_its_container() {
        assert_eq!(begun(" ---> Running in 0123456789ab\n"), Some("0123456789ab"));
        for other in [" ---> 0123456789ab\n", " ---> Running in ../x\n", "Step 1/2 : RUN x\n", ""] {
            assert_eq!(begun(other), None, "{other}");
        }
    }
}
