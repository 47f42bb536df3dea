//! A Docker Engine of the soak's own, which may be killed: its data, its containerd and its socket
//! are in the soak's directory, its network in the soak's namespace (see `scripts/soak`).

use crate::platform::processes;
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

const START_LIMIT: Duration = Duration::from_secs(60);

pub struct Engine {
    dir: PathBuf,
    child: Option<Child>,
}

impl Engine {
    pub fn socket(dir: &Path) -> PathBuf {
        dir.join("docker.sock")
    }

    pub async fn start(dir: &Path) -> Result<Self> {
        let mut engine = Self { dir: dir.to_path_buf(), child: None };
        engine.begin().await?;
        Ok(engine)
    }

    /// Starts it, and returns once it answers.
    pub async fn begin(&mut self) -> Result<()> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("results/dockerd.log"))?;
        let at = |name: &str| self.dir.join(name);
        let child = Command::new("dockerd")
            .arg("--data-root")
            .arg(at("docker"))
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("--pidfile")
            .arg(at("dockerd.pid"))
            .arg("--host")
            .arg(format!("unix://{}", Self::socket(&self.dir).display()))
            .args(["--bip", "10.91.0.1/24"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start dockerd")?;
        self.child = Some(child);
        let began = Instant::now();
        while !self.answers().await {
            if let Some(Some(status)) = self.child.as_mut().map(Child::try_wait).transpose()? {
                bail!("dockerd ended: {status}; see results/dockerd.log");
            }
            if began.elapsed() > START_LIMIT {
                bail!("dockerd does not answer; see results/dockerd.log");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn answers(&self) -> bool {
        let socket = format!("unix://{}", Self::socket(&self.dir).display());
        let ping = Command::new("docker")
            .args(["--host", &socket, "info"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .status();
        let ping = tokio::time::timeout(Duration::from_secs(10), ping).await;
        matches!(ping, Ok(Ok(status)) if status.success())
    }

    /// Ends dockerd itself; its containerd and the containers stay with SIGKILL.
    pub async fn end(&mut self, signal: Signal) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if let Some(pid) = child.id() {
            kill(Pid::from_raw(i32::try_from(pid)?), signal)?;
        }
        child.wait().await?;
        Ok(())
    }

    /// Ends it for good, without containers that would leave their cgroups behind.
    pub async fn remove(mut self) -> Result<()> {
        let socket = Self::socket(&self.dir);
        let host = format!("export DOCKER_HOST=unix://{}", socket.display());
        shell(&format!("{host}; docker rm -f $(docker ps -aq)")).await;
        self.end(Signal::SIGTERM).await
    }

    /// Ends all that runs in this namespace but the soak, as a power cut does, and takes what a
    /// boot would not find: the files of running things, bridges and firewall rules.
    pub async fn cut_power(&mut self) -> Result<()> {
        let own = std::process::id().to_string();
        let parent = nix::unistd::getppid().as_raw();
        // Twice: the first round's children.
        for _ in 0..2 {
            for pid in processes(|_| true) {
                if pid > 1 && pid != parent && pid.to_string() != own {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
        }
        if let Some(mut child) = self.child.take() {
            child.wait().await?;
        }
        for name in ["exec", "dockerd.pid", "docker.sock"] {
            let path = self.dir.join(name);
            let mounts = std::fs::read_to_string("/proc/self/mounts")?;
            for mount in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)) {
                if Path::new(mount).starts_with(&path) {
                    let _ = nix::mount::umount2(mount, nix::mount::MntFlags::MNT_DETACH);
                }
            }
            let _ = std::fs::remove_dir_all(&path).or_else(|_| std::fs::remove_file(&path));
        }
        let run = self.dir.join("run");
        let _ = nix::mount::umount2(&run, nix::mount::MntFlags::MNT_DETACH);
        let _ = std::fs::remove_dir_all(&run);
        for table in ["filter", "nat"] {
            shell(&format!("iptables -t {table} -F; iptables -t {table} -X")).await;
        }
        shell("ip -o link show type bridge | awk -F': ' '{print $2}' | xargs -rn1 ip link del")
            .await;
        Ok(())
    }
}

/// A line of shell whose failure shows in what is checked afterwards.
pub async fn shell(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().await;
    output.map_or(String::new(), |output| {
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    })
}
