//! One app misbehaves in every way there is, as a dyno and as a build, while another one serves:
//! each case must be named in the log in time, no request of the other app may fail, and its 99th
//! percentile is told as a multiple of what it was when all was quiet.

use crate::Report;
use crate::load::{Load, Mix, Record};
use crate::platform::Platform;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::Duration;

const VICTIM: &str = "victim";
const ROGUE: &str = "rogue";
/// Requests are measured this long at least, quiet or not.
const MEASURED: Duration = Duration::from_secs(15);
/// By then the log must name what misbehaves.
const NAMED: Duration = Duration::from_secs(90);
/// What a user is to notice of it.
const RATIO: f64 = 2.0;

/// Settings of the platform: a look at every dyno each five seconds, and a disk that is soon full.
/// Builds end in time for a soak.
pub const SETTINGS: [&str; 3] =
    ["--sample-period=5", "--dyno-sizes=Standard-1X:disk=1024", "--build-timeout=180"];

/// Process type, its command, and the words that name it.
const DYNOS: [(&str, &str, &str); 10] = [
    ("crash", "exit 3", "Process exited with status 3"),
    ("deaf", "trap '' TERM; while :; do sleep 1; done", ""),
    ("bomb", "exec perl misbehave.pl processes", "Error S10 (Process limit)"),
    ("hog", "exec perl misbehave.pl memory 700", "Error R14 (Memory quota exceeded)"),
    (
        "child",
        "perl misbehave.pl memory 4000; sleep 600",
        "Error R15 (Memory quota vastly exceeded)",
    ),
    ("filler", "exec perl misbehave.pl disk", "Error S11 (Disk limit)"),
    ("removed", "exec perl misbehave.pl removed", "Error S11 (Disk limit)"),
    ("sockets", "exec perl misbehave.pl sockets", "Error S12 (Open files limit)"),
    ("flood", "exec perl misbehave.pl flood", "Error L12"),
    ("spin", "for n in 1 2 3 4; do while :; do :; done & done; wait", ""),
];

/// A build's script, what the push says of it, and the words that name it in the log.
const BUILDS: [(&str, &str, &str, &str); 4] = [
    (
        "memory",
        "perl misbehave.pl memory 9000",
        "The build needed more than its",
        "Error S15 (Build memory limit)",
    ),
    (
        "disk",
        "head -c 20G /dev/zero > filled",
        "The build's disk is full",
        "Error S16 (Build disk limit)",
    ),
    (
        "processes",
        "timeout --signal=KILL 20 perl misbehave.pl processes; exit 1",
        "The build ran into its limit of 4096 processes and threads",
        "Error S10 (Process limit)",
    ),
    ("loop", "while :; do :; done", "Timed out compiling", "Error S14 (Build time limit)"),
];

pub async fn run(platform: &Platform, fixture: &Path, report: &mut Report) -> Result<()> {
    platform.create_app(VICTIM, &[]).await?;
    platform.commit(VICTIM, "change.txt", b"first").await?;
    deploy(platform, VICTIM).await?;
    scale(platform, VICTIM, "web=2").await?;
    let mut files = Vec::new();
    for name in ["misbehave.pl", "server.js", "package.json"] {
        files.push((name, std::fs::read_to_string(fixture.join(name)).context("the fixture")?));
    }
    let types = DYNOS.iter().map(|(name, command, _)| format!("{name}: {command}\n"));
    files.push(("Procfile", format!("web: node server.js\n{}", types.collect::<String>())));
    files.push(("build.sh", "true\n".to_string()));
    let files: Vec<(&str, &str)> =
        files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    platform.create_app(ROGUE, &files).await?;
    platform.commit(ROGUE, "change.txt", b"first").await?;
    deploy(platform, ROGUE).await?;
    scale(platform, ROGUE, "web=0").await?;

    let quiet = measure(platform, async { Ok(()) }).await?.1;
    report.tell(format!("{:20} {}", "quiet", quiet.text()));
    for (process, _, words) in DYNOS {
        let misbehaves = async {
            scale(platform, ROGUE, &format!("{process}=1")).await?;
            let named = named(platform, process, words).await?;
            Ok(named)
        };
        let (named, seen) = measure(platform, misbehaves).await?;
        tell(report, &format!("dyno: {process}"), named, &seen, &quiet);
        scale(platform, ROGUE, &format!("{process}=0")).await?;
        ended(platform).await?;
    }
    for (what, script, told, words) in BUILDS {
        let misbehaves = async {
            platform.commit(ROGUE, "build.sh", format!("{script}\n").as_bytes()).await?;
            let pushed = platform.push(ROGUE).await?;
            let refused = !pushed.ok && pushed.text.contains(told);
            ensure!(refused, "a build that misbehaves is not refused by name: {}", pushed.text);
            named(platform, "build", words).await
        };
        let (named, seen) = measure(platform, misbehaves).await?;
        tell(report, &format!("build: {what}"), named, &seen, &quiet);
    }
    let again = measure(platform, async { Ok(()) }).await?.1;
    report.tell(format!("{:20} {}", "quiet again", again.text()));
    Ok(())
}

