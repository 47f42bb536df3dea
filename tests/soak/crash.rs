//! `kill -9` of the server in each phase of a deploy, and what is there ten seconds after the
//! next start.

use crate::http::{Conn, Request};
use crate::leftovers::{self, Known};
use crate::load::{self, Load, Mix};
use crate::platform::{Platform, Ran};
use crate::{Options, Report, numbers};
use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::task::JoinSet;

const APP: &str = "soak";
/// Everything must be in order so long after a start.
const ORDER: Duration = Duration::from_secs(10);
/// A log line of a phase is waited for so long.
const PHASE: Duration = Duration::from_secs(120);

struct Phase {
    name: &'static str,
    /// The log line that opens it; none: the push itself.
    opens: Option<&'static str>,
    /// The kill comes at most so long after it.
    within: Duration,
}

const PHASES: [Phase; 9] = [
    Phase { name: "receive", opens: None, within: Duration::from_millis(1200) },
    Phase { name: "received", opens: Some("received"), within: Duration::from_millis(30) },
    Phase { name: "compile", opens: Some("source unpacked"), within: Duration::from_millis(600) },
    Phase { name: "image", opens: Some("compiled"), within: Duration::from_millis(250) },
    Phase { name: "slug-ref", opens: Some("slug stored"), within: Duration::from_millis(10) },
    Phase { name: "ref-release", opens: Some("ref moved"), within: Duration::from_millis(8) },
    Phase { name: "dyno-start", opens: Some("released"), within: Duration::from_millis(500) },
    Phase { name: "switch", opens: Some("dynos up"), within: Duration::from_millis(20) },
    Phase { name: "drain", opens: Some("dynos up"), within: Duration::from_millis(2500) },
];

pub async fn run(
    platform: &Platform,
    options: &Options,
    seed: u64,
    report: &mut Report,
) -> Result<()> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut known = prepare(platform, options).await?;
    let mix = Mix { rate: options.rate.min(40.0), keep_alive: 4, sockets: 0 };
    let load = Load::start(platform.port, APP, platform.zero, mix)?;
    let outcome = every_phase(platform, options, &mut rng, &mut known, report).await;
    let records = load.stop().await;
    load::write(&platform.results().join("requests.tsv"), &records)?;
    let failed: Vec<_> = records.iter().filter(|record| record.error.is_some()).collect();
    report.tell(format!("requests meanwhile: {}, failed: {}", records.len(), failed.len()));
    if let Some(first) = failed.first() {
        report.broken(format!("{} requests failed, the first: {first:?}", failed.len()));
    }
    outcome
}

/// Docker's disk after a push that made no release is what it was, unless others use it too.
fn compare(before: (u64, usize), after: (u64, usize)) -> Option<String> {
    let growth = (after.0 as f64 / before.0 as f64 - 1.0) * 100.0;
    let wrong = growth.abs() > 1.0 && before.1 == after.1;
    wrong.then(|| format!("Docker's layers: {} bytes, then {} ({growth:+.2} %)", before.0, after.0))
}

async fn prepare(platform: &Platform, options: &Options) -> Result<Known> {
    let files = numbers::files(options.lines);
    let files: Vec<(&str, &str)> =
        files.iter().map(|(name, content)| (*name, content.as_str())).collect();
    for (app, files, scale) in
        [(APP, &[][..], ["web=2"].as_slice()), (numbers::APP, &files, &["web=0", "worker=1"])]
    {
        platform.create_app(app, files).await?;
        platform.commit(app, "change.txt", b"first").await?;
        let pushed = platform.push(app).await?;
        ensure!(pushed.ok, "the first push of {app}: {}", pushed.text);
        let arguments = [&["ps:scale", "-a", app], scale].concat();
        let scaled = platform.senryu(&arguments).await?;
        ensure!(scaled.ok, "ps:scale: {}", scaled.text);
    }
    let dynos = ["soak web.1", "soak web.2", "numbers worker.1"];
    Ok(Known {
        app: APP.to_string(),
        dynos: dynos.iter().map(ToString::to_string).collect(),
        apps: vec![APP.to_string(), numbers::APP.to_string()],
        ..Known::default()
    })
}

