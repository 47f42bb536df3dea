//! The buildpacks run, all of them in one container, which stands by or starts now.

use super::cache::read_small;
use super::detect::Choice;
use super::output::OutputSink;
use super::pace::Pace;
use super::release_yaml::{BinRelease, FirstDeploy};
use super::standby::{Running, Standby};
use super::volume::Volume;
use super::{BuildFailure, BuildInput, Builder};
use crate::engine::ahead::Ahead;
use crate::engine::{Ended, EventAction};
use crate::error::{Context, Error, Result};
use crate::limits;
use crate::model::{Buildpack, Procfile};
use futures_util::StreamExt;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Exit codes of `driver.sh`.
const NOTHING_DETECTED: i64 = 10;
const NOT_COMPATIBLE: i64 = 11;
const COMPILE_FAILED: i64 = 12;
const RELEASE_FAILED: i64 = 13;
const NOT_FETCHED: i64 = 14;
const NO_SUBMODULES: i64 = 15;
const PROCFILE_REFUSED: i64 = 16;
const TOO_MANY_PROCESSES: i64 = 17;
/// Variables of the server that tell programs how to reach the outside.
const PROXY: [&str; 8] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
];

/// What the buildpacks made of the build directory.
pub struct Compiled {
    /// All that ran, in their order.
    pub buildpacks: Vec<Buildpack>,
    /// Whether they were found rather than chosen.
    pub detected: bool,
    /// `Node.js`, of the last one.
    pub language: String,
    pub defaults: Procfile,
    pub first: FirstDeploy,
    /// The Procfile's bytes; none when the app has none.
    pub procfile: Option<Vec<u8>>,
    pub buildpack_millis: i64,
    /// The load of the image, which has begun meanwhile.
    pub ahead: Option<Ahead>,
}

impl Builder {
    /// Runs the buildpacks to their end.
    pub(super) async fn compile(
        &self,
        input: &BuildInput,
        volume: &Volume,
        choice: &Choice,
        standby: Option<Standby>,
        out: &OutputSink,
        cancel: &CancellationToken,
    ) -> Result<Compiled, BuildFailure> {
        let words = order(input, choice);
        let ready = match standby.filter(Standby::stands) {
            Some(standby) => standby.order(input.config.iter(), &words)?,
            None => None,
        };
        let started = match ready {
            Some(running) => Some(running),
            None => self.stand_by(input.app, volume)?.order(input.config.iter(), &words)?,
        };
        let running =
            started.ok_or_else(|| Error::unavailable("The build's container has gone"))?;
        let ahead = Ahead::begin(&self.engine)?;
        let (ended, starved, crowded) = self.run_watched(running, volume, out, cancel).await?;
        if cancel.is_cancelled() {
            return Err(BuildFailure::Cancelled);
        }
        let limits = &self.settings.build_limits;
        let too_much = BuildFailure::OutOfMemory { megabytes: limits.memory_bytes >> 20 };
        // Said even if the build made do without the process that was killed for it.
        too_much.limit().filter(|_| starved).into_iter().for_each(|line| out.note(line));
        let failure = match ended {
            Ended::Exited { code: 0, .. } => {
                let compiled = results(volume, choice)?;
                return Ok(Compiled { ahead: Some(ahead), ..compiled });
            }
            Ended::TimedOut => BuildFailure::TimedOut {
                language: language(volume),
                minutes: self.settings.build_timeout.div_ceil(60),
                processes: crowded.then_some(limits.pids),
            },
            Ended::Exited { out_of_memory, .. } if out_of_memory || starved => too_much,
            Ended::Exited { .. } if volume.is_full() => {
                BuildFailure::DiskFull { megabytes: volume.megabytes() }
            }
            Ended::Exited { code: TOO_MANY_PROCESSES, .. } => {
                BuildFailure::Processes { count: limits.pids }
            }
            Ended::Exited { code, .. } => failure(code, volume),
        };
        Err(failure)
    }

