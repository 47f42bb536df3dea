//! What a server that died left half done: a slug whose ref has moved is released, one whose ref
//! has not is removed, a push that was compiling has failed; `again.rs` is about other builds.

use super::Deploy;
use crate::error::Result;
use crate::model::{AppId, Build, BuildStatus};
use crate::store;
use async_trait::async_trait;

/// What deploying asks of the apps' repositories.
#[async_trait]
pub trait Repos: Send + Sync {
    /// The commit of a ref such as `refs/heads/main`.
    async fn head(&self, app: AppId, git_ref: &str) -> Result<Option<String>>;
    /// Removes the repository; one that is gone is fine.
    async fn delete(&self, app: AppId) -> Result<()>;
}

impl Deploy {
    /// Ends every pending build that this server does not work on. Nothing that is tried here is
    /// lost when it fails: the next period tries again.
    pub async fn finish_pending(&self, repos: &dyn Repos) {
        // What is pending now is for the next server.
        if self.0.stopping.is_cancelled() {
            return;
        }
        let pending = match self.parts().store.read(store::releases::pending_builds).await {
            Ok(pending) => pending,
            Err(error) => {
                tracing::error!(error = error.chain(), "pending builds are unreadable");
                return;
            }
        };
        for build in pending {
            if let Err(error) = self.finish(&build, repos).await {
                tracing::error!(build = %build.id, error = error.chain(), "a build stays pending");
            }
        }
    }

    async fn finish(&self, build: &Build, repos: &dyn Repos) -> Result<()> {
        // While others were finished this one may have gone on. One that ends from here on has
        // stored so before it is at work no more.
        let (id, app) = (build.id, build.app);
        if self.0.active.has(id) {
            return Ok(());
        }
        let read = self.parts().store.read(move |db| {
            let rows = store::releases::builds_of(db, app)?;
            Ok((store::apps::by_id(db, app)?, rows))
        });
        let (Some(app), rows) = read.await? else { return Ok(()) };
        let is_open = |row: &&Build| row.id == id && row.status == BuildStatus::Pending;
        let Some(build) = rows.iter().find(is_open) else { return Ok(()) };
        if self.take_up(build).await? {
            return Ok(());
        }
        let is_newer = |row: &Build| row.created_at > build.created_at && row.release.is_some();
        let is_overtaken = rows.iter().any(is_newer);
        let moved = match (&build.commit, &build.git_ref, build.slug) {
            (Some(commit), Some(git_ref), Some(_)) => {
                repos.head(app.id, git_ref).await?.as_ref() == Some(commit)
            }
            // Not a push: its slug is all that it needs, unless a newer build was released.
            (_, None, Some(_)) => !is_overtaken,
            _ => false,
        };
        if !moved {
            tracing::warn!(app = %app.name, build = %build.id, "a build was cut short");
            let words = " !     The server ended meanwhile, so this came to nothing: do it again.";
            self.outputs().append(build.id.0, words);
            self.build_failed(build.id, &app).await;
            return Ok(());
        }
        // A release command runs: the next round looks again, and the others' builds need not wait.
        let Some(turn) = self.turn_now(app.id) else { return Ok(()) };
        let (row, slug) = self.stored_slug(build.id).await?;
        let (release, _) = self.release_build(&app, turn, &row, slug).await?;
        tracing::warn!(app = %app.name, version = release.version, "a cut-off build was released");
        Ok(())
    }
}
