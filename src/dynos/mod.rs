//! The desired formation becomes running dynos.
//!
//! | task | input | output |
//! | --- | --- | --- |
//! | reconciler | wakes, engine events, ends of steps (bounded channel) | steps; a watch of [`Published`] |
//! | step (one each) | nothing | an event for the reconciler |
//! | engine events | the engine's stream | events for the reconciler |
//! | usage | a clock | log lines, SIGKILL, events for the reconciler |
//!
//! Desired state is read from the store at every wake. Observed state is what the engine says: it
//! is listed whole at the start, after every loss of the event stream and once a period.

pub mod drift;
mod events;
mod execute;
pub mod formation;
pub mod host;
mod lifecycle;
mod listen;

pub mod one_off;
pub mod plan;
mod reconciler;
pub mod room;
mod spec;
mod traffic;
mod usage;

pub use plan::{Progress, Web};
pub use reconciler::{Dynos, DynosParts};
pub use traffic::Traffic;

use crate::clock::Timestamp;
use crate::model::{AppId, DynoName, DynoState, Https, ReleaseId};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use uuid::Uuid;

/// What the reconciler last saw and did, for everyone else.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// Wakes whose changes of desired state are in here.
    pub wakes: u64,
    pub apps: BTreeMap<AppId, AppDynos>,
    /// The routing table that carries this.
    pub traffic_version: u64,
    /// Memory of the formation's dynos that they have not taken yet.
    pub promises: Vec<room::Promise>,
    /// Since when the engine does not answer: all of this is what was true then.
    pub away: Option<Timestamp>,
}

impl Published {
    /// Why nobody knows more than this.
    pub fn outage(&self) -> Option<String> {
        self.away.map(|since| format!("Docker has not answered since {}", since.api()))
    }
}

/// One app's dynos, now.
#[derive(Debug, Clone)]
pub struct AppDynos {
    pub name: String,
    pub maintenance: bool,
    pub https: Https,
    /// Names of its custom domains.
    pub domains: Vec<String>,
    pub dynos: Vec<Dyno>,
    pub web: Web,
    /// More web dynos are on their way.
    pub starting: bool,
    pub progress: Progress,
    /// Version of the current release.
    pub current: Option<i64>,
    /// Version of the release that answers requests.
    pub serving: Option<i64>,
}

/// A dyno as `ps` and the router see it.
#[derive(Debug, Clone)]
pub struct Dyno {
    pub id: Uuid,
    pub name: DynoName,
    pub release: ReleaseId,
    pub version: i64,
    pub size: String,
    pub command: String,
    pub state: DynoState,
    /// Why it is down.
    pub reason: Option<String>,
    pub since: Timestamp,
    /// Where it listens, if it gets traffic.
    pub routed: Option<SocketAddr>,
}
