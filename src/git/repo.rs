//! The bare repositories, one for each app, named by the app's id so that a rename moves nothing.
//! They are made on demand: a crash between an app's row and its repository needs no repair.

use crate::config::ServerSettings;
use crate::error::{Context, Result};
use crate::model::AppId;
use crate::tasks;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Where a clone looks first.
const DEFAULT_REF: &str = "refs/heads/main";

/// The folder of repositories. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Repositories {
    dir: PathBuf,
}

impl Repositories {
    pub fn new(settings: &ServerSettings) -> Self {
        Self { dir: settings.repositories() }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the app's repository is, or will be.
    pub fn path(&self, app: AppId) -> PathBuf {
        self.dir.join(format!("{app}.git"))
    }

    /// Makes the repository unless it is there.
    pub async fn create(&self, app: AppId) -> Result<PathBuf> {
        let path = self.path(app);
        if tokio::fs::try_exists(path.join("HEAD")).await.unwrap_or(false) {
            return Ok(path);
        }
        let dir = self.dir.clone();
        tasks::blocking("making a repository", move || {
            make(&dir, &path).context(format!("repository of app {app} cannot be made"))?;
            Ok(path)
        })
        .await
    }

    /// Removes the repository, first from sight and then from the disk.
    pub async fn delete(&self, app: AppId) -> Result<()> {
        let path = self.path(app);
        let trash = self.dir.join(format!("{}{app}", TRASH_PREFIX));
        tasks::blocking("removing a repository", move || {
            let removed = match std::fs::rename(&path, &trash) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
                Ok(()) => std::fs::remove_dir_all(&trash),
            };
            removed.context(format!("repository of app {app} cannot be removed"))
        })
        .await
    }

    /// The commit that `git_ref` names; `None` without such a ref or without a repository.
    pub async fn head(&self, app: AppId, git_ref: &str) -> Result<Option<String>> {
        let path = self.path(app);
        let git_ref = git_ref.to_string();
        tasks::blocking("reading a ref", move || read_ref(&path, &git_ref)).await
    }

    /// Whether `new` has `old` among its ancestors. `quarantine` is where objects may lie that
    /// the repository does not have yet.
    pub async fn descends(
        &self,
        app: AppId,
        new: &str,
        old: &str,
        quarantine: Option<PathBuf>,
    ) -> Result<bool> {
        let path = self.path(app);
        let (new, old) = (new.to_string(), old.to_string());
        tasks::blocking("comparing commits", move || {
            descends(&path, &new, &old, quarantine.as_deref())
                .context(format!("commits {old} and {new} cannot be compared"))
        })
        .await
    }

    /// Whether every ancestor of `new` is there, be it in `quarantine`.
    pub async fn complete(
        &self,
        app: AppId,
        new: &str,
        quarantine: Option<PathBuf>,
    ) -> Result<bool> {
        let path = self.path(app);
        let new = new.to_string();
        tasks::blocking("walking a history", move || {
            complete(&path, &new, quarantine.as_deref())
                .context(format!("the history of {new} cannot be walked"))
        })
        .await
    }

    /// Lets HEAD name the branch that exists, so that a clone of an app that only has `master`
    /// checks it out.
    pub async fn point_head_at(&self, app: AppId, git_ref: &str) -> Result<()> {
        if git_ref == DEFAULT_REF {
            return Ok(());
        }
        let path = self.path(app);
        let git_ref = git_ref.to_string();
        tasks::blocking("setting HEAD", move || {
            let set = || -> Result<(), git2::Error> {
                let repo = git2::Repository::open_bare(&path)?;
                if repo.find_reference(DEFAULT_REF).is_err() {
                    repo.set_head(&git_ref)?;
                }
                Ok(())
            };
            set().context("HEAD cannot be set")
        })
        .await
    }
}

/// Names in the folder that are no repositories: being made, or being removed.
pub(super) const TRASH_PREFIX: &str = "trash-";
pub(super) const NEW_PREFIX: &str = "new-";

/// A crash in the middle leaves a folder with `NEW_PREFIX`, which the next start removes.
fn make(dir: &Path, path: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    std::fs::create_dir_all(dir)?;
    let draft = dir.join(format!("{NEW_PREFIX}{}", Uuid::new_v4()));
    let mut options = git2::RepositoryInitOptions::new();
    options.bare(true).external_template(false).no_reinit(true).initial_head("main");
    git2::Repository::init_opts(&draft, &options)?;
    match std::fs::rename(&draft, path) {
        Err(_) if path.join("HEAD").exists() => Ok(std::fs::remove_dir_all(&draft)?),
        other => Ok(other?),
    }
}

fn read_ref(path: &Path, git_ref: &str) -> Result<Option<String>> {
    let repo = match git2::Repository::open_bare(path) {
        Err(error) if error.code() == git2::ErrorCode::NotFound => return Ok(None),
        other => other.context("repository cannot be opened")?,
    };
    match repo.refname_to_id(git_ref) {
        Ok(id) => Ok(Some(id.to_string())),
        Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error).context(format!("{git_ref} cannot be read")),
    }
}

fn open(path: &Path, quarantine: Option<&Path>) -> Result<git2::Repository, git2::Error> {
    let repo = git2::Repository::open_bare(path)?;
    if let Some(objects) = quarantine.and_then(Path::to_str) {
        repo.odb()?.add_disk_alternate(objects)?;
    }
    Ok(repo)
}

/// What a ref of ours leads to is complete already.
fn complete(path: &Path, new: &str, quarantine: Option<&Path>) -> Result<bool, git2::Error> {
    let repo = open(path, quarantine)?;
    let mut walk = repo.revwalk()?;
    walk.push(git2::Oid::from_str(new)?)?;
    for reference in repo.references()?.flatten() {
        if let Ok(commit) = reference.peel_to_commit() {
            walk.hide(commit.id())?;
        }
    }
    for commit in walk {
        match commit {
            Err(error) if error.code() == git2::ErrorCode::NotFound => return Ok(false),
            other => other?,
        };
    }
    Ok(true)
}

fn descends(
    path: &Path,
    new: &str,
    old: &str,
    quarantine: Option<&Path>,
) -> Result<bool, git2::Error> {
    let repo = open(path, quarantine)?;
    let (new, old) = (git2::Oid::from_str(new)?, git2::Oid::from_str(old)?);
    Ok(new == old || repo.graph_descendant_of(new, old)?)
}
