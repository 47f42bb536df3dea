//! What happens to a host: each event is done to an installation with three apps and a Docker of
//! its own, and the seconds are told until every app serves again and nothing drifts.

use crate::Report;
use crate::engine::{Engine, shell};
use crate::http::{Conn, Request};
use crate::platform::Platform;
use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const APPS: [&str; 3] = ["one", "two", "three"];
/// By then every app must serve again: pruned stack and slugs take longest.
const LIMIT: Duration = Duration::from_secs(120);
/// A user and an operator would both call this an outage.
const SLOW: Duration = Duration::from_secs(60);

struct Host<'a> {
    platform: &'a Platform,
    engine: &'a mut Engine,
    report: &'a mut Report,
}

pub async fn run(platform: &Platform, engine: &mut Engine, report: &mut Report) -> Result<()> {
    let mut host = Host { platform, engine, report };
    host.deploy().await?;
    host.dockerd_restarts().await?;
    host.containers_go().await?;
    host.images_go().await?;
    host.network_goes().await?;
    host.disk_fills().await?;
    host.processes_run_out().await?;
    host.clock_jumps().await?;
    host.reboot().await?;
    host.logs_say().await
}

impl Host<'_> {
    async fn deploy(&mut self) -> Result<()> {
        let began = Instant::now();
        for app in APPS {
            self.platform.create_app(app, &[]).await?;
            let web = std::fs::read_to_string(self.platform.work_tree(app).join("Procfile"))?;
            let all = format!("{web}worker: exec sleep 1000000\n");
            self.platform.commit(app, "Procfile", all.as_bytes()).await?;
            let pushed = self.platform.push(app).await?;
            ensure!(pushed.ok, "push of {app}: {}", pushed.text);
            let scaled =
                self.platform.senryu(&["ps:scale", "web=2", "worker=1", "-a", app]).await?;
            ensure!(scaled.ok, "ps:scale of {app}: {}", scaled.text);
        }
        self.report.tell(format!(
            "{} apps with 3 dynos each deployed to an empty Docker in {:.1?}",
            APPS.len(),
            began.elapsed()
        ));
        self.back("nothing yet", Instant::now()).await
    }

    /// Waits until every app serves and all is as declared, three times in a row, and tells how
    /// long that took.
    async fn back(&mut self, what: &str, began: Instant) -> Result<()> {
        let (mut well, mut since) = (0, Duration::ZERO);
        let mut last = String::new();
        while well < 3 {
            let problem = self.problem().await;
            match problem {
                None if well == 0 => (well, since) = (1, began.elapsed()),
                None => well += 1,
                Some(problem) => (well, last) = (0, problem),
            }
            if began.elapsed() > LIMIT {
                self.report.broken(format!("{what}: not well after {LIMIT:?}: {last}"));
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.report.tell(format!("{what:<58} {:6.1} s", since.as_secs_f64()));
        if since > SLOW {
            self.report.broken(format!("{what}: {since:.1?} until every app served again"));
        }
        Ok(())
    }

    async fn problem(&self) -> Option<String> {
        for app in APPS {
            let status = self.get(app).await;
            if status != Some(200) {
                return Some(format!("{app} answers {status:?}"));
            }
        }
        match self.platform.senryu(&["drift"]).await {
            Ok(ran) if ran.ok => None,
            Ok(ran) => Some(ran.text),
            Err(error) => Some(format!("{error:#}")),
        }
    }

    async fn get(&self, app: &str) -> Option<u16> {
        let ask = async {
            let mut conn = Conn::tcp(self.platform.port).await?;
            let host = format!("{app}.localhost:{}", self.platform.port);
            anyhow::Ok(conn.send(&Request::get(&host, "/")).await?.status)
        };
        tokio::time::timeout(Duration::from_secs(3), ask).await.ok()?.ok()
    }

    async fn ok(&mut self, arguments: &[&str]) -> Result<()> {
        let ran = self.platform.senryu(arguments).await?;
        if !ran.ok {
            self.report.broken(format!("senryu {}: {}", arguments.join(" "), ran.text.trim()));
        }
        Ok(())
    }

    async fn docker(&self, line: &str) -> String {
        let socket = Engine::socket(&self.platform.dir);
        shell(&format!("export DOCKER_HOST=unix://{}; {line}", socket.display())).await
    }

    async fn dockerd_restarts(&mut self) -> Result<()> {
        // Twice each: what crashed twice in ten minutes would wait.
        for round in ["", ", again at once"] {
            for (name, signal) in
                [("killed with -9", Signal::SIGKILL), ("stopped", Signal::SIGTERM)]
            {
                let began = Instant::now();
                self.engine.end(signal).await?;
                self.engine.begin().await?;
                let up = began.elapsed();
                let what =
                    format!("dockerd {name} and started (in {:.1} s){round}", up.as_secs_f64());
                self.back(&what, began).await?;
            }
        }
        self.engine.end(Signal::SIGTERM).await?;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let began = Instant::now();
        self.engine.begin().await?;
        self.back("dockerd away for 10 s (an upgrade), from its start on", began).await
    }

    async fn containers_go(&mut self) -> Result<()> {
        let began = Instant::now();
        self.docker("docker rm -f $(docker ps -q --filter label=senryu.dyno=web.1 | head -n 1)")
            .await;
        self.back("one container removed by hand", began).await?;
        let began = Instant::now();
        self.docker("docker rm -f $(docker ps -aq)").await;
        self.back("all containers removed", began).await
    }

    async fn images_go(&mut self) -> Result<()> {
        for app in APPS {
            self.ok(&["ps:scale", "web=0", "worker=0", "-a", app]).await?;
        }
        // The command returns when traffic has switched; the containers go a little later.
        let waited = Instant::now();
        while !self.docker("docker ps -aq").await.trim().is_empty() && waited.elapsed() < LIMIT {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.docker("docker system prune -af").await;
        let left = self.docker("docker images -aq").await;
        ensure!(left.trim().is_empty(), "images are left after a prune: {left}");
        let began = Instant::now();
        for app in APPS {
            self.ok(&["ps:scale", "web=2", "worker=1", "-a", app]).await?;
        }
        self.back("docker system prune -af with all apps scaled to 0", began).await?;
        self.docker("docker rmi -f senryu/stack:build").await;
        let pushed = self.push("one", "after a prune").await?;
        if !pushed {
            self.report.broken("a push after a prune failed".to_string());
        }
        Ok(())
    }

    async fn push(&mut self, app: &str, content: &str) -> Result<bool> {
        self.platform.commit(app, "change.txt", content.as_bytes()).await?;
        let pushed = self.platform.push(app).await?;
        let last = pushed.text.lines().rfind(|line| line.contains("Build took"));
        println!("  push: {}", last.unwrap_or(pushed.text.trim()));
        Ok(pushed.ok)
    }

    async fn network_goes(&mut self) -> Result<()> {
        let id = self.platform.installation().await?;
        let began = Instant::now();
        self.docker(&format!(
            "for one in $(docker ps -q); do docker network disconnect -f senryu-{id} $one; done; \
             docker network rm senryu-{id}"
        ))
        .await;
        self.back("the network removed", began).await?;
        let chain = format!("SNR{}", id.to_uppercase());
        let began = Instant::now();
        shell("iptables -F").await;
        while !shell(&format!("iptables -S {chain}")).await.contains("-j DROP") {
            if began.elapsed() > LIMIT {
                self.report.broken("firewall rules do not come back".to_string());
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let seconds = began.elapsed().as_secs_f64();
        self.report.tell(format!("{:<58} {seconds:6.1} s", "iptables -F: our rules are back"));
        Ok(())
    }

    /// The data directory is a file system of its own here.
    async fn disk_fills(&mut self) -> Result<()> {
        let filler = self.platform.data_dir().join("filler");
        let fill = format!("cat /dev/zero >{} 2>/dev/null", filler.display());
        shell(&fill).await;
        for arguments in [&["config:set", "FULL=1", "-a", "one"][..], &["ps", "-a", "one"]] {
            let ran = self.platform.senryu(arguments).await?;
            println!("  disk full: {}: {}", arguments.join(" "), ran.text.trim());
        }
        let pushed = self.push("two", "with a full disk").await?;
        if pushed {
            self.report.broken("a push with a full disk is said to have worked".to_string());
        }
        for app in APPS {
            if self.get(app).await != Some(200) {
                self.report.broken(format!("{app} does not serve while the disk is full"));
            }
        }
        std::fs::remove_file(&filler)?;
        let began = Instant::now();
        self.ok(&["config:set", "FULL=no", "-a", "one"]).await?;
        if !self.push("two", "with room again").await? {
            self.report.broken("a push after a full disk failed".to_string());
        }
        self.back("a full disk has room again: config:set and a push", began).await
    }

    /// The server alone gets no process and no thread more than it has.
    async fn processes_run_out(&mut self) -> Result<()> {
        let Some((group, server)) = self.own_group().await else {
            self.report.not_tried("process table", "no control group can be made for it");
            return Ok(());
        };
        // As this namespace knows it; the kernel translates.
        std::fs::write(group.join("cgroup.procs"), server.to_string())?;
        // Threads for blocking work end after ten idle seconds.
        tokio::time::sleep(Duration::from_secs(12)).await;
        let count = std::fs::read_to_string(group.join("pids.current"))?;
        std::fs::write(group.join("pids.max"), count.trim())?;
        for arguments in [&["ps", "-a", "one"][..], &["ps:restart", "-a", "one", "--no-wait"]] {
            let ran = self.platform.senryu(arguments).await?;
            println!("  no process left: {}: {}", arguments.join(" "), ran.text.trim());
        }
        println!("  pushed: {}", self.push("three", "without a process").await?);
        tokio::time::sleep(Duration::from_secs(15)).await;
        for app in APPS {
            if self.get(app).await != Some(200) {
                self.report.broken(format!("{app} does not serve while no process is left"));
            }
        }
        std::fs::write(group.join("pids.max"), "max")?;
        let began = Instant::now();
        self.back("the process table has room again", began).await?;
        if !self.push("three", "with processes again").await? {
            self.report.broken("a push after the process table was full failed".to_string());
        }
        let parent = group.parent().unwrap_or(&group);
        std::fs::write(parent.join("cgroup.procs"), server.to_string())?;
        let _ = std::fs::remove_dir(&group);
        Ok(())
    }

    /// A control group for the server alone, that can bound processes, and the server.
    async fn own_group(&self) -> Option<(PathBuf, u32)> {
        let server = self.platform.server_pid().await?;
        let (v1, v2) = (Path::new("/sys/fs/cgroup/pids"), Path::new("/sys/fs/cgroup"));
        let root = if v1.is_dir() { v1 } else { v2 };
        // Nothing in version 1, where no group has to ask for it.
        let _ = std::fs::write(root.join("cgroup.subtree_control"), "+pids");
        let group = root.join(format!("soak-{}", self.platform.port));
        std::fs::create_dir(&group).ok()?;
        group.join("pids.max").exists().then_some((group, server))
    }

    async fn clock_jumps(&mut self) -> Result<()> {
        let library = shell("ls /usr/lib/*/faketime/libfaketimeMT.so.1").await;
        let library = library.trim();
        if !Path::new(library).exists() {
            self.report.not_tried("clock", "apt-get install libfaketime makes it possible");
            return Ok(());
        }
        let file = self.platform.dir.join("faketime");
        std::fs::write(&file, "+0")?;
        self.platform.kill_server().await?;
        self.platform.pretend(library, &file);
        self.platform.start().await?;
        self.back("the server under a clock that can jump", Instant::now()).await?;
        for (jump, name) in [("+1d", "a day on"), ("-2d", "three days back"), ("+0", "to now")] {
            let began = Instant::now();
            std::fs::write(&file, jump)?;
            tokio::time::sleep(Duration::from_secs(2)).await;
            self.ok(&["ps:restart", "-a", "two"]).await?;
            let set = format!("CLOCK={jump}");
            self.ok(&["config:set", &set, "-a", "one"]).await?;
            self.docker(
                "docker rm -f $(docker ps -q --filter label=senryu.dyno=web.1 | tail -n 1)",
            )
            .await;
            let what = format!("clock {name}: restart, config:set, a lost container");
            self.back(&what, began).await?;
        }
        let log = std::fs::read_to_string(self.platform.results().join("server.log"))?;
        if !log.contains("the clock was set") {
            self.report.broken("the server's log does not name a clock that jumps".to_string());
        }
        self.platform.kill_server().await?;
        self.platform.pretend("", &file);
        self.platform.start().await?;
        Ok(())
    }

    async fn reboot(&mut self) -> Result<()> {
        self.platform.forget_server().await;
        self.engine.cut_power().await?;
        let began = Instant::now();
        // Both start together, as at a boot.
        let (server, engine) = tokio::join!(self.platform.start(), self.engine.begin());
        server?;
        engine?;
        self.back("a reboot, from the start of dockerd and server on", began).await
    }

    /// The apps' logs name what was found, and no app is said to have crashed.
    async fn logs_say(&mut self) -> Result<()> {
        let ran =
            self.platform.senryu(&["logs", "-n", "1500", "-a", "one", "-s", "heroku"]).await?;
        std::fs::write(self.platform.results().join("one.log"), &ran.text)?;
        for words in ["Docker did not answer for", "all dynos run again", "removed from Docker"] {
            if !ran.text.contains(words) {
                self.report.broken(format!("the log of app one does not say {words:?}"));
            }
        }
        let crashed: Vec<&str> =
            ran.text.lines().filter(|line| line.contains("to crashed")).take(5).collect();
        if !crashed.is_empty() {
            self.report.broken(format!("dynos are said to have crashed: {crashed:#?}"));
        }
        Ok(())
    }
}
