//! Custom domains come and go, with the certificates that they are served with.

use super::Platform;
use crate::apps::domains;
use crate::error::{Error, Result};
use crate::limits;
use crate::model::{App, Caller, Domain, Hostname};
use crate::store;

impl Platform {
    pub async fn custom_domains(&self, app: &App) -> Result<Vec<Domain>> {
        let id = app.id;
        self.store.read(move |db| store::domains::of_app(db, id)).await
    }

    /// A custom domain of the app, by name or id.
    pub async fn custom_domain(&self, app: &App, wanted: &str) -> Result<Option<Domain>> {
        let (id, wanted) = (app.id, wanted.to_string());
        self.store.read(move |db| store::domains::find(db, id, &wanted)).await
    }

    /// A domain as it is after a change.
    pub async fn domain_again(&self, app: &App, domain: &Domain) -> Result<Domain> {
        let found = self.custom_domain(app, &domain.id.to_string()).await?;
        found.ok_or_else(|| Error::not_found("domain"))
    }

    /// Adds a name to the app, with the certificate that is named or with one that covers it.
    pub async fn add_domain(
        &self,
        caller: &Caller,
        app: &App,
        hostname: &str,
        endpoint: Option<&str>,
    ) -> Result<Domain> {
        let hostname = Hostname::parse(hostname)?;
        if let Some(endpoint) = endpoint {
            self.certs.covering(app, endpoint, &hostname).await?;
        }
        let domain = domains::add(&self.store, &self.settings, caller, app, hostname).await?;
        match endpoint {
            Some(_) => self.certs.attach(app, &domain, endpoint).await?,
            None => self.certs.attach_covering(app, &domain).await?,
        }
        let domain = self.domain_again(app, &domain).await?;
        self.certs.wake();
        // Whoever is told that it is done may ask the router at once.
        self.dynos.routed(limits::TABLE_MARGIN).await;
        Ok(domain)
    }

    /// Removes a custom domain; `None` if the app has none that is called so.
    pub async fn remove_domain(&self, app: &App, wanted: &str) -> Result<Option<Domain>> {
        let Some(found) = self.custom_domain(app, wanted).await? else { return Ok(None) };
        let gone = found.clone();
        self.store
            .write(move |db| {
                let details = [("hostname", gone.hostname.as_str())];
                store::audit::note(db, "domain:destroy", Some(gone.app), &details)?;
                store::domains::delete(db, gone.id)
            })
            .await?;
        self.dynos.routed(limits::TABLE_MARGIN).await;
        self.certs.wake();
        if found.sni_endpoint.is_some() {
            self.certs.hand_over().await?;
        }
        Ok(Some(found))
    }
}
