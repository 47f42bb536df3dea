//! One installation for tests: its own port, folders, key and Docker resources. When it is
//! dropped everything is removed, and what could not be removed fails the test.

use super::command::{Output, run};
use super::http::{Connection, Reply};
use super::wait::until;
use super::{App, docker, process};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::Duration;
use tempfile::TempDir;

pub const SENRYU: &str = env!("CARGO_BIN_EXE_senryu");
pub const EMAIL: &str = "ada@example.com";
/// Folders of platforms: the id of the test's process follows.
const PREFIX: &str = "senryu-it-";
/// A server is ready well within this time, even while the other core compiles.
const START_LIMIT: Duration = Duration::from_secs(30);

pub struct Platform {
    pub dir: TempDir,
    pub address: SocketAddr,
    pub token: String,
    pub installation: String,
    server: Mutex<Option<Child>>,
    apps: AtomicU32,
    /// What the next server is told beside what all are.
    pub more_settings: Mutex<Vec<String>>,
}

/// The platform that tests share which do no harm to it.
static SHARED: Mutex<Weak<Platform>> = Mutex::new(Weak::new());

impl Platform {
    /// The shared platform. It ends when no test holds it any more.
    pub fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(platform) = shared.upgrade() {
            return platform;
        }
        let platform = Arc::new(Self::start());
        *shared = Arc::downgrade(&platform);
        platform
    }

    /// A platform of its own, for tests that kill it.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// One with other settings than all the others have.
    pub fn start_with(extra: &[&str]) -> Self {
        // Free a moment ago; nobody else asks for ports of this range so quickly.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self::start_at(address, extra)
    }

    /// One at an address that somebody else has to know before it starts.
    pub fn start_at(address: SocketAddr, extra: &[&str]) -> Self {
        static FIRST: Once = Once::new();
        check_prerequisites();
        FIRST.call_once(sweep);
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let dir = tempfile::Builder::new().prefix(&prefix).tempdir().unwrap();
        for name in ["data", "run", "home", "work"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let mut platform = Self {
            dir,
            address,
            token: String::new(),
            installation: String::new(),
            server: Mutex::new(None),
            apps: AtomicU32::new(0),
            more_settings: Mutex::new(extra.iter().map(ToString::to_string).collect()),
        };
        platform.start_server();
        let installation = installation_in(&platform.server_log());
        platform.installation = installation.expect("the log names the installation");
        let socket = platform.run_dir().join("admin.sock");
        let socket = socket.to_str().unwrap();
        platform.cli(&["admin:create", EMAIL, "--login", "--socket", socket]).succeeded();
        platform.token = platform.cli(&["auth:token"]).succeeded().stdout.trim().to_string();
        platform
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("server.log")
    }

    /// What the server itself has logged so far.
    pub fn server_log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// `senryu server` with this platform's settings, not started yet.
    pub fn server_command(&self) -> Command {
        let mut command = clean(SENRYU);
        command.arg("server").arg("--data-dir").arg(self.data_dir());
        command.arg("--run-dir").arg(self.run_dir());
        command.arg("--master-key-file").arg(self.dir.path().join("master.key"));
        command.arg("--listen").arg(self.address.to_string());
        for (flag, seconds) in [
            ("--boot-timeout", "20"),
            ("--stop-grace", "5"),
            ("--drain-timeout", "5"),
            ("--build-timeout", "900"),
            ("--shutdown-timeout", "20"),
            ("--sample-period", "2"),
        ] {
            command.args([flag, seconds]);
        }
        // A size whose limits are soon reached, for apps that misbehave.
        command.args(["--dyno-sizes", "Eco:memory=64,kill=128,processes=64,files=500,disk=64"]);
        let more = self.more_settings.lock().unwrap();
        command.args(more.iter());
        if !more.iter().any(|flag| flag == "--build-standby") {
            // Build containers are counted: none but those of builds.
            command.args(["--build-standby", "0"]);
        }
        command.args(["--build-limits", "memory=1536,processes=512,disk=3072"]);
        command
    }

    /// Starts the server and waits until it is ready.
    pub fn start_server(&self) {
        let readies = self.server_log().matches(" ready").count();
        let log = std::fs::File::options().create(true).append(true).open(self.log_path());
        let child = self
            .server_command()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.unwrap())
            .spawn()
            .unwrap();
        *self.server() = Some(child);
        until("the server is ready", START_LIMIT, || {
            if let Some(status) = self.server().as_mut().unwrap().try_wait().unwrap() {
                panic!("the server ended with {status}:\n{}", self.server_log());
            }
            (self.server_log().matches(" ready").count() > readies).then_some(())
        });
        until("the router leads to the API", START_LIMIT, || {
            let reply = Connection::open(self.address)
                .and_then(|mut c| c.request("GET", "localhost", "/account", &[], b""));
            reply.is_ok_and(|reply| reply.status == 401).then_some(())
        });
    }

    fn server(&self) -> MutexGuard<'_, Option<Child>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the server with a signal; its exit code, if it has one.
    pub fn end_server(&self, signal: Signal) -> Option<i32> {
        let mut child = self.server().take().expect("the server runs");
        process::signal(i32::try_from(child.id()).unwrap(), signal);
        until("the server ends", START_LIMIT, || child.try_wait().unwrap()).code()
    }

    /// The most memory that the server has had so far, KiB.
    pub fn server_memory(&self) -> u64 {
        let pid = self.server().as_ref().map(Child::id).expect("the server runs");
        peak_memory(pid.cast_signed())
    }

    /// The router's process: the one that was told this platform's folder.
    pub fn router_pids(&self) -> Vec<i32> {
        process::find(&[" router ", self.run_dir().join("router").to_str().unwrap()])
    }

    pub fn label(&self) -> String {
        format!("senryu.installation={}", self.installation)
    }

    pub fn url(&self) -> String {
        format!("http://localhost:{}", self.address.port())
    }

    /// The real command line, logged in as the admin.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        self.cli_with_input(arguments, b"")
    }

    pub fn cli_with_input(&self, arguments: &[&str], input: &[u8]) -> Output {
        run(self.cli_command().args(arguments), input)
    }

    pub fn cli_command(&self) -> Command {
        let mut command = clean(SENRYU);
        command.env("HOME", self.home()).env("SENRYU_URL", self.url());
        command.current_dir(self.home());
        command
    }

    /// A request of the API with the admin's token.
    pub fn api(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.api_with(method, path, &[], body.as_bytes())
    }

    pub fn api_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let bearer = format!("Bearer {}", self.token);
        let mut all = headers.to_vec();
        if !headers.iter().any(|(name, _)| *name == "Authorization") {
            all.push(("Authorization", &bearer));
        }
        all.push(("Accept", "application/vnd.heroku+json; version=3"));
        all.push(("Content-Type", "application/json"));
        self.connection().request(method, "localhost", path, &all, body).unwrap()
    }

    pub fn connection(&self) -> Connection {
        Connection::open(self.address).unwrap()
    }

    /// A new app without code, with a name of its own.
    pub fn empty_app(self: &Arc<Self>) -> App {
        let number = self.apps.fetch_add(1, Ordering::Relaxed);
        App::create(self.clone(), &format!("app-{number}"))
    }

    /// A new app with one of the fixtures in its work tree, not pushed yet.
    pub fn app_with(self: &Arc<Self>, fixture: &str) -> App {
        let app = self.empty_app();
        app.copy_fixture(fixture);
        app.commit("first");
        app
    }

    /// A new app from one of the fixtures, pushed and serving.
    pub fn app_from(self: &Arc<Self>, fixture: &str) -> App {
        let app = self.app_with(fixture);
        app.push().succeeded();
        app
    }

    fn end_everything(&self) {
        if let Some(mut child) = self.server().take() {
            process::signal(i32::try_from(child.id()).unwrap(), Signal::SIGKILL);
            let _ = child.wait();
        }
        remove(self.dir.path(), &self.installation);
    }

    fn leftovers(&self) -> Vec<String> {
        let mut left = docker::leftovers(&self.installation);
        left.extend(mounts(self.dir.path()).iter().map(|mount| mount.display().to_string()));
        let processes = process::find(&[self.dir.path().to_str().unwrap()]);
        left.extend(processes.iter().map(|pid| format!("process {pid}")));
        left
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.end_everything();
        if std::thread::panicking() {
            let log = self.server_log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("--- the server's log, newest line first\n{}", tail.join("\n"));
            return;
        }
        if self.installation.is_empty() {
            return;
        }
        until("nothing is left of the platform", Duration::from_secs(20), || {
            self.leftovers().is_empty().then_some(())
        });
    }
}

