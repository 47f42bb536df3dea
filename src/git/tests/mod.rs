//! The git host as git itself sees it: real git, real sockets, and a deployer that only takes
//! notes. The hook is this test binary, called back through [`as_hook`].

mod bad;
mod push;
mod queue;
mod restart;

use super::*;
use crate::clock::Timestamp;
use crate::config::ServerSettings;
use crate::deploy::Lines;
use crate::model::{App, AppId, AppName, UserId};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::Semaphore;

/// Longer than anything takes on a busy machine; no test waits for it unless it fails.
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn as_hook() {
    if std::env::var_os(process::PUSH_ID).is_some() {
        std::process::exit(i32::from(hook::status("pre-receive")));
    }
}

/// A shell command that runs this binary as the hook.
fn hook_command() -> String {
    let program = std::env::current_exe().unwrap();
    let program = shlex::try_quote(program.to_str().unwrap()).unwrap().into_owned();
    format!("exec {program} --exact git::tests::as_hook --nocapture >/dev/null")
}

/// Apps by name, users by token.
#[derive(Default)]
struct FakeAccess {
    apps: Mutex<HashMap<String, App>>,
}

impl FakeAccess {
    fn add(&self, name: &str) -> App {
        let app = App {
            id: AppId::random(),
            name: AppName::parse(name).unwrap(),
            owner: UserId::random(),
            owner_email: "dev@example.com".into(),
            stack: "heroku-24".into(),
            maintenance: false,
            egress: crate::model::Egress::Anywhere,
            https: crate::model::Https::default(),
            acm: false,
            buildpack_provided_description: None,
            repo_size: None,
            slug_size: None,
            created_at: Timestamp::now(),
            updated_at: Timestamp::now(),
            released_at: None,
        };
        self.apps.lock().unwrap().insert(name.into(), app.clone());
        app
    }

    fn rename(&self, name: &str, to: &str) {
        let mut apps = self.apps.lock().unwrap();
        apps.get_mut(name).unwrap().name = AppName::parse(to).unwrap();
    }
}

#[async_trait]
impl Access for FakeAccess {
    async fn authorize(
        &self,
        app: &str,
        credentials: &Credentials,
        write: bool,
    ) -> Result<(User, App), Refusal> {
        if !["secret", "reader"].contains(&credentials.password.as_str()) {
            return Err(Refusal::Unauthorized);
        }
        let apps = self.apps.lock().unwrap();
        let is_it = |one: &&App| one.name.as_str() == app || one.id.to_string() == app;
        let app = apps.values().find(is_it).cloned().ok_or(Refusal::NotFound)?;
        if write && credentials.password == "reader" {
            return Err(Refusal::Forbidden(format!("You may not push to {}.", app.name)));
        }
        let user = User {
            id: UserId::random(),
            email: "dev@example.com".into(),
            admin: false,
            created_at: Timestamp::now(),
            updated_at: Timestamp::now(),
        };
        Ok((user, app))
    }
}

/// Notes each call as `pre REF OLD NEW`, and lets `pre_receive` end only by a permit of `gate`.
struct FakeDeployer {
    calls: Mutex<Vec<String>>,
    gate: Semaphore,
    fails: AtomicBool,
    /// Whether the commit could be read through the quarantine.
    saw_commit: AtomicBool,
    /// Pushes that waited, and what became of them.
    lines: Mutex<Vec<String>>,
    /// Of all that wait.
    cancel: CancellationToken,
}

impl FakeDeployer {
    fn note(&self, what: &str, push: &Push) {
        let (old, new) = (&push.old[..7], &push.new[..7]);
        self.calls.lock().unwrap().push(format!("{what} {} {old} {new}", push.git_ref));
    }

    fn line(&self, text: String) {
        self.lines.lock().unwrap().push(text);
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

#[async_trait]
impl Deployer for FakeDeployer {
    async fn coming(&self, _: &App) {}

    async fn waits(&self, push: &Push) -> crate::error::Result<CancellationToken> {
        self.line(format!("waits {}", &push.new[..7]));
        Ok(self.cancel.clone())
    }

    fn stands(&self, _: Uuid, place: Option<usize>, words: &str) {
        self.line(format!("{place:?} {words}"));
    }

    async fn unbuilt(&self, _: &Push, end: BuildStatus, why: &str) {
        self.line(format!("{} {why}", end.as_str()));
    }

    async fn pre_receive(&self, push: &Push, out: &Progress) -> Result<(), ()> {
        self.note("pre", push);
        let repo = git2::Repository::open_bare(&push.git_dir).unwrap();
        let objects = push.quarantine().expect("the hook runs in quarantine");
        repo.odb().unwrap().add_disk_alternate(objects.to_str().unwrap()).unwrap();
        let commit = repo.find_commit(git2::Oid::from_str(&push.new).unwrap());
        self.saw_commit.store(commit.is_ok_and(|c| c.tree().is_ok()), Ordering::SeqCst);
        out.line("-----> Building").await;
        self.gate.acquire().await.unwrap().forget();
        out.line("-----> Built").await;
        if self.fails.load(Ordering::SeqCst) { Err(()) } else { Ok(()) }
    }

    async fn post_receive(&self, push: &Push, out: &Progress) {
        assert!(push.object_env.is_empty());
        out.line("-----> Released v3").await;
        self.note("post", push);
    }

    async fn abandoned(&self, push: &Push) {
        self.note("abandoned", push);
    }
}

/// A running host, and a folder with a work tree.
struct TestHost {
    dir: TempDir,
    settings: ServerSettings,
    host: Arc<GitHost>,
    access: Arc<FakeAccess>,
    deployer: Arc<FakeDeployer>,
    address: SocketAddr,
    app: App,
}

#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    settings: ServerSettings,
}

impl TestHost {
    /// A host whose builds end at once.
    async fn new() -> Self {
        let test = Self::gated().await;
        test.deployer.gate.add_permits(1000);
        test
    }

