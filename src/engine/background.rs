//! Builds run in the background: their processes get what dynos, router and server leave of the
//! processor, so that a request never waits for a compiler. On a machine that is busy all the time
//! that would be nothing; a build that starves gets an ordinary share for a while.

use super::docker::DockerEngine;
use crate::{cgroup, limits, tasks};
use std::path::PathBuf;
use tokio::time::Instant;

/// Processor times, in microseconds.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    build: u64,
    idle: u64,
}

impl DockerEngine {
    /// Where builds have their control groups: beside those of dynos and not among them, so that
    /// the idle class holds against the router too. Only where Docker itself names the groups;
    /// systemd's are beside its services anyway.
    pub(super) fn background_parent(&self) -> Option<String> {
        self.names_groups.then(|| format!("/{}", parent(&self.installation)))
    }

    /// Leaves no empty control group behind when the server stops.
    pub fn remove_background(&self) {
        cgroup::remove_empty(&parent(&self.installation));
    }

    /// Keeps a container in the background for as long as it is waited for. Where the kernel or
    /// the host's groups do not allow that, its low weight has to do.
    pub(super) async fn lowered(&self, container: &str) {
        if let Some((pid, id)) = self.first_process(container).await {
            keep_low(pid, &id, Some(&parent(&self.installation))).await;
        }
    }
}

/// Does so for one that runs as this process, and for the group of all builds if that is its parent.
pub(super) async fn keep_low(pid: u32, container: &str, parent: Option<&str>) {
    let groups = groups(pid, container, parent);
    let mut before = sample(pid, container);
    let mut out = 0;
    if !lower(groups.clone(), true).await {
        return;
    }
    loop {
        tokio::time::sleep(limits::BACKGROUND_PERIOD).await;
        let now = sample(pid, container);
        let starved = before.zip(now).is_some_and(|(before, now)| starves(&before, &now, cores()));
        before = now;
        match (out, starved) {
            (0, true) => {
                tracing::info!(container, "a build starves: it gets an ordinary share");
                out = limits::STARVED_PERIODS;
                lower(groups.clone(), false).await;
            }
            (0, false) => {}
            (1, _) => {
                out = 0;
                lower(groups.clone(), true).await;
            }
            _ => out -= 1,
        }
    }
}

fn parent(installation: &str) -> String {
    format!("senryu-{installation}-builds")
}

/// The container's own group, and the one of all builds where there is one.
fn groups(pid: u32, container: &str, parent: Option<&str>) -> Vec<PathBuf> {
    let Some(own) = cgroup::directory(pid, container, "cpu") else { return Vec::new() };
    let above = own.parent().filter(|above| parent.is_some_and(|parent| above.ends_with(parent)));
    let above = above.map(PathBuf::from);
    above.into_iter().chain([own]).collect()
}

/// False where the kernel can't.
async fn lower(groups: Vec<PathBuf>, idle: bool) -> bool {
    let lowered = tasks::blocking("change a build's share of the processor", move || {
        let set = |group: &PathBuf| cgroup::set_idle(group, idle, limits::BUILD_CPU_SHARES);
        let failed = groups.iter().map(set).find_map(Result::err);
        if let Some(error) = &failed {
            tracing::debug!(%error, "a build's control group can't be changed");
        }
        Ok(failed.is_none() && !groups.is_empty())
    });
    lowered.await.unwrap_or(false)
}

fn sample(pid: u32, container: &str) -> Option<Sample> {
    let build = cgroup::processor_time(pid, container)?;
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    // cpu  user nice system idle iowait …, in hundredths of a second of all cores.
    let mut figures = stat.lines().next()?.split_ascii_whitespace().skip(4);
    let mut hundredths = || figures.next()?.parse::<u64>().ok();
    let idle = (hundredths()? + hundredths()?) * 10_000;
    Some(Sample { at: Instant::now(), build, idle })
}

fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |count| count.get() as u64)
}

/// Whether the machine was busy and the build got next to nothing of it. One that waits for the
/// net meanwhile counts as well: it gets a share that it does not use.
fn starves(before: &Sample, now: &Sample, cores: u64) -> bool {
    let passed = u64::try_from((now.at - before.at).as_micros()).unwrap_or(u64::MAX);
    let percent = |used: u64, of: u64| used.saturating_mul(100) / of.max(1);
    percent(now.build.saturating_sub(before.build), passed) < limits::STARVING_PERCENT
        && percent(now.idle.saturating_sub(before.idle), passed.saturating_mul(cores))
            < limits::BUSY_IDLE_PERCENT
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_build_starves_when_others_take_all_there_is() {
        let begun = Instant::now();
        let before = Sample { at: begun, build: 5_000_000, idle: 70_000_000 };
        let after = |build: u64, idle: u64| Sample {
            at: begun + Duration::from_secs(2),
            build: before.build + build * 1000,
            idle: before.idle + idle * 1000,
        };
        // Milliseconds of the build and of nobody, in two seconds of two cores.
        assert!(starves(&before, &after(20, 0), 2));
        assert!(!starves(&before, &after(20, 1500), 2), "it waits for something else");
        assert!(!starves(&before, &after(300, 0), 2), "it gets something");
    }
}
