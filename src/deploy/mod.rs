//! The one way from a source to a release: a build row, a slug, a release, the release phase, the
//! switch. A push comes in through [`Deploy::build`] before its ref moves and [`Deploy::launch`]
//! after it; a change of config vars and a rollback through [`Deploy::release`] alone.

mod clean_up;
mod launch;
pub mod outputs;
mod recover;
mod release_phase;

pub use outputs::Outputs;
pub use recover::Repos;

use crate::build::{BuildInput, Builder, Built, OutputSink, Source};
use crate::clock::Timestamp;
use crate::config::ServerSettings;
use crate::dynos::Dynos;
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::logs::{LogLine, Logs};
use crate::model::{
    App, AppId, Build, BuildId, BuildStatus, ConfigVars, Release, Slug, SlugId, User,
};
use crate::release::{NewRelease, Releases};
use crate::slugs::Slugs;
use crate::store::{self, Store};
use crate::wake::Wake;
use crate::{limits, tasks};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedMutexGuard, Semaphore};
use tokio_util::sync::CancellationToken;

/// What deploying needs.
pub struct DeployParts {
    pub store: Store,
    pub engine: Arc<dyn Engine>,
    pub logs: Logs,
    pub releases: Releases,
    pub builder: Arc<Builder>,
    pub slugs: Slugs,
    pub dynos: Dynos,
    pub settings: Arc<ServerSettings>,
}

/// A handle; clones share queue and locks.
#[derive(Clone)]
pub struct Deploy(Arc<Inner>);

struct Inner {
    parts: DeployParts,
    outputs: Outputs,
    /// Builds that run side by side.
    slots: Semaphore,
    /// Builds that this server works on: the rest of the pending ones were left by another.
    active: Mutex<BTreeMap<BuildId, AppId>>,
    /// Releases of one app are made one after the other, a release phase included.
    turns: Mutex<BTreeMap<AppId, Arc<tokio::sync::Mutex<()>>>>,
    upkeep: Wake,
}

/// A source that shall be built.
pub struct BuildRequest {
    pub id: BuildId,
    pub app: App,
    pub user: User,
    pub source: Source,
    pub commit: String,
    pub git_ref: String,
}

impl Deploy {
    pub fn new(parts: DeployParts) -> Result<Self> {
        let outputs = Outputs::open(&parts.settings.data_dir.join("outputs"))?;
        let slots = Semaphore::new(parts.settings.parallel_builds);
        Ok(Self(Arc::new(Inner {
            parts,
            outputs,
            slots,
            active: Mutex::default(),
            turns: Mutex::default(),
            upkeep: Wake::new(),
        })))
    }

    fn parts(&self) -> &DeployParts {
        &self.0.parts
    }

    pub fn outputs(&self) -> &Outputs {
        &self.0.outputs
    }

    /// Where the output of a build and its launch goes; made once for each build.
    pub fn output(&self, build: BuildId) -> Result<OutputSink> {
        self.0.outputs.create(build.0)
    }

    /// Makes the app's build volume ready while its push is still being received. The build finds
    /// out by itself what did not work.
    pub async fn prepare(&self, app: AppId) {
        if let Err(error) = self.parts().builder.prepare(app).await {
            tracing::warn!(error = error.chain(), "a build volume is not ready yet");
        }
    }

    /// The output of a build that this server works on.
    pub fn running_output(&self, build: BuildId) -> Option<OutputSink> {
        self.0.outputs.running(build.0)
    }

    /// Builds and stores the slug. The build stays `pending` until [`Deploy::launch`] or
    /// [`Deploy::abandon`]. `Err` has been shown to the user.
    pub async fn build(&self, request: BuildRequest, out: &OutputSink) -> Result<(), ()> {
        let (id, app) = (request.id, request.app.clone());
        self.active().insert(id, app.id);
        let result = self.build_and_store(request, out).await;
        if let Err(error) = &result {
            if let Some(error) = error {
                out.warning(&format!("The platform failed: {}", error.public_message()));
                out.warning("Push failed");
                tracing::error!(app = %app.name, error = error.chain(), "a build failed");
            }
            out.line("");
            out.line(&format!("!\tPush rejected to {}.", app.name));
            out.line("");
            self.build_failed(id, &app).await;
            self.finished(id);
        }
        result.map_err(|_| ())
    }

