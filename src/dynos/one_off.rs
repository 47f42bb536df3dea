//! One-off dynos. The release command is the one that the platform itself runs: before the
//! switch, with the new release's slug and config vars.

use super::execute::spec_gone;
use super::plan::{Generation, Target};
use super::reconciler::Dynos;
use super::spec::DynoSpec;
use crate::engine::{Ended, Output};
use crate::error::Result;
use crate::limits;
use crate::logs::{LogLine, Source};
use crate::model::{App, DynoName, ProcessType, Release, Size, Slug};
use std::time::Duration;
use tokio::sync::mpsc;
use uuid::Uuid;

impl Dynos {
    /// Runs a release's command to its end as `release.NNNN`. Each piece of output goes to the
    /// app's log and to `output`, whose reader may be slow or gone.
    pub async fn run_release_command(
        &self,
        app: &App,
        release: &Release,
        slug: &Slug,
        command: &str,
        output: impl Fn(&[u8]) + Send + 'static,
        limit: Duration,
    ) -> Result<Ended> {
        let parts = self.parts.clone();
        let name = DynoName {
            process: ProcessType::parse("release")?,
            number: rand::random_range(limits::ONE_OFF_NUMBERS),
        };
        let target = Target {
            release: release.id,
            version: release.version,
            image: slug.id.image(),
            commands: slug.process_types.clone(),
            commit: slug.commit.clone(),
            description: release.description.clone(),
            created_at: release.created_at,
            served: false,
        };
        let generation =
            Generation { release: release.id, epoch: 0, size: Size::DEFAULT.to_string() };
        let app_host = parts.settings.app_host(app.name.as_str());
        let spec = DynoSpec {
            id: Uuid::new_v4(),
            app: app.id,
            app_name: app.name.as_str(),
            app_host: &app_host,
            name: &name,
            target: &target,
            generation: &generation,
            command,
            port: rand::random_range(limits::DYNO_PORTS),
            size: parts.settings.dyno_sizes.stored(&generation.size),
        };
        let config = parts.releases.config_of(release.id).await?;
        spec.write_directory(&parts.settings.run_dir, &config)?;
        let say = |message: String| {
            parts.logs.write(app.id, vec![LogLine::heroku(name.to_string(), message)])
        };
        say("State changed from down to starting".to_string()).await;
        say(format!("Starting process with command `{command}`")).await;
        say("State changed from starting to up".to_string()).await;
        let (pieces_in, pieces) = mpsc::channel(limits::OUTPUT_QUEUE);
        let container = spec.container(&parts.settings.run_dir, false);
        let (ended, ()) = tokio::join!(
            parts.engine.run(&container, pieces_in, limit),
            self.keep(app, &name, pieces, output)
        );
        spec_gone(&parts.settings, spec.id);
        match &ended {
            Ok(Ended::Exited { code, .. }) => {
                say(format!("Process exited with status {code}")).await;
                say("State changed from up to complete".to_string()).await;
            }
            Ok(Ended::TimedOut) => {
                say(format!("Stopping process with SIGKILL: it ran for {limit:?}")).await;
                say("State changed from up to complete".to_string()).await;
            }
            Err(_) => {}
        }
        ended
    }

    /// Splits output into the log's lines.
    async fn keep(
        &self,
        app: &App,
        name: &DynoName,
        mut pieces: mpsc::Receiver<Output>,
        output: impl Fn(&[u8]),
    ) {
        let mut rest: Vec<u8> = Vec::new();
        while let Some(piece) = pieces.recv().await {
            output(&piece.bytes);
            rest.extend_from_slice(&piece.bytes);
            let mut lines = Vec::new();
            while let Some(end) = rest
                .iter()
                .position(|byte| *byte == b'\n')
                .or_else(|| (rest.len() > limits::ONE_OFF_LINE_BYTES).then(|| rest.len() - 1))
            {
                let line: Vec<u8> = rest.drain(..=end).collect();
                lines.push(app_line(name, &line));
            }
            self.parts.logs.write(app.id, lines).await;
        }
        if !rest.is_empty() {
            self.parts.logs.write(app.id, vec![app_line(name, &rest)]).await;
        }
    }
}

fn app_line(name: &DynoName, bytes: &[u8]) -> LogLine {
    let text = String::from_utf8_lossy(bytes);
    LogLine::now(Source::App, name.to_string(), text.trim_end_matches(['\n', '\r']))
}
