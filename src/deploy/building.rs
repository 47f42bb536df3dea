//! A source becomes a stored slug: a row, a turn in the queue, the builder.

use super::Deploy;
use super::queue::Ticket;
use crate::build::{BuildFailure, BuildInput, Built, OutputSink, Source};
use crate::clock::Timestamp;
use crate::dynos::room;
use crate::engine::FreeDisk;
use crate::error::{Error, Result};
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

/// Why a build has no slug.
pub(super) enum Unbuilt {
    /// It has been said.
    Said,
    Failed(Error),
    /// This server stops before its turn; the next one takes it up.
    Left,
}

impl From<Error> for Unbuilt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Deploy {
    /// Builds and stores the slug. The build stays `pending` until [`Deploy::launch`] or
    /// [`Deploy::abandon`]. `Err` has been shown to the user.
    pub async fn build(&self, request: BuildRequest, out: &OutputSink) -> Result<(), ()> {
        let (id, app) = (request.id, request.app.clone());
        let begun = match self.0.active.has(id) {
            // It has waited in its app's line.
            true => Ok(()),
            false => {
                self.0.active.add(id, app.id);
                self.insert_build(&request, None).await.map(|_| ())
            }
        };
        let built = match begun {
            Ok(()) => self.build_and_store(request, out).await,
            Err(error) => Err(error.into()),
        };
        match built {
            Ok(()) => Ok(()),
            Err(unbuilt) => {
                self.failed(id, &app, unbuilt, out).await;
                Err(())
            }
        }
    }

    /// Says and stores that there is no slug.
    pub(super) async fn failed(&self, id: BuildId, app: &App, why: Unbuilt, out: &OutputSink) {
        match why {
            Unbuilt::Left => {
                out.line("The server stops: this build waits on, and the next server begins it.");
                return self.finished(id);
            }
            Unbuilt::Failed(error) => {
                out.warning(&format!("The platform failed: {}", error.public_message()));
                out.warning("Push failed");
                tracing::error!(app = %app.name, error = error.chain(), "a build failed");
            }
            Unbuilt::Said => {}
        }
        out.line("");
        out.line(&format!("!\tPush rejected to {}.", app.name));
        out.line("");
        self.build_failed(id, app).await;
        self.finished(id);
    }

    /// For a build that has its row.
    pub(super) async fn build_and_store(
        &self,
        mut request: BuildRequest,
        out: &OutputSink,
    ) -> Result<(), Unbuilt> {
        let (parts, id) = (self.parts(), request.id);
        let name = &request.app.name;
        tracing::info!(phase = "received", app = %name, build = %id, "a source is built");
        let cancel = self.0.active.cancelled(id);
        let _turn = self.queue_turn(&request, &cancel, out).await?;
        request.app = self.app_at_turn(&request).await?;
        let app = request.app.id;
        self.check_room()?;
        let config = parts.releases.config(app).await?;
        let buildpacks = match request.buildpacks.is_empty() {
            true => parts.store.read(move |db| store::buildpacks::of(db, app)).await?,
            false => request.buildpacks,
        };
        let slug = SlugId::random();
        let version = request.source.version().map(str::to_string);
        let input = BuildInput {
            build: id,
            app,
            source: request.source,
            config,
            stack: request.app.stack.clone(),
            slug,
            buildpacks,
        };
        let built = match self.built(input, out, cancel).await {
            Ok(built) => built,
            Err(failure) => {
                tracing::info!(app = %request.app.name, build = %id, %failure, "no slug");
                return Err(Unbuilt::Said);
            }
        };
        if !self.0.active.built(id) {
            BuildFailure::Cancelled.show(out);
            // Nobody knows its image, so the next clean-up takes it.
            return Err(Unbuilt::Said);
        }
        let description = request.blob.version_description;
        self.store_slug(id, &request.app, slug, version, description, built).await?;
        tracing::info!(phase = "slug stored", app = %request.app.name, build = %id, "built");
        Ok(())
    }

