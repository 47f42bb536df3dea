//! Certificates of apps' domains: checked when they are given, their keys sealed in the store, and
//! all that are served handed to whoever holds the handshakes.

pub mod auto;
pub mod chain;
mod report;
#[cfg(test)]
pub mod testing;

use crate::clock::Timestamp;
use crate::config::ServerSettings;
use crate::error::{Context, Error, Result};
use crate::limits;
use crate::link::{Certificate, Proofs, Secret};
use crate::model::{App, AppId, AutoCertificate, Domain, Hostname, SniEndpoint, SniEndpointId};
use crate::secrets::Secrets;
use crate::store::sni_endpoints::Served;
use crate::store::{self, Store};
use crate::tasks;
use crate::wake::Wake;
use async_trait::async_trait;
use auto::dns::Lookup;
use chain::Facts;
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex as PlainMutex, PoisonError};
use std::time::SystemTime;
use tokio::sync::Mutex;

/// Who holds handshakes with certificates.
#[async_trait]
pub trait Handshakes: Send + Sync {
    /// Makes these all that there are. False if that was not confirmed in time.
    async fn use_certificates(&self, certificates: Vec<Certificate>) -> bool;
    /// Shows these to authorities and no others. False if that was not confirmed in time.
    async fn show_proofs(&self, proofs: Proofs) -> bool;
}

pub struct CertsParts {
    pub store: Store,
    pub secrets: Secrets,
    pub settings: Arc<ServerSettings>,
    pub handshakes: Arc<dyn Handshakes>,
    pub lookup: Arc<dyn Lookup>,
}

/// A handle; clones are the same.
#[derive(Clone)]
pub struct Certs(Arc<Inner>);

struct Inner {
    parts: CertsParts,
    /// The platform's own certificate.
    own: Mutex<Option<Certificate>>,
    /// Names whose certificate had no room in the last hand-over.
    left_out: PlainMutex<BTreeSet<String>>,
    /// One hand-over at a time, so that what was read first never comes last.
    publishing: Mutex<()>,
    /// What is wanted of automatic certificates may have changed.
    wake: Wake,
}

impl Certs {
    /// Reads the platform's own certificate, if there is one: a wrong one is an error at start.
    pub async fn start(parts: CertsParts) -> Result<Self> {
        let own = own(&parts.settings).await?;
        let certs = Self(Arc::new(Inner {
            parts,
            own: Mutex::new(own),
            left_out: PlainMutex::default(),
            publishing: Mutex::default(),
            wake: Wake::new(),
        }));
        certs.hand_over().await?;
        if certs.0.parts.settings.tls_certificate_file.is_some() {
            let certs = certs.clone();
            tasks::spawn("platform's certificate", async move { certs.follow_files().await });
        }
        Ok(certs)
    }

    /// Takes the platform's own certificate over again when its files have changed. While one of
    /// them is new and the other old they don't fit, and the one before is served on.
    async fn follow_files(self) {
        let settings = &self.0.parts.settings;
        let mut taken = stamps(settings);
        let mut refused = None;
        loop {
            tokio::time::sleep(limits::CERTIFICATE_FILE_PERIOD).await;
            let now = stamps(settings);
            if now == taken || Some(&now) == refused.as_ref() {
                continue;
            }
            match own(settings).await {
                Ok(own) => {
                    *self.0.own.lock().await = own;
                    taken = now;
                    tracing::info!("the platform's certificate was read again");
                    if let Err(error) = self.hand_over().await {
                        tracing::error!(error = error.chain(), "can't hand certificates over");
                    }
                }
                Err(error) => {
                    tracing::error!(error = error.chain(), "the one before is served on");
                    refused = Some(now);
                }
            }
        }
    }

    /// Has automatic certificates looked after: names, or what is wanted of them, may have changed.
    pub fn wake(&self) {
        self.0.wake.wake();
    }

    /// Whoever looks after them waits for this.
    pub fn wakes(&self) -> Wake {
        self.0.wake.clone()
    }

