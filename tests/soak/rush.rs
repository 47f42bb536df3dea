//! Ten pushes to ten apps at once, against the same ten in a row: all are served, in the order in
//! which they came, no more builds run than may, and the server's memory stays what it was.

use crate::Report;
use crate::platform::Platform;
use anyhow::{Context, Result};
use futures_util::future::join_all;
use std::time::{Duration, Instant};

const APPS: usize = 10;
/// Builds that run side by side; the server's default.
const PARALLEL: usize = 2;
/// Containers that stand by for announced pushes, which look like builds from outside.
const STANDBYS: usize = 3;
/// Between two looks at what is built.
const LOOK: Duration = Duration::from_millis(200);
/// Bytes that ten pushes may add to the server's memory.
const MEMORY: u64 = 100 << 20;
/// At once takes no longer than in a row, but for what a busy machine does.
const RATIO: f64 = 1.1;

pub async fn run(platform: &Platform, report: &mut Report) -> Result<()> {
    let apps: Vec<String> = (0..APPS).map(|number| format!("rush-{number}")).collect();
    for app in &apps {
        platform.create_app(app, &[]).await?;
        platform.commit(app, "change.txt", b"first").await?;
        let pushed = platform.push(app).await?;
        anyhow::ensure!(pushed.ok, "the first push to {app}: {}", pushed.text);
    }
    let before = memory(platform).await?;
    let began = Instant::now();
    for app in &apps {
        push(platform, app, b"in a row", began).await?;
    }
    let row = began.elapsed();
    report.tell(format!("{APPS} pushes in a row       {:6.1} s", row.as_secs_f64()));

    let began = Instant::now();
    let pushes = join_all(apps.iter().map(|app| push(platform, app, b"at once", began)));
    tokio::pin!(pushes);
    let mut most = 0;
    let ended = loop {
        tokio::select! {
            ended = &mut pushes => break ended,
            () = tokio::time::sleep(LOOK) => most = most.max(builds(platform).await?),
        }
    };
    let rush = began.elapsed();
    let mut times = Vec::new();
    for (app, ended) in apps.iter().zip(ended) {
        match ended {
            Ok(time) => times.push(time),
            Err(error) => report.broken(format!("the push to {app}: {error:#}")),
        }
    }
    times.sort();
    let seconds: Vec<String> = times.iter().map(|t| format!("{:.1}", t.as_secs_f64())).collect();
    let ratio = rush.as_secs_f64() / row.as_secs_f64();
    report.tell(format!(
        "{APPS} pushes at once        {:6.1} s = {ratio:.2}x; each after {} s",
        rush.as_secs_f64(),
        seconds.join(", ")
    ));
    let grown = memory(platform).await?.saturating_sub(before);
    report.tell(format!(
        "{most} build containers at most, those that stand by among them; the server's memory grew by {} MB",
        grown >> 20
    ));
    if most > PARALLEL + STANDBYS {
        report.broken(format!("{most} builds ran side by side"));
    }
    if grown > MEMORY {
        report.broken(format!("the server's memory grew by {} MB", grown >> 20));
    }
    if ratio > RATIO {
        report.broken(format!("ten pushes at once took {ratio:.2}x of ten in a row"));
    }
    Ok(())
}

/// Pushes a change, which must be served then; when that was.
async fn push(platform: &Platform, app: &str, change: &[u8], began: Instant) -> Result<Duration> {
    platform.commit(app, "change.txt", change).await?;
    let pushed = platform.push(app).await?;
    let served = pushed.ok && pushed.text.contains("Verifying deploy... done.");
    anyhow::ensure!(served, "it is not served:\n{}", pushed.text);
    Ok(began.elapsed())
}

/// Build containers that run now.
async fn builds(platform: &Platform) -> Result<usize> {
    let containers = platform.labelled("containers").await?;
    let running = |container: &&serde_json::Value| {
        container["Labels"]["senryu.kind"] == "build" && container["State"] == "running"
    };
    Ok(containers.iter().filter(running).count())
}

/// Bytes that the server has resident.
async fn memory(platform: &Platform) -> Result<u64> {
    let pid = platform.server_pid().await.context("the server runs")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes << 10)
}
