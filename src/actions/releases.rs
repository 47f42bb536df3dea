//! Releases: what there are, and back to one of them.

use super::Platform;
use crate::error::Result;
use crate::model::{App, Caller, Release};
use crate::store;

impl Platform {
    /// The app's releases, oldest first.
    pub async fn releases_of(&self, app: &App) -> Result<Vec<Release>> {
        let id = app.id;
        self.store.read(move |db| store::releases::releases_of(db, id)).await
    }

    /// A new release that is what an old one was; `to` is its id or version.
    pub async fn roll_back(&self, caller: &Caller, app: &App, to: &str) -> Result<Release> {
        self.deploy.rollback(app, &caller.user, to).await
    }

    /// A new release of a slug that the app has, with its config vars as they are.
    pub async fn release_slug(
        &self,
        caller: &Caller,
        app: &App,
        slug: &str,
        description: Option<&str>,
    ) -> Result<Release> {
        self.deploy.release_slug(app, &caller.user, slug, description).await
    }
}
