//! What dynos and builds use is measured now and then, and held against their limits. Whoever is
//! over one is named in the app's log; a dyno or build that fills the disk is ended. Between
//! measurements only the free disk is looked at: if it empties fast, all are measured at once.

mod culprit;
mod disk;
mod finding;
mod kernel_log;
mod processes;

pub use finding::{STARVED, starved_lines};
pub use kernel_log::{HOST_SHORT, HOST_SHORT_LINE, host_was_short};

use super::events::Event;
use super::execute::Executor;
use super::one_off::Register;
use super::spec::{LABEL_DYNO_ID, LABEL_SIZE};
use crate::engine::{Container, ContainerStatus, LABEL_APP, LABEL_DYNO, LABEL_KIND, LABEL_RELEASE};
use crate::error::Result;
use crate::logs::LogLine;
use crate::model::{AppId, Size};
use crate::{limits, tasks};
use culprit::{Before, Culprit, Free};
use finding::Finding;
use futures_util::StreamExt;
use processes::Processes;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// One running container that is watched.
#[derive(Debug, Clone)]
struct Watched {
    container: String,
    app: AppId,
    /// As in the log: `web.1`, `build`.
    name: String,
    /// None for builds.
    dyno: Option<Uuid>,
    size: Size,
    /// Its process 1, on the host.
    pid: Option<u32>,
    /// Where what it writes is on the host; builds write to a volume with a limit of its own.
    written: Option<PathBuf>,
}

/// What one container was seen to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Measured {
    /// Nanoseconds of the CPU since it began, and when that was read.
    cpu: Option<(u64, Instant)>,
    memory_bytes: i64,
    processes: i64,
    /// Of the process that has most.
    open_files: i64,
    disk_bytes: i64,
    disk_files: u64,
}

pub struct Watch {
    executor: Executor,
    known: BTreeMap<String, Watched>,
    /// Free bytes when all dynos' disks were last measured.
    free_then: u64,
    /// The disk is short, and that was logged.
    short: bool,
    /// What each container had used of the CPU when it was last measured, and when that was.
    used: BTreeMap<String, (u64, Instant)>,
    /// None until the dynos' disks were first measured: what they have by then is not their growth.
    before: Option<Before>,
    /// When something was last ended because the disk was short.
    ended_at: Option<Instant>,
}

impl Watch {
    pub fn spawn(executor: Executor) {
        let (known, free_then) = (BTreeMap::new(), u64::MAX);
        let used = BTreeMap::new();
        let (before, ended_at) = (None, None);
        let watch = Self { executor, known, free_then, short: false, used, before, ended_at };
        tasks::spawn("usage", watch.run());
    }

    async fn run(mut self) {
        let period = Duration::from_secs(self.executor.settings.sample_period);
        let mut next = Instant::now() + period;
        loop {
            tokio::time::sleep(limits::DISK_PERIOD).await;
            let due = Instant::now() >= next;
            if due {
                next = Instant::now() + period;
            }
            if let Err(error) = self.measure(due).await {
                tracing::warn!(error = error.chain(), "what dynos use could not be measured");
            }
        }
    }

    async fn measure(&mut self, due: bool) -> Result<()> {
        if self.disk_is_urgent() {
            self.measure_disks().await?;
        }
        // A disk that stays short hides no other limit.
        if due { self.measure_all().await } else { Ok(()) }
    }

    /// Whether the disk is short, or was filled fast since it was last looked at.
    fn disk_is_urgent(&mut self) -> bool {
        let Ok(free) = self.free() else { return false };
        let lost = self.free_then.saturating_sub(free.bytes());
        self.free_then = self.free_then.max(free.bytes());
        let is_fast = self.free_then != u64::MAX && lost > limits::DISK_ALARM_BYTES;
        is_fast || free.is_short(self.executor.settings.disk_reserve)
    }

    fn free(&self) -> Result<Free> {
        Free::look(self.executor.engine.as_ref(), &self.executor.settings)
    }

    async fn measure_all(&mut self) -> Result<()> {
        self.list().await?;
        let processes = tasks::blocking("look at processes", || Ok(Processes::look())).await?;
        let processes = Arc::new(processes);
        let executor = &self.executor;
        let watched: Vec<Watched> = self.known.values().cloned().collect();
        let all: Vec<(Watched, Measured)> = futures_util::stream::iter(watched)
            .map(|watched| {
                let processes = processes.clone();
                async move {
                    let measured = measure(executor, &watched, &processes).await;
                    measured.map(|measured| (watched, measured))
                }
            })
            .buffer_unordered(limits::PARALLEL_SAMPLES)
            .filter_map(std::future::ready)
            .collect()
            .await;
        let free = self.free();
        self.free_then = free.as_ref().map_or(u64::MAX, Free::bytes);
        if let Ok(free) = free
            && !free.is_short(self.executor.settings.disk_reserve)
        {
            let written = all.iter().map(|(watched, measured)| {
                (watched.container.clone(), measured.disk_bytes.unsigned_abs())
            });
            let known = self.known.keys().cloned();
            self.before = Some(Before::new(free, known, written.collect()));
            self.short = false;
        }
        let before = std::mem::take(&mut self.used);
        for (watched, measured) in all {
            self.count(&before, &watched, &measured);
            for finding in finding::all(&watched.size, &measured, watched.dyno.is_some()) {
                self.act(&watched, &finding).await;
            }
        }
        Ok(())
    }

