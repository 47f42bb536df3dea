//! Deploys, restarts, scalings, config changes, rollbacks and kills of the server in a random
//! order under load, and what must hold of every request meanwhile.

use crate::load::{self, Load, Mix, Record};
use crate::platform::{Platform, Ran};
use crate::{Options, Report, outage};
use anyhow::{Result, ensure};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

const APP: &str = "soak";
/// A WebSocket may end this long after a command that replaces dynos: the drain, then SIGKILL.
const SOCKET_GRACE: Duration = Duration::from_secs(90);
/// A command that a kill cut off is tried again until this long after.
const RETRY: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Deploy,
    Restart,
    Scale(u64),
    Config,
    Rollback,
    /// The server is away for so long; the next command may begin meanwhile.
    Kill {
        away: Duration,
    },
    /// The kill comes so long after the begin of a command.
    KillDuring {
        after: Duration,
        away: Duration,
    },
}

/// A command that has ended.
struct Done {
    name: &'static str,
    begun: Duration,
    ended: Duration,
    /// The newest release after it; 0 where it failed and so promised nothing.
    version: u64,
    scaled: Option<u64>,
    replaces_dynos: bool,
    /// A kill of the server fell into it.
    cut: bool,
}

pub async fn run(
    platform: &Platform,
    options: &Options,
    seed: u64,
    report: &mut Report,
) -> Result<()> {
    platform.create_app(APP, &[]).await?;
    platform.commit(APP, "change.txt", b"first").await?;
    let pushed = platform.push(APP).await?;
    ensure!(pushed.ok && pushed.released().is_some(), "the first push: {}", pushed.text);
    report.tell(format!("first push after {:.1?}", pushed.ended - pushed.begun));
    let mut rng = StdRng::seed_from_u64(seed);
    let mix = Mix { rate: options.rate, keep_alive: 8, sockets: 3 };
    let load = Load::start(platform.port, APP, platform.zero, mix)?;
    let sequence = sequence(&mut rng, options.quick);
    let mut done = Vec::new();
    let outcome = drive(platform, &sequence, &mut rng, &mut done, report).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let records = load.stop().await;
    load::write(&platform.results().join("requests.tsv"), &records)?;
    write_commands(platform, &done)?;
    figures(&records, &done, report);
    check(&records, &done, report);
    outcome?;
    let log = std::fs::read_to_string(platform.results().join("server.log"))?;
    for line in log.lines().filter(|line| line.contains("the router is gone")) {
        report.broken(format!("nobody killed the router: {line}"));
    }
    outage::router(platform, APP, if options.quick { 3 } else { 10 }, report).await?;
    outage::dyno(platform, APP, &mut rng, if options.quick { 2 } else { 5 }, report).await
}

fn sequence(rng: &mut StdRng, quick: bool) -> Vec<Fault> {
    let of = |full: usize| if quick { full / 5 } else { full };
    let mut faults = Vec::new();
    faults.extend(vec![Fault::Deploy; of(20)]);
    faults.extend(vec![Fault::Restart; of(20)]);
    faults.extend((0..of(20)).map(|_| Fault::Scale(rng.random_range(1..=5))));
    faults.extend(vec![Fault::Config; of(10)]);
    faults.extend(vec![Fault::Rollback; of(5)]);
    for number in 0..of(20) {
        let away = Duration::from_millis(rng.random_range(0..2000));
        faults.push(match number % 2 {
            0 => Fault::Kill { away },
            _ => {
                let after = Duration::from_millis(rng.random_range(0..2500));
                Fault::KillDuring { after, away }
            }
        });
    }
    faults.shuffle(rng);
    faults
}

async fn drive(
    platform: &Platform,
    sequence: &[Fault],
    rng: &mut StdRng,
    done: &mut Vec<Done>,
    report: &mut Report,
) -> Result<()> {
    let mut pending_kill = None;
    let mut faults = sequence.to_vec();
    // A kill that waits for a command needs one after it.
    faults.push(Fault::Restart);
    for (number, fault) in faults.into_iter().enumerate() {
        match fault {
            Fault::Kill { away } => {
                platform.kill_server().await?;
                tokio::time::sleep(away).await;
                let ready = platform.start().await?;
                println!("{:8.2} kill, away {away:.1?}, ready after {ready:.2?}", at(platform));
            }
            Fault::KillDuring { .. } if pending_kill.is_none() => pending_kill = Some(fault),
            // Two in a row: the first one has no command of its own.
            Fault::KillDuring { away, .. } => {
                platform.kill_server().await?;
                tokio::time::sleep(away).await;
                platform.start().await?;
            }
            command => {
                let kill = pending_kill.take();
                done.push(one(platform, command, number, kill, rng, report).await?);
            }
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..500))).await;
    }
    Ok(())
}

