//! What a face of the platform can ask for, each as one function that does it and says so in the
//! app's log. API and console both call these, so that what happens and what is left behind is the
//! same whichever way somebody comes. The app is one that the caller was allowed to name.

mod acm;
mod apps;
mod builds;
mod config_vars;
mod domains;
mod formation;
mod https;
mod releases;

pub use apps::AppChange;
pub use formation::Dynos as WhichDynos;

use crate::apps::access::Access;
use crate::certs::Certs;
use crate::config::ServerSettings;
use crate::deploy::Deploy;
use crate::dynos::Dynos;
use crate::error::Result;
use crate::logs::session::Sessions;
use crate::logs::{LogLine, Logs};
use crate::metrics::Metrics;
use crate::model::{App, AppId, Caller};
use crate::release::Releases;
use crate::store::{self, Store};
use std::sync::Arc;

/// Handles on all that the faces use.
pub struct Platform {
    pub store: Store,
    pub access: Access,
    pub certs: Certs,
    pub releases: Releases,
    pub deploy: Deploy,
    pub dynos: Dynos,
    pub logs: Logs,
    pub metrics: Metrics,
    pub log_sessions: Sessions,
    pub settings: Arc<ServerSettings>,
}

impl Platform {
    /// The app that a path names, if the caller may see it. Whoever lets it be changed asks
    /// [`Access::allow`] with the action, or [`Access::enter`] for all that the caller may do.
    pub async fn app(&self, caller: &Caller, name_or_id: &str) -> Result<App> {
        Ok(self.access.enter(caller, name_or_id).await?.app)
    }

    /// An entry of the audit about what is changed outside the store.
    pub async fn record(
        &self,
        action: &'static str,
        app: AppId,
        detail: (&'static str, &str),
    ) -> Result<()> {
        let (key, value) = (detail.0, detail.1.to_string());
        self.store
            .write(move |db| store::audit::note(db, action, Some(app), &[(key, &value)]))
            .await
    }

    /// One line in the app's log about what somebody did: `… by user EMAIL` ends it.
    async fn note(&self, app: AppId, caller: &Caller, what: &str) {
        let line = format!("{what} by user {}", caller.user.email);
        self.logs.write(app, vec![LogLine::api(line)]).await;
    }
}
