//! The only way a release comes to exist.

use crate::clock::Timestamp;
use crate::error::{Context, Error, Result};
use crate::model::{
    App, AppId, ConfigVars, ProcessType, Release, ReleaseId, ReleaseStatus, Size, Slug, SlugId,
    User,
};
use crate::secrets::Secrets;
use crate::store::{self, Store};
use rusqlite::Connection;
use std::collections::BTreeSet;

/// What a release is made of.
#[derive(Debug, Clone)]
pub struct NewRelease {
    pub app: AppId,
    /// None before the first deploy.
    pub slug: Option<Slug>,
    pub config: ConfigVars,
    /// In Heroku's words: `Deploy 4f070772`, `Set FOO config vars`, `Rollback to v3`.
    pub description: String,
    pub user: User,
}

impl NewRelease {
    /// The command of the release phase, which runs before the switch.
    pub fn release_command(&self) -> Option<&str> {
        let release = ProcessType::parse("release").ok()?;
        self.slug.as_ref()?.process_types.command(&release)
    }
}

/// Makes and reads releases; holds the key that config vars are sealed with.
#[derive(Clone)]
pub struct Releases {
    pub(super) store: Store,
    pub(super) secrets: Secrets,
}

impl Releases {
    pub fn new(store: Store, secrets: Secrets) -> Self {
        Self { store, secrets }
    }

    /// v1 and v2 of a new app, in the transaction that makes the app: Heroku's first deploy is v3.
    pub async fn create_app(&self, app: &App, user: &User) -> Result<()> {
        let (app, user, releases) = (app.clone(), user.clone(), self.clone());
        self.store
            .write(move |db| {
                store::apps::insert(db, &app)?;
                store::audit::note(db, "app:create", Some(app.id), &[("stack", &app.stack)])?;
                for description in ["Initial release", "Enable Logplex"] {
                    let new = NewRelease {
                        app: app.id,
                        slug: None,
                        config: ConfigVars::default(),
                        description: description.to_string(),
                        user: user.clone(),
                    };
                    releases.insert(db, &new)?;
                }
                Ok(())
            })
            .await
    }

    /// Stores a release inside the caller's transaction: `pending` if it has a release phase,
    /// otherwise `succeeded` together with the formation that it brings.
    pub fn insert(&self, db: &Connection, new: &NewRelease) -> Result<Release> {
        let now = Timestamp::now();
        let id = ReleaseId::random();
        let pending = new.release_command().is_some();
        let mut release = Release {
            id,
            app: new.app,
            version: 0,
            slug: new.slug.as_ref().map(|slug| slug.id),
            description: new.description.clone(),
            user: new.user.id,
            user_email: new.user.email.clone(),
            status: if pending { ReleaseStatus::Pending } else { ReleaseStatus::Succeeded },
            has_output: pending,
            served_at: None,
            serving_millis: None,
            created_at: now,
            updated_at: now,
        };
        // Since the slug was looked up it may have been cleaned up.
        if let Some(slug) = &new.slug
            && store::slugs::by_id(db, slug.id)?.is_none_or(|slug| slug.deleted_at.is_some())
        {
            return Err(Error::conflict("The slug has just been cleaned up: deploy again"));
        }
        let sealed = self.seal(id, &new.config)?;
        release.version = store::releases::insert_release(db, &release, &sealed)?;
        let version = format!("v{}", release.version);
        let details =
            [("version", version.as_str()), ("description", release.description.as_str())];
        store::audit::note(db, "release:create", Some(new.app), &details)?;
        if let (false, Some(slug)) = (pending, &new.slug) {
            bring_formation(db, slug, now)?;
        }
        Ok(release)
    }

    /// The release phase has ended well: the release becomes current.
    pub async fn succeed(&self, release: &Release, slug: &Slug) -> Result<()> {
        let (id, slug, now) = (release.id, slug.clone(), Timestamp::now());
        self.store
            .write(move |db| {
                store::releases::set_release_status(db, id, ReleaseStatus::Succeeded, now)?;
                bring_formation(db, &slug, now)
            })
            .await
    }

