//! One app misbehaves in every way there is, as a dyno and as a build, while another one serves:
//! each case must be named in the log in time, no request of the other app may fail, and its 99th
//! percentile is told as a multiple of what it was when all was quiet, right before and after.

use crate::Report;
use crate::bounds::Peaks;
use crate::load::{Load, Mix, Record};
use crate::platform::Platform;
use crate::stolen::Stolen;
use anyhow::{Context, Result, anyhow, ensure};
use std::path::Path;
use std::time::Duration;

const VICTIM: &str = "victim";
const ROGUE: &str = "rogue";
/// Requests are measured this long at least, quiet or not.
const MEASURED: Duration = Duration::from_secs(15);
/// What a case leaves to be cleaned up is done by then, and does not count as quiet.
const SETTLED: Duration = Duration::from_secs(3);
/// By then the log must name what misbehaves.
const NAMED: Duration = Duration::from_secs(90);
/// What a user is to notice of it.
const RATIO: f64 = 2.0;
/// A case over that is measured again, so often in all, and judged by all requests together: the
/// percentile of one time hangs on some thirty of them.
const TIMES: usize = 3;
/// Per cent of the processor that the machine's host may take for others during a case, more than
/// when all was quiet: beyond it a ratio tells nothing.
const STOLEN: u64 = 3;

/// So many starts of a dyno that does not stay up are bounded; without pauses there are hundreds.
const STARTS: usize = 10;

/// Settings of the platform: a look at every dyno each five seconds, a disk that is soon full, and
/// time limits that are soon over.
pub const SETTINGS: [&str; 5] = [
    "--sample-period=5",
    "--dyno-sizes=Standard-1X:disk=1024",
    "--boot-timeout=20",
    "--build-timeout=90",
    "--build-limits=disk=2048",
];

struct Case {
    name: &'static str,
    what: What,
    /// The words of the log, or of the push, that name it.
    words: &'static str,
}

