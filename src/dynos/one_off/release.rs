//! The release command: it runs before the switch, with the new release's slug and config vars.
//! Its output goes to the app's log and to whoever watches the release. It outlives the server
//! like any other dyno, and the next one takes it up.

use super::life::Outcome;
use super::make::{Made, Recipe};
use super::register::Kind;
use crate::dynos::reconciler::{Dynos, target};
use crate::dynos::room;
use crate::engine::{Attached, ContainerStatus, Input};
use crate::error::{Error, Result};
use crate::limits;
use crate::logs::LogLine;
use crate::model::{App, ProcessType, Release, ReleaseId, Slug};
use crate::store;
use futures_util::StreamExt;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// A release's command in its container. That stays until the release is judged: a server that
/// dies before leaves the exit status there for the next one.
pub struct ReleaseCommand(Made);

impl Dynos {
    /// Makes it as `release.NNNN`, once the host has memory for it; `say` is told why it waits.
    pub async fn make_release_command(
        &self,
        app: &App,
        release: &Release,
        slug: &Slug,
        command: &str,
        say: impl Fn(&str) + Send,
    ) -> Result<ReleaseCommand> {
        let process = ProcessType::parse("release")?;
        let id = app.id;
        let formation = self.parts.store.read(move |db| store::formations::of_app(db, id)).await?;
        let size = super::make::size_of(&process, &formation);
        self.wait_for_room(app, &size, say).await?;
        let made = self.make(Recipe {
            app,
            kind: Kind::Release,
            size,
            process,
            target: target((release.clone(), slug.clone())),
            shown: command.to_string(),
            command: command.to_string(),
            config: self.parts.releases.config_of(release.id).await?,
            input: Input::Nowhere,
            life: Duration::from_secs(self.parts.settings.release_timeout),
        });
        made.await.map(ReleaseCommand)
    }

    /// As a dyno waits, but not for ever: whoever releases next waits for this release.
    async fn wait_for_room(&self, app: &App, size: &str, say: impl Fn(&str) + Send) -> Result<()> {
        let settings = &self.parts.settings;
        let size = settings.dyno_sizes.stored(size);
        let deadline = Instant::now() + limits::RELEASE_ROOM_WAIT;
        let mut told = false;
        while let Some(reason) = room::shortage(settings, &size, self.promised()) {
            if !told {
                told = true;
                let line = room::waits("The release command", &reason);
                say(&line);
                self.parts.logs.write(app.id, vec![LogLine::heroku("release", line)]).await;
            }
            if Instant::now() >= deadline {
                return Err(Error::unavailable(format!(
                    "the host had no memory for its command: {reason}"
                )));
            }
            sleep(limits::ROOM_PERIOD).await;
        }
        Ok(())
    }

    /// Those that an earlier server began. One that it had made and not started is removed.
    pub async fn found_release_commands(&self) -> Result<Vec<ReleaseCommand>> {
        let mut commands = Vec::new();
        for container in self.parts.engine.list().await? {
            let Some((Kind::Release, one_off)) = self.found(&container) else { continue };
            if container.status == ContainerStatus::Created {
                self.parts.engine.remove(&container.id).await?;
                crate::dynos::execute::spec_gone(&self.parts.settings, one_off.id);
                continue;
            }
            let Some(one_off) = self.one_offs.adopt(one_off) else { continue };
            let (parts, input) = (self.parts.clone(), Input::Nowhere);
            commands.push(ReleaseCommand(Made { parts, one_off, container: container.id, input }));
        }
        Ok(commands)
    }
}

impl ReleaseCommand {
    pub fn release(&self) -> ReleaseId {
        self.0.one_off.release
    }

    /// Runs it to its end. Each piece of output goes to `output`, which must not wait.
    pub async fn run(&self, output: impl Fn(&[u8]) + Send) -> Result<Outcome> {
        let made = &self.0;
        let starting = format!("Starting process with command `{}`", made.one_off.command);
        made.say(["State changed from down to starting", &starting]).await;
        match made.begin().await {
            Ok(attached) => {
                made.say(["State changed from starting to up"]).await;
                Ok(self.to_end(Some(attached), output).await)
            }
            Err(error) => {
                made.say(["State changed from starting to complete"]).await;
                Err(error)
            }
        }
    }

    /// The same for one that runs, or has ended, already. What it said while nobody was attached
    /// is in the log alone.
    pub async fn resume(&self, output: impl Fn(&[u8]) + Send) -> Result<Outcome> {
        let made = &self.0;
        let attached = made.parts.engine.attach(&made.container, made.input).await;
        // Attached to one that had ended before, the wait would be for ever.
        let found = made.parts.engine.inspect(&made.container).await?;
        let runs = found.is_some_and(|found| found.status == ContainerStatus::Running);
        Ok(self.to_end(attached.ok().filter(|_| runs), output).await)
    }

    async fn to_end(&self, attached: Option<Attached>, output: impl Fn(&[u8]) + Send) -> Outcome {
        let made = &self.0;
        made.follow().await;
        let pass_on = async {
            let Some(mut attached) = attached else { return };
            while let Some(piece) = attached.output.next().await {
                output(&piece.bytes);
            }
        };
        let never = CancellationToken::new();
        let (outcome, ()) = tokio::join!(made.live(&never), pass_on);
        made.parts.logs.finish(&made.container).await;
        outcome
    }

    /// Its release has been judged.
    pub async fn clear(self) {
        self.0.clear().await;
    }
}
