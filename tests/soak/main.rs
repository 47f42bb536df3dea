//! The soak: a real installation under load while everything that can happen to it happens, in an
//! order that a seed decides. It tells what failed, keeps every request in a file, and exits 1 if
//! a single promise was broken. `scripts/soak` runs it; `--crash` kills the server in each phase
//! of a deploy and looks for what is left behind.

mod bounds;
mod crash;
mod engine;
mod faults;
mod host;
mod http;
mod leftovers;
mod load;
mod misbehave;
mod numbers;
mod outage;
mod platform;
mod rush;
mod stolen;

use anyhow::{Context, Result};
use clap::Parser;
use engine::Engine;
use platform::Platform;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "soak", about = "Load and faults against a platform of its own")]
pub struct Options {
    /// Decides the order of faults and every pause; printed, so that a run can be repeated
    #[arg(long)]
    seed: Option<u64>,
    /// Few faults: minutes instead of a quarter of an hour
    #[arg(long)]
    quick: bool,
    /// Kills the server in each phase of a deploy
    #[arg(long)]
    crash: bool,
    /// Lets an app misbehave in every way, and measures what another one notices
    #[arg(long, conflicts_with = "crash")]
    misbehave: bool,
    /// Only this case of --misbehave; may be given several times
    #[arg(long, value_name = "NAME", requires = "misbehave")]
    case: Vec<String>,
    /// Ten pushes to ten apps at once, against the same ten in a row
    #[arg(long, conflicts_with_all = ["crash", "misbehave"])]
    rush: bool,
    /// What happens to a host, done to a Docker of its own; scripts/soak gives it namespaces
    #[arg(long)]
    host_events: bool,
    /// Kills in each phase
    #[arg(long, default_value_t = 5)]
    kills: usize,
    /// Only this phase of --crash
    #[arg(long)]
    phase: Option<String>,
    /// Requests a second, all clients together
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// Lines a second of the worker that numbers its lines
    #[arg(long, default_value_t = 5000)]
    lines: u64,
    #[arg(long, default_value_t = 5790)]
    port: u16,
    /// The binary to test
    #[arg(long, env = "SENRYU_SOAK_BINARY")]
    binary: Option<PathBuf>,
    /// Leaves the installation running at the end
    #[arg(long)]
    keep: bool,
    // What `cargo test` may pass.
    #[arg(long, hide = true)]
    nocapture: bool,
}

/// What broke a promise, in the order it was found.
#[derive(Default)]
pub struct Report {
    pub broken: Vec<String>,
    pub told: Vec<String>,
    /// What this machine does not allow to be shown.
    pub not_tried: Vec<&'static str>,
}

impl Report {
    pub fn tell(&mut self, line: String) {
        println!("{line}");
        self.told.push(line);
    }

    pub fn not_tried(&mut self, what: &'static str, why: &str) {
        self.tell(format!("{what}: not tried, {why}"));
        self.not_tried.push(what);
    }

    pub fn broken(&mut self, line: String) {
        println!("BROKEN: {line}");
        self.broken.push(line);
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<bool> {
    let seed = options.seed.unwrap_or_else(rand::random);
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let binary = options
        .binary
        .clone()
        .or_else(|| option_env!("CARGO_BIN_EXE_senryu").map(PathBuf::from))
        .context("--binary is missing")?;
    let fixture = root.join("tests/fixtures/apps/tiny");
    let mut settings = vec!["--log-megabytes=8192".to_string()];
    if options.misbehave {
        settings = misbehave::SETTINGS.map(str::to_string).to_vec();
    }
    let mut platform = Platform::new(&binary, &fixture, options.port, settings)?;
    println!("seed {seed}, in {}", platform.dir.display());
    let mut report = Report::default();
    let mut engine = None;
    if options.host_events {
        engine = Some(own_engine(&mut platform).await?);
    }
    let result = tokio::select! {
        result = async {
            platform.set_up().await?;
            if let Some(engine) = &mut engine {
                host::run(&platform, engine, &mut report).await
            } else if options.misbehave {
                let fixture = root.join("tests/fixtures/apps/rogue");
                misbehave::run(&platform, &fixture, &options.case, &mut report).await
            } else if options.rush {
                rush::run(&platform, &mut report).await
            } else if options.crash {
                crash::run(&platform, options, seed, &mut report).await
            } else {
                faults::run(&platform, options, seed, &mut report).await
            }
        } => result,
        () = stopped() => Err(anyhow::anyhow!("interrupted")),
    };
    if let Err(error) = &result {
        report.broken(format!("the soak could not go on: {error:#}"));
    }
    if !options.keep {
        if let Some(engine) = engine {
            platform.kill_server().await?;
            engine.remove().await?;
        }
        platform.tear_down().await?;
    }
    let verdict = match report.broken.len() {
        0 => "every promise was kept".to_string(),
        count => format!("{count} promises were broken"),
    };
    let verdict = match report.not_tried.is_empty() {
        true => verdict,
        false => format!("{verdict}; NOT TRIED: {}", report.not_tried.join(", ")),
    };
    report.tell(format!("{verdict} (seed {seed}); results in {}", platform.results().display()));
    let all = report.told.iter().chain(&report.broken);
    let text: String = all.map(|line| format!("{line}\n")).collect();
    std::fs::write(platform.results().join("report.txt"), text)?;
    Ok(report.broken.is_empty())
}

/// A Docker of the soak's own, the stack as an archive, and the data on a small disk.
async fn own_engine(platform: &mut Platform) -> Result<Engine> {
    // It would give the bridge of the host's Docker another address.
    let networks = std::fs::read_to_string("/proc/net/dev")?;
    anyhow::ensure!(!networks.contains("docker0:"), "run it by scripts/soak, in a network apart");
    let dir = platform.dir.clone();
    let stack = dir.join("stack.tar");
    let data = platform.data_dir();
    std::fs::create_dir(&data)?;
    let said = engine::shell(&format!(
        "set -e; docker save -o {0} senryu/stack:run senryu/stack:build; \
         truncate -s 5G {1}/disk.img; mkfs.ext4 -qF {1}/disk.img; mount -o loop {1}/disk.img {2}; \
         echo well",
        stack.display(),
        dir.display(),
        data.display()
    ))
    .await;
    anyhow::ensure!(said.ends_with("well\n"), "stack and disk: {said}");
    let engine = Engine::start(&dir).await?;
    platform.use_docker(Engine::socket(&dir), &stack);
    Ok(engine)
}

/// Ctrl-C, or a time limit from outside: what was made is removed all the same.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