/// Ends every process that was told of a platform's folder, and removes all that it made outside.
fn remove(dir: &Path, installation: &str) {
    for pid in process::find(&[dir.to_str().unwrap()]) {
        process::signal(pid, Signal::SIGKILL);
    }
    if !installation.is_empty() {
        docker::remove_installation(installation);
    }
    for mount in mounts(dir).iter().rev() {
        let _ = umount2(mount, MntFlags::MNT_DETACH);
    }
}

fn mounts(dir: &Path) -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(1));
    points.map(PathBuf::from).filter(|point| point.starts_with(dir)).collect()
}

/// `installation="1a2b3c4d"` in a server's log.
fn installation_in(log: &str) -> Option<String> {
    let (_, rest) = log.rsplit_once("installation=")?;
    Some(rest.chars().filter(|c| *c != '"').take_while(char::is_ascii_hexdigit).collect())
}

/// Removes what test runs left behind that were killed before they could clean up.
fn sweep() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let (dir, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let Some(owner) = owner.and_then(|pid| pid.parse::<u32>().ok()) else { continue };
        if !Path::new(&format!("/proc/{owner}")).exists() {
            let log = std::fs::read_to_string(dir.join("server.log")).unwrap_or_default();
            remove(&dir, &installation_in(&log).unwrap_or_default());
            let _ = std::fs::remove_dir_all(&dir);
        }
    }
}

/// A command that inherits nothing that would change how the program behaves.
pub fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["SENRYU_", "HEROKU_", "GIT_", "XDG_"].iter().any(|start| text.starts_with(start)) {
            command.env_remove(&name);
        }
    }
    command.env("SENRYU_CONFIG", "/nonexistent").env("NO_COLOR", "1").env("TZ", "UTC");
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
    command
}

fn check_prerequisites() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "these tests start a platform, which needs root: run them with scripts/test as root"
    );
    for image in ["senryu/stack:run", "senryu/stack:build"] {
        let found = docker::docker(&["image", "inspect", "--format", "{{.Id}}", image]);
        assert!(
            found.status == 0,
            "the image {image} is missing: scripts/stack makes it. Docker said: {}",
            found.stderr
        );
    }
}

/// Where the fixtures are.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The most memory that a process has had so far, KiB.
pub fn peak_memory(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