    /// `Err(None)`: the app's own failure, shown by the builder.
    async fn build_and_store(
        &self,
        request: BuildRequest,
        out: &OutputSink,
    ) -> std::result::Result<(), Option<Error>> {
        let parts = self.parts();
        let (id, app) = (request.id, request.app.clone());
        self.insert_build(&request).await?;
        tracing::info!(phase = "received", app = %app.name, build = %id, "a push is built");
        let _slot = self.slot(out).await?;
        self.check_room()?;
        let config = parts.releases.config(app.id).await?;
        let buildpacks = parts.store.read(move |db| store::buildpacks::of(db, app.id)).await?;
        let slug = SlugId::random();
        let (commit, commit_description) = (request.commit, None);
        let input = BuildInput {
            build: id,
            app: request.app.id,
            source: request.source,
            config,
            stack: request.app.stack.clone(),
            slug,
            buildpacks,
        };
        let built = match parts.builder.build(input, out, CancellationToken::new()).await {
            Ok(built) => built,
            Err(failure) => {
                tracing::info!(app = %request.app.name, build = %id, %failure, "no slug");
                if let Some(line) = failure.limit() {
                    let line = LogLine::heroku("build".to_string(), line);
                    parts.logs.write(request.app.id, vec![line]).await;
                }
                return Err(None);
            }
        };
        self.store_slug(id, &request.app, slug, commit, commit_description, built).await?;
        tracing::info!(phase = "slug stored", app = %request.app.name, build = %id, "built");
        Ok(())
    }

    /// A build that the host has no memory or disk for would hurt what runs.
    fn check_room(&self) -> Result<()> {
        let parts = self.parts();
        // Docker's disk and that of the build volumes, which may be two.
        let volumes = nix::sys::statvfs::statvfs(&parts.settings.data_dir);
        let volumes = volumes.context("look at the disk of the build volumes")?;
        let free = parts.engine.free_disk()?.bytes;
        let free = free.min(volumes.blocks_available() * volumes.fragment_size()) >> 20;
        if free < parts.settings.disk_reserve {
            return Err(Error::unavailable(format!(
                "the host has {free}M of its disk free, and builds leave {}M: free some, and push \
                 again",
                parts.settings.disk_reserve
            )));
        }
        crate::dynos::room::check(&parts.settings, "a build", limits::BUILD_ROOM_BYTES)
    }

    async fn insert_build(&self, request: &BuildRequest) -> Result<()> {
        let now = Timestamp::now();
        let row = Build {
            id: request.id,
            app: request.app.id,
            user: request.user.id,
            user_email: request.user.email.clone(),
            status: BuildStatus::Pending,
            commit: Some(request.commit.clone()),
            git_ref: Some(request.git_ref.clone()),
            slug: None,
            release: None,
            stack: request.app.stack.clone(),
            buildpacks: Vec::new(),
            buildpack_millis: None,
            total_millis: None,
            created_at: now,
            updated_at: now,
        };
        self.parts().store.write(move |db| store::releases::insert_build(db, &row)).await?;
        self.say(request.app.id, format!("Build started by user {}", request.user.email)).await;
        Ok(())
    }