    /// An app's custom domains get certificates by themselves from now on.
    pub async fn enable_auto(&self, app: &App) -> Result<()> {
        if self.0.parts.settings.acme_directory.is_none() {
            return Err(Error::invalid(
                "This platform knows no certificate authority. Whoever runs it gives senryu \
                 server an --acme-directory first.",
            ));
        }
        let (id, now) = (app.id, Timestamp::now());
        let write = move |db: &rusqlite::Transaction<'_>| {
            store::audit::note(db, "acm:enable", Some(id), &[])?;
            store::apps::set_acm(db, id, true, now)
        };
        self.0.parts.store.write(write).await?;
        self.wake();
        Ok(())
    }

    /// They get none any more, and those that came by themselves are gone.
    pub async fn disable_auto(&self, app: &App) -> Result<()> {
        let (id, now) = (app.id, Timestamp::now());
        let write = move |db: &rusqlite::Transaction<'_>| {
            store::audit::note(db, "acm:disable", Some(id), &[])?;
            store::apps::set_acm(db, id, false, now)?;
            store::auto_certificates::forget(db, id)
        };
        self.0.parts.store.write(write).await?;
        self.hand_over().await
    }

    /// Those that failed are tried for again at once.
    pub async fn refresh_auto(&self, app: &App) -> Result<()> {
        let (id, now) = (app.id, Timestamp::now());
        let write = move |db: &rusqlite::Transaction<'_>| {
            store::audit::note(db, "acm:refresh", Some(id), &[])?;
            store::auto_certificates::refresh(db, id, now)
        };
        self.0.parts.store.write(write).await?;
        self.wake();
        Ok(())
    }

    /// Those that were added, and those that came by themselves.
    pub async fn list(&self, app: &App) -> Result<Vec<SniEndpoint>> {
        let id = app.id;
        let read = move |db: &rusqlite::Connection| {
            let mut rows = store::sni_endpoints::of_app(db, id)?;
            let auto = store::auto_certificates::of_app(db, id)?;
            rows.extend(auto.into_iter().map(|row| shown(row, id)));
            Ok(rows)
        };
        self.0.parts.store.read(read).await
    }

    /// One that was added: an automatic one is not to be changed by hand.
    async fn find_own(&self, app: &App, id_or_name: &str) -> Result<SniEndpoint> {
        let found = self.find(app, id_or_name).await?;
        match found.acm {
            false => Ok(found),
            true => Err(Error::invalid(format!(
                "{} is an automatic certificate, which comes and goes by itself. Turn that off \
                 with senryu certs:auto:disable, or add one of your own with senryu certs:add.",
                found.name
            ))),
        }
    }

    pub async fn find(&self, app: &App, id_or_name: &str) -> Result<SniEndpoint> {
        let wanted = id_or_name.to_ascii_lowercase();
        let is_it = |row: &SniEndpoint| row.id.to_string() == wanted || row.name == wanted;
        let found = self.list(app).await?.into_iter().find(is_it);
        found.ok_or_else(|| Error::not_found("sni_endpoint"))
    }

    /// Adds a certificate. It is served at once for those of the app's domains that it covers and
    /// that have none.
    pub async fn add(&self, app: &App, name: String, pem: Pem) -> Result<SniEndpoint> {
        let (facts, pem) = pem.checked().await?;
        let now = Timestamp::now();
        let row = SniEndpoint {
            id: SniEndpointId::random(),
            app: app.id,
            name,
            chain: pem.chain,
            domains: Vec::new(),
            acm: false,
            created_at: now,
            updated_at: now,
        };
        let sealed = self.0.parts.secrets.seal(&seal_name(row.id), pem.key.as_bytes())?;
        let added = self
            .0
            .parts
            .store
            .write(move |db| {
                if store::sni_endpoints::of_app(db, row.app)?.len() >= limits::CERTIFICATES_PER_APP
                {
                    let most = limits::CERTIFICATES_PER_APP;
                    let message = format!("An app can have at most {most} certificates.");
                    return Err(Error::invalid(message));
                }
                store::sni_endpoints::insert(db, &row, &sealed)?;
                note(db, "sni-endpoint:create", row.app, &row.name)?;
                for domain in store::domains::of_app(db, row.app)? {
                    let is_bare = domain.sni_endpoint.is_none();
                    if is_bare && facts.covers(domain.hostname.as_str()) {
                        store::sni_endpoints::attach(db, domain.id, Some(row.id), now)?;
                    }
                }
                store::sni_endpoints::again(db, &row)
            })
            .await?;
        self.hand_over().await?;
        Ok(added)
    }

    /// Puts another certificate in the place of one. It must cover the domains of the old one.
    pub async fn update(&self, app: &App, id_or_name: &str, pem: Pem) -> Result<SniEndpoint> {
        let old = self.find_own(app, id_or_name).await?;
        let (facts, pem) = pem.checked().await?;
        let sealed = self.0.parts.secrets.seal(&seal_name(old.id), pem.key.as_bytes())?;
        let updated = self
            .0
            .parts
            .store
            .write(move |db| {
                for domain in store::domains::of_app(db, old.app)? {
                    if domain.sni_endpoint.as_ref().is_some_and(|(id, _)| *id == old.id) {
                        refuse_uncovered(&facts, &domain.hostname)?;
                    }
                }
                store::sni_endpoints::replace(db, old.id, &pem.chain, &sealed, Timestamp::now())?;
                note(db, "sni-endpoint:update", old.app, &old.name)?;
                store::sni_endpoints::again(db, &old)
            })
            .await?;
        self.hand_over().await?;
        Ok(updated)
    }

    pub async fn remove(&self, app: &App, id_or_name: &str) -> Result<SniEndpoint> {
        let row = self.find_own(app, id_or_name).await?;
        let gone = row.clone();
        self.0
            .parts
            .store
            .write(move |db| {
                note(db, "sni-endpoint:destroy", gone.app, &gone.name)?;
                store::sni_endpoints::delete(db, gone.id)
            })
            .await?;
        self.wake();
        self.hand_over().await?;
        Ok(row)
    }

    /// Serves a domain with this certificate, or with none.
    pub async fn attach(&self, app: &App, domain: &Domain, id_or_name: Option<&str>) -> Result<()> {
        let endpoint = match id_or_name {
            Some(wanted) => Some(self.covering(app, wanted, &domain.hostname).await?),
            None => None,
        };
        self.set(domain, endpoint).await
    }

    /// Serves a new domain with the one of the app's certificates that covers it and lasts longest.
    pub async fn attach_covering(&self, app: &App, domain: &Domain) -> Result<()> {
        let mut best: Option<(Timestamp, SniEndpointId)> = None;
        for endpoint in self.list(app).await?.into_iter().filter(|endpoint| !endpoint.acm) {
            let facts = chain::read(&endpoint.chain)?;
            if facts.covers(domain.hostname.as_str()) {
                best = best.max(Some((facts.expires_at, endpoint.id)));
            }
        }
        match best {
            Some((_, endpoint)) => self.set(domain, Some(endpoint)).await,
            None => Ok(()),
        }
    }

    /// An app's certificate by id or name, if it covers this name.
    pub async fn covering(
        &self,
        app: &App,
        id_or_name: &str,
        hostname: &Hostname,
    ) -> Result<SniEndpointId> {
        let endpoint = self.find_own(app, id_or_name).await?;
        refuse_uncovered(&chain::read(&endpoint.chain)?, hostname)?;
        Ok(endpoint.id)
    }

    async fn set(&self, domain: &Domain, endpoint: Option<SniEndpointId>) -> Result<()> {
        let (now, domain) = (Timestamp::now(), domain.clone());
        let store = &self.0.parts.store;
        store
            .write(move |db| {
                let served = endpoint.map_or("none".to_string(), |id| id.to_string());
                let details =
                    [("hostname", domain.hostname.as_str()), ("sni_endpoint", served.as_str())];
                store::audit::note(db, "domain:update", Some(domain.app), &details)?;
                store::sni_endpoints::attach(db, domain.id, endpoint, now)
            })
            .await?;
        self.wake();
        self.hand_over().await
    }

    /// Gives all that are served to the router. Also for when a domain or an app is gone.
    pub async fn hand_over(&self) -> Result<()> {
        let parts = &self.0.parts;
        if parts.settings.tls_listen.is_none() {
            return Ok(());
        }
        let _turn = self.0.publishing.lock().await;
        let read = |db: &rusqlite::Connection| {
            let added = store::sni_endpoints::served(db)?;
            let auto = store::auto_certificates::served(db)?;
            let sealed = |row: &Served| seal_name(row.id);
            let auto_sealed = |row: &Served| auto_seal_name(row.id);
            let mut rows: Vec<(String, Served)> =
                auto.into_iter().map(|row| (auto_sealed(&row), row)).collect();
            // Behind the others, so that of two for a name the one that was added is served.
            rows.extend(added.into_iter().map(|row| (sealed(&row), row)));
            Ok(rows)
        };
        let rows = parts.store.read(read).await?;
        let mut certificates: Vec<Certificate> = self.0.own.lock().await.iter().cloned().collect();
        let mut room = limits::CERTIFICATES_BYTES;
        let mut left_out = BTreeSet::new();
        for (seal_name, row) in rows {
            let key = parts.secrets.open(&seal_name, &row.sealed_key)?;
            let key = String::from_utf8(key).context("read a certificate's key")?;
            let names: usize = row.names.iter().map(String::len).sum();
            let size = row.chain.len() + key.len() + names;
            if size > room {
                tracing::error!(endpoint = %row.id, "no room for a certificate: it is not served");
                left_out.extend(row.names);
                continue;
            }
            room -= size;
            certificates.push(Certificate {
                endpoint: row.id.to_string(),
                names: row.names,
                chain: row.chain,
                key: Secret(key),
            });
        }
        *self.0.left_out.lock().unwrap_or_else(PoisonError::into_inner) = left_out;
        if !parts.handshakes.use_certificates(certificates).await {
            tracing::warn!("the router has not taken the certificates over yet");
        }
        Ok(())
    }
}