    /// Runs the container, and tells besides whether it was at its limit of processes when its
    /// time was nearly over: what forks without end does not end by itself.
    async fn run_watched(
        &self,
        running: Running,
        volume: &Volume,
        out: &OutputSink,
        cancel: &CancellationToken,
    ) -> Result<(Ended, bool, bool)> {
        let limit = Duration::from_secs(self.settings.build_timeout);
        let name = running.name.clone();
        let look = async {
            tokio::time::sleep(limit.saturating_sub(limits::BUILD_LAST_LOOK)).await;
            let usage = self.engine.usage(&name).await;
            usage.is_ok_and(|usage| {
                let processes = usage.map_or(0, |usage| usage.processes);
                let most = self.settings.build_limits.pids;
                processes.saturating_mul(100) >= most * limits::NEAR_LIMIT_PERCENT
            })
        };
        let run = self.follow(running, limit, out, cancel, || is_done(volume));
        tokio::pin!(look, run);
        let mut crowded = None;
        loop {
            tokio::select! {
                ran = &mut run => {
                    let (ended, starved) = ran?;
                    return Ok((ended, starved, crowded.unwrap_or(false)));
                }
                found = &mut look, if crowded.is_none() => crowded = Some(found),
            }
        }
    }

    /// Sees a container to its end, and tells whether any process in it was killed for want of
    /// memory. It has so long from now. Where it is empty and `done` its end is not waited for.
    pub(super) async fn follow(
        &self,
        running: Running,
        limit: Duration,
        out: &OutputSink,
        cancel: &CancellationToken,
        done: impl Fn() -> bool,
    ) -> Result<(Ended, bool)> {
        let Running { name, output: mut receive, mut ended, .. } = running;
        let mut events = match self.engine.events().await {
            Ok(events) => events.boxed(),
            Err(_) => futures_util::stream::pending().boxed(),
        };
        let background = self.engine.keep_in_background(&name);
        let time = tokio::time::sleep(limit);
        let emptied = self.engine.emptied(&name);
        tokio::pin!(background, time, emptied);
        let (mut lowered, mut empty) = (false, false);
        let (mut starved, mut cancelled) = (false, false);
        let mut pace = Pace::new();
        let ended = loop {
            tokio::select! {
                Some(taken) = pace.take(&mut receive, out) => out.bytes(&taken),
                ended = &mut ended => {
                    break ended.context("run a container").and_then(|ended| ended);
                }
                () = &mut emptied, if !empty => {
                    empty = true;
                    if done() {
                        break Ok(Ended::Exited { code: 0, out_of_memory: false });
                    }
                }
                () = &mut time => break Ok(Ended::TimedOut),
                () = &mut background, if !lowered => lowered = true,
                Some(event) = events.next(), if !starved => {
                    if event.action == EventAction::OutOfMemory {
                        let ours = self.engine.inspect(&name).await?;
                        starved = ours.is_some_and(|ours| ours.id == event.container);
                    }
                }
                () = cancel.cancelled(), if !cancelled => {
                    cancelled = true;
                    self.engine.remove(&name).await?;
                }
                // It may not have been there yet.
                () = tokio::time::sleep(limits::BUILD_CANCEL_RETRY), if cancelled => {
                    self.engine.remove(&name).await?;
                }
            }
        };
        while let Ok(output) = receive.try_recv() {
            out.bytes(&output.bytes);
        }
        // After an exit nothing is left in it, and what it said last is on its way; otherwise it
        // must be gone before we go on.
        match ended {
            Ok(Ended::Exited { .. }) => {
                let rest = tokio::time::timeout(limits::BUILD_LAST_OUTPUT, async {
                    while let Some(output) = receive.recv().await {
                        out.bytes(&output.bytes);
                    }
                });
                if rest.await.is_err() {
                    tracing::warn!(container = name, "the end of a build's output has not come");
                }
            }
            _ => self.engine.remove(&name).await?,
        }
        Ok((ended?, starved))
    }
}