    /// Adds to the metrics what a dyno uses.
    fn count(
        &mut self,
        before: &BTreeMap<String, (u64, Instant)>,
        watched: &Watched,
        measured: &Measured,
    ) {
        let (true, Some((nanos, now))) = (watched.dyno.is_some(), measured.cpu) else { return };
        let cpu = before.get(&watched.container).map(|then| thousandths(*then, (nanos, now)));
        self.used.insert(watched.container.clone(), (nanos, now));
        let metrics = &self.executor.metrics;
        metrics.sample(watched.app, &watched.name, cpu, measured.memory_bytes);
    }

    /// Ends every dyno that has written too much, and, if the disk is short all the same, whoever
    /// fills it.
    async fn measure_disks(&mut self) -> Result<()> {
        self.list().await?;
        let processes = tasks::blocking("look at processes", || Ok(Processes::look())).await?;
        let processes = Arc::new(processes);
        let mut written = BTreeMap::new();
        let watched: Vec<Watched> = self.known.values().cloned().collect();
        for watched in watched.into_iter().filter(|watched| watched.dyno.is_some()) {
            let found = tasks::blocking("look at a dyno's disk", {
                let (watched, processes) = (watched.clone(), processes.clone());
                move || Ok(disk::written(&watched, &processes))
            });
            let found = found.await?;
            let measured = Measured {
                disk_bytes: i64::try_from(found.bytes).unwrap_or(i64::MAX),
                disk_files: found.files,
                ..Measured::default()
            };
            let findings = finding::all(&watched.size, &measured, true);
            for finding in &findings {
                self.act(&watched, finding).await;
            }
            if findings.is_empty() {
                written.insert(watched.container, found.bytes);
            }
        }
        let free = self.free()?;
        self.free_then = free.bytes();
        let short = free.is_short(self.executor.settings.disk_reserve);
        if short && !self.short {
            tracing::error!(free_bytes = free.bytes(), "the disk is short of space or of inodes");
        }
        self.short = short;
        if short {
            self.end_culprit(free, written).await;
        } else {
            self.before = Some(Before::new(free, self.known.keys().cloned(), written));
        }
        Ok(())
    }

    /// Ends the dyno or the build that fills a disk which is short.
    async fn end_culprit(&mut self, free: Free, written: BTreeMap<String, u64>) {
        // What was ended needs a moment to give its room back.
        let recent = |at: Instant| at.elapsed() < limits::DISK_CULPRIT_PAUSE;
        if self.ended_at.is_some_and(recent) {
            return;
        }
        let reserve = self.executor.settings.disk_reserve;
        let build = self.known.values().find(|watched| watched.dyno.is_none()).cloned();
        let now = Before::new(free, self.known.keys().cloned(), written.clone());
        let Some(before) = &self.before else {
            self.before = Some(now);
            return;
        };
        let found = match before.culprit(free, reserve, &written, build.is_some()) {
            Some(Culprit::Dyno(container, bytes)) => self
                .known
                .get(container)
                .cloned()
                .map(|watched| (watched, Finding::HostDisk { bytes, reserve })),
            Some(Culprit::Build) => build.map(|build| (build, Finding::HostDiskBuild { reserve })),
            None => None,
        };
        let Some((watched, finding)) = found else { return };
        self.ended_at = Some(Instant::now());
        self.before = Some(now);
        self.act(&watched, &finding).await;
    }

    async fn act(&self, watched: &Watched, finding: &Finding) {
        let lines = finding.lines().into_iter();
        let lines = lines.map(|text| LogLine::heroku(watched.name.clone(), text)).collect();
        if let (Some(reason), Some(dyno)) = (finding.ends(), watched.dyno) {
            let _ = self.executor.events.send(Event::Killed { dyno, reason }).await;
        }
        self.executor.logs.write(watched.app, lines).await;
        if finding.ends().is_some() {
            self.executor.signal(&watched.container, "SIGKILL");
        }
    }

