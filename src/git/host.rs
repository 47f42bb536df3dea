//! The handle on everything that git does here: repositories, the lines of pushes, the pushes
//! that wait for their hook, and how many of them there are.

use super::process;
use super::receive::Running;
use super::{Access, Deployer, Repositories};
use crate::config::ServerSettings;
use crate::deploy::Lines;
use crate::error::{Context, Result};
use crate::limits;
use crate::model::AppId;
use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

pub struct GitHost {
    pub(super) repositories: Repositories,
    pub(super) access: Arc<dyn Access>,
    pub(super) deployer: Arc<dyn Deployer>,
    pub(super) lines: Lines,
    pub(super) fetches: Arc<Semaphore>,
    pub(super) pushes: TaskTracker,
    pub(super) stopping: CancellationToken,
    /// Pushes whose hook has not called yet.
    expected: Mutex<HashMap<Uuid, Arc<Running>>>,
    collecting: Arc<Semaphore>,
    hooks: PathBuf,
    socket: PathBuf,
}

impl GitHost {
    /// The host, with the hook installed that calls this very program.
    pub fn new(
        settings: &ServerSettings,
        access: Arc<dyn Access>,
        deployer: Arc<dyn Deployer>,
        lines: Lines,
    ) -> Result<Arc<Self>> {
        let program = std::env::current_exe().context("this program's own path is unknown")?;
        let program = program.to_string_lossy().into_owned();
        let quoted = shlex::try_quote(&program).context("this program's path cannot be quoted")?;
        let hook = format!("exec {quoted} git-hook pre-receive");
        Self::with_hook(settings, access, deployer, lines, &hook)
    }

    /// The host with another shell command as its hook.
    pub fn with_hook(
        settings: &ServerSettings,
        access: Arc<dyn Access>,
        deployer: Arc<dyn Deployer>,
        lines: Lines,
        hook: &str,
    ) -> Result<Arc<Self>> {
        let repositories = Repositories::new(settings);
        let hooks = settings.data_dir.join("hooks");
        for dir in [repositories.dir(), &hooks] {
            std::fs::create_dir_all(dir).context(format!("{} cannot be made", dir.display()))?;
        }
        install(&hooks, hook).context(format!("no hook can be put into {}", hooks.display()))?;
        let pushes = TaskTracker::new();
        pushes.close();
        Ok(Arc::new(Self {
            repositories,
            access,
            deployer,
            lines,
            fetches: Arc::new(Semaphore::new(limits::GIT_FETCHES)),
            pushes,
            stopping: CancellationToken::new(),
            expected: Mutex::default(),
            collecting: Arc::new(Semaphore::new(1)),
            hooks,
            socket: settings.run_dir.join("hooks.sock"),
        }))
    }

    pub fn repositories(&self) -> &Repositories {
        &self.repositories
    }

    pub async fn create_repo(&self, app: AppId) -> Result<()> {
        self.repositories.create(app).await.map(drop)
    }

    pub async fn delete_repo(&self, app: AppId) -> Result<()> {
        self.repositories.delete(app).await
    }

    /// The commit of a ref, such as `refs/heads/main`.
    pub async fn head(&self, app: AppId, git_ref: &str) -> Result<Option<String>> {
        self.repositories.head(app, git_ref).await
    }

    /// Takes no more pushes: new ones get a 503, those in line are refused; those that run go on.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// Pushes that run or wait.
    pub fn active(&self) -> usize {
        self.pushes.len()
    }

    /// Waits until no push runs.
    pub async fn idle(&self) {
        self.pushes.wait().await;
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// A git process; with `hook`, one that asks us before it moves a ref.
    pub(super) fn git(&self, hook: bool) -> tokio::process::Command {
        let hooks = if hook { &self.hooks } else { Path::new("/dev/null") };
        process::git(hooks, &self.socket)
    }

    pub(super) fn expect_hook(&self, running: &Arc<Running>) {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        expected.insert(running.push.id, running.clone());
    }

    /// The push that a hook belongs to; each can ask once.
    pub(super) fn take_expected(&self, push: Uuid) -> Option<Arc<Running>> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).remove(&push)
    }

    /// Lets git tidy the repository when it finds that worth while, one repository at a time.
    pub(super) async fn collect_garbage(&self, git_dir: &Path) {
        let Ok(_one) = self.collecting.try_acquire() else { return };
        let mut git = self.git(false);
        git.args(["gc", "--auto", "--quiet"]).current_dir(git_dir);
        match git.output().await {
            Ok(output) if output.status.success() => {}
            Ok(output) => tracing::warn!(
                dir = %git_dir.display(),
                stderr = %String::from_utf8_lossy(&output.stderr),
                "git gc failed"
            ),
            Err(error) => tracing::warn!(%error, "git gc cannot be run"),
        }
    }
}

/// Replaces the hook in one step: a push may be running it.
fn install(hooks: &Path, command: &str) -> std::io::Result<()> {
    let draft = hooks.join(".pre-receive");
    std::fs::write(&draft, format!("#!/bin/sh\n{command}\n"))?;
    std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o755))?;
    std::fs::rename(draft, hooks.join("pre-receive"))
}
