//! One dyno's life as the reconciler knows it, and the log lines that each step of it has.

use super::plan::{Crash, Generation, Phase, Seen};
use crate::clock::Timestamp;
use crate::engine::{Container, ContainerStatus, LABEL_APP, LABEL_DYNO, LABEL_RELEASE};
use crate::logs::LogLine;
use crate::model::{AppId, DynoName};
use std::net::SocketAddr;
use tokio::time::Instant;
use uuid::Uuid;

use super::spec::{LABEL_DYNO_ID, LABEL_EPOCH, LABEL_PORT, LABEL_SIZE, LABEL_VERSION};

#[derive(Debug, Clone)]
pub struct Live {
    pub id: Uuid,
    pub app: AppId,
    pub name: DynoName,
    pub generation: Generation,
    pub version: i64,
    pub command: String,
    /// None until its container has been made.
    pub container: Option<String>,
    pub address: Option<SocketAddr>,
    pub phase: Phase,
    pub since: Instant,
    /// When one that was started just now has taken its memory.
    pub settles_at: Option<Instant>,
    pub wall: Timestamp,
    /// It listens on 127.0.0.1 only, which R10 then says.
    pub loopback_only: bool,
    /// SIGKILL has been sent, or its boot timed out: why, for what is said of the crash.
    pub killed: Option<&'static str>,
    /// The engine was away since it was last seen: its end would be no crash.
    pub unwatched: bool,
    /// The end is being cleared up; there is nothing left to do for it.
    pub ended: bool,
}

impl Live {
    /// Reads a dyno from its container's labels; `None` if they are not a formation dyno's.
    pub fn from_container(container: &Container) -> Option<Self> {
        let label = |key: &str| container.labels.get(key).map(String::as_str);
        let name = DynoName::parse(label(LABEL_DYNO)?)?;
        let address = container.address.and_then(|address| {
            let port = label(LABEL_PORT)?.parse().ok()?;
            Some(SocketAddr::new(address, port))
        });
        Some(Self {
            id: label(LABEL_DYNO_ID)?.parse().ok()?,
            app: label(LABEL_APP)?.parse().ok()?,
            name,
            generation: Generation {
                release: label(LABEL_RELEASE)?.parse().ok()?,
                epoch: label(LABEL_EPOCH)?.parse().ok()?,
                size: label(LABEL_SIZE)?.to_string(),
            },
            version: label(LABEL_VERSION)?.parse().ok()?,
            command: String::new(),
            container: Some(container.id.clone()),
            address,
            phase: Phase::Starting,
            since: Instant::now(),
            settles_at: None,
            wall: container.started_at.unwrap_or(container.created_at),
            loopback_only: false,
            killed: None,
            unwatched: false,
            ended: container.status == ContainerStatus::Exited,
        })
    }

    pub fn seen(&self) -> Seen {
        Seen {
            container: self.id.to_string(),
            name: self.name.clone(),
            generation: self.generation.clone(),
            phase: self.phase,
            since: self.since,
        }
    }

    pub fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = Instant::now();
        self.wall = Timestamp::now();
    }

    pub fn line(&self, message: impl Into<String>) -> LogLine {
        LogLine::heroku(self.name.to_string(), message)
    }

    /// What a crash is remembered by. The first restart is at once; one that ran well for a while
    /// starts the ladder anew.
    pub fn crash(&self, code: i64, out_of_memory: bool, before: Option<&Crash>) -> Crash {
        let ran = match self.phase {
            Phase::Up => self.since.elapsed(),
            _ => std::time::Duration::ZERO,
        };
        let count = before
            .filter(|before| before.generation == self.generation)
            .filter(|_| ran < crate::limits::CRASH_FORGIVEN_AFTER)
            .map_or(0, |before| before.count);
        let reason = match self.killed {
            Some(reason) => reason.to_string(),
            None if out_of_memory => {
                format!("used more memory than its limit and was killed (exit status {code})")
            }
            None => format!("exited with status {code}"),
        };
        Crash {
            generation: self.generation.clone(),
            count: count + 1,
            at: Instant::now(),
            wall: Timestamp::now(),
            reason,
        }
    }
}
