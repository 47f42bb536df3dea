//! Builds: what became of a push or an upload, and the end of one that is not wanted any more.

use super::Platform;
use crate::error::{Error, Result};
use crate::model::{App, Build, BuildId, BuildStatus};
use crate::store;

impl Platform {
    /// The app's builds, oldest first.
    pub async fn builds_of(&self, app: &App) -> Result<Vec<Build>> {
        let id = app.id;
        self.store.read(move |db| store::releases::builds_of(db, id)).await
    }

    /// One build of the app.
    pub async fn build(&self, app: &App, build: &str) -> Result<Build> {
        let missing = || Error::not_found("build");
        let id: BuildId = build.parse().map_err(|_| missing())?;
        let row = self.store.read(move |db| store::releases::build_by_id(db, id)).await?;
        row.filter(|row| row.app == app.id).ok_or_else(missing)
    }

    /// Ends a build that is pending; what it was doing has ended when this answers.
    pub async fn cancel_build(&self, app: &App, build: &str) -> Result<Build> {
        let row = self.build(app, build).await?;
        if row.status != BuildStatus::Pending {
            return Err(Error::invalid(format!("The build has {} already", row.status.as_str())));
        }
        self.record("build:cancel", app.id, ("build", &row.id.to_string())).await?;
        self.deploy.cancel_build(row.id).await?;
        self.build(app, build).await
    }
}
