//! The one way from a source to a release: a build row, a slug, a release, the release phase, the
//! switch. A push comes in through [`Deploy::build`] before its ref moves and [`Deploy::launch`]
//! after it; an uploaded source through [`Deploy::start_build`]; a change of config vars and a
//! rollback through [`Deploy::release`] alone.

mod active;
mod again;
mod building;
mod clean_up;
mod first_deploy;
mod launch;
mod line;
pub mod outputs;
mod queue;
mod recover;
mod release_phase;
mod source_build;
mod sources;
mod standing;
mod waiting;

pub use crate::build::{
    bundled as bundled_buildpacks, is_bundled as is_bundled_buildpack,
    repository as buildpack_repository,
};
pub use building::BuildRequest;
pub use line::{Lines, Place, ahead};
pub use outputs::Outputs;
pub use recover::Repos;
pub use source_build::NewBuild;
pub use sources::{Sources, Taken, Upload};
pub use standing::Standing;

use crate::build::{Awaits, Builder, OutputSink};
use crate::config::ServerSettings;
use crate::dynos::Dynos;
use crate::engine::{Engine, Event, EventAction};
use crate::error::{Error, Result};
use crate::logs::{LogLine, Logs};
use crate::model::{App, AppId, BuildId, ConfigVars, Release, ReleaseId, Slug, User};
use crate::release::{NewRelease, Releases};
use crate::slugs::Slugs;
use crate::store::{self, Store};
use crate::wake::Wake;
use crate::{limits, tasks};
use active::Active;
use futures_util::StreamExt;
use queue::Queue;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What deploying needs.
#[derive(Clone)]
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
    sources: Sources,
    /// Builds of one app, one after the other; pushes stand in it too.
    lines: Lines,
    /// Builds that run side by side.
    queue: Queue,
    active: Active,
    /// Builds that no push waits for.
    builds: TaskTracker,
    stopping: CancellationToken,
    /// Releases of one app are made one after the other, a release phase included.
    turns: Mutex<BTreeMap<AppId, Arc<tokio::sync::Mutex<()>>>>,
    /// Release phases at work.
    phases: TaskTracker,
    /// The releases that they are of.
    in_phase: Mutex<BTreeSet<ReleaseId>>,
    upkeep: Wake,
    started: Instant,
    /// A release has images of Dockerfiles, which are not kept yet.
    own_images: Wake,
}

impl Deploy {
    pub fn new(parts: DeployParts) -> Result<Self> {
        let outputs = Outputs::open(&parts.settings.data_dir.join("outputs"))?;
        let sources = Sources::open(&parts.settings)?;
        let queue = Queue::new(parts.settings.parallel_builds);
        let phases = TaskTracker::new();
        // A wait ends when none is left, though others may follow.
        phases.close();
        Ok(Self(Arc::new(Inner {
            parts,
            outputs,
            sources,
            lines: Lines::default(),
            queue,
            active: Active::default(),
            builds: TaskTracker::new(),
            stopping: CancellationToken::new(),
            turns: Mutex::default(),
            phases,
            in_phase: Mutex::default(),
            upkeep: Wake::new(),
            started: Instant::now(),
            own_images: Wake::new(),
        })))
    }

    /// As a server that is started after this one.
    #[cfg(test)]
    pub fn restarted(&self) -> Result<Self> {
        Self::new(self.parts().clone())
    }

    fn parts(&self) -> &DeployParts {
        &self.0.parts
    }

    pub fn outputs(&self) -> &Outputs {
        &self.0.outputs
    }

    pub fn sources(&self) -> &Sources {
        &self.0.sources
    }

    /// The line in which builds of one app wait, for pushes.
    pub fn lines(&self) -> &Lines {
        &self.0.lines
    }

    /// Where the output of a build and its launch goes; made once for each build.
    pub fn output(&self, build: BuildId) -> Result<OutputSink> {
        self.0.outputs.create(build.0)
    }

    /// Makes the app's build volume and a container on it ready while its push is still being
    /// received. The build finds out by itself what did not work.
    pub async fn prepare(&self, app: &App) {
        self.make_ready(app, Awaits::Announced, limits::STANDBY_ANNOUNCED).await;
    }

    /// Does so for the next push, once a dyno of this one's release has been started: until then
    /// it would only take Docker's time from it. A server that has just started has other things
    /// to bring back first.
    fn prepare_next(&self, app: &App) {
        let time = Duration::from_secs(self.parts().settings.build_standby);
        if time.is_zero() || self.0.stopping.is_cancelled() {
            return;
        }
        let (deploy, id) = (self.clone(), app.id);
        tasks::spawn("make ready for the next build", async move {
            let _ = tokio::time::timeout(limits::STANDBY_LATEST, deploy.dyno_started()).await;
            tokio::time::sleep_until(deploy.0.started + limits::STANDBY_SETTLED).await;
            let found = deploy.parts().store.read(move |db| store::apps::by_id(db, id)).await;
            if let (Ok(Some(app)), false) = (found, deploy.0.stopping.is_cancelled()) {
                deploy.make_ready(&app, Awaits::Next, time).await;
            }
        });
    }