/// What tells that the files have changed.
fn stamps(settings: &ServerSettings) -> Vec<Option<(SystemTime, u64)>> {
    let files = [&settings.tls_certificate_file, &settings.tls_key_file];
    let stamp = |file: &Option<PathBuf>| {
        let meta = std::fs::metadata(file.as_ref()?).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    files.into_iter().map(stamp).collect()
}

/// The platform's own certificate from its files.
async fn own(settings: &ServerSettings) -> Result<Option<Certificate>> {
    let (Some(chain), Some(key)) = (&settings.tls_certificate_file, &settings.tls_key_file) else {
        return Ok(None);
    };
    let read = |file: &std::path::Path| {
        std::fs::read_to_string(file).map_err(|error| {
            Error::unavailable(format!("{} cannot be read: {error}", file.display()))
        })
    };
    let pem = Pem { chain: read(chain)?, key: read(key)? };
    let (facts, pem) = pem.checked().await.map_err(|error| {
        let files = format!("{} and {}", chain.display(), key.display());
        Error::unavailable(format!("{files}: {}", error.public_message()))
    })?;
    Ok(Some(Certificate {
        endpoint: "platform".to_string(),
        names: facts.cert_domains,
        chain: pem.chain,
        key: Secret(pem.key),
    }))
}

/// A certificate with its key as a user gave them.
pub struct Pem {
    pub chain: String,
    pub key: String,
}

impl Pem {
    /// Checks both off the async threads: signatures and big keys take milliseconds.
    async fn checked(self) -> Result<(Facts, Self)> {
        tasks::blocking("check a certificate", move || {
            let facts = chain::check(&self.chain, &self.key, Timestamp::now())?;
            Ok((facts, self))
        })
        .await
    }
}

fn refuse_uncovered(facts: &Facts, hostname: &Hostname) -> Result<()> {
    if facts.covers(hostname.as_str()) {
        return Ok(());
    }
    let names = facts.cert_domains.join(", ");
    Err(Error::invalid(format!(
        "certificate_chain is not for the domain {hostname}: it is for {names}."
    )))
}

fn note(db: &Connection, action: &str, app: AppId, name: &str) -> Result<()> {
    store::audit::note(db, action, Some(app), &[("name", name)])
}

/// An automatic certificate as the others are shown.
fn shown(row: AutoCertificate, app: AppId) -> SniEndpoint {
    SniEndpoint {
        id: row.id,
        app,
        name: store::domains::auto_name(&row.hostname),
        chain: row.chain.unwrap_or_default(),
        domains: row.domain.into_iter().collect(),
        acm: true,
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}

fn auto_seal_name(id: SniEndpointId) -> String {
    format!("automatic certificate {id}")
}

fn seal_name(id: SniEndpointId) -> String {
    format!("sni endpoint {id}")
}
