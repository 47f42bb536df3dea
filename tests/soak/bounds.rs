//! What those who misbehave take at most, looked at every second while they do.

use crate::platform::Platform;
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// Bytes of Docker's disk and of the platform's that one case may take: the limit of a build's
/// disk, or of a dyno's with what a fast disk swallows until that is noticed, and the log.
const DISK: u64 = 5 << 29;
/// Bytes of memory that the server may have, whatever its dynos do.
const SERVER: u64 = 400 << 20;

#[derive(Default)]
pub struct Peaks {
    memory: u64,
    processes: u64,
    /// Free bytes at first, and at least.
    free: Option<(u64, u64)>,
    server: u64,
    /// What was over its bound, once each.
    pub over: Vec<String>,
}

impl Peaks {
    /// Looks until it is dropped. What cannot be looked at, since it has just ended, is left out.
    pub async fn watch(&mut self, platform: &Platform, app: &str) {
        loop {
            let _ = self.containers(platform, app).await;
            let _ = self.steps(platform).await;
            let _ = self.host(platform).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn containers(&mut self, platform: &Platform, app: &str) -> Result<()> {
        for container in platform.labelled("containers").await? {
            if container["Labels"]["senryu.app"] != app {
                continue;
            }
            let Some(stats) = self.measure(platform, &container).await else { continue };
            let figure = |pointer: &str| stats.pointer(pointer).and_then(Value::as_u64);
            let memory = figure("/memory_stats/usage").unwrap_or(0);
            let processes = figure("/pids_stats/current").unwrap_or(0);
            // The kernel holds to them; a container without limits tells the machine's.
            match figure("/memory_stats/limit") {
                Some(limit) if memory <= limit && limit < 16 << 30 => {}
                _ if memory == 0 => {}
                limit => self.add(format!("memory has no bound of its own: {limit:?}")),
            }
            match figure("/pids_stats/limit") {
                Some(limit) if processes <= limit && limit <= 1 << 16 => {}
                _ if processes == 0 => {}
                limit => self.add(format!("processes have no bound: {limit:?}")),
            }
        }
        Ok(())
    }

    /// They are bounded a moment after they begin, so that only what they reach is looked at.
    async fn steps(&mut self, platform: &Platform) -> Result<()> {
        for container in platform.steps().await? {
            self.measure(platform, &container).await;
        }
        Ok(())
    }

    async fn measure(&mut self, platform: &Platform, container: &Value) -> Option<Value> {
        let id = container["Id"].as_str().filter(|_| container["State"] == "running")?;
        let path = format!("/containers/{id}/stats?stream=false&one-shot=true");
        let stats = platform.docker(&path).await.ok()?;
        let figure = |pointer: &str| stats.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        self.memory = self.memory.max(figure("/memory_stats/usage"));
        self.processes = self.processes.max(figure("/pids_stats/current"));
        Some(stats)
    }

    async fn host(&mut self, platform: &Platform) -> Result<()> {
        let docker = platform.docker("/info").await?;
        let docker = docker["DockerRootDir"].as_str().context("Docker's directory")?.to_string();
        let mut free = u64::MAX;
        for path in [Path::new(&docker), platform.dir.as_path()] {
            let stat = nix::sys::statvfs::statvfs(path)?;
            free = free.min(stat.blocks_available() * stat.fragment_size());
        }
        let (first, least) = self.free.unwrap_or((free, free));
        self.free = Some((first, least.min(free)));
        if first.saturating_sub(least.min(free)) > DISK {
            self.add(format!("more than {} MB of the host's disk were taken", DISK >> 20));
        }
        if let Some(server) = platform.server_pid().await {
            let status = std::fs::read_to_string(format!("/proc/{server}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
            self.server = self.server.max(kilobytes.unwrap_or(0) * 1024);
            if self.server > SERVER {
                self.add(format!("the server took more than {} MB", SERVER >> 20));
            }
        }
        Ok(())
    }

    fn add(&mut self, what: String) {
        if !self.over.contains(&what) {
            self.over.push(what);
        }
    }

    pub fn text(&self) -> String {
        let disk = self.free.map_or(0, |(first, least)| first.saturating_sub(least));
        format!(
            "took {} MB of memory, {} processes, {} MB of disk; server {} MB",
            self.memory >> 20,
            self.processes,
            disk >> 20,
            self.server >> 20
        )
    }
}
