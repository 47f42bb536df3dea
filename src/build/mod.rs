//! Source becomes a slug: the tree is put on the app's volume, the buildpacks run over it in one
//! container, and what they made becomes an image in layers. [`Builder::build`] is the story.

pub mod failure;
pub mod output;
mod pace;

mod buildpacks;
mod cache;
mod compile;
mod container;
mod delta;
mod detect;
mod fetch;
mod image;
mod layers;
mod lfs;
mod orders;
mod outcome;
mod process_types;
mod release_yaml;
mod slugignore;
mod source;
mod standby;
mod submodules;
mod tarball;
mod tree;
mod volume;

pub use buildpacks::{bundled, is_bundled, repository};
pub use failure::BuildFailure;
pub use output::{OutputReader, OutputSink};
pub use release_yaml::FirstDeploy;
pub use source::{Archive, GitTree, Source, Tarball};

use crate::config::ServerSettings;
use crate::engine::ahead::Ahead;
use crate::engine::{Engine, LABEL_KIND};
use crate::error::{Context, Error, Result};
use crate::model::{
    App, AppId, AppImage, BuildId, Buildpack, ConfigVars, ProcessType, Procfile, SlugId,
};
use crate::slugs::{Held, Slugs};
use crate::{limits, tasks};
use buildpacks::Buildpacks;
use compile::Compiled;
use detect::Choice;
use image::There;
use outcome::Outcome;
pub use standby::Awaits;
use standby::{Places, Standby};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use volume::{Ready, Volume, Volumes};

/// Makes slugs. One for the server; builds of different apps run side by side, those of one app
/// one after the other.
pub struct Builder {
    engine: Arc<dyn Engine>,
    settings: Arc<ServerSettings>,
    slugs: Slugs,
    volumes: Volumes,
    places: Places,
    /// Unpacked by [`Builder::recover`].
    buildpacks: OnceLock<Buildpacks>,
}

/// One build.
#[derive(Debug, Clone)]
pub struct BuildInput {
    pub build: BuildId,
    pub app: AppId,
    pub source: Source,
    /// Buildpacks see these as files; they never enter an environment or Docker's metadata.
    pub config: ConfigVars,
    /// `heroku-24`
    pub stack: String,
    /// Name of the slug that comes of it: the image is tagged `senryu/slug:SLUG`.
    pub slug: SlugId,
    /// Chosen by the user, or by detection at an earlier build. None detects.
    pub buildpacks: Vec<Buildpack>,
}

/// What a build made. The image is in the engine; the caller stores the rest.
#[derive(Debug)]
pub struct Built {
    /// The engine's image id, `sha256:…`.
    pub image: String,
    /// Diff ids of the slug's own layers, from the bottom.
    pub layers: Vec<String>,
    /// Keeps their files until the slug is stored.
    pub held: Held,
    /// The Procfile's types over the buildpack's defaults.
    pub process_types: Procfile,
    pub first: FirstDeploy,
    /// Of an app with Dockerfiles of its own.
    pub images: BTreeMap<ProcessType, AppImage>,
    /// All that ran, in their order.
    pub buildpacks: Vec<Buildpack>,
    /// They were not chosen but found: pin them to the app.
    pub detected: bool,
    /// What `bin/detect` printed: `Node.js`.
    pub buildpack_description: String,
    /// Bytes of `/app`.
    pub size: i64,
    /// Bytes of layers that the engine did not have.
    pub new_bytes: i64,
    /// Milliseconds inside the buildpacks' `bin/*`.
    pub buildpack_millis: i64,
}

impl Builder {
    pub fn new(engine: Arc<dyn Engine>, settings: Arc<ServerSettings>, slugs: Slugs) -> Self {
        let volumes = Volumes::new(&settings.data_dir, settings.build_limits.disk_bytes);
        Self {
            engine,
            settings,
            slugs,
            volumes,
            places: Places::default(),
            buildpacks: OnceLock::new(),
        }
    }

