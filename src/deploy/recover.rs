//! What a server that died left half done: a slug whose ref has moved is released, one whose ref
//! has not is removed, a build that was compiling has failed.

use super::Deploy;
use crate::error::Result;
use crate::model::{AppId, Build};
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
        let pending = match self.parts().store.read(store::releases::pending_builds).await {
            Ok(pending) => pending,
            Err(error) => {
                tracing::error!(error = error.chain(), "pending builds are unreadable");
                return;
            }
        };
        for build in pending {
            if self.0.active.has(build.id) {
                continue;
            }
            if let Err(error) = self.finish(&build, repos).await {
                tracing::error!(build = %build.id, error = error.chain(), "a build stays pending");
            }
        }
    }

    async fn finish(&self, build: &Build, repos: &dyn Repos) -> Result<()> {
        let app = build.app;
        let Some(app) = self.parts().store.read(move |db| store::apps::by_id(db, app)).await?
        else {
            return Ok(());
        };
        let moved = match (&build.commit, &build.git_ref, build.slug) {
            (Some(commit), Some(git_ref), Some(_)) => {
                repos.head(app.id, git_ref).await?.as_ref() == Some(commit)
            }
            // Not a push: its slug is all that it needs.
            (_, None, Some(_)) => true,
            _ => false,
        };
        if !moved {
            tracing::warn!(app = %app.name, build = %build.id, "a build was cut short");
            self.build_failed(build.id, &app).await;
            return Ok(());
        }
        let (row, slug) = self.stored_slug(build.id).await?;
        let (release, _) = self.release_build(&app, &row, slug).await?;
        tracing::warn!(app = %app.name, version = release.version, "a cut-off build was released");
        Ok(())
    }
}
