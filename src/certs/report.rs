//! What `doctor` tells of names and certificates: where each custom domain leads, and when what it
//! is served with ends.

use super::auto::dns::{self, Leads};
use super::{Certs, chain};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::limits;
use crate::model::AutoState;
use crate::store;
use futures_util::StreamExt;
use std::collections::BTreeMap;

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
}

impl Certs {
    /// Custom domains and names with automatic certificates; the first so many of them.
    pub async fn report(&self) -> Result<Vec<Named>> {
        let mut names = self.0.parts.store.read(named).await?;
        names.truncate(limits::REPORTED_NAMES);
        let Some(domain) = &self.0.parts.settings.domain else { return Ok(names) };
        let target = format!("api.{domain}");
        let looked = names.into_iter().map(|mut name| {
            let target = target.clone();
            async move {
                let asked = name.hostname.replace('*', "senryu-doctor");
                if let Leads::Elsewhere(words) = dns::leads(&dns::System, &asked, &target).await {
                    name.dns = Some(words);
                }
                name
            }
        });
        let looked = futures_util::stream::iter(looked).buffered(limits::PARALLEL_LOOKUPS);
        Ok(looked.collect().await)
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
            };
            names.insert(hostname, name);
        }
    }
    for row in store::auto_certificates::all(db)? {
        let is_failing = matches!(row.state, AutoState::Failing | AutoState::Failed);
        let hostname = row.hostname.clone();
        let fresh = || Named { hostname, app: None, expires_at: None, reason: None, dns: None };
        let name = names.entry(row.hostname).or_insert_with(fresh);
        name.reason = row.reason.filter(|_| is_failing);
        name.expires_at = row.chain.as_deref().and_then(ends);
    }
    Ok(names.into_values().collect())
}