fn at(platform: &Platform) -> f64 {
    platform.now().as_secs_f64()
}

/// Runs a command; if a kill falls into it, until it has succeeded.
async fn one(
    platform: &Platform,
    fault: Fault,
    number: usize,
    kill: Option<Fault>,
    rng: &mut StdRng,
    report: &mut Report,
) -> Result<Done> {
    if fault == Fault::Deploy {
        let mut content = vec![0; rng.random_range(10..20_000)];
        rng.fill(&mut content[..]);
        platform.commit(APP, "change.txt", &content).await?;
    }
    let begun = platform.now();
    let killer = async {
        if let Some(Fault::KillDuring { after, away }) = kill {
            tokio::time::sleep(after).await;
            platform.kill_server().await?;
            tokio::time::sleep(away).await;
            platform.start().await?;
        }
        anyhow::Ok(())
    };
    let (ran, killed) = tokio::join!(command(platform, fault, number), killer);
    killed?;
    let mut ran = ran?;
    let mut tries = 1;
    while !ran.ok && kill.is_some() && platform.now() < begun + RETRY {
        tokio::time::sleep(Duration::from_millis(300)).await;
        ran = command(platform, fault, number).await?;
        tries += 1;
    }
    if !ran.ok {
        report.broken(format!("{fault:?} at {begun:.2?} failed: {}", ran.text.trim()));
    }
    if kill.is_some() {
        // What the cut-off try began may still be under way.
        let waited = platform.senryu(&["ps:wait", "-a", APP]).await?;
        if !waited.ok {
            report.broken(format!("ps:wait after {fault:?}: {}", waited.text.trim()));
        }
    }
    let ended = platform.now();
    let version = if ran.ok { platform.newest_release(APP).await? } else { 0 };
    println!(
        "{:8.2} {fault:?}{} took {:.2?}, tries {tries}, now v{version}",
        at(platform),
        if kill.is_some() { " with a kill" } else { "" },
        ran.ended - ran.begun,
    );
    let scaled = match fault {
        Fault::Scale(quantity) => Some(quantity),
        _ => None,
    };
    Ok(Done {
        name: name(fault),
        begun,
        ended,
        version,
        scaled,
        replaces_dynos: true,
        cut: kill.is_some(),
    })
}

async fn command(platform: &Platform, fault: Fault, number: usize) -> Result<Ran> {
    match fault {
        Fault::Deploy => platform.push(APP).await,
        Fault::Restart => platform.senryu(&["ps:restart", "-a", APP]).await,
        Fault::Scale(quantity) => {
            platform.senryu(&["ps:scale", &format!("web={quantity}"), "-a", APP]).await
        }
        Fault::Config => {
            platform.senryu(&["config:set", &format!("SOAK={number}"), "-a", APP]).await
        }
        Fault::Rollback => platform.senryu(&["releases:rollback", "-a", APP]).await,
        Fault::Kill { .. } | Fault::KillDuring { .. } => anyhow::bail!("no command"),
    }
}

fn name(fault: Fault) -> &'static str {
    match fault {
        Fault::Deploy => "deploy",
        Fault::Restart => "restart",
        Fault::Scale(_) => "scale",
        Fault::Config => "config",
        Fault::Rollback => "rollback",
        Fault::Kill { .. } | Fault::KillDuring { .. } => "kill",
    }
}

fn write_commands(platform: &Platform, done: &[Done]) -> Result<()> {
    let mut text = String::from("command\tbegun_s\tended_s\trelease\tcut\n");
    for one in done {
        let (begun, ended) = (one.begun.as_secs_f64(), one.ended.as_secs_f64());
        writeln!(text, "{}\t{begun:.4}\t{ended:.4}\tv{}\t{}", one.name, one.version, one.cut)?;
    }
    Ok(std::fs::write(platform.results().join("commands.tsv"), text)?)
}