    /// Has it built, and the app's log say what is noted of it meanwhile.
    async fn built(
        &self,
        input: BuildInput,
        out: &OutputSink,
        cancel: CancellationToken,
    ) -> std::result::Result<Built, BuildFailure> {
        let (app, mut notes, mut said) = (input.app, out.notes(), 0);
        let mut building = std::pin::pin!(self.parts().builder.build(input, out, cancel));
        loop {
            let ended = tokio::select! {
                ended = &mut building => Some(ended),
                Ok(()) = notes.changed() => None,
            };
            if let Some(Err(failure)) = &ended {
                failure.limit().into_iter().for_each(|line| out.note(line));
            }
            let new: Vec<LogLine> = notes
                .borrow_and_update()
                .iter()
                .skip(said)
                .map(|note| LogLine::heroku("build".to_string(), note.clone()))
                .collect();
            said += new.len();
            if !new.is_empty() {
                self.parts().logs.write(app, new).await;
            }
            if let Some(ended) = ended {
                return ended;
            }
        }
    }

    /// A build that the host has no memory or disk for would hurt what runs.
    fn check_room(&self) -> Result<()> {
        let parts = self.parts();
        // Docker's disk and that of the build volumes, which may be two.
        let volumes = FreeDisk::at(&parts.settings.data_dir)?.bytes;
        let free = parts.engine.free_disk()?.bytes.min(volumes) >> 20;
        if free < parts.settings.disk_reserve {
            return Err(Error::unavailable(format!(
                "the host has {free}M of its disk free, and builds leave {}M: free some, and push \
                 again",
                parts.settings.disk_reserve
            )));
        }
        let promised = parts.dynos.promised();
        room::check(&parts.settings, "a build", limits::BUILD_ROOM_BYTES, promised)
    }

    /// `note` is what a later server needs to begin it again.
    pub(super) async fn insert_build(
        &self,
        request: &BuildRequest,
        note: Option<Vec<u8>>,
    ) -> Result<Build> {
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
                if let Some(sealed) = note {
                    store::build_notes::set_request(db, stored.id, &sealed)?;
                }
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
        request: &BuildRequest,
        cancel: &CancellationToken,
        out: &OutputSink,
    ) -> Result<Ticket, Unbuilt> {
        let mut ticket = self.0.queue.join();
        // A push has a client that waits with it.
        let can_be_left = request.git_ref.is_none();
        let tell = |place| {
            self.0.active.set_place(request.id, Some(place));
            let parallel = self.parts().settings.parallel_builds;
            out.line(&match place {
                1 => format!("Waiting for one of {parallel} builds to end: this one is next..."),
                _ => format!("Waiting for other builds to end: number {place} in line..."),
            });
        };
        let turn = tokio::select! {
            biased;
            () = cancel.cancelled() => {
                BuildFailure::Cancelled.show(out);
                Err(Unbuilt::Said)
            }
            () = self.0.stopping.cancelled(), if can_be_left => Err(Unbuilt::Left),
            () = ticket.turn(tell) => Ok(()),
        };
        self.0.active.set_place(request.id, None);
        turn.map(|()| ticket)
    }

    /// The app as it is when its build begins. While that waited, the stack may have changed, of
    /// which the build's row then hears.
    async fn app_at_turn(&self, request: &BuildRequest) -> Result<App> {
        let (build, app) = (request.id, request.app.id);
        let read = self.parts().store.read(move |db| {
            Ok((store::apps::by_id(db, app)?, store::releases::build_by_id(db, build)?))
        });
        let (app, row) = read.await?;
        let app = app.ok_or_else(|| Error::not_found("app"))?;
        if row.is_some_and(|row| row.stack != app.stack) {
            let (stack, now) = (app.stack.clone(), Timestamp::now());
            self.parts()
                .store
                .write(move |db| store::releases::set_build_stack(db, build, &stack, now))
                .await?;
        }
        Ok(app)
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
        let first = self.first_deploy_note(build, built.first)?;
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
                if let Some(sealed) = first {
                    store::build_notes::set_first_deploy(db, build, &sealed)?;
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
