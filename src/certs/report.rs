//! What `doctor` and an app's list of domains tell of names and certificates: where each custom
//! domain leads, and when what it is served with ends.

use super::auto::dns::{self, Leads, Lookup};
use super::{Certs, chain};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::limits;
use crate::model::AutoState;
use crate::store;
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::sync::PoisonError;

/// A name that shall be served, and what is wrong with that.
pub struct Named {
    pub hostname: String,
    pub app: Option<String>,
    /// When its certificate ends, if it has one.
    pub expires_at: Option<Timestamp>,
    /// Why no automatic certificate came at the last try.
    pub reason: Option<String>,
    /// It leads elsewhere: in words.
    pub dns: Option<String>,
    /// The router has no room for its certificate.
    pub has_no_room: bool,
}

impl Certs {
    /// Custom domains and names with automatic certificates; the first so many of them.
    pub async fn report(&self) -> Result<Vec<Named>> {
        let mut names = self.0.parts.store.read(named).await?;
        let left_out = self.0.left_out.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for name in &mut names {
            name.has_no_room = left_out.contains(&name.hostname);
        }
        names.sort_by_key(|name| !name.has_no_room);
        names.truncate(limits::REPORTED_NAMES);
        let Some(domain) = &self.0.parts.settings.domain else { return Ok(names) };
        let hostnames: Vec<String> = names.iter().map(|name| name.hostname.clone()).collect();
        let leads = self.leads(&format!("api.{domain}"), &hostnames).await;
        for (name, leads) in names.iter_mut().zip(leads) {
            if let Leads::Elsewhere(words) = leads {
                name.dns = Some(words);
            }
        }
        Ok(names)
    }

    /// Whether names lead where `target` does, as far as this machine can tell; the first so many.
    pub async fn leads(&self, target: &str, hostnames: &[String]) -> Vec<Leads> {
        let is_reachable = self.0.parts.settings.domain.is_some();
        let asked: Vec<String> = hostnames
            .iter()
            .take(limits::REPORTED_NAMES)
            .map(|hostname| hostname.replace('*', "senryu-doctor"))
            .collect();
        let looked = asked.into_iter().map(|asked| async move {
            match is_reachable {
                true => dns::leads(self.lookup(), &asked, target).await,
                // Names below `localhost` lead to this machine from itself only.
                false => Leads::Unknown,
            }
        });
        futures_util::stream::iter(looked).buffered(limits::PARALLEL_LOOKUPS).collect().await
    }

    pub(super) fn lookup(&self) -> &dyn Lookup {
        self.0.parts.lookup.as_ref()
    }
}

fn named(db: &rusqlite::Connection) -> Result<Vec<Named>> {
    let mut names: BTreeMap<String, Named> = BTreeMap::new();
    let ends = |pem: &str| chain::read(pem).ok().map(|facts| facts.expires_at);
    for app in store::apps::all(db)? {
        let endpoints = store::sni_endpoints::of_app(db, app.id)?;
        for domain in store::domains::of_app(db, app.id)? {
            let served = domain.sni_endpoint.as_ref().map(|(id, _)| *id);
            let own = endpoints.iter().find(|endpoint| Some(endpoint.id) == served);
            let hostname = domain.hostname.to_string();
            let name = Named {
                hostname: hostname.clone(),
                app: Some(app.name.to_string()),
                expires_at: own.and_then(|endpoint| ends(&endpoint.chain)),
                reason: None,
                dns: None,
                has_no_room: false,
            };
            names.insert(hostname, name);
        }
    }
    for row in store::auto_certificates::all(db)? {
        let is_failing = matches!(row.state, AutoState::Failing | AutoState::Failed);
        let hostname = row.hostname.clone();
        let fresh = || Named {
            hostname,
            app: None,
            expires_at: None,
            reason: None,
            dns: None,
            has_no_room: false,
        };
        let name = names.entry(row.hostname).or_insert_with(fresh);
        name.reason = row.reason.filter(|_| is_failing);
        name.expires_at = row.chain.as_deref().and_then(ends);
    }
    Ok(names.into_values().collect())
}