fn tell(report: &mut Report, what: &str, named: Option<Duration>, seen: &Seen, quiet: &Seen) {
    let ratio = seen.p99.as_secs_f64() / quiet.p99.as_secs_f64();
    let after = named.map_or("never".to_string(), |after| format!("after {after:.1?}"));
    report.tell(format!("{what:20} {} = {ratio:.2}x, named {after}", seen.text()));
    if let Some(failed) = &seen.first_failed {
        report.broken(format!("{what}: {} requests failed: {failed:?}", seen.failed));
    }
    if named.is_none() {
        report.broken(format!("{what}: the log did not name it in {NAMED:?}"));
    }
    if ratio > RATIO {
        report.broken(format!("{what}: the other app's p99 was {ratio:.2}x of quiet"));
    }
}

/// What the other app's clients saw.
struct Seen {
    requests: usize,
    failed: usize,
    first_failed: Option<Record>,
    median: Duration,
    p99: Duration,
}

impl Seen {
    fn of(records: &[Record]) -> Self {
        let failed = records.iter().filter(|record| record.error.is_some());
        // The others are slow by design.
        let plain = records.iter().filter(|record| ["keep-alive", "new"].contains(&record.kind));
        let mut times: Vec<Duration> =
            plain.map(|record| record.ended.saturating_sub(record.begun)).collect();
        times.sort();
        let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
        Self {
            requests: records.len(),
            failed: failed.clone().count(),
            first_failed: failed.clone().next().cloned(),
            median: at(50),
            p99: at(99),
        }
    }

    fn text(&self) -> String {
        let Self { requests, failed, median, p99, .. } = self;
        format!("{requests} requests, {failed} failed, p50 {median:.1?}, p99 {p99:.1?}")
    }
}

/// Load on the other app for as long as `work` takes, and at least so long that a percentile
/// means something.
async fn measure<T>(
    platform: &Platform,
    work: impl Future<Output = Result<T>>,
) -> Result<(T, Seen)> {
    let mix = Mix { rate: 200.0, keep_alive: 8, sockets: 0 };
    let load = Load::start(platform.port, VICTIM, platform.zero, mix);
    let (result, ()) = tokio::join!(work, tokio::time::sleep(MEASURED));
    let records = load.stop().await;
    Ok((result?, Seen::of(&records)))
}

/// Waits until the log says it; how long that took. What has no words is only endured.
async fn named(platform: &Platform, process: &str, words: &str) -> Result<Option<Duration>> {
    let begun = platform.now();
    while platform.now() - begun < NAMED {
        let source = if words.starts_with("Error L") { "log-shuttle" } else { "" };
        let mut arguments = vec!["logs", "-a", ROGUE, "-n", "1500"];
        match source {
            "" => arguments.extend(["-s", "heroku", "-p", process]),
            source => arguments.extend(["-d", source]),
        }
        let log = platform.senryu(&arguments).await?;
        if log.text.contains(words) {
            return Ok(Some(platform.now() - begun));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(None)
}

/// Until nothing of the app runs: what one case leaves must not count for the next.
async fn ended(platform: &Platform) -> Result<()> {
    let until = platform.now() + Duration::from_secs(90);
    while platform.now() < until {
        let containers = platform.labelled("containers").await?;
        if containers.len() == 2 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    ensure!(platform.now() < until, "what was scaled to 0 still runs");
    Ok(())
}

async fn deploy(platform: &Platform, app: &str) -> Result<()> {
    let pushed = platform.push(app).await?;
    ensure!(pushed.ok, "the push of {app}: {}", pushed.text);
    Ok(())
}

async fn scale(platform: &Platform, app: &str, change: &str) -> Result<()> {
    let scaled = platform.senryu(&["ps:scale", "--no-wait", "-a", app, change]).await?;
    ensure!(scaled.ok, "ps:scale {change}: {}", scaled.text);
    Ok(())
}
