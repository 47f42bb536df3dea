//! What happened to the host behind our back, and how long it took until the dynos were as
//! declared again. A dyno that dies with the engine, or whose container somebody removes, has not
//! crashed.

use super::Reconciler;
use crate::clock::Timestamp;
use crate::dynos::lifecycle::Live;
use crate::dynos::plan::{Plan, Progress};
use crate::limits;
use crate::logs::LogLine;
use crate::model::AppId;
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;
use uuid::Uuid;

/// What is being repaired.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// Since when the engine does not answer.
    pub away: Option<Instant>,
    /// Apps whose dynos were hurt: since when, and by what.
    apps: BTreeMap<AppId, (Instant, String)>,
    /// The last outage of the engine, until all apps are well again.
    outage: Option<Instant>,
}

impl Reconciler {
    /// The engine does not answer. Nothing is planned until it does.
    pub(super) fn engine_away(&mut self) {
        if self.recovery.away.is_some() {
            return;
        }
        let now = Instant::now();
        self.recovery.away = Some(now);
        tracing::warn!("Docker does not answer; nothing is started or stopped until it does");
        // A Docker that is told to stop ends its containers first, which looks like crashes.
        for crashes in self.crashes.values_mut() {
            crashes.retain(|_, crash| crash.at + limits::ENGINE_STOPS < now);
        }
        for live in self.live.values_mut() {
            live.unwatched = live.container.is_some();
        }
        self.publish_away();
    }

    /// It answers again, and was listed.
    pub(super) async fn engine_back(&mut self) {
        let Some(since) = self.recovery.away.take() else { return };
        let seconds = since.elapsed().as_secs_f64();
        tracing::warn!(seconds, "Docker answers again");
        self.recovery.outage = Some(self.recovery.outage.unwrap_or(since));
        let what = format!("Docker did not answer for {seconds:.1}s");
        for app in self.with_dynos() {
            self.recovery.apps.insert(app, (since, what.clone()));
            self.log(app, vec![LogLine::heroku("engine", what.clone())]).await;
        }
    }

    /// Apps that shall have dynos.
    fn with_dynos(&self) -> Vec<AppId> {
        let wanted = self.desired.iter();
        let wanted = wanted.filter(|app| app.formation.iter().any(|row| row.quantity > 0));
        wanted.map(|app| app.app).collect()
    }

    /// Something was found that hurt an app's dynos.
    pub(super) fn hurt(&mut self, app: AppId, what: &str) {
        self.recovery.apps.entry(app).or_insert_with(|| (Instant::now(), what.to_string()));
    }

    /// Tells of each app that is well again.
    pub(super) async fn tell_recovered(&mut self, plans: &[(usize, Plan)]) {
        if self.recovery.apps.is_empty() && self.recovery.outage.is_none() {
            return;
        }
        let unsure: BTreeSet<AppId> =
            self.live.values().filter(|live| live.unwatched).map(|live| live.app).collect();
        let mut well = Vec::new();
        for (index, plan) in plans {
            let app = &self.desired[*index];
            let settled = plan.progress == Progress::Settled && !unsure.contains(&app.app);
            if settled && let Some((since, what)) = self.recovery.apps.remove(&app.app) {
                let seconds = since.elapsed().as_secs_f64();
                tracing::warn!(app = app.name, what, seconds, "dynos are as declared again");
                let line = format!("{what}: all dynos run again, {seconds:.1}s after that began");
                well.push((app.app, LogLine::heroku("engine", line)));
            }
        }
        for (app, line) in well {
            self.log(app, vec![line]).await;
        }
        let known: BTreeSet<AppId> = self.desired.iter().map(|app| app.app).collect();
        self.recovery.apps.retain(|app, _| known.contains(app));
        if self.recovery.apps.is_empty()
            && let Some(since) = self.recovery.outage.take()
        {
            let seconds = since.elapsed().as_secs_f64();
            tracing::warn!(seconds, "every app is as declared again");
        }
    }

    /// Nothing of ours waits by the clock, but the times in the logs are its.
    pub(super) fn look_at_clock(&mut self) {
        if let Some(seconds) = self.clock.look(Timestamp::now(), Instant::now()) {
            tracing::warn!(
                seconds,
                "the clock was set, or the machine slept: times in logs and lists jump with it, \
                 and nothing waits longer or shorter"
            );
        }
    }

    /// Puts back what belongs around the containers.
    pub(super) async fn mend(&mut self) {
        match self.executor.engine.mend().await {
            Ok(mended) => {
                for what in mended {
                    tracing::warn!(what, "something of ours was missing and was put back");
                    let line = format!("Missing on the host, and put back: {what}");
                    for app in self.with_dynos() {
                        self.log(app, vec![LogLine::heroku("engine", line.clone())]).await;
                    }
                }
            }
            Err(error) => tracing::warn!(error = error.chain(), "the network is not as it must be"),
        }
    }

    /// A dyno that runs without the network that it was started in: nobody reaches it, and it
    /// reaches nobody.
    pub(super) async fn off_network(&mut self, dyno: Uuid) {
        let Some(live) = self.live.get(&dyno) else { return };
        let what = "A dyno's container lost its network";
        let (app, line) = (live.app, live.line("Its network is gone: it is replaced"));
        self.hurt(app, what);
        self.log(app, vec![line]).await;
        self.stop(dyno).await;
    }
}

/// Whether a dyno's end is nobody's fault but the host's, and what to say of it.
pub(super) fn blameless(live: &Live, removed: bool) -> Option<&'static str> {
    if removed {
        Some("Its container was removed from Docker, not by Senryu")
    } else if live.unwatched {
        Some("It ended with Docker")
    } else {
        None
    }
}
