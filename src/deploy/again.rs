//! A build of the API that waits or runs when its server ends is begun again by the next one. What
//! that needs is in the build's row, sealed: an address may hold a secret.

use super::{BuildRequest, Deploy, Taken};
use crate::build::{Archive, Source, Tarball};
use crate::error::Result;
use crate::model::{Build, BuildId, Buildpack};
use crate::{limits, store};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

pub const NOTE: &str = "request";

/// What the row of a build does not say in the clear.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Note {
    /// The name of an upload, or else …
    file: Option<String>,
    /// … where the source lies.
    url: Option<String>,
    sha256: Option<String>,
    buildpacks: Vec<String>,
    /// How many servers have begun it again.
    begun: u32,
}

impl Note {
    pub fn of(source: &Tarball, taken: Option<&Taken>, buildpacks: &[Buildpack]) -> Self {
        let url = match &source.archive {
            Archive::Url(url) => Some(url.clone()),
            Archive::File(_) => None,
        };
        Self {
            file: taken.map(Taken::name),
            url,
            sha256: source.sha256.clone(),
            buildpacks: buildpacks.iter().map(ToString::to_string).collect(),
            begun: 0,
        }
    }
}

impl Deploy {
    /// At start, before anything else stands in a line: builds go on in the order in which they
    /// were asked for.
    pub async fn take_up_builds(&self) -> Result<()> {
        let pending = self.parts().store.read(store::releases::pending_builds).await?;
        let mut needed = BTreeSet::new();
        for build in &pending {
            match self.note(build.id).await {
                Ok(note) => needed.extend(note.and_then(|note| note.file)),
                // Upkeep ends it.
                Err(error) => tracing::error!(error = error.chain(), "a build's note is lost"),
            }
        }
        self.sources().forget_taken_but(&needed)?;
        for build in &pending {
            if let Err(error) = self.take_up(build).await {
                tracing::error!(build = %build.id, error = error.chain(), "a build waits on");
            }
        }
        Ok(())
    }

    /// Begins a build again; not one that cannot be, or that has its slug.
    pub(super) async fn take_up(&self, build: &Build) -> Result<bool> {
        let id = build.id;
        if build.slug.is_some() || self.0.active.has(id) {
            return Ok(false);
        }
        let Some(mut note) = self.note(id).await? else { return Ok(false) };
        note.begun += 1;
        let (app, user) = (build.app, build.user);
        let found = self
            .parts()
            .store
            .read(move |db| Ok((store::apps::by_id(db, app)?, store::users::by_id(db, user)?)));
        let (Some(app), Some(user)) = found.await? else { return Ok(false) };
        let taken = note.file.as_deref().and_then(|name| self.sources().taken(name));
        let archive = match (&taken, &note.url) {
            (Some(taken), _) => Archive::File(taken.path().to_path_buf()),
            (None, Some(url)) => Archive::Url(url.clone()),
            (None, None) => return Ok(false),
        };
        if note.begun > limits::BUILD_BEGUN_AGAIN {
            return Ok(false);
        }
        let Some(place) = self.lines().join(app.id) else { return Ok(false) };
        let buildpacks = note.buildpacks.iter().map(|text| Buildpack::parse(text));
        let request = BuildRequest {
            id,
            user,
            source: Source::Tarball(Tarball {
                archive,
                sha256: note.sha256.clone(),
                version: build.commit.clone(),
            }),
            git_ref: None,
            buildpacks: buildpacks.collect::<Result<_>>()?,
            blob: build.blob.clone(),
            app,
        };
        let sealed = self.parts().releases.seal_of_build(id, NOTE, &note)?;
        let store = &self.parts().store;
        store.write(move |db| store::build_notes::set_request(db, id, &sealed)).await?;
        let out = self.outputs().resume(id.0)?;
        out.line("The server was restarted: this build is begun again.");
        tracing::warn!(app = %request.app.name, build = %id, "a build is begun again");
        self.0.active.add(id, request.app.id);
        self.spawn_build(request, place, taken, out);
        Ok(true)
    }

    async fn note(&self, build: BuildId) -> Result<Option<Note>> {
        let sealed = self.parts().store.read(move |db| store::build_notes::request(db, build));
        let sealed = sealed.await?;
        sealed.map(|sealed| self.parts().releases.open_of_build(build, NOTE, &sealed)).transpose()
    }
}
