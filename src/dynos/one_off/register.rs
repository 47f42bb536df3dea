//! The one-offs that there are now, and those that wait for their client. It is made anew from the
//! engine's containers when the server starts.

use super::attached::Client;
use crate::clock::Timestamp;
use crate::dynos::Dyno;
use crate::dynos::room::{self, Promise};
use crate::error::{Error, Result};
use crate::limits;
use crate::logs::LogLine;
use crate::model::{AppId, DynoName, DynoState, ProcessType, ReleaseId, UserId};
use crate::secrets;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What a one-off is for, as its container's label says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its input and output are a client's.
    Attached,
    /// Its output goes to the log.
    Detached,
    Release,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::Detached => "detached",
            Self::Release => "release",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Attached, Self::Detached, Self::Release]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

#[derive(Debug)]
pub struct OneOff {
    pub id: Uuid,
    pub app: AppId,
    pub name: DynoName,
    pub kind: Kind,
    pub release: ReleaseId,
    pub version: i64,
    pub size: String,
    pub command: String,
    pub since: Timestamp,
    /// When it is ended whatever it does.
    pub ends_at: Timestamp,
    pub up: AtomicBool,
    pub memory: Promise,
    pub stop: CancellationToken,
    /// The kernel killed one of its processes for its memory: it is ended as a whole (R15).
    pub starved: CancellationToken,
}

impl OneOff {
    pub fn stop(&self) {
        self.stop.cancel();
    }

    pub fn line(&self, message: impl Into<String>) -> LogLine {
        LogLine::heroku(self.name.to_string(), message)
    }

    /// How long it may live on.
    pub fn left(&self) -> Duration {
        let micros = u64::try_from(self.ends_at.0 - Timestamp::now().0).unwrap_or(0);
        Duration::from_micros(micros)
    }

    pub fn dyno(&self) -> Dyno {
        Dyno {
            id: self.id,
            name: self.name.clone(),
            release: self.release,
            version: self.version,
            size: self.size.clone(),
            command: self.command.clone(),
            state: match self.up.load(Ordering::Relaxed) {
                true => DynoState::Up,
                false => DynoState::Starting,
            },
            reason: None,
            since: self.since,
            routed: None,
        }
    }
}

#[derive(Clone, Default)]
pub struct Register(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    one_offs: BTreeMap<Uuid, Arc<OneOff>>,
    /// By their secrets: attached one-offs whose client has not come yet.
    waiting: BTreeMap<String, Place>,
}

/// Where a client is waited for.
pub struct Place {
    pub client: oneshot::Sender<Client>,
    pub terminal: bool,
    pub app: AppId,
    /// Who made it: nobody else's right counts.
    pub user: UserId,
}

impl Register {
    /// Adds a one-off under a number that its app does not use. It stays until the entry is
    /// dropped. A release's command takes nobody's place, and finds one however many users run.
    /// `room` is told what those that are there were promised of the host's memory, and nobody can
    /// come in between.
    pub fn add(
        &self,
        app: AppId,
        kind: Kind,
        process: &ProcessType,
        room: impl FnOnce(i64) -> Result<()>,
        make: impl FnOnce(DynoName) -> OneOff,
    ) -> Result<Entry> {
        let mut inner = self.lock();
        let of_app = || inner.one_offs.values().filter(|one_off| one_off.app == app);
        let used: Vec<&DynoName> = of_app().map(|one_off| &one_off.name).collect();
        let by_users = of_app().filter(|one_off| one_off.kind != Kind::Release).count();
        if kind != Kind::Release && by_users >= limits::ONE_OFFS_PER_APP {
            return Err(Error::invalid(format!(
                "Cannot run more than {} one-off dynos of an app at one time. Stop one with \
                 ps:stop",
                limits::ONE_OFFS_PER_APP
            )));
        }
        room(room::promised(inner.one_offs.values().map(|one_off| one_off.memory)))?;
        let name = loop {
            let number = rand::random_range(limits::ONE_OFF_NUMBERS);
            let name = DynoName { process: process.clone(), number };
            if !used.contains(&&name) {
                break name;
            }
        };
        Ok(self.insert(&mut inner, make(name)))
    }

    /// Adds one that an earlier server started; `None` if it is there already.
    pub fn adopt(&self, one_off: OneOff) -> Option<Entry> {
        let mut inner = self.lock();
        (!inner.one_offs.contains_key(&one_off.id)).then(|| self.insert(&mut inner, one_off))
    }

    fn insert(&self, inner: &mut Inner, one_off: OneOff) -> Entry {
        let one_off = Arc::new(one_off);
        inner.one_offs.insert(one_off.id, one_off.clone());
        Entry { one_off, register: self.clone() }
    }

    pub fn of_app(&self, app: AppId) -> Vec<Arc<OneOff>> {
        self.lock().one_offs.values().filter(|one_off| one_off.app == app).cloned().collect()
    }

    /// As `ps` shows them.
    pub fn dynos(&self, app: AppId) -> Vec<Dyno> {
        self.of_app(app).iter().map(|one_off| one_off.dyno()).collect()
    }

    pub fn knows(&self, id: Uuid) -> bool {
        self.lock().one_offs.contains_key(&id)
    }

    pub fn promises(&self) -> Vec<Promise> {
        self.lock().one_offs.values().map(|one_off| one_off.memory).collect()
    }

    /// Tells a one-off that one of its processes was killed for its memory; `false` if there is
    /// none of this id.
    pub fn starve(&self, id: Uuid) -> bool {
        let inner = self.lock();
        let found = inner.one_offs.get(&id).inspect(|one_off| one_off.starved.cancel());
        found.is_some()
    }

    /// A place for a client, and the secret that leads to it.
    pub fn await_client(
        &self,
        terminal: bool,
        app: AppId,
        user: UserId,
    ) -> (String, oneshot::Receiver<Client>) {
        let (place, client) = oneshot::channel();
        let secret = secrets::random_hex::<24>();
        let mut inner = self.lock();
        inner.waiting.retain(|_, place| !place.client.is_closed());
        inner.waiting.insert(secret.clone(), Place { client: place, terminal, app, user });
        (secret, client)
    }

    /// Hands a client over; the secret is good for one.
    pub fn take_place(&self, secret: &str) -> Option<Place> {
        self.lock().waiting.remove(secret).filter(|place| !place.client.is_closed())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A one-off's place in the register, held by the task that runs it.
pub struct Entry {
    one_off: Arc<OneOff>,
    register: Register,
}

impl std::ops::Deref for Entry {
    type Target = OneOff;

    fn deref(&self) -> &OneOff {
        &self.one_off
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.register.lock().one_offs.remove(&self.one_off.id);
    }
}
