//! What the death of the router, and of one dyno of six, costs: probed closely on new connections.

use crate::Report;
use crate::faults::spread;
use crate::http::{Conn, Request};
use crate::load::{Load, Mix, Record};
use crate::platform::Platform;
use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::task::JoinSet;

const PROBE: Duration = Duration::from_millis(5);
const PROBED: Duration = Duration::from_secs(2);
/// The router's outage may last as long as this.
const OUTAGE: Duration = Duration::from_millis(100);

struct Probe {
    begun: Duration,
    ended: Duration,
    connected: bool,
    error: Option<String>,
}

/// Kills the router again and again.
pub async fn router(
    platform: &Platform,
    app: &str,
    kills: usize,
    report: &mut Report,
) -> Result<()> {
    let mut outages = Vec::new();
    let (mut refused, mut begun, mut late) = (0, 0, 0);
    for _ in 0..kills {
        let mut probes = JoinSet::new();
        let until = platform.now() + PROBED;
        let kill_at = platform.now() + PROBED / 4;
        let mut killed = None;
        while platform.now() < until {
            if killed.is_none() && platform.now() >= kill_at {
                let router = platform.router().context("no router runs")?;
                kill(Pid::from_raw(router), Signal::SIGKILL)?;
                killed = Some(platform.now());
            }
            let (port, zero) = (platform.port, platform.zero);
            let host = format!("{app}.localhost:{port}");
            probes.spawn(async move { probe(port, &host, zero).await });
            tokio::time::sleep(PROBE).await;
        }
        let killed = killed.context("no kill")?;
        let mut answered = Duration::MAX;
        while let Some(probe) = probes.join_next().await {
            let probe = probe?;
            match probe.error {
                None if probe.begun >= killed => answered = answered.min(probe.ended),
                Some(_) if !probe.connected => refused += 1,
                Some(_) if probe.begun < killed => begun += 1,
                Some(error) => {
                    late += 1;
                    println!("  {:.4?} after the kill: {error}", probe.begun - killed);
                }
                None => {}
            }
        }
        outages.push(answered.saturating_sub(killed));
    }
    report.tell(format!("router's outage      {}", spread(outages.clone())));
    report.tell(format!(
        "router killed {kills} times: {refused} connections refused, {late} requests begun after \
         the kill failed, {begun} begun before it"
    ));
    if refused > 0 {
        report.broken(format!("{refused} connections were refused while the router was away"));
    }
    if late > 0 {
        report.broken(format!("{late} requests begun after a kill of the router failed"));
    }
    if outages.iter().any(|outage| *outage > OUTAGE) {
        report.broken(format!("the router was away for more than {OUTAGE:?}: {outages:.1?}"));
    }
    Ok(())
}

async fn probe(port: u16, host: &str, zero: std::time::Instant) -> Probe {
    let begun = zero.elapsed();
    let mut connected = false;
    let result = async {
        let mut conn = Conn::tcp(port).await?;
        connected = true;
        let reply = conn.send(&Request::get(host, "/")).await?;
        ensure!(reply.status == 200, "status {}", reply.status);
        anyhow::Ok(())
    };
    let error = match tokio::time::timeout(Duration::from_secs(10), result).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("{error:#}")),
        Err(_) => Some("no reply".to_string()),
    };
    Probe { begun, ended: zero.elapsed(), connected, error }
}

/// Kills one dyno of six under load.
pub async fn dyno(
    platform: &Platform,
    app: &str,
    rng: &mut StdRng,
    kills: usize,
    report: &mut Report,
) -> Result<()> {
    let scaled = platform.senryu(&["ps:scale", "web=6", "-a", app]).await?;
    ensure!(scaled.ok, "ps:scale web=6: {}", scaled.text);
    let (mut allowed, mut wrong) = (0, Vec::<Record>::new());
    let mut spared = BTreeSet::from_iter((1..=6).map(|number| format!("web.{number}")));
    for _ in 0..kills.min(6) {
        let mix = Mix { rate: 300.0, keep_alive: 8, sockets: 0 };
        let load = Load::start(platform.port, app, platform.zero, mix)?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        // Each once: a dyno that crashes again and again waits longer for its next start.
        let name = spared.iter().nth(rng.random_range(0..spared.len())).cloned();
        let name = name.context("a dyno to kill")?;
        spared.remove(&name);
        let containers = platform.labelled("containers").await?;
        let chosen = containers.iter().find(|one| one["Labels"]["senryu.dyno"] == *name);
        let chosen = chosen.and_then(|one| one["Id"].as_str()).context("its container")?;
        let seen = platform.docker(&format!("/containers/{chosen}/json")).await?;
        let pid = seen["State"]["Pid"].as_i64().context("the dyno's process")?;
        let signalled = platform.now();
        kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL)?;
        let killed = ended(platform, pid).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let records = load.stop().await;
        for record in records.into_iter().filter(|record| record.error.is_some()) {
            match record.begun < killed && record.ended >= signalled {
                true => allowed += 1,
                false => wrong.push(record),
            }
        }
        println!("  {name} killed at {killed:.3?}");
        wait_for_six(platform).await?;
    }
    report.tell(format!(
        "one dyno of six killed {kills} times: {allowed} requests that had begun failed, {} others",
        wrong.len()
    ));
    if let Some(first) = wrong.first() {
        report.broken(format!("{} requests failed without a reason: {first:?}", wrong.len()));
    }
    Ok(())
}

/// When a container's init has ended. The kernel kills the rest of the container before that, and
/// the app may take requests until it does.
async fn ended(platform: &Platform, init: i64) -> Duration {
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{init}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        if state.is_empty() || state.starts_with(['Z', 'X']) {
            return platform.now();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Until the killed dyno is replaced.
async fn wait_for_six(platform: &Platform) -> Result<()> {
    let until = platform.now() + Duration::from_secs(30);
    loop {
        let dynos = platform.dynos().await?;
        let running = dynos.iter().filter(|one| one["State"] == "running").count();
        if running == 6 && dynos.len() == 6 {
            return Ok(());
        }
        ensure!(platform.now() < until, "the killed dyno is not replaced: {running} run");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
