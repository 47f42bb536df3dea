//! The log of every app: lines of the platform are written to it, the output of dynos is followed
//! from Docker's json-file logs into it, readers get its newest lines and what comes next.
//!
//! One thread owns all of it (`worker`): it appends frames to the app's segments, each frame
//! holding lines together with the position in the dyno's log that they reach up to, so that a
//! server killed at any instant neither loses nor repeats a line.

mod filter;
mod flood;
mod followed;
mod gap;
mod history;
mod hub;
mod json_file;
mod line;
mod record;
mod segment;
pub mod session;
mod tail;
mod worker;

pub use filter::Filter;
pub use line::{LogLine, Source};
pub use tail::Tail;

use crate::cgroup::Freezer;
use crate::error::{Context, Result};
use crate::limits::{LOG_FILE_BYTES, LOG_FINISH_TIMEOUT, LOG_HISTORY_LINES, LOG_QUEUE};
use crate::model::AppId;
use crate::tasks;
use hub::Hub;
use segment::{AppLog, Position};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, PoisonError};
use tokio::sync::{Semaphore, oneshot};
use worker::{Command, Done, Queued, Wanted, Worker};

/// A dyno's output, to be followed into the app's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follow {
    pub app: AppId,
    /// The dyno: `web.1`.
    pub process: String,
    /// The engine's id of its container.
    pub container: String,
    /// Docker's json-file log; what was rotated stands beside it as `PATH.1`.
    pub path: PathBuf,
    /// What holds it when it floods its log.
    pub freezer: Option<Freezer>,
}

/// Handle to the log. When the last clone is dropped, its thread ends.
#[derive(Clone)]
pub struct Logs {
    dir: PathBuf,
    hub: Arc<Hub>,
    wanted: Wanted,
    commands: SyncSender<Queued>,
    /// Places in the queue: callers wait for one of these, never for the queue itself.
    places: Arc<Semaphore>,
}

impl Logs {
    /// Opens what is in `dir`, cutting off what a kill left half written.
    pub fn open(dir: &Path, max_bytes_per_app: u64) -> Result<Logs> {
        Self::open_with(dir, max_bytes_per_app, LOG_FILE_BYTES)
    }

    fn open_with(dir: &Path, max_bytes_per_app: u64, file_bytes: u64) -> Result<Logs> {
        let hub = Arc::new(Hub::default());
        let wanted = Wanted::default();
        let mut worker =
            Worker::new(dir.to_path_buf(), max_bytes_per_app, hub.clone(), wanted.clone());
        worker.file_bytes = file_bytes;
        let problem = || format!("the log folder {} cannot be opened", dir.display());
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).context(problem())?;
        for entry in std::fs::read_dir(dir).context(problem())? {
            let path = entry.context(problem())?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(app) = name.and_then(|name| name.parse::<AppId>().ok()) else { continue };
            match AppLog::open(path, max_bytes_per_app) {
                Ok(log) => {
                    hub.publish(app, log.end(), Vec::new());
                    worker.apps.insert(app, log);
                }
                // One app's broken log keeps no other app from running.
                Err(error) => tracing::error!(%app, %error, "an app's log cannot be opened"),
            }
        }
        let (commands, queue) = std::sync::mpsc::sync_channel(LOG_QUEUE);
        std::thread::Builder::new()
            .name("logs".into())
            .spawn(move || worker.run(&queue))
            .context("the log thread cannot be started")?;
        let places = Arc::new(Semaphore::new(LOG_QUEUE));
        Ok(Logs { dir: dir.to_path_buf(), hub, wanted, commands, places })
    }

    async fn ask(&self, command: impl FnOnce(Done) -> Command) {
        let (done, answer) = oneshot::channel();
        let place = self.places.clone().acquire_owned().await;
        // There are as many places as the queue holds, so it is never full here.
        let sent = place.is_ok_and(|place| self.commands.try_send((command(done), place)).is_ok());
        if !sent || answer.await.is_err() {
            tracing::error!("the log thread does not answer");
        }
    }

    /// Appends lines of the platform. They are with the kernel when this returns.
    pub async fn write(&self, app: AppId, lines: Vec<LogLine>) {
        if !lines.is_empty() {
            self.ask(|done| Command::Write(app, lines, done)).await;
        }
    }

    /// The newest `n` lines (Heroku's 1500 at most) that fit, oldest first.
    pub async fn last(&self, app: AppId, filter: &Filter, n: usize) -> Result<Vec<LogLine>> {
        self.before(app, self.hub.end(app), filter.clone(), n).await
    }

    async fn before(
        &self,
        app: AppId,
        end: Position,
        filter: Filter,
        n: usize,
    ) -> Result<Vec<LogLine>> {
        let dir = self.dir.join(app.to_string());
        let n = n.min(LOG_HISTORY_LINES);
        tasks::blocking("reading the log", move || {
            history::last(&dir, end, &filter, n).context("the log cannot be read")
        })
        .await
    }

    /// What comes from now on.
    pub fn tail(&self, app: AppId, filter: Filter) -> Tail {
        self.hub.subscribe(app, filter).1
    }

    /// The newest `n` lines and exactly what comes after them.
    pub async fn last_and_tail(
        &self,
        app: AppId,
        filter: Filter,
        n: usize,
    ) -> Result<(Vec<LogLine>, Tail)> {
        let (end, tail) = self.hub.subscribe(app, filter.clone());
        Ok((self.before(app, end, filter, n).await?, tail))
    }

    /// Deletes an app's log; later lines of it are dropped, its tails end.
    pub async fn forget(&self, app: AppId) {
        self.ask(|done| Command::Forget(app, done)).await;
    }

    /// Deletes the logs of apps that are not among these: for the start, after a kill.
    pub async fn keep_only_apps(&self, apps: Vec<AppId>) {
        self.ask(|done| Command::KeepOnlyApps(apps.into_iter().collect(), done)).await;
    }

    /// Follows a dyno's output, from where its checkpoint says or from the start. Asking again
    /// changes nothing.
    pub fn follow(&self, follow: Follow) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.insert(follow.container.clone(), follow);
    }

    /// Stores what is left of an exited container's output and stops following it; one that
    /// exited while the server was away must be given to `follow` first. Its checkpoint stays
    /// until the container is gone (`keep_only_containers`), for a kill may come before that.
    pub async fn finish(&self, container: &str) {
        let finished = self.ask(|done| Command::Finish(container.to_string(), done));
        if tokio::time::timeout(LOG_FINISH_TIMEOUT, finished).await.is_err() {
            tracing::warn!(container, "the end of a dyno's log is not stored yet");
        }
    }

    /// Holds no dyno from now on, whatever it writes: the server stops.
    pub async fn let_go(&self) {
        self.ask(Command::LetGo).await;
    }

    /// Drops the checkpoints of containers that are neither among these nor followed, and stops
    /// following those whose log is gone.
    pub async fn keep_only_containers(&self, existing: Vec<String>) {
        self.ask(|done| Command::KeepOnlyContainers(existing.into_iter().collect(), done)).await;
    }
}

#[cfg(test)]
mod tests;