    /// Waits for the next start of any container.
    async fn dyno_started(&self) {
        let Ok(events) = self.parts().engine.events().await else { return };
        let started = |event: &Event| std::future::ready(event.action == EventAction::Started);
        let _ = events.filter(started).next().await;
    }

    async fn make_ready(&self, app: &App, awaits: Awaits, time: Duration) {
        if let Err(error) = self.parts().builder.prepare(app, awaits, time).await {
            tracing::warn!(error = error.chain(), "a build volume is not ready yet");
        }
    }

    /// The output of a build that this server works on.
    pub fn running_output(&self, build: BuildId) -> Option<OutputSink> {
        self.0.outputs.running(build.0)
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
        let lock = self.turn_lock(app);
        let waited = tokio::time::timeout(limits::RELEASE_TURN, lock.lock_owned()).await;
        let guard = waited.map_err(|_| {
            Error::conflict(
                "A release command is running for this app. Try again when it has ended",
            )
        })?;
        Ok(Turn { _guard: guard })
    }

    /// The same, unless somebody has it.
    fn turn_now(&self, app: AppId) -> Option<Turn> {
        let guard = self.turn_lock(app).try_lock_owned().ok()?;
        Some(Turn { _guard: guard })
    }

    fn turn_lock(&self, app: AppId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|id, lock| *id == app || Arc::strong_count(lock) > 1);
        turns.entry(app).or_default().clone()
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

    /// A new release with a slug of the app and its config vars as they are now.
    pub async fn release_slug(
        &self,
        app: &App,
        user: &User,
        slug: &str,
        description: Option<&str>,
    ) -> Result<Release> {
        let turn = self.turn(app.id).await?;
        let slug = self.parts().releases.slug_of(app.id, slug).await?;
        let description = match description {
            Some(text) => text.chars().take(limits::DESCRIPTION_CHARS).collect(),
            None => described(&slug),
        };
        let new = NewRelease {
            app: app.id,
            config: self.parts().releases.config(app.id).await?,
            description,
            user: user.clone(),
            slug: Some(slug),
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

    /// This server is done with a build: its output ends.
    fn finished(&self, build: BuildId) {
        self.0.outputs.finish(build.0);
        self.0.active.remove(build);
    }

    /// At start, before anything new is taken: what an earlier server had begun.
    pub async fn go_on(&self) -> Result<()> {
        self.take_up_phases().await?;
        self.take_up_builds().await
    }

    /// Builds at work, for whoever asks before a stop.
    pub fn builds_at_work(&self) -> usize {
        self.0.active.count()
    }

    fn apps_at_work(&self) -> BTreeSet<AppId> {
        self.0.active.apps()
    }

    /// Takes no more builds: pushes that wait are refused, other builds that do are left for the
    /// next server, those that run go on.
    pub fn stop(&self) {
        self.0.stopping.cancel();
    }

    /// Waits until no build runs but those of pushes, and no release command.
    pub async fn idle(&self) {
        self.0.builds.close();
        self.0.builds.wait().await;
        self.0.phases.wait().await;
    }

    /// Once a period: what was cut short is ended, what nobody needs any more goes.
    pub fn spawn_upkeep(&self, repos: Arc<dyn Repos>) {
        self.spawn_keeping_of_images();
        let deploy = self.clone();
        tasks::spawn("deploy upkeep", async move {
            // The second round comes soon: the engine may have been busy with an image or a
            // container of the server before this one.
            let mut pause = limits::ENGINE_SETTLES;
            loop {
                deploy.finish_pending(repos.as_ref()).await;
                deploy.fail_abandoned().await;
                deploy.clean_up(repos.as_ref()).await;
                let _ = tokio::time::timeout(pause, deploy.0.upkeep.wait()).await;
                pause = limits::UPKEEP_PERIOD;
            }
        });
    }

    /// Images of Dockerfiles take seconds to be read from the engine: nobody else waits for that.
    fn spawn_keeping_of_images(&self) {
        let deploy = self.clone();
        tasks::spawn("keep images", async move {
            loop {
                if let Err(error) = deploy.parts().slugs.keep_images().await {
                    tracing::warn!(error = error.chain(), "images are not kept as files yet");
                }
                let next = deploy.0.own_images.wait();
                let _ = tokio::time::timeout(limits::UPKEEP_PERIOD, next).await;
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

/// `Deploy 1f3a9b2c`, after the slug's commit.
fn described(slug: &Slug) -> String {
    let short: String = slug.commit.as_deref().unwrap_or("").chars().take(8).collect();
    format!("Deploy {short}").trim_end().to_string()
}
