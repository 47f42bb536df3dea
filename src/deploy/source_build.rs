//! A build that was asked for over the API: its source was uploaded, or lies somewhere on the net.
//! It is a task of the server; whoever asked reads its output or asks what became of it.

use super::again::{NOTE, Note};
use super::building::Unbuilt;
use super::{BuildRequest, Deploy, Place, Sources, Taken, line};
use crate::build::{Archive, BuildFailure, OutputSink, Source, Tarball};
use crate::error::{Error, Kind, Result};
use crate::model::{App, Build, BuildId, Buildpack, SourceBlob, User};
use crate::{limits, store, tasks};
use reqwest::Url;
use tokio::time::Instant;

/// What shall be built, as the caller says.
#[derive(Debug)]
pub struct NewBuild {
    pub app: App,
    pub user: User,
    pub url: String,
    /// For this build only; none are the app's.
    pub buildpacks: Vec<Buildpack>,
    pub checksum: Option<String>,
    pub version: Option<String>,
    pub version_description: Option<String>,
}

impl Deploy {
    /// Stores a build that waits for its turn; the rest of its life is a task's.
    pub async fn start_build(&self, new: NewBuild) -> Result<Build> {
        if self.0.stopping.is_cancelled() {
            return Err(Error::unavailable("The server is stopping. Build again in a moment"));
        }
        let url = parsed(&new.url)?;
        let sha256 = new.checksum.as_deref().map(sum).transpose()?;
        for text in [&new.version, &new.version_description].into_iter().flatten() {
            if text.len() > limits::SOURCE_VERSION_BYTES {
                let most = limits::SOURCE_VERSION_BYTES;
                return Err(Error::invalid(format!("A version has at most {most} bytes")));
            }
        }
        let place = self.lines().join(new.app.id).ok_or_else(|| {
            Error::new(Kind::RateLimit, "Too many builds of this app wait for their turn")
        })?;
        // Another installation's addresses look the same.
        let is_ours = url.as_str().starts_with(&self.control_root());
        let (archive, taken) = match Sources::secret_of(url.path()) {
            Some(secret) if is_ours || self.sources().find(secret).is_some() => {
                let taken = self.sources().take(secret)?;
                (Archive::File(taken.path().to_path_buf()), Some(taken))
            }
            _ => (Archive::Url(url.to_string()), None),
        };
        let is_of = Tarball { archive, sha256, version: new.version };
        let note = Note::of(&is_of, taken.as_ref(), &new.buildpacks);
        let request = BuildRequest {
            id: BuildId::random(),
            app: new.app,
            user: new.user,
            source: Source::Tarball(is_of),
            git_ref: None,
            buildpacks: new.buildpacks,
            blob: SourceBlob {
                url: Some(without_secrets(url)),
                checksum: new.checksum,
                version_description: new.version_description,
            },
        };
        match self.enlist(&request, &note).await {
            Ok((row, out)) => {
                self.spawn_build(request, place, taken, out);
                Ok(row)
            }
            Err(error) => {
                self.finished(request.id);
                if let Some(taken) = taken {
                    taken.remove();
                }
                Err(error)
            }
        }
    }

    /// Its row and its output: from here on it is a build, whatever becomes of this server.
    async fn enlist(&self, request: &BuildRequest, note: &Note) -> Result<(Build, OutputSink)> {
        let note = self.parts().releases.seal_of_build(request.id, NOTE, note)?;
        let out = self.output(request.id)?;
        self.0.active.add(request.id, request.app.id);
        Ok((self.insert_build(request, Some(note)).await?, out))
    }

    /// From here on it ends by itself.
    pub(super) fn spawn_build(
        &self,
        request: BuildRequest,
        place: Place,
        taken: Option<Taken>,
        out: OutputSink,
    ) {
        let deploy = self.clone();
        let work = async move { deploy.build_source(request, place, taken, &out).await };
        tasks::spawn("build of a source", self.0.builds.track_future(work));
    }

    async fn build_source(
        &self,
        request: BuildRequest,
        mut place: Place,
        taken: Option<Taken>,
        out: &OutputSink,
    ) {
        let (id, app, started) = (request.id, request.app.clone(), Instant::now());
        let built = match self.line_turn(id, &app, &mut place, out).await {
            Ok(()) => self.build_apart(request, out).await,
            Err(unbuilt) => Err(unbuilt),
        };
        let is_left = matches!(built, Err(Unbuilt::Left));
        if let (Some(taken), false) = (taken, is_left) {
            taken.remove();
        }
        match built {
            Ok(()) => self.launch(id, &app, started, out).await,
            Err(unbuilt) => self.failed(id, &app, unbuilt, out).await,
        }
    }