enum What {
    /// A process type's command.
    Dyno(&'static str),
    /// The same, which takes no notice when it is scaled down.
    Deaf(&'static str),
    /// A web dyno that does this instead of listening.
    Web(&'static str),
    /// A build's script, and what the push says of it.
    Build(&'static str, &'static str),
    /// A step of a Dockerfile, and what the push says of it.
    Step(&'static str, &'static str),
}

const fn case(name: &'static str, what: What, words: &'static str) -> Case {
    Case { name, what, words }
}

const CASES: [Case; 22] = [
    case("crash", What::Dyno("exit 3"), "Process exited with status 3"),
    case("never-binds", What::Web("sleep 600"), "Error R10 (Boot timeout)"),
    case(
        "loopback",
        What::Web("HOST=127.0.0.1 exec perl misbehave.pl listen"),
        "it listens on 127.0.0.1 only",
    ),
    case("deaf", What::Deaf("trap '' TERM; while :; do sleep 1; done"), "Error R12 (Exit timeout)"),
    case("bomb", What::Dyno("exec perl misbehave.pl processes"), "Error S10 (Process limit)"),
    case("hog", What::Dyno("exec perl misbehave.pl memory 700"), "Error R14 (Memory quota"),
    case(
        "child",
        What::Dyno("perl misbehave.pl memory 4000; sleep 600"),
        "Error R15 (Memory quota vastly exceeded)",
    ),
    case("filler", What::Dyno("exec perl misbehave.pl disk"), "Error S11 (Disk limit)"),
    case("removed", What::Dyno("exec perl misbehave.pl removed"), "Error S11 (Disk limit)"),
    case("sockets", What::Dyno("exec perl misbehave.pl sockets"), "Error S12 (Open files limit)"),
    case("flood", What::Dyno("exec perl misbehave.pl flood"), "Error S18 (Log limit)"),
    case("spin", What::Dyno("for n in 1 2 3 4; do while :; do :; done & done; wait"), ""),
    case(
        "build-memory",
        What::Build("perl misbehave.pl memory 9000", "The build needed more than its"),
        "Error S15 (Build memory limit)",
    ),
    case(
        "build-disk",
        What::Build("head -c 20G /dev/zero > filled", "The build's disk is full"),
        "Error S16 (Build disk limit)",
    ),
    case(
        "build-processes",
        What::Build(
            "timeout --signal=KILL 20 perl misbehave.pl processes; exit 1",
            "The build ran into its limit of 4096 processes and threads",
        ),
        "Error S10 (Process limit)",
    ),
    case(
        "build-sockets",
        What::Build("timeout --signal=KILL 20 perl misbehave.pl sockets; exit 1", "failed to"),
        "Error S12 (Open files limit)",
    ),
    // Its output goes no faster than it is kept.
    case(
        "build-flood",
        What::Build(
            "timeout --signal=KILL 20 perl misbehave.pl flood; exit 1",
            "failed to compile Node.js app",
        ),
        "Error S18 (Log limit)",
    ),
    case(
        "build-loop",
        What::Build("while :; do :; done", "Timed out compiling"),
        "Error S14 (Build time limit)",
    ),
    case(
        "build-deaf",
        What::Build("trap '' TERM; while :; do sleep 1; done", "Timed out compiling"),
        "Error S14 (Build time limit)",
    ),
    case(
        "step-memory",
        What::Step("perl misbehave.pl memory 9000", "So ends a step that is killed"),
        "Error S15 (Build memory limit) -> A step was killed",
    ),
    case(
        "step-disk",
        What::Step("head -c 20G /dev/zero > /tmp/filled", "A step wrote more than 2048 MB"),
        "Error S16 (Build disk limit) -> A step wrote more than 2048M",
    ),
    // What it is bounded to is its own affair: it ends as any step that fails.
    case(
        "step-processes",
        What::Step(
            "timeout --signal=KILL 20 perl misbehave.pl processes; exit 1",
            "returned a non-zero code: 1",
        ),
        "",
    ),
];

/// All cases, or those that are named in `only`.
pub async fn run(
    platform: &Platform,
    fixture: &Path,
    only: &[String],
    report: &mut Report,
) -> Result<()> {
    for name in only {
        let known = CASES.iter().map(|case| case.name).collect::<Vec<_>>().join(" ");
        ensure!(CASES.iter().any(|case| case.name == name), "--case {name} is none of: {known}");
    }
    platform.create_app(VICTIM, &[]).await?;
    platform.commit(VICTIM, "change.txt", b"first").await?;
    deploy(platform, VICTIM).await?;
    scale(platform, VICTIM, "web=2").await?;
    set_up_rogue(platform, fixture).await?;
    let rogue = platform.json(&["apps:info", "-a", ROGUE, "--json"]).await?;
    let rogue = rogue.pointer("/app/id").or(rogue.get("id")).and_then(|id| id.as_str());
    let rogue = rogue.context("the app's id")?.to_string();

    let mut before = quiet(platform, &rogue, report).await?;
    for case in CASES.iter().filter(|case| only.is_empty() || only.iter().any(|o| o == case.name)) {
        let mut times = Times { seen: Vec::new(), quiet: vec![before] };
        loop {
            let mut peaks = Peaks::default();
            let misbehaves = misbehave(platform, case, times.seen.len());
            let (named, seen) = measure(platform, misbehaves, &mut peaks, &rogue).await?;
            let named = named.unwrap_or_else(|problem| {
                report.broken(format!("{}: {problem}", case.name));
                None
            });
            end(platform, case, report).await?;
            times.seen.push(seen);
            times.quiet.push(quiet(platform, &rogue, report).await?);
            tell(report, case.name, named, &times);
            report.tell(format!("{:20} {}", "", peaks.text()));
            for over in &peaks.over {
                report.broken(format!("{}: {over}", case.name));
            }
            if times.ratio() <= RATIO || times.seen.len() == TIMES {
                break;
            }
        }
        judge(report, case.name, &times);
        before = times.quiet.pop().context("a quiet time")?;
    }
    Ok(())
}

/// Nothing happens but what is measured and looked at in each case too.
async fn quiet(platform: &Platform, rogue: &str, report: &mut Report) -> Result<Time> {
    tokio::time::sleep(SETTLED).await;
    let looks = async {
        let since = log_time();
        let never = named(platform, "web", "what nobody says", &since);
        let never = tokio::time::timeout(MEASURED, never);
        Ok(never.await)
    };
    let (_, time) = measure(platform, looks, &mut Peaks::default(), rogue).await?;
    report.tell(format!("{:20} {}", "quiet", Seen::of(&time.records).text()));
    Ok(time)
}

/// An app with a process type for each case, a web dyno and a build that do as they are told.
async fn set_up_rogue(platform: &Platform, fixture: &Path) -> Result<()> {
    let mut files = Vec::new();
    for name in ["misbehave.pl", "server.js", "package.json"] {
        files.push((name, std::fs::read_to_string(fixture.join(name)).context("the fixture")?));
    }
    let mut types = "web: eval \"${BEHAVE:-exec node server.js}\"\n".to_string();
    for case in &CASES {
        if let What::Dyno(command) | What::Deaf(command) = case.what {
            types += &format!("{}: {command}\n", case.name);
        }
    }
    files.push(("Procfile", types));
    files.push(("build.sh", "true\n".to_string()));
    let files: Vec<(&str, &str)> =
        files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    platform.create_app(ROGUE, &files).await?;
    platform.commit(ROGUE, "change.txt", b"first").await?;
    deploy(platform, ROGUE).await?;
    scale(platform, ROGUE, "web=0").await
}

/// Lets it happen, and waits until it is named; how long that took, or what is wrong with a push.
async fn misbehave(
    platform: &Platform,
    case: &Case,
    before: usize,
) -> Result<Result<Option<Duration>, String>> {
    let one = format!("{}=1", case.name);
    // What the log said of an earlier time does not count.
    let since = log_time();
    let after = match case.what {
        What::Dyno(_) => {
            scale(platform, ROGUE, &one).await?;
            named(platform, case.name, case.words, &since).await
        }
        What::Deaf(_) => {
            scale(platform, ROGUE, &one).await?;
            named(platform, case.name, "State changed from starting to up", &since).await?;
            scale(platform, ROGUE, &format!("{}=0", case.name)).await?;
            named(platform, case.name, case.words, &since).await
        }
        What::Web(command) => {
            let behave = format!("BEHAVE={command}");
            let set = platform.senryu(&["config:set", "--no-wait", "-a", ROGUE, &behave]).await?;
            ensure!(set.ok, "config:set: {}", set.text);
            scale(platform, ROGUE, "web=1").await?;
            named(platform, "web", case.words, &since).await
        }
        What::Build(script, told) => {
            let problem =
                refused(platform, "build.sh", format!("# {before}\n{script}\n"), told).await?;
            if let Some(problem) = problem {
                return Ok(Err(problem));
            }
            named(platform, "build", case.words, &since).await
        }
        What::Step(command, told) => {
            stack(platform, "container").await?;
            let text = format!(
                "FROM senryu/stack:run\nWORKDIR /x\nCOPY misbehave.pl .\nRUN : {before}; {command}\n"
            );
            let problem = refused(platform, "Dockerfile", text, told).await?;
            stack(platform, "heroku-24").await?;
            if let Some(problem) = problem {
                return Ok(Err(problem));
            }
            named(platform, "build", case.words, &since).await
        }
    };
    Ok(Ok(after?))
}

async fn stack(platform: &Platform, name: &str) -> Result<()> {
    let set = platform.senryu(&["stack:set", name, "-a", ROGUE]).await?;
    ensure!(set.ok, "stack:set: {}", set.text);
    Ok(())
}

/// Pushes it; what is wrong if that is not refused in these words.
async fn refused(
    platform: &Platform,
    path: &str,
    text: String,
    told: &str,
) -> Result<Option<String>> {
    platform.commit(ROGUE, path, text.as_bytes()).await?;
    let pushed = platform.push(ROGUE).await?;
    let refused = !pushed.ok && pushed.text.contains(told);
    let lines: Vec<&str> = pushed.text.lines().collect();
    let end = lines[lines.len().saturating_sub(20)..].join("\n");
    Ok((!refused).then(|| format!("the push does not say {told:?}: {end}")))
}

/// Nothing of a case may count for the next. What did not stay up was started a few times only.
async fn end(platform: &Platform, case: &Case, report: &mut Report) -> Result<()> {
    let process = match case.what {
        What::Dyno(_) | What::Deaf(_) => case.name,
        What::Web(_) => "web",
        What::Build(..) | What::Step(..) => return Ok(()),
    };
    let arguments = ["logs", "-a", ROGUE, "-n", "1500", "-s", "heroku", "-p", process];
    let starts =
        platform.senryu(&arguments).await?.text.matches("Starting process with command").count();
    if starts > STARTS {
        report.broken(format!("{}: it was started {starts} times", case.name));
    }
    scale(platform, ROGUE, &format!("{process}=0")).await?;
    ended(platform).await
}

/// Of one case.
struct Times {
    seen: Vec<Time>,
    /// Before, between and after: one quiet time tells little of how fast this machine is just now.
    quiet: Vec<Time>,
}

impl Times {
    fn together(times: &[Time]) -> Seen {
        let records: Vec<Record> = times.iter().flat_map(|time| time.records.clone()).collect();
        Seen::of(&records)
    }

    /// Of the percentiles of all requests, misbehaved and quiet.
    fn ratio(&self) -> f64 {
        let [seen, quiet] = [&self.seen, &self.quiet].map(|times| Self::together(times).p99);
        seen.as_secs_f64() / quiet.as_secs_f64()
    }

    fn stolen(times: &[Time]) -> u64 {
        times.iter().map(|time| time.stolen).max().unwrap_or(0)
    }
}

fn tell(report: &mut Report, what: &'static str, named: Option<Duration>, times: &Times) {
    let Some(time) = times.seen.last() else { return };
    let (seen, ratio) = (Seen::of(&time.records), times.ratio());
    let after = named.map_or("never".to_string(), |after| format!("after {after:.1?}"));
    report.tell(format!("{what:20} {} = {ratio:.2}x, named {after}", seen.text()));
    if ratio > RATIO {
        let usual = Times::together(&times.quiet).p99;
        report.tell(format!("{:20} slower than {usual:.1?}: {}", "", slow(time, usual)));
    }
    if let Some(failed) = &seen.first_failed {
        report.broken(format!("{what}: {} requests failed: {failed:?}", seen.failed));
    }
    if named.is_none() {
        report.broken(format!("{what}: the log did not name it in {NAMED:?}"));
    }
}

/// `0 s 12, 20 s 31`: when there were so many requests that took longer.
fn slow(time: &Time, than: Duration) -> String {
    let begun = time.records.iter().map(|record| record.begun).min().unwrap_or_default();
    let mut seconds = std::collections::BTreeMap::new();
    for record in plain(&time.records).filter(|record| took(record) > than) {
        *seconds.entry((record.begun - begun).as_secs()).or_insert(0) += 1;
    }
    let told: Vec<String> =
        seconds.iter().map(|(second, count)| format!("{second} s {count}")).collect();
    told.join(", ")
}

fn judge(report: &mut Report, what: &'static str, times: &Times) {
    let (ratio, count) = (times.ratio(), times.seen.len());
    if ratio <= RATIO {
        return;
    }
    let [seen, usual] = [&times.seen, &times.quiet].map(|times| Times::stolen(times));
    if seen > usual + STOLEN {
        let why = format!("the machine's host took {seen} % (quiet: {usual} %)");
        report.not_tried(what, &why);
    } else {
        report
            .broken(format!("{what}: the other app's p99 was {ratio:.2}x of quiet, {count} times"));
    }
}

/// A time of load.
struct Time {
    records: Vec<Record>,
    /// Per cent of the processor that the machine did not have.
    stolen: u64,
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
        let mut times: Vec<Duration> = plain(records).map(took).collect();
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

/// The others are slow by design.
fn plain(records: &[Record]) -> impl Iterator<Item = &Record> {
    records.iter().filter(|record| ["keep-alive", "new"].contains(&record.kind))
}

fn took(record: &Record) -> Duration {
    record.ended.saturating_sub(record.begun)
}

/// Load on the other app for as long as `work` takes, and at least so long that a percentile
/// means something.
async fn measure<T>(
    platform: &Platform,
    work: impl Future<Output = Result<T>>,
    peaks: &mut Peaks,
    app: &str,
) -> Result<(T, Time)> {
    let mix = Mix { rate: 200.0, keep_alive: 8, sockets: 0 };
    let load = Load::start(platform.port, VICTIM, platform.zero, mix)?;
    let stolen = Stolen::now();
    let measured = async { tokio::join!(work, tokio::time::sleep(MEASURED)) };
    let result = tokio::select! {
        (result, ()) = measured => result,
        () = peaks.watch(platform, app) => return Err(anyhow!("what is watched for ever was not")),
    };
    let stolen = stolen.percent();
    let records = load.stop().await;
    Ok((result?, Time { records, stolen }))
}

/// Now, as lines of the log begin.
fn log_time() -> String {
    chrono::Utc::now().format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}

/// Waits until the log says it after that time; how long that took. What has no words is only
/// endured.
async fn named(
    platform: &Platform,
    process: &str,
    words: &str,
    since: &str,
) -> Result<Option<Duration>> {
    let begun = platform.now();
    while platform.now() - begun < NAMED {
        let source = if words.starts_with("Error L") { "log-shuttle" } else { "" };
        let mut arguments = vec!["logs", "-a", ROGUE, "-n", "1500"];
        match source {
            "" => arguments.extend(["-s", "heroku", "-p", process]),
            source => arguments.extend(["-d", source]),
        }
        let log = platform.senryu(&arguments).await?;
        let is_it = |line: &str| line >= since && line.contains(words);
        if words.is_empty() || log.text.lines().any(is_it) {
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
        if platform.dynos().await?.len() == 2 {
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
