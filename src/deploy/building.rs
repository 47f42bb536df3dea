//! A source becomes a stored slug: a row, a turn in the queue, the builder.

use super::Deploy;
use super::queue::Ticket;
use crate::build::{BuildFailure, BuildInput, Built, OutputSink, Source};
use crate::clock::Timestamp;
use crate::error::{Context, Error, Result};
use crate::logs::LogLine;
use crate::model::{App, Build, BuildId, BuildStatus, Buildpack, Slug, SlugId, SourceBlob, User};
use crate::{limits, store};
use tokio_util::sync::CancellationToken;

/// A source that shall be built.
pub struct BuildRequest {
    pub id: BuildId,
    pub app: App,
    pub user: User,
    pub source: Source,
    /// The ref of a push, which moves when this succeeds.
    pub git_ref: Option<String>,
    /// For this build only; none are the app's.
    pub buildpacks: Vec<Buildpack>,
    pub blob: SourceBlob,
}

impl Deploy {
    /// Builds and stores the slug. The build stays `pending` until [`Deploy::launch`] or
    /// [`Deploy::abandon`]. `Err` has been shown to the user.
    pub async fn build(&self, request: BuildRequest, out: &OutputSink) -> Result<(), ()> {
        let id = request.id;
        self.0.active.add(id, request.app.id);
        if let Err(error) = self.insert_build(&request).await {
            self.failed(id, &request.app, Some(error), out).await;
            return Err(());
        }
        self.build_stored(request, out).await
    }

    /// As [`Deploy::build`], for a build that has its row.
    pub(super) async fn build_stored(
        &self,
        request: BuildRequest,
        out: &OutputSink,
    ) -> Result<(), ()> {
        let (id, app) = (request.id, request.app.clone());
        match self.build_and_store(request, out).await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.failed(id, &app, error, out).await;
                Err(())
            }
        }
    }

    /// Says and stores that there is no slug; none for an error that was said already.
    pub(super) async fn failed(
        &self,
        id: BuildId,
        app: &App,
        error: Option<Error>,
        out: &OutputSink,
    ) {
        if let Some(error) = &error {
            out.warning(&format!("The platform failed: {}", error.public_message()));
            out.warning("Push failed");
            tracing::error!(app = %app.name, error = error.chain(), "a build failed");
        }
        out.line("");
        out.line(&format!("!\tPush rejected to {}.", app.name));
        out.line("");
        self.build_failed(id, app).await;
        self.finished(id);
    }

    /// `Err(None)`: the app's own failure, shown by the builder.
    async fn build_and_store(
        &self,
        request: BuildRequest,
        out: &OutputSink,
    ) -> std::result::Result<(), Option<Error>> {
        let parts = self.parts();
        let (id, app) = (request.id, request.app.clone());
        tracing::info!(phase = "received", app = %app.name, build = %id, "a source is built");
        let cancel = self.0.active.cancelled(id);
        let _turn = self.queue_turn(&cancel, out).await?;
        self.check_room()?;
        let config = parts.releases.config(app.id).await?;
        let buildpacks = match request.buildpacks.is_empty() {
            true => parts.store.read(move |db| store::buildpacks::of(db, app.id)).await?,
            false => request.buildpacks,
        };
        let slug = SlugId::random();
        let version = request.source.version().map(str::to_string);
        let input = BuildInput {
            build: id,
            app: request.app.id,
            source: request.source,
            config,
            stack: request.app.stack.clone(),
            slug,
            buildpacks,
        };
        let built = match parts.builder.build(input, out, cancel).await {
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
        if !self.0.active.built(id) {
            BuildFailure::Cancelled.show(out);
            // Nobody knows its image, so the next clean-up takes it.
            return Err(None);
        }
        let description = request.blob.version_description;
        self.store_slug(id, &request.app, slug, version, description, built).await?;
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

    pub(super) async fn insert_build(&self, request: &BuildRequest) -> Result<Build> {
        let now = Timestamp::now();
        let row = Build {
            id: request.id,
            app: request.app.id,
            user: request.user.id,
            user_email: request.user.email.clone(),
            status: BuildStatus::Pending,
            commit: request.source.version().map(str::to_string),
            git_ref: request.git_ref.clone(),
            blob: request.blob.clone(),
            slug: None,
            release: None,
            stack: request.app.stack.clone(),
            buildpacks: Vec::new(),
            buildpack_millis: None,
            total_millis: None,
            created_at: now,
            updated_at: now,
        };
        let stored = row.clone();
        self.parts()
            .store
            .write(move |db| {
                store::releases::insert_build(db, &stored)?;
                let build = stored.id.to_string();
                let commit = stored.commit.as_deref().unwrap_or_default();
                let details = [("build", build.as_str()), ("commit", commit)];
                store::audit::note(db, "build:create", Some(stored.app), &details)
            })
            .await?;
        self.say(request.app.id, format!("Build started by user {}", request.user.email)).await;
        Ok(row)
    }

    /// Waits until no more builds run than may, and says where this one stands.
    async fn queue_turn(
        &self,
        cancel: &CancellationToken,
        out: &OutputSink,
    ) -> Result<Ticket, Option<Error>> {
        let mut ticket = self.0.queue.join();
        let tell = |place| {
            let parallel = self.parts().settings.parallel_builds;
            out.line(&match place {
                1 => format!("Waiting for one of {parallel} builds to end: this one is next..."),
                _ => format!("Waiting for other builds to end: number {place} in line..."),
            });
        };
        tokio::select! {
            () = ticket.turn(tell) => Ok(ticket),
            () = cancel.cancelled() => {
                BuildFailure::Cancelled.show(out);
                Err(None)
            }
        }
    }

    async fn store_slug(
        &self,
        build: BuildId,
        app: &App,
        id: SlugId,
        commit: Option<String>,
        commit_description: Option<String>,
        built: Built,
    ) -> Result<()> {
        let now = Timestamp::now();
        let slug = Slug {
            id,
            app: app.id,
            commit,
            commit_description,
            process_types: built.process_types,
            images: built.images,
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

    pub(super) async fn build_failed(&self, build: BuildId, app: &App) {
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
}
