//! The buildpacks run, in one container that starts once for all of them: a container start costs
//! a quarter of a second. Config vars are there as files on a tmpfs for as long as it runs.

use super::cache::read_small;
use super::detect::Choice;
use super::output::OutputSink;
use super::pace::Pace;
use super::release_yaml::{BinRelease, FirstDeploy};
use super::volume::{USER, Volume, WORK};
use super::{BuildFailure, BuildInput, Builder};
use crate::engine::{ContainerSpec, Ended, EventAction, LABEL_APP, LABEL_KIND, Labels, Mount};
use crate::error::{Context, Error, Result};
use crate::model::{Buildpack, Procfile};
use crate::{limits, tasks};
use futures_util::StreamExt;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;
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
const CA_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";

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
}

impl Builder {
    /// Runs the buildpacks to their end.
    pub(super) async fn compile(
        &self,
        input: &BuildInput,
        volume: &Volume,
        choice: &Choice,
        out: &OutputSink,
        cancel: &CancellationToken,
    ) -> Result<Compiled, BuildFailure> {
        let env_dir =
            EnvDir::create(&self.env_home(), &input.build.to_string(), input.config.iter())?;
        let spec = self.spec(input, volume, choice, &env_dir.0)?;
        let (ended, starved, crowded) = self.run_watched(&spec, out, cancel).await?;
        if cancel.is_cancelled() {
            return Err(BuildFailure::Cancelled);
        }
        let limits = &self.settings.build_limits;
        let too_much = BuildFailure::OutOfMemory { megabytes: limits.memory_bytes >> 20 };
        // Said even if the build made do without the process that was killed for it.
        too_much.limit().filter(|_| starved).into_iter().for_each(|line| out.note(line));
        let failure = match ended {
            Ended::Exited { code: 0, .. } => return results(volume, choice),
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

    /// Where the config vars of running builds are.
    pub(super) fn env_home(&self) -> PathBuf {
        self.settings.run_dir.join("build-env")
    }

    pub(super) fn spec(
        &self,
        input: &BuildInput,
        volume: &Volume,
        choice: &Choice,
        env_dir: &Path,
    ) -> Result<ContainerSpec> {
        let writable = [
            (volume.path(WORK), "/work"),
            (volume.work("app"), "/app"),
            (volume.work("tmp"), "/tmp"),
        ];
        let mut mounts = Vec::from(writable.map(|(source, target)| Mount {
            source,
            target: target.to_string(),
            read_only: false,
        }));
        let mut read_only = |source: &Path, target: &str| {
            let (source, target) = (source.to_path_buf(), target.to_string());
            mounts.push(Mount { source, target, read_only: true });
        };
        read_only(&self.buildpacks()?.dir, "/buildpacks");
        read_only(env_dir, "/env");
        if self.settings.build_ca_file.is_file() {
            read_only(&self.settings.build_ca_file, CA_FILE);
        }
        let limits = &self.settings.build_limits;
        let mode = if choice.chosen { "chosen" } else { "auto" };
        let mut command: Vec<String> =
            ["/bin/bash", "/buildpacks/driver", mode].map(str::to_string).to_vec();
        command.push(limits::BUILDPACK_FETCH.as_secs().to_string());
        command.extend(choice.arguments());
        Ok(ContainerSpec {
            name: container_name(input),
            image: self.settings.build_image.clone(),
            command,
            user: format!("{USER}:{USER}"),
            working_dir: "/work/build".to_string(),
            env: environment(input, self.settings.python_mirror.as_deref()),
            labels: Labels::from([
                (LABEL_KIND.to_string(), "build".to_string()),
                (LABEL_APP.to_string(), input.app.to_string()),
            ]),
            mounts,
            memory_bytes: limits.memory_limit_bytes,
            cpu_shares: limits.cpu_shares,
            pids: limits.pids,
            open_files: limits.open_files,
            read_only_root: true,
            keep_log: false,
            background: true,
            ..ContainerSpec::default()
        })
    }

    /// Runs the container, and tells besides whether it was at its limit of processes when its
    /// time was nearly over: what forks without end does not end by itself.
    async fn run_watched(
        &self,
        spec: &ContainerSpec,
        out: &OutputSink,
        cancel: &CancellationToken,
    ) -> Result<(Ended, bool, bool)> {
        let limit = Duration::from_secs(self.settings.build_timeout);
        let look = async {
            tokio::time::sleep(limit.saturating_sub(limits::BUILD_LAST_LOOK)).await;
            let usage = self.engine.usage(&spec.name).await;
            usage.is_ok_and(|usage| {
                let processes = usage.map_or(0, |usage| usage.processes);
                processes.saturating_mul(100) >= spec.pids * limits::NEAR_LIMIT_PERCENT
            })
        };
        let run = self.run(spec, out, cancel);
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

    /// Runs the container, and tells whether any process in it was killed for want of memory.
    pub(super) async fn run(
        &self,
        spec: &ContainerSpec,
        out: &OutputSink,
        cancel: &CancellationToken,
    ) -> Result<(Ended, bool)> {
        let (send, mut receive) = mpsc::channel(limits::BUILD_PIECES_TOGETHER);
        let limit = Duration::from_secs(self.settings.build_timeout);
        let mut run = self.engine.run(spec, send, limit);
        let mut events = match self.engine.events().await {
            Ok(events) => events.boxed(),
            Err(_) => futures_util::stream::pending().boxed(),
        };
        let (mut starved, mut cancelled) = (false, false);
        let mut pace = Pace::new();
        let ended = loop {
            tokio::select! {
                Some(taken) = pace.take(&mut receive, out) => out.bytes(&taken),
                ended = &mut run => break ended,
                Some(event) = events.next(), if !starved => {
                    if event.action == EventAction::OutOfMemory {
                        let ours = self.engine.inspect(&spec.name).await?;
                        starved = ours.is_some_and(|ours| ours.id == event.container);
                    }
                }
                () = cancel.cancelled(), if !cancelled => {
                    cancelled = true;
                    self.engine.remove(&spec.name).await?;
                }
                // It may not have been there yet.
                () = tokio::time::sleep(limits::BUILD_CANCEL_RETRY), if cancelled => {
                    self.engine.remove(&spec.name).await?;
                }
            }
        };
        while let Ok(output) = receive.try_recv() {
            out.bytes(&output.bytes);
        }
        // After an exit nothing is left in it; otherwise it must be gone before we go on.
        if !matches!(ended, Ok(Ended::Exited { .. })) {
            self.engine.remove(&spec.name).await?;
        }
        Ok((ended?, starved))
    }
}

/// The container of a build, by which it can be ended.
pub(super) fn container_name(input: &BuildInput) -> String {
    format!("senryu-build-{}", input.build)
}

/// Heroku's minimal environment: no config vars.
fn environment(input: &BuildInput, python_mirror: Option<&str>) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", "/app"),
        ("LANG", "C.UTF-8"),
        ("STACK", &input.stack),
        ("SOURCE_VERSION", input.source.version().unwrap_or_default()),
        ("REQUEST_ID", &input.build.to_string()),
        // Directories listed in CACHE_DIR/.senryu-keep come back without being copied.
        ("SENRYU_KEEP", "1"),
        // Each tool has its own idea of where the CA bundle is.
        ("SSL_CERT_FILE", CA_FILE),
        ("NODE_EXTRA_CA_CERTS", CA_FILE),
        ("npm_config_cafile", CA_FILE),
        ("PIP_CERT", CA_FILE),
        ("REQUESTS_CA_BUNDLE", CA_FILE),
        ("CURL_CA_BUNDLE", CA_FILE),
        ("GIT_SSL_CAINFO", CA_FILE),
    ]
    .map(|(key, value)| (key.to_string(), value.to_string()))
    .to_vec();
    env.extend(proxies());
    // The buildpack lets an app's config var of this name win.
    let mirror = python_mirror.map(|url| ("UV_PYTHON_INSTALL_MIRROR".to_string(), url.to_string()));
    env.extend(mirror);
    env
}

/// Those of the server's variables that tell programs how to reach the outside.
pub(super) fn proxies() -> impl Iterator<Item = (String, String)> {
    PROXY.iter().filter_map(|key| Some((key.to_string(), std::env::var(key).ok()?)))
}

/// One file for each config var, removed when the build ends.
pub(super) struct EnvDir(pub PathBuf);

impl EnvDir {
    pub fn create<'a>(
        home: &Path,
        name: &str,
        config: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self> {
        let dir = home.join(name);
        let write = || -> std::io::Result<()> {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(home)?;
            fs::DirBuilder::new().mode(0o700).create(&dir)?;
            for (key, value) in config {
                let mut options = fs::File::options();
                let mut file =
                    options.write(true).create_new(true).mode(0o400).open(dir.join(key))?;
                file.write_all(value.as_bytes())?;
                fchown(&file, Some(USER), Some(USER))?;
            }
            chown(&dir, Some(USER), Some(USER))
        };
        let made = Self(dir.clone());
        write().context("write the config vars for the build")?;
        Ok(made)
    }
}

impl Drop for EnvDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, "the config vars of a build are still in the run directory");
        }
    }
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
fn results(volume: &Volume, choice: &Choice) -> Result<Compiled, BuildFailure> {
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
    })
}

/// Makes sure that config vars of builds never reach a disk: what is not on a tmpfs gets one.
pub(super) async fn prepare_env_home(home: PathBuf) -> Result<()> {
    tasks::blocking("prepare the directory of config vars", move || {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&home).context("make it")?;
        // Left by builds that a kill of the server cut short.
        for entry in fs::read_dir(&home).context("list it")?.flatten() {
            fs::remove_dir_all(entry.path()).context("remove old config vars")?;
        }
        let kind = nix::sys::statfs::statfs(&home).context("look at it")?.filesystem_type();
        if kind == nix::sys::statfs::TMPFS_MAGIC {
            return Ok(());
        }
        let flags = nix::mount::MsFlags::MS_NOSUID | nix::mount::MsFlags::MS_NODEV;
        nix::mount::mount(Some("tmpfs"), &home, Some("tmpfs"), flags, Some("size=64m,mode=0700"))
            .context("mount a tmpfs for config vars")
    })
    .await
}