fn figures(records: &[Record], done: &[Done], report: &mut Report) {
    let mut kinds: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for record in records {
        kinds.entry(record.kind).or_default().push(record.ended - record.begun);
    }
    for (kind, times) in kinds {
        report.tell(format!("requests {kind:12} {}", spread(times)));
    }
    let mut names: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for one in done.iter().filter(|one| !one.cut) {
        names.entry(one.name).or_default().push(one.ended - one.begun);
    }
    for (name, times) in names {
        report.tell(format!("command  {name:12} {}", spread(times)));
    }
}

pub fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    format!("{:6}  p50 {:.1?}  p99 {:.1?}  most {:.1?}", times.len(), at(0.5), at(0.99), at(1.0))
}

fn check(records: &[Record], done: &[Done], report: &mut Report) {
    let failed: Vec<&Record> = records.iter().filter(|record| record.error.is_some()).collect();
    list(report, "failed requests", &failed);
    // A release that has been replaced: by the newest command that had returned at the begin.
    let stale: Vec<&Record> = records
        .iter()
        .filter(|record| record.error.is_none() && !record.kind.starts_with("ws-"))
        .filter(|record| {
            let returned = done.iter().filter(|one| one.ended <= record.begun);
            returned.map(|one| one.version).max().is_some_and(|newest| record.release < newest)
        })
        .collect();
    list(report, "requests answered by a replaced release", &stale);
    check_restarts(records, done, report);
    check_scalings(records, done, report);
    let strange: Vec<&Record> = records
        .iter()
        .filter(|record| record.kind == "ws-end")
        .filter(|record| {
            !done.iter().any(|one| {
                one.replaces_dynos && (one.begun..one.ended + SOCKET_GRACE).contains(&record.ended)
            })
        })
        .collect();
    list(report, "WebSockets that ended without a reason", &strange);
    let restarted = records.iter().filter(|record| record.kind == "ws-end").count();
    report.tell(format!("WebSockets that ended with their dyno: {restarted}"));
}

/// After a restart, or any new release, has returned, no dyno from before it answers.
fn check_restarts(records: &[Record], done: &[Done], report: &mut Report) {
    let mut stale = Vec::new();
    for one in done.iter().filter(|one| one.name == "restart" && !one.cut) {
        let old: BTreeSet<&str> = records
            .iter()
            .filter(|record| record.ended < one.begun && !record.instance.is_empty())
            .map(|record| record.instance.as_str())
            .collect();
        let late = records
            .iter()
            .filter(|record| record.begun >= one.ended && old.contains(record.instance.as_str()));
        stale.extend(late);
    }
    list(report, "requests answered by a dyno from before a restart", &stale);
}

/// Between two scalings only as many dynos answer as were asked for.
fn check_scalings(records: &[Record], done: &[Done], report: &mut Report) {
    let mut stale = Vec::new();
    let scalings: Vec<&Done> = done.iter().filter(|one| one.scaled.is_some()).collect();
    for (number, one) in scalings.iter().enumerate() {
        let until = scalings.get(number + 1).map_or(Duration::MAX, |next| next.begun);
        let late = records.iter().filter(|record| {
            let dyno = record.dyno.trim_start_matches("web.").parse::<u64>().unwrap_or(0);
            (one.ended..until).contains(&record.begun)
                && !record.kind.starts_with("ws-")
                && one.scaled.is_some_and(|quantity| dyno > quantity)
        });
        stale.extend(late);
    }
    list(report, "requests answered by a dyno that was scaled away", &stale);
}

fn list(report: &mut Report, what: &str, records: &[&Record]) {
    report.tell(format!("{what}: {}", records.len()));
    if records.is_empty() {
        return;
    }
    let mut line = format!("{what}: {}", records.len());
    for record in records.iter().take(10) {
        let _ = write!(
            line,
            "\n    {} {:.3}-{:.3} s, {} v{} {}: {}",
            record.kind,
            record.begun.as_secs_f64(),
            record.ended.as_secs_f64(),
            record.status,
            record.release,
            record.dyno,
            record.error.as_deref().unwrap_or("no error")
        );
    }
    report.broken(line);
}
