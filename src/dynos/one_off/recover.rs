//! One-offs that an earlier server started. A detached one lives on; an attached one has lost its
//! client with that server; a release's is taken up by `deploy`, with its release.

use super::make::{LABEL_ENDS_AT, LABEL_ONE_OFF, Made};
use super::register::{Kind, OneOff};
use crate::clock::Timestamp;
use crate::config::ServerSettings;
use crate::dynos::execute::spec_gone;
use crate::dynos::lifecycle::Live;
use crate::dynos::reconciler::Dynos;
use crate::dynos::room::Promise;
use crate::dynos::spec;
use crate::engine::{Container, ContainerStatus, Input};
use crate::error::{Context, Result};
use crate::tasks;
use tokio_util::sync::CancellationToken;

/// Whether a container is a one-off's.
pub fn is_one_off(container: &Container) -> bool {
    container.labels.contains_key(LABEL_ONE_OFF)
}

/// The command as `ps` shows it, for a server that finds the dyno. On the tmpfs, since commands
/// may hold secrets and labels lie on Docker's disk.
pub(super) fn note_command(settings: &ServerSettings, one_off: &OneOff) -> Result<()> {
    let path = spec::directory(&settings.run_dir, one_off.id).join("command");
    std::fs::write(&path, &one_off.command).context(format!("write {}", path.display()))
}

impl Dynos {
    /// At start, before anybody can ask for a one-off.
    pub async fn recover_one_offs(&self) -> Result<()> {
        for container in self.parts.engine.list().await? {
            let Some((kind, one_off)) = self.found(&container) else { continue };
            if kind == Kind::Release {
                continue;
            }
            if container.status == ContainerStatus::Created {
                // It waited for its client, or was about to be started.
                self.parts.engine.remove(&container.id).await?;
                spec_gone(&self.parts.settings, one_off.id);
                continue;
            }
            let Some(one_off) = self.one_offs.adopt(one_off) else { continue };
            tracing::info!(dyno = %one_off.name, "a one-off of an earlier server lives on");
            let parts = self.parts.clone();
            let made = Made { parts, one_off, container: container.id, input: Input::Nowhere };
            match kind {
                Kind::Detached => tasks::spawn("detached dyno", made.live_detached()),
                _ => tasks::spawn("abandoned dyno", made.live_abandoned()),
            };
        }
        Ok(())
    }

    /// Reads a one-off from its container's labels.
    pub(super) fn found(&self, container: &Container) -> Option<(Kind, OneOff)> {
        let kind = Kind::parse(container.labels.get(LABEL_ONE_OFF)?)?;
        let live = Live::from_container(container)?;
        let command = spec::directory(&self.parts.settings.run_dir, live.id).join("command");
        let ends_at = container.labels.get(LABEL_ENDS_AT).and_then(|micros| micros.parse().ok());
        let one_off = OneOff {
            id: live.id,
            app: live.app,
            name: live.name,
            kind,
            release: live.generation.release,
            version: live.version,
            size: live.generation.size,
            command: std::fs::read_to_string(command).unwrap_or_default(),
            since: container.created_at,
            ends_at: Timestamp(ends_at.unwrap_or(0)),
            up: true.into(),
            // It has taken its memory long ago.
            memory: Promise { bytes: 0, until: None },
            stop: CancellationToken::new(),
            starved: CancellationToken::new(),
        };
        Some((kind, one_off))
    }
}

impl Made {
    /// Its client was lost with the server that it spoke to. Docker drops what nobody reads.
    async fn live_abandoned(self) {
        let gone = CancellationToken::new();
        gone.cancel();
        self.live(&gone).await;
        self.clear().await;
    }
}