async fn every_phase(
    platform: &Platform,
    options: &Options,
    rng: &mut StdRng,
    known: &mut Known,
    report: &mut Report,
) -> Result<()> {
    let info = platform.json(&["apps:info", "-a", numbers::APP, "--json"]).await?;
    let id = info["app"]["id"].as_str().or(info["id"].as_str()).context("the app's id")?;
    let mut slowest: BTreeMap<&str, Duration> = BTreeMap::new();
    for phase in &PHASES {
        if options.phase.as_deref().is_some_and(|only| only != phase.name) {
            continue;
        }
        for number in 0..options.kills {
            let took = attempt(platform, phase, number, rng, known, report).await?;
            let slow = slowest.entry(phase.name).or_default();
            *slow = (*slow).max(took);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let count = numbers::count(&platform.data_dir().join("logs"), id)?;
        println!("numbered lines: {count:?}");
        if !count.is_whole() {
            report.broken(format!("after {}: numbered lines {count:?}", phase.name));
        }
    }
    for (phase, took) in slowest {
        report.tell(format!("{phase:12} {} kills, in order after {took:.1?}", options.kills));
    }
    let count = numbers::count(&platform.data_dir().join("logs"), id)?;
    report.tell(format!("numbered lines: {count:?}"));
    Ok(())
}

/// One push, one kill, one look. How long after the start everything was in order.
async fn attempt(
    platform: &Platform,
    phase: &Phase,
    number: usize,
    rng: &mut StdRng,
    known: &mut Known,
    report: &mut Report,
) -> Result<Duration> {
    if phase.opens.is_none() {
        // Enough that receiving takes a while; it stays out of the slug.
        platform.write(APP, ".slugignore", b"ballast\n")?;
        platform.write(APP, "ballast", &random(rng, 20_000_000))?;
    }
    let size = rng.random_range(10..20_000);
    let commit = platform.commit(APP, "change.txt", &random(rng, size)).await?;
    let delay = phase.within.mul_f64(if number == 0 { 0.0 } else { rng.random() });
    let away = Duration::from_millis(rng.random_range(0..1500));
    let before = leftovers::layers(platform).await?;
    let slugs = slugs(platform).await?;
    let lines = platform.watch();
    let slow = if phase.name == "drain" { slow_requests(platform.port) } else { JoinSet::new() };
    let (key, value) = (format!("KEY_{}", phase.name.replace('-', "_")), number.to_string());
    let pair = format!("{key}={value}");
    let kill = async {
        let seen = reached(lines, phase.opens).await;
        let set = async {
            match number % 2 {
                1 => {
                    platform.senryu(&["config:set", &pair, "-a", APP, "--no-wait"]).await.map(Some)
                }
                _ => Ok(None),
            }
        };
        let kill = async {
            tokio::time::sleep(delay).await;
            platform.kill_server().await?;
            tokio::time::sleep(away).await;
            platform.start().await?;
            anyhow::Ok(platform.now())
        };
        let (set, started) = tokio::join!(set, kill);
        anyhow::Ok((seen, set?, started?))
    };
    let (pushed, killed) = tokio::join!(platform.push(APP), kill);
    let (pushed, (seen, set, started)) = (pushed?, killed?);
    drop(slow);
    if !seen {
        report.broken(format!("{} {number}: its log line never came", phase.name));
    }
    if set.is_some_and(|set| set.ok) {
        known.config.insert(key, value);
    }
    remember(&pushed, commit, known);
    // A push whose request came after the kill has waited for the next server.
    let started = started.max(pushed.ended);
    let outcome = in_order(platform, known, started, (slugs, before)).await?;
    let took = platform.now() - started;
    println!(
        "{:8.2} {} {number}: killed {delay:.1?} in, push {} {:?}, in order after {took:.2?}",
        platform.now().as_secs_f64(),
        phase.name,
        if pushed.ok { "ended well" } else { "failed" },
        pushed.released(),
    );
    for wrong in outcome {
        let end = pushed.text.lines().rev().take(3).collect::<Vec<_>>().join(" | ");
        report.broken(format!("{} {number} ({started:.1?}): {wrong}; push: {end}", phase.name));
    }
    Ok(took)
}

/// How many deploys there were.
async fn slugs(platform: &Platform) -> Result<usize> {
    let releases = platform.releases(APP).await?;
    let deploys = releases.iter().filter_map(|release| release["description"].as_str());
    Ok(deploys.filter(|description| description.starts_with("Deploy ")).count())
}

fn random(rng: &mut StdRng, bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    rng.fill(&mut content[..]);
    content
}

/// A push that ended well was a promise.
fn remember(pushed: &Ran, commit: String, known: &mut Known) {
    if let (true, Some(version)) = (pushed.ok, pushed.released()) {
        known.released.push((version, commit));
    }
}

/// Looks until everything is in order, at most until it has to be; what is still wrong then.
/// Docker's disk counts if there are as many deploys as before.
async fn in_order(
    platform: &Platform,
    known: &Known,
    started: Duration,
    (deploys, layers): (usize, (u64, usize)),
) -> Result<Vec<String>> {
    loop {
        let mut wrong = leftovers::check(platform, known).await?;
        if deploys == slugs(platform).await? {
            wrong.extend(compare(layers, leftovers::layers(platform).await?));
        }
        if wrong.is_empty() || platform.now() > started + ORDER {
            return Ok(wrong);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn reached(mut lines: Receiver<String>, opens: Option<&str>) -> bool {
    let Some(opens) = opens else { return true };
    let mark = format!("phase=\"{opens}\"");
    let wait = async {
        loop {
            match lines.recv().await {
                Ok(line) if line.contains(&mark) => return true,
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return false,
                _ => {}
            }
        }
    };
    tokio::time::timeout(PHASE, wait).await.unwrap_or(false)
}

/// Requests that keep replaced dynos busy for a while.
fn slow_requests(port: u16) -> JoinSet<()> {
    let mut set = JoinSet::new();
    for number in 0..6 {
        set.spawn(async move {
            tokio::time::sleep(Duration::from_millis(number * 400)).await;
            loop {
                let host = format!("{APP}.localhost:{port}");
                if let Ok(mut conn) = Conn::tcp(port).await {
                    let _ = conn.send(&Request::get(&host, "/slow?ms=2400")).await;
                }
            }
        });
    }
    set
}
