//! Git over smart HTTP: a push to `main` or `master` deploys, every other ref is stored. The `git`
//! program does the pack protocol; here are who may, in which order, and what the client reads.

pub mod client;
pub mod commands;
mod deploys;
pub mod fetch;
pub mod hook;
pub mod host;
pub mod http;
pub mod incoming;
pub mod listener;
pub mod pktline;
pub mod process;
pub mod progress;
pub mod receive;
pub mod recover;
pub mod relay;
pub mod repo;

#[cfg(test)]
mod tests;

pub use host::GitHost;
pub use progress::Progress;
pub use repo::Repositories;

use crate::model::{App, BuildStatus, User};
use async_trait::async_trait;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What a push to `main` or `master` sets in motion. All of it runs in a task of the server: neither
/// the client nor git's processes can cancel them by going away.
#[async_trait]
pub trait Deployer: Send + Sync {
    /// A push to be deployed is being received: what its build needs may be made ready meanwhile.
    async fn coming(&self, app: &App);

    /// A push waits in its app's line: from here on it is a build, to be looked at and cancelled.
    /// What is returned is cancelled when somebody does that.
    async fn waits(&self, push: &Push) -> crate::error::Result<CancellationToken>;

    /// Which turn is that of a push that waits, from 1, and how it is told; none when it has come.
    fn stands(&self, push: Uuid, place: Option<usize>, words: &str);

    /// Whatever is known of a push ends, since nothing is built for it; `why` is for its output.
    async fn unbuilt(&self, push: &Push, end: BuildStatus, why: &str);

    /// Before the ref moves: builds and stores the slug. `Err` refuses the ref; the reason is
    /// already printed to `out`.
    async fn pre_receive(&self, push: &Push, out: &Progress) -> Result<(), ()>;

    /// The ref has moved: makes the release and waits for the switch.
    async fn post_receive(&self, push: &Push, out: &Progress);

    /// `pre_receive` succeeded, but git could not move the ref: the slug belongs to nothing.
    async fn abandoned(&self, push: &Push);
}

/// One update of `main` or `master` that is being deployed.
#[derive(Debug, Clone)]
pub struct Push {
    pub id: Uuid,
    pub app: App,
    pub user: User,
    /// The bare repository.
    pub git_dir: PathBuf,
    /// In `pre_receive`: where the new objects lie in quarantine, as absolute paths in the
    /// variables that git reads. Empty in `post_receive`, where they are in the repository.
    pub object_env: Vec<(OsString, OsString)>,
    /// `refs/heads/main` or `refs/heads/master`.
    pub git_ref: String,
    /// The commit that the ref moves from; forty zeros when there is none.
    pub old: String,
    /// The commit to deploy.
    pub new: String,
    /// When the push's first byte arrived.
    pub started: tokio::time::Instant,
}

impl Push {
    /// The quarantine's object directory, to be added as an alternate of `git_dir`'s.
    pub fn quarantine(&self) -> Option<PathBuf> {
        let found = self.object_env.iter().find(|(key, _)| key == "GIT_OBJECT_DIRECTORY");
        found.map(|(_, path)| PathBuf::from(path))
    }
}

/// What HTTP's Basic or Bearer scheme carried.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Ignored by Heroku, where the password is the token; an e-mail goes with a password.
    pub user: String,
    pub password: String,
    /// The client's, as the router saw it.
    pub address: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Why a request for a repository is turned away.
#[derive(Debug)]
pub enum Refusal {
    /// 401: no such token or password.
    Unauthorized,
    /// 404: no such app.
    NotFound,
    /// 403: the app is there, and this user may not do that; why, in a sentence.
    Forbidden(String),
    /// Our own fault, or the server is too busy.
    Failed(crate::error::Error),
}

/// Who may read and write an app's repository.
#[async_trait]
pub trait Access: Send + Sync {
    async fn authorize(
        &self,
        app: &str,
        credentials: &Credentials,
        write: bool,
    ) -> Result<(User, App), Refusal>;
}
