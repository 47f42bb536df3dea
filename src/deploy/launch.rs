//! The ref has moved: the stored slug becomes a release, and the push says what becomes of it.

use super::{Deploy, Turn};
use crate::build::OutputSink;
use crate::clock::Timestamp;
use crate::dynos::Progress;
use crate::error::{Error, Result};
use crate::limits;
use crate::model::{App, Build, BuildId, BuildStatus, Release, Slug};
use crate::release::NewRelease;
use crate::store;
use std::time::Duration;
use tokio::time::Instant;

impl Deploy {
    /// Makes the release of a build whose ref has moved, waits for the switch, and ends the
    /// output with how long both took. What fails here is shown; the ref stays moved.
    pub async fn launch(&self, build: BuildId, app: &App, started: Instant, out: &OutputSink) {
        let waited = self.0.active.waited(build);
        let (built, launched) = (started.elapsed().saturating_sub(waited), Instant::now());
        out.headline("Launching...");
        match self.launched(build, app, out).await {
            Ok((row, release, good)) => {
                if good {
                    self.prepare_next(app);
                }
                let took = took(&row, built, waited);
                self.tell_switch(app, &release, good, &took, launched, out).await;
            }
            Err(error) => {
                tracing::error!(app = %app.name, error = error.chain(), "no release was made");
                out.warning(&format!("The release could not be made: {}", error.public_message()));
                out.warning("It is tried again in a moment. Watch it with: senryu releases");
            }
        }
        self.finished(build);
    }

    /// Stores the release and waits for its release phase.
    async fn launched(
        &self,
        build: BuildId,
        app: &App,
        out: &OutputSink,
    ) -> Result<(Build, Release, bool)> {
        let (row, slug) = self.stored_slug(build).await?;
        let turn = self.turn(app.id).await?;
        let (release, phase) = self.release_build(app, turn, &row, slug.clone()).await?;
        let has_phase = release.has_output;
        if has_phase {
            out.warning(
                "Release command declared: this new release will not be available until the \
                 command succeeds.",
            );
        }
        out.detail(&format!("Released v{}", release.version));
        let url = self.parts().settings.web_url(app.name.as_str());
        out.detail(&format!("{url} deployed to Senryu"));
        out.line("");
        if !has_phase {
            return Ok((row, release, true));
        }
        out.line("Running release command...");
        out.line("");
        let reader = match self.outputs().get(release.id.0) {
            Some(super::outputs::Stream::Running(reader)) => Some(reader),
            _ => None,
        };
        if let Some(mut reader) = reader {
            while let Some(bytes) = reader.next().await {
                out.bytes(&bytes);
            }
        }
        let good = phase.ended().await;
        out.line(&format!("Waiting for release.... {}", if good { "done." } else { "failed." }));
        Ok((row, release, good))
    }

    pub(super) async fn stored_slug(&self, build: BuildId) -> Result<(Build, Slug)> {
        self.parts()
            .store
            .read(move |db| {
                let row = store::releases::build_by_id(db, build)?
                    .ok_or_else(|| Error::not_found("build"))?;
                let slug = match row.slug {
                    Some(id) => store::slugs::by_id(db, id)?,
                    None => None,
                };
                Ok((row, slug.ok_or_else(|| Error::not_found("slug"))?))
            })
            .await
    }

    /// Release and end of the build in one transaction: neither is seen without the other.
    pub(super) async fn release_build(
        &self,
        app: &App,
        turn: Turn,
        row: &Build,
        slug: Slug,
    ) -> Result<(Release, super::release_phase::Phase)> {
        let user = {
            let id = row.user;
            let found = self.parts().store.read(move |db| store::users::by_id(db, id)).await?;
            found.ok_or_else(|| Error::not_found("user"))?
        };
        let first = self.parts().releases.current_slug(app.id).await?.is_none();
        let has_web = slug.process_types.iter().any(|(process, _)| process.is_web());
        let own_images = !slug.images.is_empty();
        if first {
            self.first_deploy(app, &user, row.id).await?;
        }
        let new = NewRelease {
            app: app.id,
            config: self.parts().releases.config(app.id).await?,
            description: super::described(&slug),
            user,
            slug: Some(slug),
        };
        let build = row.id;
        let made = self
            .release(app, turn, new, move |db, release| {
                let now = Timestamp::now();
                let status = BuildStatus::Succeeded;
                store::releases::finish_build(db, build, status, Some(release.id), now)
            })
            .await?;
        self.say(app.id, "Build succeeded".to_string()).await;
        if own_images {
            self.0.own_images.wake();
        }
        if first && has_web {
            let line = format!(
                "Scaled to web@1:{} by user {}",
                crate::model::Size::DEFAULT,
                row.user_email
            );
            self.say(app.id, line).await;
        }
        Ok(made)
    }

    async fn tell_switch(
        &self,
        app: &App,
        release: &Release,
        good: bool,
        took: &str,
        launched: Instant,
        out: &OutputSink,
    ) {
        if !good {
            out.warning(&format!("v{} is not released: its command failed.", release.version));
            out.warning("The release before it goes on.");
            out.line(&format!("{took}, not serving"));
            return;
        }
        let limit = Duration::from_secs(self.parts().settings.boot_timeout) + limits::SWITCH_MARGIN;
        let rollout = self.parts().dynos.rollout(app.id, limit).await;
        let serving = match rollout.progress {
            Progress::Settled => {
                out.line("Verifying deploy... done.");
                format!("serving after {}", seconds(launched.elapsed()))
            }
            Progress::Failing(reason) => {
                out.line("Verifying deploy... failed.");
                out.warning(&format!("{reason}."));
                match rollout.serving.filter(|serving| *serving != release.version) {
                    Some(old) => out.warning(&format!(
                        "v{} gets no traffic: v{old} goes on serving.",
                        release.version
                    )),
                    None => out.warning(&format!("v{} does not serve.", release.version)),
                }
                out.warning(&format!("See what it said with: senryu logs --app {}", app.name));
                "not serving".to_string()
            }
            Progress::Converging => {
                out.line("Verifying deploy... still starting.");
                out.warning(&format!("Watch it with: senryu releases:wait --app {}", app.name));
                "not serving yet".to_string()
            }
        };
        out.line(&format!("{took}, {serving}"));
    }
}

/// How long a build took, and how long it stood in line before that, if one would notice.
fn took(build: &Build, built: Duration, waited: Duration) -> String {
    let buildpacks = u64::try_from(build.buildpack_millis.unwrap_or(0)).unwrap_or(0);
    let buildpacks = seconds(Duration::from_millis(buildpacks));
    let waited = match waited < limits::WAIT_NOTICED {
        true => String::new(),
        false => format!(", {} in line before that", seconds(waited)),
    };
    format!("Build took {} (buildpacks {buildpacks}){waited}", seconds(built))
}

/// `3.9s`, as a push ends.
fn seconds(duration: Duration) -> String {
    format!("{:.1}s", duration.as_secs_f64())
}