    /// At start, before anything is built: ends builds that outlived the last server, unpacks the
    /// buildpacks and drops volumes of apps that are gone.
    pub async fn recover(&self, apps: &[AppId]) -> Result<()> {
        let data_dir = self.settings.data_dir.clone();
        let unpack = move || Buildpacks::unpack(&data_dir);
        let buildpacks = tasks::blocking("unpack the buildpacks", unpack).await?;
        self.buildpacks.get_or_init(|| buildpacks);
        for container in self.engine.list().await? {
            if container.labels.get(LABEL_KIND).is_some_and(|kind| kind == "build") {
                self.engine.remove(&container.id).await?;
            }
        }
        orders::prepare_home(self.orders_home()).await?;
        self.volumes.recover(apps).await
    }

    /// Mounts the app's volume, clears it and leaves with it what the build will wait for longest,
    /// while a push is still being received or before the next one: a container that stands by for
    /// so long, or, where the last outcome will probably do, a load that has begun.
    pub async fn prepare(&self, app: &App, awaits: Awaits, time: Duration) -> Result<()> {
        let volume = self.volumes.acquire(app.id).await?;
        let ready = volume.has_standby() || volume.has_ahead();
        if ready || app.stack == limits::CONTAINER_STACK {
            return Ok(());
        }
        match (Outcome::is_noted(&volume), awaits) {
            (false, _) => self.leave_standby(volume, awaits, time),
            (true, Awaits::Announced) => {
                volume.keep_ahead(Ahead::begin(&self.engine)?);
                Ok(())
            }
            (true, Awaits::Next) => Ok(()),
        }
    }

    /// Builds, writing the transcript from `-----> Building on the … stack` to `Done: 42.2M`, or
    /// to ` !     Push failed`. It is ended early by `cancel` and not by dropping the future; then
    /// the container is gone before this returns.
    pub async fn build(
        &self,
        input: BuildInput,
        out: &OutputSink,
        cancel: CancellationToken,
    ) -> Result<Built, BuildFailure> {
        let built = self.on_volume(&input, out, &cancel).await;
        if let Err(failure) = &built {
            if let BuildFailure::Platform(error) = failure {
                tracing::error!(build = %input.build, error = error.chain(), "could not build");
            }
            failure.show(out);
        }
        built
    }

    async fn on_volume(
        &self,
        input: &BuildInput,
        out: &OutputSink,
        cancel: &CancellationToken,
    ) -> Result<Built, BuildFailure> {
        out.headline(&format!("Building on the {} stack", stack_title(&input.stack)));
        let mut volume = tokio::select! {
            volume = self.volumes.acquire(input.app) => volume?,
            () = cancel.cancelled() => return Err(BuildFailure::Cancelled),
        };
        let ready = volume.begin();
        let volume = Arc::new(volume);
        let words = out.clone();
        with(&volume, "bound the cache", move |volume| cache::bound(&volume, &words)).await?;
        let mut built = match input.stack == limits::CONTAINER_STACK {
            true => self.make_images(input, &volume, out, cancel).await,
            false => self.make_slug(input, &volume, ready, out, cancel).await,
        };
        if built.as_ref().is_err_and(|_| volume.is_full()) {
            built = built.map_err(|failure| failure.or_disk_full(volume.megabytes()));
        }
        if let Some(volume) = Arc::into_inner(volume) {
            volume.release();
        }
        built
    }