/// The beginning of the names of a build's containers but for that of its buildpacks.
pub(super) fn container_name(input: &BuildInput) -> String {
    format!("senryu-build-{}", input.build)
}

/// What `driver.sh` is told.
fn order(input: &BuildInput, choice: &Choice) -> Vec<String> {
    let mut words = vec![
        input.stack.clone(),
        input.source.version().unwrap_or_default().to_string(),
        input.build.to_string(),
        if choice.chosen { "chosen" } else { "auto" }.to_string(),
        limits::BUILDPACK_FETCH.as_secs().to_string(),
    ];
    words.extend(choice.arguments());
    words
}

/// Those of the server's variables that tell programs how to reach the outside.
pub(super) fn proxies() -> impl Iterator<Item = (String, String)> {
    PROXY.iter().filter_map(|key| Some((key.to_string(), std::env::var(key).ok()?)))
}

/// Whether the driver has come to its good end.
fn is_done(volume: &Volume) -> bool {
    first_line(volume, "done").is_some()
}

fn result(volume: &Volume, name: &str) -> Option<Vec<u8>> {
    read_small(&volume.work("result").join(name)).ok()
}

pub(super) fn first_line(volume: &Volume, name: &str) -> Option<String> {
    let content = result(volume, name)?;
    let line = content.split(|byte| *byte == b'\n').next()?;
    let line: String = String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).collect();
    let line = line.trim().chars().take(100).collect::<String>();
    (!line.is_empty()).then_some(line)
}

/// What the driver's exit status says.
fn failure(code: i64, volume: &Volume) -> BuildFailure {
    match code {
        NOTHING_DETECTED => BuildFailure::NothingDetected,
        NOT_COMPATIBLE => BuildFailure::NotCompatible { buildpack: buildpack(volume) },
        COMPILE_FAILED => BuildFailure::Compile { language: language(volume) },
        RELEASE_FAILED => BuildFailure::Release {
            language: language(volume),
            reason: "it exited with an error".to_string(),
        },
        NOT_FETCHED => BuildFailure::NotFetched { buildpack: buildpack(volume) },
        NO_SUBMODULES => BuildFailure::Submodules,
        PROCFILE_REFUSED => BuildFailure::ProcfileRefused,
        _ => BuildFailure::Platform(Error::internal(
            "the build container ended",
            format!("exit status {code}"),
        )),
    }
}

fn buildpack(volume: &Volume) -> String {
    first_line(volume, "buildpack").unwrap_or_default()
}

fn language(volume: &Volume) -> String {
    first_line(volume, "detected").unwrap_or_else(|| buildpack(volume))
}

/// Reads what the driver wrote. The build could have written it too, and would deceive itself.
pub(super) fn results(volume: &Volume, choice: &Choice) -> Result<Compiled, BuildFailure> {
    let language = language(volume);
    let release = result(volume, "release").unwrap_or_default();
    let release = String::from_utf8_lossy(&release);
    let release = BinRelease::parse(&release)
        .map_err(|reason| BuildFailure::Release { language: language.clone(), reason })?;
    let procfile = result(volume, "procfile");
    let micros = first_line(volume, "micros").and_then(|text| text.parse::<i64>().ok());
    let buildpack_millis = micros.unwrap_or(0).max(0) / 1000;
    let all = choice.packs.iter().map(|pack| pack.buildpack.clone());
    let last = buildpack(volume);
    let ran = all.filter(|buildpack| choice.chosen || buildpack.to_string() == last).collect();
    Ok(Compiled {
        buildpacks: ran,
        detected: !choice.chosen,
        language,
        defaults: release.process_types,
        first: release.first,
        procfile,
        buildpack_millis,
        ahead: None,
    })
}
