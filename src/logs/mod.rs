//! The log of every app: lines of the platform are written to it, the output of dynos is followed
//! from Docker's json-file logs into it, readers get its newest lines and what comes next.
//!
//! One thread owns all of it (`worker`): it appends frames to the app's segments, each frame
//! holding lines together with the position in the dyno's log that they reach up to, so that a
//! server killed at any instant neither loses nor repeats a line.

mod filter;
mod line;
pub mod session;
mod tail;

pub use filter::Filter;
pub use line::{LogLine, Source};
pub use tail::Tail;

use crate::error::Result;
use crate::model::AppId;
use std::path::{Path, PathBuf};

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
}

/// Handle to the log. When the last clone is dropped, its thread ends.
#[derive(Clone)]
pub struct Logs;

impl Logs {
    /// Opens what is in `dir`, cutting off what a kill left half written.
    pub fn open(_dir: &Path, _max_bytes_per_app: u64) -> Result<Logs> {
        Ok(Logs)
    }

    /// Appends lines of the platform. They are with the kernel when this returns.
    pub async fn write(&self, _app: AppId, _lines: Vec<LogLine>) {}

    /// The newest `n` lines (Heroku's 1500 at most) that fit, oldest first.
    pub async fn last(&self, _app: AppId, _filter: &Filter, _n: usize) -> Result<Vec<LogLine>> {
        Ok(Vec::new())
    }

    /// What comes from now on.
    pub fn tail(&self, _app: AppId, filter: Filter) -> Tail {
        tail::Feed::new(filter).1
    }

    /// The newest `n` lines and exactly what comes after them.
    pub async fn last_and_tail(
        &self,
        app: AppId,
        filter: Filter,
        n: usize,
    ) -> Result<(Vec<LogLine>, Tail)> {
        Ok((self.last(app, &filter, n).await?, self.tail(app, filter)))
    }

    /// Deletes an app's log; later lines of it are dropped.
    pub async fn forget(&self, _app: AppId) {}

    /// Deletes the logs of apps that are not among these: for the start, after a kill.
    pub async fn keep_only_apps(&self, _apps: Vec<AppId>) {}

    /// Follows a dyno's output, from where its checkpoint says or from the start. Asking again
    /// changes nothing.
    pub fn follow(&self, _follow: Follow) {}

    /// Stores what is left of an exited container's output and stops following it. Its
    /// checkpoint stays until the container is gone (`keep_only_containers`).
    pub async fn finish(&self, _container: &str) {}

    /// Drops the checkpoints of containers that are neither among these nor followed.
    pub async fn keep_only_containers(&self, _existing: Vec<String>) {}
}
