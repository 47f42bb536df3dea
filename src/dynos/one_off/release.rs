//! The release command: it runs before the switch, with the new release's slug and config vars.
//! Its output goes to the app's log and to whoever watches the release.

use super::life::Outcome;
use super::make::Recipe;
use super::register::Kind;
use crate::dynos::reconciler::{Dynos, target};
use crate::engine::{Input, Output};
use crate::error::Result;
use crate::limits;
use crate::logs::{LogLine, Logs, Source};
use crate::model::{App, AppId, DynoName, ProcessType, Release, Slug};
use crate::store;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

impl Dynos {
    /// Runs a release's command to its end as `release.NNNN`. Each piece of output goes to the
    /// app's log and to `output`, which must not wait.
    pub async fn run_release_command(
        &self,
        app: &App,
        release: &Release,
        slug: &Slug,
        command: &str,
        output: impl Fn(&[u8]) + Send + 'static,
    ) -> Result<Outcome> {
        let process = ProcessType::parse("release")?;
        let id = app.id;
        let formation = self.parts.store.read(move |db| store::formations::of_app(db, id)).await?;
        let made = self
            .make(Recipe {
                app,
                kind: Kind::Release,
                size: super::make::size_of(&process, &formation),
                process,
                target: target((release.clone(), slug.clone())),
                shown: command.to_string(),
                command: command.to_string(),
                config: self.parts.releases.config_of(release.id).await?,
                input: Input::Nowhere,
                life: Duration::from_secs(self.parts.settings.release_timeout),
            })
            .await?;
        let starting = format!("Starting process with command `{command}`");
        made.say(["State changed from down to starting", &starting]).await;
        let ended = match made.begin().await {
            Ok(attached) => {
                made.say(["State changed from starting to up"]).await;
                let keep = Keep { logs: &self.parts.logs, app: id, name: &made.one_off.name };
                let never = CancellationToken::new();
                let kept = keep.all(attached.output, output);
                Ok(tokio::join!(made.live(&never), kept).0)
            }
            Err(error) => {
                made.say(["State changed from starting to complete"]).await;
                Err(error)
            }
        };
        made.clear().await;
        ended
    }
}

/// Splits output into the log's lines.
struct Keep<'a> {
    logs: &'a Logs,
    app: AppId,
    name: &'a DynoName,
}

impl Keep<'_> {
    async fn all(&self, mut pieces: BoxStream<'static, Output>, output: impl Fn(&[u8])) {
        let mut rest: Vec<u8> = Vec::new();
        while let Some(piece) = pieces.next().await {
            output(&piece.bytes);
            rest.extend_from_slice(&piece.bytes);
            let end = match rest.iter().rposition(|byte| *byte == b'\n') {
                Some(end) => end + 1,
                None if rest.len() > limits::ONE_OFF_LINE_BYTES => rest.len(),
                None => continue,
            };
            self.write(&rest[..end]).await;
            rest.drain(..end);
        }
        if !rest.is_empty() {
            self.write(&rest).await;
        }
    }

    async fn write(&self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let lines = text.lines();
        let lines = lines.map(|line| LogLine::now(Source::App, self.name.to_string(), line));
        self.logs.write(self.app, lines.collect()).await;
    }
}
