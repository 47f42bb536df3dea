//! The builds that this server works on: the rest of the pending ones were left by another. Each
//! can be cancelled until it has its slug.

use crate::error::{Error, Result};
use crate::model::{AppId, BuildId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

#[derive(Default)]
pub struct Active(Mutex<BTreeMap<BuildId, Work>>);

struct Work {
    app: AppId,
    cancel: CancellationToken,
    /// Nothing is left to do for it.
    ended: CancellationToken,
    /// There is a slug: from here on it is released or abandoned.
    built: bool,
    /// While it waits: which turn is its, from 1.
    place: Option<usize>,
    /// Since when it waits, if it does.
    since: Option<Instant>,
    /// How long it has waited before.
    waited: Duration,
}

impl Active {
    pub fn add(&self, build: BuildId, app: AppId) {
        let (cancel, ended) = (CancellationToken::new(), CancellationToken::new());
        let (place, since, waited) = (None, None, Duration::ZERO);
        let work = Work { app, cancel, ended, built: false, place, since, waited };
        self.lock().insert(build, work);
    }

    pub fn remove(&self, build: BuildId) {
        if let Some(work) = self.lock().remove(&build) {
            work.ended.cancel();
        }
    }

    pub fn has(&self, build: BuildId) -> bool {
        self.lock().contains_key(&build)
    }

    pub fn count(&self) -> usize {
        self.lock().len()
    }

    pub fn apps(&self) -> BTreeSet<AppId> {
        self.lock().values().map(|work| work.app).collect()
    }

    /// A build waits, or does so no more.
    pub fn set_place(&self, build: BuildId, place: Option<usize>) {
        if let Some(work) = self.lock().get_mut(&build) {
            work.place = place;
            if place.is_some() {
                work.since.get_or_insert_with(Instant::now);
            } else if let Some(since) = work.since.take() {
                work.waited += since.elapsed();
            }
        }
    }

    /// How long a build has waited for its turns.
    pub fn waited(&self, build: BuildId) -> Duration {
        self.lock().get(&build).map_or(Duration::ZERO, |work| work.waited)
    }

    pub fn place(&self, build: BuildId) -> Option<usize> {
        self.lock().get(&build).and_then(|work| work.place)
    }

    /// What ends a build early.
    pub fn cancelled(&self, build: BuildId) -> CancellationToken {
        self.lock().get(&build).map(|work| work.cancel.clone()).unwrap_or_default()
    }

    /// Notes that a build has its slug; not if it has been cancelled.
    pub fn built(&self, build: BuildId) -> bool {
        let mut active = self.lock();
        let Some(work) = active.get_mut(&build) else { return true };
        work.built = !work.cancel.is_cancelled();
        work.built
    }

    /// Cancels a build. What is returned tells when it has ended.
    pub fn cancel(&self, build: BuildId) -> Result<CancellationToken> {
        let active = self.lock();
        match active.get(&build) {
            Some(work) if !work.built => {
                work.cancel.cancel();
                Ok(work.ended.clone())
            }
            Some(_) => Err(Error::invalid("The build has its slug already and is being released")),
            None => Err(Error::invalid("The build has ended already")),
        }
    }

    /// The app is gone: what is built for it is of no use.
    pub fn cancel_all_of(&self, app: AppId) {
        for work in self.lock().values().filter(|work| work.app == app) {
            work.cancel.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<BuildId, Work>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_a_build_waits_is_counted_by_itself() {
        let (active, build) = (Active::default(), BuildId::random());
        active.add(build, AppId::random());
        for place in [Some(2), Some(1), None, None, Some(1), None] {
            active.set_place(build, place);
            tokio::time::advance(Duration::from_secs(5)).await;
        }
        assert_eq!(active.waited(build), Duration::from_secs(15));
        assert_eq!(active.waited(BuildId::random()), Duration::ZERO);
    }

    #[test]
    fn a_build_is_cancelled_or_has_its_slug_and_never_both() {
        let (active, build, app) = (Active::default(), BuildId::random(), AppId::random());
        active.add(build, app);
        let ended = active.cancel(build).unwrap();
        assert!(active.cancelled(build).is_cancelled() && !active.built(build));
        active.remove(build);
        assert!(ended.is_cancelled() && active.cancel(build).is_err());

        active.add(build, app);
        assert!(active.built(build) && active.cancel(build).is_err());
        active.cancel_all_of(AppId::random());
        assert!(!active.cancelled(build).is_cancelled());
    }
}