    /// In a task of its own: what panics there is a failed build, and not one that stays pending.
    async fn build_apart(&self, request: BuildRequest, out: &OutputSink) -> Result<(), Unbuilt> {
        let (deploy, out) = (self.clone(), out.clone());
        let work = async move { deploy.build_and_store(request, &out).await };
        let built = tasks::to_its_end("building of a source", work).await;
        built.unwrap_or_else(|| {
            Err(Error::internal("the build stopped short", "its task panicked").into())
        })
    }

    /// Waits until no other source of the app is built.
    async fn line_turn(
        &self,
        id: BuildId,
        app: &App,
        place: &mut Place,
        out: &OutputSink,
    ) -> Result<(), Unbuilt> {
        let cancel = self.0.active.cancelled(id);
        let tell = |builds| {
            self.0.active.set_place(id, Some(builds));
            out.line(&line::ahead(builds, app.name.as_str()));
        };
        tokio::select! {
            biased;
            () = cancel.cancelled() => {
                BuildFailure::Cancelled.show(out);
                return Err(Unbuilt::Said);
            }
            () = self.0.stopping.cancelled() => return Err(Unbuilt::Left),
            () = place.turn(tell) => {}
        }
        self.0.active.set_place(id, None);
        let id = app.id;
        match self.parts().store.read(move |db| store::apps::by_id(db, id)).await? {
            Some(_) => Ok(()),
            None => Err(Error::not_found("app").into()),
        }
    }

    /// Of a pending build that waits: which turn is its, from 1.
    pub fn place_in_line(&self, build: BuildId) -> Option<usize> {
        self.0.active.place(build)
    }

    /// Ends a build that has no slug yet. When this returns it has left nothing, or almost so.
    pub async fn cancel_build(&self, build: BuildId) -> Result<()> {
        let ended = self.0.active.cancel(build)?;
        let _ = tokio::time::timeout(limits::BUILD_CANCEL_WAIT, ended.cancelled()).await;
        Ok(())
    }

    /// Ends all builds of an app that is destroyed.
    pub fn cancel_builds_of(&self, app: crate::model::AppId) {
        self.0.active.cancel_all_of(app);
    }

    /// Empties an app's build cache.
    pub async fn purge_cache(&self, app: &App) -> Result<()> {
        if self.apps_at_work().contains(&app.id) {
            return Err(Error::conflict(
                "A build of this app is running. Purge its cache when it has ended",
            ));
        }
        self.parts().builder.purge_cache(app.id).await
    }
}

fn parsed(url: &str) -> Result<Url> {
    let wrong = |why: &str| Error::invalid(format!("source_blob.url {why}"));
    if url.len() > limits::SOURCE_URL_BYTES {
        return Err(wrong("is too long"));
    }
    let url = Url::parse(url).map_err(|_| wrong("is no address"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong("must be an address of http or https"));
    }
    Ok(url)
}

/// The digits of `SHA256:…`.
fn sum(checksum: &str) -> Result<String> {
    let (kind, digits) = checksum.split_once(':').unwrap_or(("SHA256", checksum));
    let hex = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    match kind.eq_ignore_ascii_case("sha256") && hex {
        true => Ok(digits.to_ascii_lowercase()),
        false => Err(Error::invalid(
            "source_blob.checksum must be SHA256: and the archive's 64 hexadecimal digits",
        )),
    }
}

/// What may be shown and kept of an address: signed ones have their secret in the query.
fn without_secrets(mut url: Url) -> String {
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_http_and_keep_no_secret() {
        for url in ["ftp://example.com/x", "file:///etc/passwd", "/x", "gopher://x", "http://"] {
            assert!(parsed(url).is_err(), "{url}");
        }
        let url = parsed("https://me:word@example.com/a.tgz?signature=x#y").unwrap();
        assert_eq!(without_secrets(url), "https://example.com/a.tgz");
    }

    #[test]
    fn checksums_are_sha256() {
        let digits = "AB".repeat(32);
        assert_eq!(sum(&format!("SHA256:{digits}")).unwrap(), digits.to_lowercase());
        for wrong in ["SHA256:ab", "MD5:0123", &format!("SHA1:{digits}"), ""] {
            assert!(sum(wrong).is_err(), "{wrong}");
        }
    }
}