    async fn slot(&self, out: &OutputSink) -> Result<tokio::sync::SemaphorePermit<'_>> {
        if let Ok(permit) = self.0.slots.try_acquire() {
            return Ok(permit);
        }
        out.line("Waiting for other builds to end...");
        self.0.slots.acquire().await.map_err(|_| Error::unavailable("the server is stopping"))
    }

    async fn store_slug(
        &self,
        build: BuildId,
        app: &App,
        id: SlugId,
        commit: String,
        commit_description: Option<String>,
        built: Built,
    ) -> Result<()> {
        let now = Timestamp::now();
        let slug = Slug {
            id,
            app: app.id,
            commit: Some(commit),
            commit_description,
            process_types: built.process_types,
            image: built.image,
            layers: built.layers,
            size: built.size,
            stack: app.stack.clone(),
            buildpack_provided_description: Some(built.buildpack_description.clone()),
            created_at: now,
            deleted_at: None,
        };
        self.parts()
            .store
            .write(move |db| {
                store::slugs::insert(db, &slug)?;
                store::apps::set_built(db, slug.app, &built.buildpack_description, slug.size)?;
                if built.detected {
                    store::buildpacks::pin(db, slug.app, &built.buildpacks)?;
                }
                let (buildpacks, millis) = (&built.buildpacks, built.buildpack_millis);
                store::releases::set_build_slug(db, build, slug.id, buildpacks, millis, now)
            })
            .await?;
        // From here on the row keeps them.
        drop(built.held);
        Ok(())
    }

    async fn build_failed(&self, build: BuildId, app: &App) {
        let url = format!("{}apps/{}/builds/{build}", self.control_root(), app.name);
        self.say(app.id, format!("Build failed -- check your build output: {url}")).await;
        let now = Timestamp::now();
        let stored = self
            .parts()
            .store
            .write(move |db| {
                store::releases::finish_build(db, build, BuildStatus::Failed, None, now)
            })
            .await;
        if let Err(error) = stored {
            // The next clean-up finds the row pending and ends it.
            tracing::error!(error = error.chain(), "a failed build is not stored as failed");
        }
    }

    /// Git could not move the ref: the slug belongs to nothing.
    pub async fn abandon(&self, build: BuildId, app: &App) {
        self.build_failed(build, app).await;
        self.finished(build);
    }

    /// Makes a release and, if it has one, runs its release phase in a task that goes on whatever
    /// becomes of the caller. `with` adds to the release's transaction. Answers when the release
    /// is stored; the handle gives its end.
    pub async fn release(
        &self,
        app: &App,
        turn: Turn,
        new: NewRelease,
        with: impl FnOnce(&rusqlite::Connection, &Release) -> Result<()> + Send + 'static,
    ) -> Result<(Release, release_phase::Phase)> {
        let releases = self.parts().releases.clone();
        let inserted = new.clone();
        let release = self
            .parts()
            .store
            .write(move |db| {
                let release = releases.insert(db, &inserted)?;
                with(db, &release)?;
                Ok(release)
            })
            .await?;
        tracing::info!(phase = "released", app = %app.name, version = release.version, "stored");
        self.say(app.id, format!("{} by user {}", new.description, new.user.email)).await;
        let phase = match (new.release_command(), &new.slug) {
            (Some(command), Some(slug)) => {
                self.run_release_phase(app, turn, &release, slug, command).await?
            }
            _ => {
                self.made_current(app, &release).await;
                release_phase::Phase::none()
            }
        };
        Ok((release, phase))
    }

    async fn made_current(&self, app: &App, release: &Release) {
        let line = format!("Release v{} created by user {}", release.version, release.user_email);
        self.say(app.id, line).await;
        self.parts().dynos.wake();
    }

    /// The app's turn to make a release. A release phase that runs holds it.
    pub async fn turn(&self, app: AppId) -> Result<Turn> {
        let lock = {
            let mut turns = self.0.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|id, lock| *id == app || Arc::strong_count(lock) > 1);
            turns.entry(app).or_default().clone()
        };
        let waited = tokio::time::timeout(limits::RELEASE_TURN, lock.lock_owned()).await;
        let guard = waited.map_err(|_| {
            Error::conflict(
                "A release command is running for this app. Try again when it has ended",
            )
        })?;
        Ok(Turn { _guard: guard })
    }

    /// Applies one request's config changes as one release. Nothing changed, no release.
    pub async fn change_config(
        &self,
        app: &App,
        user: &User,
        changes: crate::model::config_vars::ConfigChanges,
    ) -> Result<ConfigVars> {
        let turn = self.turn(app.id).await?;
        let before = self.parts().releases.config(app.id).await?;
        let after = before.changed(&changes)?;
        let Some(description) = crate::release::describe(&before, &after) else {
            return Ok(after);
        };
        let new = NewRelease {
            app: app.id,
            slug: self.parts().releases.current_slug(app.id).await?,
            config: after.clone(),
            description,
            user: user.clone(),
        };
        self.release(app, turn, new, |_, _| Ok(())).await?;
        Ok(after)
    }

    /// A new release with the slug and the config vars of an old one.
    pub async fn rollback(&self, app: &App, user: &User, to: &str) -> Result<Release> {
        let turn = self.turn(app.id).await?;
        let (old, slug) = self.parts().releases.rollback_target(app.id, to).await?;
        let new = NewRelease {
            app: app.id,
            slug: Some(slug),
            config: self.parts().releases.config_of(old.id).await?,
            description: format!("Rollback to v{}", old.version),
            user: user.clone(),
        };
        let (release, _) = self.release(app, turn, new, |_, _| Ok(())).await?;
        Ok(release)
    }

    fn control_root(&self) -> String {
        format!("{}/", self.parts().settings.control_url())
    }

    async fn say(&self, app: AppId, text: String) {
        self.parts().logs.write(app, vec![LogLine::api(text)]).await;
    }

    fn active(&self) -> std::sync::MutexGuard<'_, BTreeMap<BuildId, AppId>> {
        self.0.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This server is done with a build: its output ends.
    fn finished(&self, build: BuildId) {
        self.active().remove(&build);
        self.0.outputs.finish(build.0);
    }

    /// Builds at work, for a stop that waits for them.
    pub fn builds_at_work(&self) -> usize {
        self.active().len()
    }

    fn apps_at_work(&self) -> BTreeSet<AppId> {
        self.active().values().copied().collect()
    }

    /// Once a period: what was cut short is ended, what nobody needs any more goes.
    pub fn spawn_upkeep(&self, repos: Arc<dyn Repos>) {
        let deploy = self.clone();
        tasks::spawn("deploy upkeep", async move {
            // The second round comes soon: the engine may have been busy with an image or a
            // container of the server before this one.
            let mut pause = limits::ENGINE_SETTLES;
            loop {
                deploy.finish_pending(repos.as_ref()).await;
                deploy.clean_up(repos.as_ref()).await;
                let _ = tokio::time::timeout(pause, deploy.0.upkeep.wait()).await;
                pause = limits::UPKEEP_PERIOD;
            }
        });
    }

    /// Starts a round of upkeep now, for what has just become unneeded.
    pub fn clean_up_soon(&self) {
        self.0.upkeep.wake();
    }
}

/// Held by whoever makes a release of an app.
pub struct Turn {
    _guard: OwnedMutexGuard<()>,
}