    async fn make_slug(
        &self,
        input: &BuildInput,
        volume: &Arc<Volume>,
        ready: Ready,
        out: &OutputSink,
        cancel: &CancellationToken,
    ) -> Result<Built, BuildFailure> {
        let mut phase = Phase::start(input.build);
        let source = &self.settings.buildpack_source;
        let (configured, config) = (&input.buildpacks, &input.config);
        let choice = detect::choose(self.buildpacks()?, configured, config, source, out)?;
        self.bring_source(input, volume, out, cancel).await?;
        phase.done("source unpacked");

        let (compiled, there) = tokio::join!(
            self.compile_or_take(input, volume, &choice, ready, out, cancel),
            self.look_what_is_there(volume)
        );
        let (compiled, ran) = compiled?;
        phase.done("compiled");
        let ran = ran.then(|| compiled.buildpacks.clone());
        let stored = self.store_slug(input, volume, compiled, there, out, &mut phase).await;
        let stored = match stored {
            Ok(built) if cancel.is_cancelled() => {
                let removed = self.engine.remove_image(&built.image).await;
                Err(removed.map_or_else(BuildFailure::from, |()| BuildFailure::Cancelled))
            }
            stored => stored,
        };
        if let (Some(buildpacks), Ok(_)) = (ran, &stored) {
            self.note_outcome(input, volume, &buildpacks).await;
        }
        // Even when there is no slug: what the buildpack has finished is good for the next build.
        if let Err(error) = with(volume, "keep directories", |volume| cache::keep(&volume)).await {
            tracing::warn!(build = %input.build, error = error.chain(), "nothing is kept");
        }
        phase.done("kept");
        stored
    }

    /// What the buildpacks make, or what they made of the last source where nothing has changed
    /// for them; and whether they ran.
    async fn compile_or_take(
        &self,
        input: &BuildInput,
        volume: &Arc<Volume>,
        choice: &Choice,
        ready: Ready,
        out: &OutputSink,
        cancel: &CancellationToken,
    ) -> Result<(Compiled, bool), BuildFailure> {
        let back = with(volume, "bring back what is kept", |volume| cache::restore(&volume));
        let again = self.outcome_again(input, volume, choice, back.await?, out).await?;
        let Some(compiled) = again else {
            let standby = ready.standby;
            let compiled = self.compile_anew(input, volume, choice, standby, out, cancel).await?;
            return Ok((compiled, true));
        };
        let ahead = ready.ahead.map_or_else(|| Ahead::begin(&self.engine), Ok)?;
        Ok((Compiled { ahead: Some(ahead), ..compiled }, false))
    }

    async fn compile_anew(
        &self,
        input: &BuildInput,
        volume: &Arc<Volume>,
        choice: &Choice,
        standby: Option<Standby>,
        out: &OutputSink,
        cancel: &CancellationToken,
    ) -> Result<Compiled, BuildFailure> {
        with(volume, "forget the last outcome", |volume| Outcome::forget(&volume)).await?;
        let compiled = self.compile(input, volume, choice, standby, out, cancel).await;
        if compiled.as_ref().is_err_and(BuildFailure::before_compile) {
            with(volume, "keep what was not used", |volume| cache::keep_again(&volume)).await?;
        }
        compiled
    }

    /// The source, in the build directory.
    async fn bring_source(
        &self,
        input: &BuildInput,
        volume: &Arc<Volume>,
        out: &OutputSink,
        cancel: &CancellationToken,
    ) -> Result<(), BuildFailure> {
        let fetched = match &input.source {
            Source::Tarball(Tarball { archive: Archive::Url(url), .. }) => {
                Some(self.fetch(input, volume, url, out, cancel).await?)
            }
            _ => None,
        };
        let buildpacks = input.stack != limits::CONTAINER_STACK;
        let (source, out) = (input.source.clone(), out.clone());
        let unpacked = with(volume, "unpack the source", move |volume| {
            let unpacked = match (&source, fetched) {
                (Source::GitTree(tree), _) => {
                    source::unpack(tree, &volume.build(), &out).and_then(|mut submodules| {
                        if !buildpacks {
                            submodules.leave_out(&out);
                        }
                        Ok(submodules.note(&volume)?)
                    })
                }
                (Source::Tarball(tarball), fetched) => {
                    let sha256 = tarball.sha256.as_deref();
                    match (fetched, &tarball.archive) {
                        (Some(file), _) => tarball::unpack(file, sha256, &volume.build(), &out),
                        (None, Archive::File(path)) => {
                            let file = std::fs::File::open(path).context("open the source")?;
                            tarball::unpack(file, sha256, &volume.build(), &out)
                        }
                        (None, Archive::Url(_)) => Ok(()),
                    }
                }
            };
            Ok(unpacked)
        });
        unpacked.await?
    }