    /// The release phase has failed: the release stays in the history, the old one serves on.
    pub async fn fail(&self, release: ReleaseId) -> Result<()> {
        self.store
            .write(move |db| {
                let now = Timestamp::now();
                store::releases::set_release_status(db, release, ReleaseStatus::Failed, now)
            })
            .await
    }

    /// The release that a rollback to `which` (id, `v3`, or the one before the current) would
    /// copy: it must have succeeded and still have its slug.
    pub async fn rollback_target(&self, app: AppId, which: &str) -> Result<(Release, Slug)> {
        let wanted = which.to_string();
        self.store
            .read(move |db| {
                let release = store::releases::find_release(db, app, &wanted)?
                    .ok_or_else(|| Error::not_found("release"))?;
                let refuse = |why: &str| {
                    Error::invalid(format!("Cannot roll back to v{}: {why}", release.version))
                };
                match release.status {
                    ReleaseStatus::Succeeded => {}
                    ReleaseStatus::Expired => {
                        return Err(refuse("its slug has been cleaned up"));
                    }
                    ReleaseStatus::Pending | ReleaseStatus::Failed => {
                        return Err(refuse("it never succeeded"));
                    }
                }
                let id = release.slug.ok_or_else(|| refuse("it has no slug"))?;
                let slug = store::slugs::by_id(db, id)?
                    .filter(|slug| slug.deleted_at.is_none())
                    .ok_or_else(|| refuse("its slug has been cleaned up"))?;
                Ok((release, slug))
            })
            .await
    }

    /// A slug of the app, by its id.
    pub async fn slug_of(&self, app: AppId, id: &str) -> Result<Slug> {
        let id = id.parse().map(SlugId).map_err(|_| Error::not_found("slug"))?;
        let found = self.store.read(move |db| store::slugs::by_id(db, id)).await?;
        let own = found.filter(|slug| slug.app == app && slug.deleted_at.is_none());
        own.ok_or_else(|| Error::not_found("slug"))
    }

    /// Slug of the current release.
    pub async fn current_slug(&self, app: AppId) -> Result<Option<Slug>> {
        self.store
            .read(move |db| {
                let current = store::releases::current_release(db, app)?;
                match current.and_then(|release| release.slug) {
                    Some(id) => store::slugs::by_id(db, id),
                    None => Ok(None),
                }
            })
            .await
    }

    fn seal(&self, id: ReleaseId, config: &ConfigVars) -> Result<Vec<u8>> {
        let map: std::collections::BTreeMap<&str, &str> = config.iter().collect();
        let plain = serde_json::to_vec(&map).context("write config vars")?;
        self.secrets.seal(&seal_name(id), &plain)
    }
}

/// Config vars of one release can't be passed off as another's.
pub(super) fn seal_name(id: ReleaseId) -> String {
    format!("config vars of release {id}")
}

/// Heroku's rule for process types: `web` starts with one dyno and every other with none; later
/// deploys keep quantities.
fn bring_formation(db: &Connection, slug: &Slug, now: Timestamp) -> Result<()> {
    for (process, _) in slug.process_types.iter() {
        let quantity = u32::from(process.is_web());
        store::formations::ensure(db, slug.app, process, quantity, Size::DEFAULT, now)?;
    }
    Ok(())
}

/// A release has taken over. Only now its app's types that it does not declare any more go: until
/// then their dynos belong to the release before, which may serve on.
pub fn took_over(db: &Connection, id: ReleaseId, now: Timestamp) -> Result<()> {
    store::releases::set_served(db, id, now)?;
    let Some(release) = store::releases::release_by_id(db, id)? else { return Ok(()) };
    // One that came meanwhile has types of its own, and cleans up when it takes over.
    let current = store::releases::current_release(db, release.app)?;
    if current.is_none_or(|current| current.id != id) {
        return Ok(());
    }
    let slug = release.slug.map(|slug| store::slugs::by_id(db, slug)).transpose()?.flatten();
    let Some(slug) = slug else { return Ok(()) };
    let declared: BTreeSet<ProcessType> =
        slug.process_types.iter().map(|(process, _)| process.clone()).collect();
    for formation in store::formations::of_app(db, release.app)? {
        if !declared.contains(&formation.process) {
            store::formations::remove(db, release.app, &formation.process)?;
        }
    }
    Ok(())
}
