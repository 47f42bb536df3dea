//! The tries for certificates that go on side by side. A name that takes long keeps its own place
//! only: the others are taken by what is due meanwhile, be it a domain that was just added.

use super::{Auto, plan};
use crate::error::Result;
use crate::limits;
use crate::model::{AutoCertificate, SniEndpointId};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// A name, and whether it has a new certificate now.
type Ended = (SniEndpointId, Result<bool>);

pub(super) struct Tries<'a> {
    auto: &'a Auto,
    /// Those that were due at the last look and have no place yet.
    waiting: VecDeque<AutoCertificate>,
    running: FuturesUnordered<BoxFuture<'a, Ended>>,
    names: BTreeSet<SniEndpointId>,
}

impl<'a> Tries<'a> {
    pub fn new(auto: &'a Auto) -> Self {
        let running = FuturesUnordered::new();
        Self { auto, waiting: VecDeque::new(), running, names: BTreeSet::new() }
    }

    /// Tries for what is due until it is time for the next look: somebody wakes, the pause is over,
    /// or an end has left a place for which nobody waits.
    pub async fn go_on(&mut self) {
        let pause = self.look().await.unwrap_or_else(|error| {
            tracing::error!(error = error.chain(), "automatic certificates");
            limits::ACME_PERIOD
        });
        let (until, wake) = (Instant::now() + pause, self.auto.0.wake.clone());
        loop {
            self.begin();
            let has_begun = !self.running.is_empty();
            let ended = tokio::select! {
                () = wake.wait() => return,
                () = sleep_until(until) => return,
                ended = self.running.next(), if has_begun => ended,
            };
            // What the store did not take must not be tried for again at once.
            if self.serve(ended).await && self.waiting.is_empty() {
                return;
            }
        }
    }

    /// Brings the rows up to what is wanted, and sees what is due: how long nothing else will be.
    pub async fn look(&mut self) -> Result<Duration> {
        let (rows, now) = self.auto.up_to_date().await?;
        let pause = plan::until_next(&rows, &self.names, now);
        self.waiting = plan::due(rows, &self.names, now).into();
        Ok(pause)
    }

    /// Gives places to those that wait.
    pub fn begin(&mut self) {
        while self.running.len() < limits::ACME_PARALLEL
            && let Some(row) = self.waiting.pop_front()
        {
            let (auto, id) = (self.auto, row.id);
            self.names.insert(id);
            self.running.push(async move { (id, auto.try_for(row).await) }.boxed());
        }
    }

    /// Serves what has come. False if something could not be kept.
    async fn serve(&mut self, ended: Option<Ended>) -> bool {
        let (mut has_new, mut is_well, mut next) = (false, true, ended);
        while let Some((id, tried)) = next {
            self.names.remove(&id);
            match tried {
                Ok(is_new) => has_new |= is_new,
                Err(error) => {
                    tracing::error!(error = error.chain(), "automatic certificates");
                    is_well = false;
                }
            }
            // Those that ended meanwhile are served by the same hand-over.
            next = self.running.next().now_or_never().flatten();
        }
        if has_new && let Err(error) = self.auto.0.certs.hand_over().await {
            tracing::error!(error = error.chain(), "automatic certificates");
            is_well = false;
        }
        is_well
    }

    /// Waits for the next end.
    #[cfg(test)]
    pub async fn ended(&mut self) -> bool {
        let ended = self.running.next().await;
        self.serve(ended).await
    }

    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }
}
