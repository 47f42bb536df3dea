//! The release phase: the slug's `release` command, run before the switch. Its failure keeps the
//! old release.

use super::{Deploy, Turn};
use crate::dynos::one_off::{EndedBy, Outcome};
use crate::error::Result;
use crate::model::{App, Release, Slug};
use crate::tasks;
use tokio::sync::oneshot;

/// A release phase that runs; it goes on when this is dropped.
pub struct Phase(Option<oneshot::Receiver<bool>>);

impl Phase {
    pub fn none() -> Self {
        Self(None)
    }

    /// Whether the release is good; at once if it has no release phase.
    pub async fn ended(self) -> bool {
        match self.0 {
            None => true,
            Some(end) => end.await.unwrap_or(false),
        }
    }
}

impl Deploy {
    pub(super) async fn run_release_phase(
        &self,
        app: &App,
        turn: Turn,
        release: &Release,
        slug: &Slug,
        command: &str,
    ) -> Result<Phase> {
        let line =
            format!("Running release v{} commands by user {}", release.version, release.user_email);
        self.say(app.id, line).await;
        let (tell, end) = oneshot::channel();
        let out = self.outputs().create(release.id.0)?;
        let deploy = self.clone();
        let (app, release, slug) = (app.clone(), release.clone(), slug.clone());
        let command = command.to_string();
        tasks::spawn("release phase", async move {
            let write = {
                let out = out.clone();
                move |bytes: &[u8]| out.bytes(bytes)
            };
            let dynos = &deploy.parts().dynos;
            let ended = dynos.run_release_command(&app, &release, &slug, &command, write).await;
            let good = deploy.judge(&app, &release, &slug, ended, &out).await;
            deploy.outputs().finish(release.id.0);
            drop(turn);
            let _ = tell.send(good);
        });
        Ok(Phase(Some(end)))
    }

    async fn judge(
        &self,
        app: &App,
        release: &Release,
        slug: &Slug,
        ended: Result<Outcome>,
        out: &crate::build::OutputSink,
    ) -> bool {
        let why = match ended {
            Ok(Outcome { ended_by: Some(EndedBy::User), .. }) => "it was stopped".to_string(),
            Ok(Outcome { ended_by: Some(EndedBy::TimeLimit), .. }) => {
                let seconds = self.parts().settings.release_timeout;
                format!("it ran for longer than {seconds} seconds")
            }
            Ok(Outcome { code: 0, .. }) => {
                match self.parts().releases.succeed(release, slug).await {
                    Ok(()) => {
                        self.made_current(app, release).await;
                        return true;
                    }
                    Err(error) => error.chain(),
                }
            }
            Ok(Outcome { out_of_memory: true, .. }) => {
                "it used more memory than its dyno has".to_string()
            }
            Ok(Outcome { code, .. }) => format!("it exited with status {code}"),
            Err(error) => error.chain(),
        };
        out.line(&format!(" !     The release command failed: {why}."));
        self.say(app.id, format!("Release v{} failed: {why}", release.version)).await;
        if let Err(error) = self.parts().releases.fail(release.id).await {
            tracing::error!(error = error.chain(), "a failed release is not stored as failed");
        }
        false
    }
}
