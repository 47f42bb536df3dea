//! Certificates that come and renew by themselves. One task looks at what is wanted and due, has it
//! issued and hands it over; what it must know of it lies in the store, so that a server that dies
//! in the middle loses a try at most.

pub mod acme;
pub mod dns;
pub mod plan;
pub mod proofs;
mod tries;
#[cfg(test)]
use super::testing as openssl;
#[cfg(test)]
mod pebble;
#[cfg(test)]
mod tests;

use super::{Certs, auto_seal_name, chain};
use crate::clock::Timestamp;
use crate::config::ServerSettings;
use crate::error::{Context, Result};
use crate::model::{AutoCertificate, AutoState};
use crate::secrets::Secrets;
use crate::store::auto_certificates::{self, Wanted};
use crate::store::{self, Store};
use crate::tasks;
use crate::wake::Wake;
use async_trait::async_trait;
use dns::Leads;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tries::Tries;

/// Who makes certificates.
#[async_trait]
pub trait Issuer: Send + Sync {
    /// Gets one for a name. What goes wrong comes as words for its owner.
    async fn issue(&self, hostname: &str) -> std::result::Result<Issued, Refused>;
}

/// PEM of a certificate, with its chain, and of its key.
pub struct Issued {
    pub chain: String,
    pub key: String,
}

/// Why there is none.
#[derive(Debug, Clone)]
pub struct Refused(pub String);

pub struct AutoParts {
    pub store: Store,
    pub secrets: Secrets,
    pub settings: Arc<ServerSettings>,
    pub certs: Certs,
    pub issuer: Arc<dyn Issuer>,
    pub clock: Clock,
    pub wake: Wake,
}

/// What time it is: a test moves it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

pub struct Auto(AutoParts);

/// Starts the task.
pub fn spawn(parts: AutoParts) {
    let auto = Auto(parts);
    tasks::spawn("automatic certificates", async move {
        let mut tries = Tries::new(&auto);
        loop {
            tries.go_on().await;
        }
    });
}

impl Auto {
    /// The rows, brought up to what is wanted, and what time it is.
    async fn up_to_date(&self) -> Result<(Vec<AutoCertificate>, Timestamp)> {
        let now = (self.0.clock)();
        let settings = self.0.settings.clone();
        let (rows, left) =
            self.0.store.write(move |db| bring_up_to_date(db, &settings, now)).await?;
        if left {
            self.0.certs.hand_over().await?;
        }
        Ok((rows, now))
    }

    /// Tries for one name; whether there is a certificate now.
    async fn try_for(&self, mut row: AutoCertificate) -> Result<bool> {
        let leads = self.leads(&row).await;
        row.state = match leads {
            Leads::Here => AutoState::DnsVerified,
            _ => AutoState::InProgress,
        };
        row.tried_at = Some((self.0.clock)());
        self.keep(&row).await?;
        let hostname = row.hostname.clone();
        tracing::info!(hostname, "asking for a certificate");
        let refused = match hostname.starts_with("*.") {
            true => Refused(
                "A wildcard is proved by DNS records, which Senryu does not write. Add a \
                 certificate of your own: senryu certs:add CRT KEY"
                    .to_string(),
            ),
            false => match self.0.issuer.issue(&hostname).await {
                Ok(issued) => match self.take(&row, issued).await {
                    Ok(taken) => return Ok(taken),
                    Err(error) => Refused(error.public_message().to_string()),
                },
                Err(refused) => refused,
            },
        };
        let reason = match leads {
            Leads::Elsewhere(words) => format!("{words}. {}", refused.0),
            _ => refused.0,
        };
        tracing::warn!(hostname, reason, "no certificate");
        self.keep(&plan::failed(row, &reason, (self.0.clock)())).await?;
        Ok(false)
    }

    /// Does the name lead to this platform?
    async fn leads(&self, row: &AutoCertificate) -> Leads {
        let Some(domain) = &self.0.settings.domain else { return Leads::Unknown };
        let target = format!("api.{domain}");
        dns::leads(self.0.certs.lookup(), &row.hostname, &target).await
    }

    async fn keep(&self, row: &AutoCertificate) -> Result<()> {
        let mut row = row.clone();
        row.updated_at = (self.0.clock)();
        self.0.store.write(move |db| auto_certificates::set_state(db, &row)).await
    }

    /// Keeps what was issued, its key sealed.
    async fn take(&self, row: &AutoCertificate, issued: Issued) -> Result<bool> {
        let hostname = row.hostname.clone();
        let (facts, issued) = tasks::blocking("check a certificate", move || {
            let facts = chain::check_issued(&issued.chain, &issued.key, &hostname)?;
            Ok((facts, issued))
        })
        .await?;
        let sealed = self.0.secrets.seal(&auto_seal_name(row.id), issued.key.as_bytes())?;
        let (id, chain) = (row.id, issued.chain);
        let (renew_at, now) = (plan::renew_at(facts.starts_at, facts.expires_at), (self.0.clock)());
        let write = move |db: &rusqlite::Transaction<'_>| {
            auto_certificates::set_issued(db, id, &chain, &sealed, renew_at, now)
        };
        let taken = self.0.store.write(write).await.context("keep a certificate")?;
        tracing::info!(hostname = row.hostname, renew_at = renew_at.api(), "certificate issued");
        Ok(taken)
    }
}

/// One row for each name that is wanted; whether one with a certificate has gone.
fn bring_up_to_date(
    db: &rusqlite::Transaction<'_>,
    settings: &ServerSettings,
    now: Timestamp,
) -> Result<(Vec<AutoCertificate>, bool)> {
    let mut wanted: BTreeMap<String, Wanted> = BTreeMap::new();
    let domains = auto_certificates::wanted_domains(db)?;
    for name in domains.into_iter().chain(own_names(db, settings)?) {
        wanted.insert(name.hostname.clone(), name);
    }
    let mut left = false;
    for row in auto_certificates::all(db)? {
        let same = |wanted: &Wanted| wanted.app == row.app && wanted.domain == row.domain;
        if wanted.get(&row.hostname).is_some_and(same) {
            wanted.remove(&row.hostname);
        } else {
            auto_certificates::delete(db, row.id)?;
            left |= row.chain.is_some();
        }
    }
    for name in wanted.into_values() {
        auto_certificates::insert(db, &name, now)?;
    }
    Ok((auto_certificates::all(db)?, left))
}

/// The platform's own names and its apps', unless a certificate for them is in a file.
fn own_names(db: &rusqlite::Transaction<'_>, settings: &ServerSettings) -> Result<Vec<Wanted>> {
    let Some(domain) = settings.domain.as_ref().filter(|_| settings.tls_certificate_file.is_none())
    else {
        return Ok(Vec::new());
    };
    let control = crate::config::CONTROL_NAMES.iter().map(|name| format!("{name}.{domain}"));
    let mut names: Vec<Wanted> =
        control.map(|hostname| Wanted { hostname, app: None, domain: None }).collect();
    names.extend(store::apps::all(db)?.into_iter().map(|app| Wanted {
        hostname: settings.app_host(app.name.as_str()),
        app: Some(app.id),
        domain: None,
    }));
    Ok(names)
}

/// Pauses that double.
pub(super) struct Pauses {
    next: Duration,
    most: Duration,
}

impl Pauses {
    fn new(first: Duration, most: Duration) -> Self {
        Self { next: first, most }
    }

    async fn pause(&mut self) {
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(self.most);
    }
}
