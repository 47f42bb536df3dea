//! All that the reconciler wants to know, read in one transaction.

use super::{apps, domains, formations, releases, slugs};
use crate::error::{Context, Result};
use crate::model::{App, AppId, DynoName, Formation, Release, Slug};
use rusqlite::Connection;
use std::collections::BTreeMap;

pub struct DesiredApp {
    pub app: App,
    /// The newest release that succeeded and has a slug.
    pub current: Option<(Release, Slug)>,
    /// The newest of those that has taken over.
    pub serving: Option<(Release, Slug)>,
    pub formation: Vec<Formation>,
    pub dyno_epochs: Vec<(DynoName, i64)>,
    /// Names of its custom domains.
    pub domains: Vec<String>,
}

pub fn read(db: &Connection) -> Result<Vec<DesiredApp>> {
    // One snapshot for all queries: a release never shows without its formation.
    let transaction = db.unchecked_transaction().context("read desired state")?;
    let mut formation: BTreeMap<AppId, Vec<Formation>> = BTreeMap::new();
    for row in formations::all(&transaction)? {
        formation.entry(row.app).or_default().push(row);
    }
    let mut epochs: BTreeMap<AppId, Vec<(DynoName, i64)>> = BTreeMap::new();
    for (app, name, epoch) in formations::dyno_epochs(&transaction)? {
        epochs.entry(app).or_default().push((name, epoch));
    }
    let mut domains = domains::names(&transaction)?;
    let mut rows = Vec::new();
    for app in apps::all(&transaction)? {
        let with_slug = |release: Option<Release>| -> Result<Option<(Release, Slug)>> {
            let Some(release) = release else { return Ok(None) };
            let Some(id) = release.slug else { return Ok(None) };
            Ok(slugs::by_id(&transaction, id)?.map(|slug| (release, slug)))
        };
        rows.push(DesiredApp {
            current: with_slug(releases::current_release(&transaction, app.id)?)?,
            serving: with_slug(releases::serving_release(&transaction, app.id)?)?,
            formation: formation.remove(&app.id).unwrap_or_default(),
            dyno_epochs: epochs.remove(&app.id).unwrap_or_default(),
            domains: domains.remove(&app.id).unwrap_or_default(),
            app,
        });
    }
    Ok(rows)
}
