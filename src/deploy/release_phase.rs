//! The release phase: the slug's `release` command, run before the switch. Its failure keeps the
//! old release. The command outlives a server that dies, and the next one waits for its end.

use super::{Deploy, Turn};
use crate::build::OutputSink;
use crate::clock::Timestamp;
use crate::dynos::one_off::{EndedBy, Outcome, ReleaseCommand};
use crate::error::Result;
use crate::model::{App, Release, ReleaseId, Slug};
use crate::{limits, store, tasks};
use std::collections::BTreeSet;
use std::sync::{MutexGuard, PoisonError};
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

/// What a release phase is about.
struct Whose {
    app: App,
    release: Release,
    slug: Slug,
    out: OutputSink,
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
        let out = self.outputs().of_release(release.id.0, true)?;
        let (deploy, command) = (self.clone(), command.to_string());
        let whose = Whose { app: app.clone(), release: release.clone(), slug: slug.clone(), out };
        Ok(self.phase(turn, release.id, async move {
            let Whose { app, release, slug, out } = &whose;
            let dynos = &deploy.parts().dynos;
            let say = |text: &str| out.warning(text);
            match dynos.make_release_command(app, release, slug, &command, say).await {
                Ok(command) => {
                    let ended = command.run(|bytes: &[u8]| out.bytes(bytes)).await;
                    deploy.end(&whose, command, ended).await
                }
                Err(error) => deploy.judge(&whose, Err(error)).await,
            }
        }))
    }

    /// Goes on with the release phase that an earlier server began.
    async fn resume_release_phase(
        &self,
        app: App,
        release: Release,
        slug: Slug,
        command: ReleaseCommand,
    ) -> Result<()> {
        let turn = self.turn(app.id).await?;
        let out = self.outputs().of_release(release.id.0, false)?;
        out.warning("The server was restarted while this ran, and the command went on.");
        out.warning("What it said meanwhile is in the app's log only: senryu logs -s app");
        let line = format!("Release v{}: its command goes on, the server is back", release.version);
        self.say(app.id, line).await;
        let (deploy, id) = (self.clone(), release.id);
        let whose = Whose { app, release, slug, out };
        drop(self.phase(turn, id, async move {
            let ended = command.resume(|bytes: &[u8]| whose.out.bytes(bytes)).await;
            deploy.end(&whose, command, ended).await
        }));
        Ok(())
    }

    /// A task of its own, which holds the app's turn, and which a stop of the server waits for.
    fn phase(
        &self,
        turn: Turn,
        release: ReleaseId,
        work: impl Future<Output = bool> + Send + 'static,
    ) -> Phase {
        let (tell, end) = oneshot::channel();
        let (deploy, at_work) = (self.clone(), self.0.phases.token());
        self.in_phase().insert(release);
        tasks::spawn("release phase", async move {
            let good = work.await;
            deploy.outputs().finish(release.0);
            deploy.in_phase().remove(&release);
            drop((turn, at_work));
            let _ = tell.send(good);
        });
        Phase(Some(end))
    }

    /// The container goes only once the verdict is stored.
    async fn end(&self, whose: &Whose, command: ReleaseCommand, ended: Result<Outcome>) -> bool {
        let good = self.judge(whose, ended).await;
        command.clear().await;
        good
    }

    /// At start: release phases of a server that died. A command that lives on, or has ended
    /// meanwhile, is taken up; a release whose command is not there has failed.
    pub async fn take_up_phases(&self) -> Result<()> {
        let parts = self.parts();
        let mut found = parts.dynos.found_release_commands().await?;
        for release in parts.store.read(store::releases::pending_releases).await? {
            let mine = found.iter().position(|command| command.release() == release.id);
            let command = mine.map(|position| found.swap_remove(position));
            match (command, self.of_release(&release).await?) {
                (Some(command), Some((app, slug))) => {
                    self.resume_release_phase(app, release, slug, command).await?;
                }
                _ => self.fail_cut_off(release, "it ended while the server was away").await?,
            }
        }
        for command in found {
            command.clear().await;
        }
        Ok(())
    }

    /// Once a period: releases whose phase could not begin, or whose verdict could not be stored,
    /// as on a full disk.
    pub(super) async fn fail_abandoned(&self) {
        // Before the rows are read: a phase that ends in between has stored its verdict.
        let at_work = self.in_phase().clone();
        let pending = match self.parts().store.read(store::releases::pending_releases).await {
            Ok(pending) => pending,
            Err(error) => {
                tracing::error!(error = error.chain(), "pending releases are unreadable");
                return;
            }
        };
        for release in pending {
            let age = Timestamp::now().seconds_since(release.created_at);
            if at_work.contains(&release.id) || age < limits::PHASE_BEGINS.as_secs() {
                continue;
            }
            let version = release.version;
            if let Err(error) = self.fail_cut_off(release, "nobody saw how it ended").await {
                tracing::error!(version, error = error.chain(), "a release stays pending");
            }
        }
    }

    fn in_phase(&self) -> MutexGuard<'_, BTreeSet<ReleaseId>> {
        self.0.in_phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn of_release(&self, release: &Release) -> Result<Option<(App, Slug)>> {
        let (app, slug) = (release.app, release.slug);
        let read = self.parts().store.read(move |db| {
            let slug = slug.map(|slug| store::slugs::by_id(db, slug)).transpose()?.flatten();
            Ok(store::apps::by_id(db, app)?.zip(slug))
        });
        read.await
    }

    async fn fail_cut_off(&self, release: Release, why: &str) -> Result<()> {
        self.parts().releases.fail(release.id).await?;
        self.outputs()
            .append(release.id.0, &format!(" !     The release command was cut off: {why}."));
        let line = format!("Release v{} failed: its command was cut off, {why}", release.version);
        self.say(release.app, line).await;
        Ok(())
    }

    async fn judge(&self, whose: &Whose, ended: Result<Outcome>) -> bool {
        let Whose { app, release, slug, out } = whose;
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
