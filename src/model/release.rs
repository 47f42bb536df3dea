//! Builds, slugs and releases. A release is never changed once made, but for its status.

use super::{AppId, BuildId, Buildpack, ProcessType, Procfile, ReleaseId, SlugId, UserId};
use crate::clock::Timestamp;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildStatus {
    Pending,
    Succeeded,
    Failed,
}

impl BuildStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// What a build's caller said of its source; a push says nothing.
#[derive(Debug, Clone, Default)]
pub struct SourceBlob {
    /// Without what may be secret in it.
    pub url: Option<String>,
    /// `SHA256:…`
    pub checksum: Option<String>,
    pub version_description: Option<String>,
}

/// One attempt to turn a source into a slug.
#[derive(Debug, Clone)]
pub struct Build {
    pub id: BuildId,
    pub app: AppId,
    pub user: UserId,
    pub user_email: String,
    pub status: BuildStatus,
    /// The commit, or the version that the caller named.
    pub commit: Option<String>,
    /// The ref that a push moves when the build succeeds, such as `refs/heads/main`.
    pub git_ref: Option<String>,
    pub blob: SourceBlob,
    pub slug: Option<SlugId>,
    pub release: Option<ReleaseId>,
    pub stack: String,
    pub buildpacks: Vec<Buildpack>,
    /// Milliseconds inside the buildpacks' own `bin/*`.
    pub buildpack_millis: Option<i64>,
    /// Milliseconds from the start of the push to the stored slug.
    pub total_millis: Option<i64>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What a build made: an image in layers and the commands that run in it.
#[derive(Debug, Clone)]
pub struct Slug {
    pub id: SlugId,
    pub app: AppId,
    pub commit: Option<String>,
    pub commit_description: Option<String>,
    pub process_types: Procfile,
    /// What each runs in, where the app's own Dockerfiles made that. Otherwise there is one image,
    /// [`SlugId::image`], and bash runs the command.
    pub images: BTreeMap<ProcessType, AppImage>,
    /// The engine's image id, `sha256:…`, as it was built. Dynos use [`SlugId::image`].
    pub image: String,
    /// Diff ids of its own layers from the bottom, each of which is kept as a file. None for
    /// slugs from before that.
    pub layers: Vec<String>,
    /// Bytes of `/app`, uncompressed.
    pub size: i64,
    pub stack: String,
    pub buildpack_provided_description: Option<String>,
    pub created_at: Timestamp,
    /// Set when the image has been removed: the release can't be rolled back to any more.
    pub deleted_at: Option<Timestamp>,
}

/// An image that an app's Dockerfile made, and how a process type runs in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppImage {
    /// `senryu/slug:…-web`
    pub image: String,
    /// `uid:gid`, never root.
    pub user: String,
    pub working_dir: String,
    /// What is executed: entrypoint and command.
    pub argv: Vec<String>,
    /// The environment that the image itself gives.
    pub env: Vec<String>,
    /// Diff ids of its layers from the bottom, once each is kept as a file.
    pub layers: Vec<String>,
}

impl SlugId {
    /// The image's name in the engine: it stays when the image has to be made anew.
    pub fn image(self) -> String {
        format!("senryu/slug:{self}")
    }

    pub fn of_image(name: &str) -> Option<Self> {
        // An image of an app's Dockerfile has its process type behind the id.
        name.strip_prefix("senryu/slug:")?.get(..36)?.parse().ok()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseStatus {
    /// The release phase runs.
    Pending,
    Succeeded,
    Failed,
    /// Its slug has been cleaned up.
    Expired,
}

impl ReleaseStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }
}

/// Slug and config vars under a number. The config vars stay sealed in the store.
#[derive(Debug, Clone)]
pub struct Release {
    pub id: ReleaseId,
    pub app: AppId,
    pub version: i64,
    pub slug: Option<SlugId>,
    pub description: String,
    pub user: UserId,
    pub user_email: String,
    pub status: ReleaseStatus,
    /// Whether a release phase ran, whose output is kept.
    pub has_output: bool,
    /// When its web dynos (or, without any, its other dynos) first took over.
    pub served_at: Option<Timestamp>,
    /// Milliseconds from the release to the first request it could answer.
    pub serving_millis: Option<i64>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