    async fn store_slug(
        &self,
        input: &BuildInput,
        volume: &Arc<Volume>,
        compiled: Compiled,
        there: Result<There>,
        out: &OutputSink,
        phase: &mut Phase,
    ) -> Result<Built, BuildFailure> {
        let process_types = process_types::discover(&compiled, out)?;

        out.line("");
        out.headline("Compressing...");
        let scanned = scan(volume, out).await?;
        let size = scanned.bytes;
        phase.done("scanned");
        let loaded = self.load(input, volume, scanned, there?, compiled.ahead).await?;
        out.detail(&format!("Done: {}", output::megabytes(size)));
        phase.done("image loaded");
        Ok(Built {
            image: loaded.image,
            layers: loaded.layers,
            held: loaded.held,
            process_types,
            first: compiled.first,
            images: BTreeMap::new(),
            buildpacks: compiled.buildpacks,
            detected: compiled.detected,
            buildpack_description: compiled.language,
            size: size.cast_signed(),
            new_bytes: loaded.new_bytes.cast_signed(),
            buildpack_millis: compiled.buildpack_millis,
        })
    }

    /// Empties the build cache (`builds:cache:purge`). Waits for a build that runs.
    pub async fn purge_cache(&self, app: AppId) -> Result<()> {
        let volume = Arc::new(self.volumes.acquire(app).await?);
        self.forget_steps(&volume).await?;
        with(&volume, "purge the build cache", |volume| cache::purge(&volume)).await
    }

    /// The app is gone: its volume goes too. Waits for a build that runs.
    pub async fn forget(&self, app: AppId) -> Result<()> {
        if self.volumes.has(app) {
            let volume = Arc::new(self.volumes.acquire(app).await?);
            self.forget_steps(&volume).await?;
        }
        self.volumes.forget(app).await
    }

    /// At a graceful stop, when no build runs any more: unmounts everything.
    pub async fn close(&self) {
        self.volumes.close().await;
        // Not there when the run directory is a tmpfs itself.
        let _ = nix::mount::umount2(&self.orders_home(), nix::mount::MntFlags::UMOUNT_NOFOLLOW);
    }

    fn buildpacks(&self) -> Result<&Buildpacks> {
        self.buildpacks.get().ok_or_else(|| Error::unavailable("The server is still starting"))
    }
}

async fn scan(volume: &Arc<Volume>, out: &OutputSink) -> Result<layers::Scan, BuildFailure> {
    let out = out.clone();
    with(volume, "look at the slug", move |volume| Ok(layers::scan(&volume.build(), &out))).await?
}

/// Blocking work on a volume.
async fn with<T: Send + 'static>(
    volume: &Arc<Volume>,
    what: &'static str,
    work: impl FnOnce(Arc<Volume>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let volume = Arc::clone(volume);
    tasks::blocking(what, move || work(volume)).await
}

/// `heroku-24` as Heroku writes it in a transcript: `Heroku-24`.
fn stack_title(stack: &str) -> String {
    let mut chars = stack.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

/// Logs each phase boundary with its time, by which an operator can follow a build.
struct Phase {
    build: BuildId,
    since: Instant,
}

impl Phase {
    fn start(build: BuildId) -> Self {
        Self { build, since: Instant::now() }
    }

    fn done(&mut self, phase: &'static str) {
        let millis = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(build = %self.build, phase, millis, "build phase");
        self.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::path::Path;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        settings: ServerSettings,
    }

    /// Default settings with everything below one directory.
    pub fn settings(dir: &Path) -> ServerSettings {
        let [data, run] = ["data", "run"].map(|name| dir.join(name).display().to_string());
        Flags::parse_from(["senryu", "--data-dir", &data, "--run-dir", &run]).settings
    }

    #[test]
    fn stacks_are_written_as_heroku_writes_them() {
        assert_eq!(stack_title("heroku-24"), "Heroku-24");
        assert_eq!(stack_title(""), "");
    }
}