    /// A host whose builds wait for `deployer.gate`.
    async fn gated() -> Self {
        let dir = TempDir::new().unwrap();
        let path = |name: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path.to_str().unwrap().to_string()
        };
        let (data, run) = (path("data"), path("run"));
        path("home");
        let flags = ["senryu", "--data-dir", &data, "--run-dir", &run];
        let settings = <Flags as clap::Parser>::parse_from(flags).settings;
        let access = Arc::new(FakeAccess::default());
        let app = access.add("sample");
        let deployer = Arc::new(FakeDeployer {
            calls: Mutex::default(),
            gate: Semaphore::new(0),
            fails: AtomicBool::new(false),
            saw_commit: AtomicBool::new(false),
            lines: Mutex::default(),
            cancel: CancellationToken::new(),
        });
        let (host, address) = serve(&settings, &access, &deployer).await;
        let test = Self { dir, settings, host, access, deployer, address, app };
        test.work_tree("work").await;
        test
    }

    /// A folder with a repository of one commit and the remote `senryu`.
    async fn work_tree(&self, name: &str) {
        let path = self.dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        self.ok(name, &["init", "-q", "-b", "main"]).await;
        self.ok(name, &["remote", "add", "senryu", &self.url("secret", "sample")]).await;
        self.commit(name, &format!("first of {name}")).await;
    }

    fn url(&self, token: &str, app: &str) -> String {
        format!("http://git:{token}@{}/{app}.git", self.address)
    }

    /// Writes a file with `text`, commits it, and gives the commit's id.
    async fn commit(&self, name: &str, text: &str) -> String {
        std::fs::write(self.dir.path().join(name).join("file"), text).unwrap();
        self.ok(name, &["add", "."]).await;
        self.ok(name, &["commit", "-q", "-m", text]).await;
        self.ok(name, &["rev-parse", "HEAD"]).await.trim().to_string()
    }

    fn command(&self, name: &str, arguments: &[&str]) -> tokio::process::Command {
        client_git(self.dir.path(), name, arguments)
    }

    /// Runs git in a work tree.
    async fn git(&self, name: &str, arguments: &[&str]) -> Output {
        let output = self.command(name, arguments).output();
        tokio::time::timeout(DEADLINE, output).await.expect("git hangs").unwrap()
    }

    /// Runs git, which must succeed, and gives its standard output.
    async fn ok(&self, name: &str, arguments: &[&str]) -> String {
        let output = self.git(name, arguments).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Pushes, and gives what the user reads and whether it succeeded.
    async fn push(&self, name: &str, arguments: &[&str]) -> (String, bool) {
        let output = self.git(name, &[&["push", "senryu"], arguments].concat()).await;
        (String::from_utf8_lossy(&output.stderr).into_owned(), output.status.success())
    }

    async fn head(&self, git_ref: &str) -> Option<String> {
        self.host.head(self.app.id, git_ref).await.unwrap()
    }

    /// Waits until the deployer has noted so many calls.
    async fn wait_for_calls(&self, count: usize) {
        wait("calls", || self.deployer.calls().len() >= count).await;
    }
}

fn client_git(dir: &Path, name: &str, arguments: &[&str]) -> tokio::process::Command {
    let mut command = tokio::process::Command::new("git");
    command.args(arguments).current_dir(dir.join(name)).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap());
    command.env("HOME", dir.join("home")).env("GIT_CONFIG_NOSYSTEM", "1");
    command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Dev");
        command.env(format!("GIT_{who}_EMAIL"), "dev@example.com");
    }
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped()).kill_on_drop(true);
    // Ctrl-C reaches the whole group: `git push` and the helper that holds the connection.
    command.process_group(0);
    command
}

/// Starts a host on a free port.
async fn serve(
    settings: &ServerSettings,
    access: &Arc<FakeAccess>,
    deployer: &Arc<FakeDeployer>,
) -> (Arc<GitHost>, SocketAddr) {
    let (access, deployer, lines) = (access.clone(), deployer.clone(), Lines::default());
    let host = GitHost::with_hook(settings, access, deployer, lines, &hook_command()).unwrap();
    host.recover().await.unwrap();
    host.start_hooks_listener().await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = host.clone().routes();
    crate::tasks::spawn("test server", async move {
        use axum::serve::ListenerExt;
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        axum::serve(listener, routes).await.unwrap();
    });
    (host, address)
}

/// Waits for a condition.
async fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "{what}: waited in vain");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
