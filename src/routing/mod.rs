//! Domains and live dynos become the snapshot that the router follows; its log lines come back.

pub mod link_client;
pub mod router_child;
mod table;

use crate::certs::Handshakes;
use crate::config::ServerSettings;
use crate::dynos::{Published, Traffic};
use crate::limits;
use crate::link::{Certificate, Proofs, RouterLog, Snapshot};
use crate::logs::{LogLine, Logs, Source};
use crate::metrics::Metrics;
use crate::model::AppId;
use crate::tasks;
use async_trait::async_trait;
use link_client::RouterLink;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use uuid::Uuid;

/// The server's side of routing.
pub struct Routing {
    link: RouterLink,
    settings: Arc<ServerSettings>,
    last: Mutex<Snapshot>,
}

impl Routing {
    pub fn new(link: RouterLink, settings: Arc<ServerSettings>) -> Self {
        Self { link, settings, last: Mutex::new(Snapshot::default()) }
    }

    /// Whether a router is connected.
    pub fn alive(&self) -> bool {
        self.link.alive()
    }
}

#[async_trait]
impl Traffic for Routing {
    fn publish(&self, state: &Published) -> u64 {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut next = table::snapshot(state, &self.settings);
        next.version = last.version;
        // The first is sent even if it is empty: a router that outlived the last server may have
        // apps in its table that are gone.
        if last.version > 0 && next == *last {
            return last.version;
        }
        // Versions go on rising over restarts of the server, since the router outlives it.
        let now = u64::try_from(crate::clock::Timestamp::now().0).unwrap_or(0);
        next.version = now.max(last.version + 1);
        *last = next.clone();
        drop(last);
        let version = next.version;
        self.link.publish(next);
        version
    }

    async fn applied(&self, version: u64, timeout: Duration) -> bool {
        self.link.applied(version, timeout).await
    }

    async fn drained(&self, dyno: Uuid, timeout: Duration) -> bool {
        self.link.drained(&dyno.to_string(), timeout).await
    }

    fn forget(&self, dyno: Uuid) {
        self.link.forget(&dyno.to_string());
    }
}

#[async_trait]
impl Handshakes for Routing {
    async fn use_certificates(&self, certificates: Vec<Certificate>) -> bool {
        let version = self.link.publish_certificates(certificates);
        self.link.certified(version, limits::TABLE_MARGIN).await
    }

    async fn show_proofs(&self, proofs: Proofs) -> bool {
        let version = self.link.publish_proofs(proofs);
        self.link.shows(version, limits::TABLE_MARGIN).await
    }
}

/// Stores the router's lines in the apps' logs, and counts the requests that they are about.
pub fn keep_logs(mut lines: mpsc::Receiver<Vec<RouterLog>>, logs: Logs, metrics: Metrics) {
    tasks::spawn("router log", async move {
        while let Some(batch) = lines.recv().await {
            let mut by_app: std::collections::BTreeMap<AppId, Vec<LogLine>> = Default::default();
            for entry in batch {
                let (app, line) = table::log_line(entry);
                by_app.entry(app).or_default().push(line);
            }
            for (app, lines) in by_app {
                metrics.requests(app, lines.iter().map(|line| line.message.as_str()));
                logs.write(app, lines).await;
            }
        }
    });
}

/// A line of the router about one of its requests.
fn router_line(at_micros: i64, message: String) -> LogLine {
    LogLine {
        at: crate::clock::Timestamp(at_micros),
        source: Source::Heroku,
        process: "router".to_string(),
        message,
    }
}
