//! Source becomes a slug: the tree is put on the app's volume, the buildpacks run over it in one
//! container, and what they made becomes an image in layers. [`Builder::build`] is the story.

pub mod failure;
pub mod output;

pub use failure::BuildFailure;
pub use output::{OutputReader, OutputSink};

use crate::config::ServerSettings;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::model::{AppId, BuildId, ConfigVars, Procfile, SlugId};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Makes slugs. One for the server; builds of different apps run side by side, those of one app
/// one after the other.
pub struct Builder {
    engine: Arc<dyn Engine>,
    settings: Arc<ServerSettings>,
    installation: String,
}

/// What is built.
#[derive(Debug, Clone)]
pub enum Source {
    /// The tree of a commit. `git_env` is what git gave its hook (`GIT_OBJECT_DIRECTORY` and the
    /// like), so that objects in quarantine are found; empty for objects that are in.
    GitTree { git_dir: PathBuf, git_env: Vec<(OsString, OsString)>, commit: String },
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
    /// Such as `heroku/nodejs`: chosen by the user, or by detection at an earlier build. None
    /// detects.
    pub buildpack: Option<String>,
}

/// What a build made. The image is in the engine; the caller stores the rest.
#[derive(Debug, Clone)]
pub struct Built {
    /// The engine's image id, `sha256:…`.
    pub image: String,
    /// The Procfile's types over the buildpack's defaults.
    pub process_types: Procfile,
    /// `heroku/nodejs`: pin it to the app.
    pub buildpack: String,
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
    pub fn new(
        engine: Arc<dyn Engine>,
        settings: Arc<ServerSettings>,
        installation: String,
    ) -> Self {
        Self { engine, settings, installation }
    }

    /// At start, before anything is built: ends builds that outlived the last server and drops
    /// volumes of apps that are gone.
    pub async fn recover(&self, _apps: &[AppId]) -> Result<()> {
        Ok(())
    }

    /// Mounts the app's volume and clears it, while the push is still being received.
    pub async fn prepare(&self, _app: AppId) -> Result<()> {
        Ok(())
    }

    /// Builds, writing the transcript from `-----> Building on the … stack` to `Done: 42.2M`, or
    /// to ` !     Push failed`. When cancelled, the container is gone before this returns.
    pub async fn build(
        &self,
        _input: BuildInput,
        out: &OutputSink,
        _cancel: CancellationToken,
    ) -> Result<Built, BuildFailure> {
        let _ = (&self.engine, &self.settings, &self.installation);
        let failure = BuildFailure::Platform(Error::unavailable("Builds are not written yet"));
        failure.show(out);
        Err(failure)
    }

    /// Empties the build cache (`builds:cache:purge`).
    pub async fn purge_cache(&self, _app: AppId) -> Result<()> {
        Ok(())
    }

    /// The app is gone: its volume goes too.
    pub async fn forget(&self, _app: AppId) -> Result<()> {
        Ok(())
    }
}