    /// The containers that run now. Process and disk of one are asked for once.
    async fn list(&mut self) -> Result<()> {
        let containers = self.executor.engine.list().await?;
        let mut known = BTreeMap::new();
        for listed in containers {
            if listed.status != ContainerStatus::Running {
                continue;
            }
            if let Some(watched) = self.known.remove(&listed.id) {
                known.insert(listed.id, watched);
                continue;
            }
            let Some(found) = self.executor.engine.inspect(&listed.id).await? else { continue };
            if let Some(watched) = watched(&self.executor, &found) {
                known.insert(listed.id, watched);
            }
        }
        self.known = known;
        Ok(())
    }
}

/// Of a core, used between two readings.
fn thousandths(then: (u64, Instant), now: (u64, Instant)) -> u64 {
    let passed = now.1.saturating_duration_since(then.1).as_micros().max(1);
    // Nanoseconds in a microsecond are thousandths. A container that was started anew counts anew.
    u64::try_from(u128::from(now.0.saturating_sub(then.0)) / passed).unwrap_or(u64::MAX)
}

/// What is known of a container by its labels; `None` for what is neither dyno nor build.
fn watched(executor: &Executor, container: &Container) -> Option<Watched> {
    let label = |key: &str| container.labels.get(key).map(String::as_str);
    let app = label(LABEL_APP)?.parse().ok()?;
    let settings = &executor.settings;
    let is_dyno = match label(LABEL_KIND)? {
        "dyno" => true,
        "build" => false,
        _ => return None,
    };
    let dyno = label(LABEL_DYNO_ID).and_then(|id| id.parse().ok()).filter(|_| is_dyno);
    Some(Watched {
        container: container.id.clone(),
        app,
        name: label(LABEL_DYNO).unwrap_or("build").to_string(),
        dyno,
        size: match is_dyno {
            true => settings.dyno_sizes.stored(label(LABEL_SIZE).unwrap_or_default()),
            false => settings.build_limits,
        },
        pid: container.pid,
        written: container.written.clone().filter(|_| is_dyno),
    })
}

async fn measure(
    executor: &Executor,
    watched: &Watched,
    processes: &Arc<Processes>,
) -> Option<Measured> {
    let usage = match executor.engine.usage(&watched.container).await {
        Ok(usage) => usage?,
        Err(error) => {
            tracing::debug!(error = error.chain(), "a container could not be measured");
            return None;
        }
    };
    let read_at = Instant::now();
    let (watched, processes) = (watched.clone(), processes.clone());
    let looked = tasks::blocking("look at a dyno", move || {
        let open = watched.pid.map_or(0, |pid| processes.open_files(pid));
        Ok((open, disk::written(&watched, &processes)))
    });
    let (open_files, written) = looked.await.ok()?;
    Some(Measured {
        cpu: Some((usage.cpu_nanos, read_at)),
        memory_bytes: usage.memory_bytes,
        processes: usage.processes,
        open_files,
        disk_bytes: i64::try_from(written.bytes).unwrap_or(i64::MAX),
        disk_files: written.files,
    })
}

impl Executor {
    /// R15 of a dyno that the reconciler does not know (yet): a one-off, the release command, or
    /// one that starts. It is ended as a whole; a one-off does that and says so itself.
    pub fn name_starved(&self, container: &str, one_offs: &Register) {
        let (executor, container) = (self.clone(), container.to_string());
        let one_offs = one_offs.clone();
        tasks::spawn("name a starved dyno", async move {
            let Ok(Some(found)) = executor.engine.inspect(&container).await else { return };
            let Some(watched) = watched(&executor, &found) else { return };
            let Some(dyno) = watched.dyno.filter(|dyno| !one_offs.starve(*dyno)) else { return };
            let (reason, lines) = match host_was_short(&container).await {
                true => {
                    let line = LogLine::heroku(watched.name.clone(), HOST_SHORT_LINE);
                    (HOST_SHORT, vec![line])
                }
                false => (STARVED, starved_lines(&watched.size, &watched.name)),
            };
            let _ = executor.events.send(Event::Killed { dyno, reason }).await;
            executor.logs.write(watched.app, lines).await;
            tracing::info!(release = found.labels.get(LABEL_RELEASE), "a dyno used all its memory");
            executor.signal(&container, "SIGKILL");
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_what_was_used_between_two_readings() {
        let begin = Instant::now();
        let after = |seconds: u64| begin + Duration::from_secs(seconds);
        assert_eq!(thousandths((5_000_000_000, begin), (15_000_000_000, after(20))), 500);
        assert_eq!(thousandths((0, begin), (4_000_000_000, after(2))), 2000);
        assert_eq!(thousandths((9_000_000_000, begin), (1_000_000, after(20))), 0);
    }
}
