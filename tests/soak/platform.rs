//! An installation of its own: data, sockets, port, home directory and work trees in one
//! directory, driven by the real binary, real `git` and Docker's own API. Everything it made goes
//! when it is done.

use crate::http::{Conn, Request};
use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::broadcast;

const START_LIMIT: Duration = Duration::from_secs(30);
/// This machine's own.
const DOCKER: &str = "/var/run/docker.sock";
/// No command of a healthy platform takes this long.
const COMMAND_LIMIT: Duration = Duration::from_secs(180);

pub struct Platform {
    pub dir: PathBuf,
    pub port: u16,
    pub zero: Instant,
    fixture: PathBuf,
    settings: Vec<String>,
    docker_socket: PathBuf,
    /// A library that the server is started with, and the file that it reads.
    pretence: Mutex<Option<(String, PathBuf)>>,
    server: tokio::sync::Mutex<Option<Child>>,
    log: broadcast::Sender<String>,
}

/// What became of a command.
pub struct Ran {
    pub ok: bool,
    pub text: String,
    pub begun: Duration,
    pub ended: Duration,
}

impl Ran {
    /// The version in git's `Released v7`.
    pub fn released(&self) -> Option<u64> {
        let after = self.text.split("Released v").nth(1)?;
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    }
}

impl Platform {
    /// A directory with everything in it; the server does not run yet.
    pub fn new(binary: &Path, fixture: &Path, port: u16, settings: Vec<String>) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("senryu-soak-").tempdir()?.keep();
        for name in ["home", "work", "results"] {
            std::fs::create_dir(dir.join(name))?;
        }
        // A copy: the program that runs must not change under it.
        std::fs::copy(binary, dir.join("senryu")).context("copy the senryu binary")?;
        let fixture = fixture.to_path_buf();
        let (log, _) = broadcast::channel(4096);
        let server = tokio::sync::Mutex::default();
        let docker_socket = PathBuf::from(DOCKER);
        let pretence = Mutex::default();
        let zero = Instant::now();
        Ok(Self { dir, port, zero, fixture, settings, docker_socket, pretence, server, log })
    }

    /// Uses a Docker of its own, with the stack from an archive.
    pub fn use_docker(&mut self, socket: PathBuf, stack: &Path) {
        self.settings.push(format!("--docker-socket={}", socket.display()));
        self.settings.push(format!("--stack-archive={}", stack.display()));
        self.docker_socket = socket;
    }

    /// From the next start on the server has a clock of its own, if `library` is not empty.
    pub fn pretend(&self, library: &str, file: &Path) {
        let both = (!library.is_empty()).then(|| (library.to_string(), file.to_path_buf()));
        *self.pretence.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = both;
    }

    pub fn now(&self) -> Duration {
        self.zero.elapsed()
    }

    pub fn results(&self) -> PathBuf {
        self.dir.join("results")
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub fn url(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    // --- the server ---------------------------------------------------------------------------

    /// The server's log lines from now on.
    pub fn watch(&self) -> broadcast::Receiver<String> {
        self.log.subscribe()
    }

    /// Starts the server and returns when it is ready; how long that took.
    pub async fn start(&self) -> Result<Duration> {
        let mut lines = self.watch();
        let begun = Instant::now();
        let mut command = Command::new(self.dir.join("senryu"));
        let pretence = self.pretence.lock().map(|pretence| pretence.clone()).unwrap_or_default();
        if let Some((library, file)) = pretence {
            command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", file);
            command.env("FAKETIME_CACHE_DURATION", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let mut child = command
            .arg("server")
            .arg("--data-dir")
            .arg(self.data_dir())
            .arg("--run-dir")
            .arg(self.dir.join("run"))
            .arg("--master-key-file")
            .arg(self.dir.join("master.key"))
            .arg("--listen")
            .arg(format!("127.0.0.1:{}", self.port))
            .args(&self.settings)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("start the server")?;
        let errors = child.stderr.take().context("the server's standard error")?;
        let log = self.results().join("server.log");
        #[allow(clippy::disallowed_methods, reason = "what drives the product uses none of it")]
        tokio::spawn(keep(errors, log, self.zero, self.log.clone()));
        let ready = async {
            while let Ok(line) = lines.recv().await {
                if line.contains(": ready ") {
                    return;
                }
            }
        };
        tokio::select! {
            () = ready => {}
            status = child.wait() => bail!("the server ended: {status:?}"),
            () = tokio::time::sleep(START_LIMIT) => bail!("the server is not ready in time"),
        }
        *self.server.lock().await = Some(child);
        Ok(begun.elapsed())
    }

    pub async fn server_pid(&self) -> Option<u32> {
        self.server.lock().await.as_ref().and_then(Child::id)
    }

    /// Somebody else ends it.
    pub async fn forget_server(&self) {
        self.server.lock().await.take();
    }

    /// `kill -9`, at once.
    pub async fn kill_server(&self) -> Result<()> {
        let Some(mut child) = self.server.lock().await.take() else { return Ok(()) };
        child.start_kill()?;
        child.wait().await?;
        Ok(())
    }

    /// The router's process.
    pub fn router(&self) -> Option<i32> {
        let mark = self.dir.join("run/router").to_string_lossy().into_owned();
        processes(|arguments| {
            arguments.iter().any(|argument| argument == "router") && arguments.contains(&mark)
        })
        .into_iter()
        .next()
    }

    // --- what a user does -----------------------------------------------------------------------

    pub async fn senryu(&self, arguments: &[&str]) -> Result<Ran> {
        self.run(Command::new(self.dir.join("senryu")).args(arguments)).await
    }

    async fn run(&self, command: &mut Command) -> Result<Ran> {
        let begun = self.now();
        let output = self.output(command).await?;
        let ended = self.now();
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        Ok(Ran { ok: output.status.success(), text: text.into_owned(), begun, ended })
    }

    async fn output(&self, command: &mut Command) -> Result<Output> {
        let running = command
            .env("HOME", self.dir.join("home"))
            .env("SENRYU_URL", self.url())
            .env_remove("SENRYU_API_KEY")
            .env("DOCKER_HOST", format!("unix://{}", self.docker_socket.display()))
            .env("GIT_AUTHOR_NAME", "Soak")
            .env("GIT_AUTHOR_EMAIL", "soak@example.com")
            .env("GIT_COMMITTER_NAME", "Soak")
            .env("GIT_COMMITTER_EMAIL", "soak@example.com")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        match tokio::time::timeout(COMMAND_LIMIT, running).await {
            Ok(output) => Ok(output?),
            Err(_) => bail!("{command:?} does not end"),
        }
    }

    pub fn work_tree(&self, app: &str) -> PathBuf {
        self.dir.join("work").join(app)
    }

    pub async fn git(&self, app: &str, arguments: &[&str]) -> Result<Ran> {
        let tree = self.work_tree(app);
        self.run(Command::new("git").arg("-C").arg(tree).args(arguments)).await
    }

    async fn git_ok(&self, app: &str, arguments: &[&str]) -> Result<String> {
        let ran = self.git(app, arguments).await?;
        ensure!(ran.ok, "git {}: {}", arguments.join(" "), ran.text);
        Ok(ran.text)
    }

    /// Starts the server, makes the admin, logs in.
    pub async fn set_up(&self) -> Result<()> {
        self.start().await?;
        let socket = self.dir.join("run/admin.sock");
        let socket = socket.to_string_lossy();
        let admin = ["admin:create", "soak@example.com", "--login", "--socket", &socket];
        let ran = self.senryu(&admin).await?;
        ensure!(ran.ok, "admin:create: {}", ran.text);
        Ok(())
    }

    /// Makes an app and its work tree from the fixture with other files over it.
    pub async fn create_app(&self, app: &str, files: &[(&str, &str)]) -> Result<()> {
        let ran = self.senryu(&["apps:create", app, "--no-remote"]).await?;
        ensure!(ran.ok, "apps:create: {}", ran.text);
        let tree = self.work_tree(app);
        std::fs::create_dir(&tree)?;
        for entry in std::fs::read_dir(&self.fixture)? {
            let entry = entry?;
            std::fs::copy(entry.path(), tree.join(entry.file_name()))?;
        }
        for (name, content) in files {
            std::fs::write(tree.join(name), content)?;
        }
        let url = format!("{}/{app}.git", self.url());
        self.git_ok(app, &["init", "-q", "-b", "main"]).await?;
        self.git_ok(app, &["remote", "add", "senryu", &url]).await?;
        Ok(())
    }

    pub fn write(&self, app: &str, file: &str, content: &[u8]) -> Result<()> {
        Ok(std::fs::write(self.work_tree(app).join(file), content)?)
    }

    /// Commits a change of one file, with all others that changed, and returns the commit.
    pub async fn commit(&self, app: &str, file: &str, content: &[u8]) -> Result<String> {
        self.write(app, file, content)?;
        self.git_ok(app, &["add", "-A"]).await?;
        self.git_ok(app, &["commit", "-q", "-m", "A change"]).await?;
        Ok(self.git_ok(app, &["rev-parse", "HEAD"]).await?.trim().to_string())
    }

    pub async fn push(&self, app: &str) -> Result<Ran> {
        self.git(app, &["push", "senryu", "main"]).await
    }

    // --- what a checker asks ---------------------------------------------------------------------

    /// A list of the API, through the command line.
    pub async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.output(Command::new(self.dir.join("senryu")).args(arguments)).await?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "senryu {}: {errors}", arguments.join(" "));
        serde_json::from_slice(&output.stdout).context("JSON of the command line")
    }

    pub async fn releases(&self, app: &str) -> Result<Vec<Value>> {
        let value = self.json(&["releases", "-a", app, "--json", "-n", "1000"]).await?;
        value.as_array().cloned().context("a list of releases")
    }

    pub async fn newest_release(&self, app: &str) -> Result<u64> {
        let releases = self.json(&["releases", "-a", app, "--json", "-n", "1"]).await?;
        releases[0]["version"].as_u64().context("a release's version")
    }

    /// Docker's own answer to a GET.
    pub async fn docker(&self, path: &str) -> Result<Value> {
        let mut conn = Conn::unix(&self.docker_socket.to_string_lossy()).await?;
        let reply = conn.send(&Request::get("docker", &format!("/v1.41{path}"))).await?;
        ensure!(reply.status == 200, "docker {path}: {}", reply.status);
        Ok(serde_json::from_slice(&reply.body)?)
    }

    /// The installation's id, as its router's log and containers name it.
    pub async fn installation(&self) -> Result<String> {
        let log = std::fs::read_to_string(self.results().join("server.log"))?;
        let found = log.split("installation=\"").nth(1).and_then(|rest| rest.split('"').next());
        Ok(found.context("no installation in the server's log")?.to_string())
    }

    /// Containers (`/containers`) or images (`/images`) of ours, whatever their state.
    pub async fn labelled(&self, what: &str) -> Result<Vec<Value>> {
        let label = format!("senryu.installation={}", self.installation().await?);
        self.found(what, "label", &label).await
    }

    /// Those in which steps of a Dockerfile run: the builder's, on our network, without our labels.
    pub async fn steps(&self) -> Result<Vec<Value>> {
        let network = format!("senryu-{}", self.installation().await?);
        let mut found = self.found("containers", "network", &network).await?;
        found.retain(|container| container["Labels"]["senryu.kind"].is_null());
        Ok(found)
    }

    async fn found(&self, what: &str, key: &str, value: &str) -> Result<Vec<Value>> {
        let filter = format!("{{\"{key}\":[\"{value}\"]}}");
        let filter: String = filter.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let list = self.docker(&format!("/{what}/json?all=1&filters={filter}")).await?;
        list.as_array().cloned().context("a list from Docker")
    }

    /// The dynos' containers, whatever their state.
    pub async fn dynos(&self) -> Result<Vec<Value>> {
        let mut containers = self.labelled("containers").await?;
        containers.retain(|container| container["Labels"]["senryu.kind"] == "dyno");
        Ok(containers)
    }

    // --- the end --------------------------------------------------------------------------------

    /// Ends what runs and removes all but the results.
    pub async fn tear_down(&self) -> Result<()> {
        let id = self.installation().await.unwrap_or_default();
        self.kill_server().await?;
        if let Some(router) = self.router() {
            kill(Pid::from_raw(router), Signal::SIGKILL)?;
        }
        let mark = self.dir.to_string_lossy().into_owned();
        for pid in processes(|arguments| arguments.iter().any(|one| one.contains(&mark))) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if !id.is_empty() && self.docker_socket == Path::new(DOCKER) {
            self.remove_docker_resources(&id).await?;
        }
        let mounts = std::fs::read_to_string("/proc/mounts")?;
        for mount in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)) {
            if Path::new(mount).starts_with(&self.dir) {
                let _ = nix::mount::umount2(mount, nix::mount::MntFlags::MNT_DETACH);
            }
        }
        for name in ["data", "run", "home", "work", "docker", "exec"] {
            let _ = std::fs::remove_dir_all(self.dir.join(name));
        }
        for name in ["senryu", "master.key", "stack.tar", "disk.img"] {
            let _ = std::fs::remove_file(self.dir.join(name));
        }
        Ok(())
    }

    async fn remove_docker_resources(&self, id: &str) -> Result<()> {
        for container in self.labelled("containers").await? {
            let name = container["Id"].as_str().unwrap_or_default();
            self.run(Command::new("docker").args(["rm", "-f", name])).await?;
        }
        for image in self.labelled("images").await? {
            let name = image["Id"].as_str().unwrap_or_default();
            self.run(Command::new("docker").args(["rmi", "-f", name])).await?;
        }
        let name = format!("senryu-{id}");
        let closed = (format!("{name}-closed"), format!("snc{id}"));
        for (network, bridge) in [(name, format!("snr{id}")), closed] {
            self.run(Command::new("docker").args(["network", "rm", &network])).await?;
            let chain = bridge.to_uppercase();
            for hook in ["INPUT", "FORWARD"] {
                let rule = ["-w", "-D", hook, "-i", &bridge, "-j", &chain];
                self.run(Command::new("iptables").args(rule)).await?;
            }
            for chain in [chain.clone(), format!("{chain}-LIST")] {
                for verb in ["-F", "-X"] {
                    self.run(Command::new("iptables").args(["-w", verb, &chain])).await?;
                }
            }
        }
        Ok(())
    }
}

/// Writes the server's log with our own clock before each line, and tells it to who watches.
async fn keep(
    errors: tokio::process::ChildStderr,
    path: PathBuf,
    zero: Instant,
    log: broadcast::Sender<String>,
) {
    static FILE: Mutex<()> = Mutex::new(());
    let mut lines = BufReader::new(errors).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let _ = log.send(line.clone());
        let _one = FILE.lock();
        let file = std::fs::File::options().create(true).append(true).open(&path);
        if let Ok(mut file) = file {
            let _ = writeln!(file, "{:10.3} {line}", zero.elapsed().as_secs_f64());
        }
    }
}

/// Processes by their arguments.
pub fn processes(wanted: impl Fn(&[String]) -> bool) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let arguments: Vec<String> = line
                .split(|byte| *byte == 0)
                .map(|argument| String::from_utf8_lossy(argument).into_owned())
                .collect();
            (u32::try_from(pid) != Ok(std::process::id()) && wanted(&arguments)).then_some(pid)
        })
        .collect()
}
