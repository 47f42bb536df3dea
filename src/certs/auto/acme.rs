//! Certificates by ACME (RFC 8555), one order for each name. Every request is tried again where
//! that may help, for authorities reject nonces and drop connections even on good days.

use super::proofs::Shown;
use super::{Issued, Issuer, Pauses, Refused};
use crate::certs::Handshakes;
use crate::config::{ChallengeKind, ServerSettings};
use crate::error::{Context, Error, Result};
use crate::limits;
use crate::link::{Certificate, Secret};
use crate::secrets::Secrets;
use crate::store::{self, Store};
use crate::tasks;
use async_trait::async_trait;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_acme::acme::{
    Account, AcmeError, AuthStatus, Challenge, ChallengeType, Directory, Order, OrderStatus,
    Problem,
};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// An authority, by its directory, and our account there.
pub struct Acme {
    client: Arc<ClientConfig>,
    directory: String,
    contact: Vec<String>,
    kind: ChallengeKind,
    /// PKCS #8.
    key: Vec<u8>,
    account: Mutex<Known>,
    shown: Shown,
}

/// What is known of our account.
enum Known {
    Nothing,
    Account(Arc<Account>),
    /// It could not be asked for, and when that was known.
    Refused(Refused, Instant),
}

type Asked<T> = std::result::Result<T, Refused>;

impl Acme {
    /// Reads what it needs; the account itself is made with the first order.
    pub async fn new(
        directory: &str,
        settings: &ServerSettings,
        store: &Store,
        secrets: &Secrets,
        handshakes: Arc<dyn Handshakes>,
    ) -> Result<Self> {
        let root = settings.acme_root.clone();
        let client =
            tasks::blocking("read the roots", move || client_config(root.as_deref())).await?;
        Ok(Self {
            client: Arc::new(client),
            directory: directory.to_string(),
            contact: settings.acme_email.iter().map(|email| format!("mailto:{email}")).collect(),
            kind: settings.acme_challenge,
            key: account_key(directory, store, secrets).await?,
            account: Mutex::new(Known::Nothing),
            shown: Shown::new(handshakes),
        })
    }

    /// One asks for all who wait for it meanwhile, whatever the answer.
    async fn account(&self) -> Asked<Arc<Account>> {
        let since = Instant::now();
        let mut known = self.account.lock().await;
        match &*known {
            Known::Account(account) => return Ok(account.clone()),
            Known::Refused(refused, at) if *at >= since => return Err(refused.clone()),
            Known::Refused(..) | Known::Nothing => {}
        }
        let asked = self.ask_for_account().await;
        *known = match &asked {
            Ok(account) => Known::Account(account.clone()),
            Err(refused) => Known::Refused(refused.clone(), Instant::now()),
        };
        asked
    }

    async fn ask_for_account(&self) -> Asked<Arc<Account>> {
        let until = Instant::now() + limits::ACME_ACCOUNT;
        let directory = again(until, || Directory::discover(&self.client, &self.directory)).await?;
        let (nonce, new, order) =
            (&directory.new_nonce, &directory.new_account, &directory.new_order);
        let account = again(until, || {
            let directory = Directory {
                new_nonce: nonce.clone(),
                new_account: new.clone(),
                new_order: order.clone(),
            };
            Account::create_with_keypair(&self.client, directory, &self.contact, &self.key)
        });
        Ok(Arc::new(account.await?))
    }

    async fn order(&self, account: &Account, hostname: &str) -> Asked<Issued> {
        let until = Instant::now() + limits::ACME_NAME;
        let names = || vec![hostname.to_string()];
        let (url, order) = again(until, || account.new_order(&self.client, names())).await?;
        for authorization in &order.authorizations {
            self.prove(account, hostname, authorization, until).await?;
        }
        let is_ready =
            |order: &Order| !matches!(order.status, OrderStatus::Pending | OrderStatus::Processing);
        let order = self.order_once(account, &url, until, is_ready).await?;
        let (request, key) = certificate_request(hostname)?;
        // An answer that is lost may have been a yes: the order itself says so.
        let finalized =
            again(until, || account.finalize(&self.client, &order.finalize, &request)).await.err();
        let is_done = |order: &Order| match order.status {
            OrderStatus::Ready => finalized.is_some(),
            _ => is_ready(order),
        };
        let order = self.order_once(account, &url, until, is_done).await?;
        let OrderStatus::Valid { certificate } = &order.status else {
            return Err(finalized.unwrap_or_else(|| {
                Refused(words(order.error.as_ref(), "The authority signed nothing"))
            }));
        };
        let chain = again(until, || account.certificate(&self.client, certificate)).await?;
        if chain.len() > limits::ACME_CHAIN_BYTES {
            return Err(Refused("The authority sent a chain that is far too long".to_string()));
        }
        Ok(Issued { chain, key })
    }

    /// The order once it is as wanted, or over.
    async fn order_once(
        &self,
        account: &Account,
        url: &str,
        until: Instant,
        is_wanted: impl Fn(&Order) -> bool,
    ) -> Asked<Order> {
        let mut pauses = Pauses::new(limits::ACME_LOOK, limits::ACME_LOOK_MOST);
        let deadline = until.min(Instant::now() + limits::ACME_PATIENCE);
        loop {
            let order = again(until, || account.order(&self.client, url)).await?;
            if is_wanted(&order) {
                return Ok(order);
            }
            if Instant::now() >= deadline {
                return Err(Refused("The authority did not decide in time".to_string()));
            }
            pauses.pause().await;
        }
    }

    /// Shows what the authority wants to see, until it has.
    async fn prove(
        &self,
        account: &Account,
        hostname: &str,
        url: &str,
        until: Instant,
    ) -> Asked<()> {
        let auth = again(until, || account.auth(&self.client, url)).await?;
        match auth.status {
            AuthStatus::Valid => return Ok(()),
            AuthStatus::Pending => {}
            _ => return Err(Refused(refusal(&auth.challenges))),
        }
        let wanted = match self.kind {
            ChallengeKind::Http01 => ChallengeType::Http01,
            ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
        };
        let Some(challenge) = auth.challenges.iter().find(|offered| offered.typ == wanted) else {
            return Err(Refused(format!("The authority offers no {wanted:?} for this name")));
        };
        let answer = key_authorization(account, &challenge.token)?;
        let token = challenge.token.clone();
        let shown = match self.kind {
            ChallengeKind::Http01 => {
                self.shown.change(|now| drop(now.http.insert(token.clone(), answer))).await
            }
            ChallengeKind::TlsAlpn01 => {
                let proof = proof_certificate(hostname, &token, &answer)?;
                self.shown.change(|now| now.tls.push(proof)).await
            }
        };
        let proved = match shown {
            true => self.looked_at(account, url, &challenge.url, until).await,
            false => Err(Refused("The router does not answer the server".to_string())),
        };
        self.shown
            .change(|now| {
                now.http.remove(&token);
                now.tls.retain(|proof| proof.endpoint != token);
            })
            .await;
        proved
    }

    async fn looked_at(
        &self,
        account: &Account,
        auth: &str,
        challenge: &str,
        until: Instant,
    ) -> Asked<()> {
        again(until, || account.challenge(&self.client, challenge)).await?;
        let mut pauses = Pauses::new(limits::ACME_LOOK, limits::ACME_LOOK_MOST);
        let deadline = until.min(Instant::now() + limits::ACME_PATIENCE);
        loop {
            let seen = again(until, || account.auth(&self.client, auth)).await?;
            match seen.status {
                AuthStatus::Valid => return Ok(()),
                AuthStatus::Pending if Instant::now() < deadline => pauses.pause().await,
                AuthStatus::Pending => {
                    return Err(Refused("The authority did not look in time".to_string()));
                }
                _ => return Err(Refused(refusal(&seen.challenges))),
            }
        }
    }
}

#[async_trait]
impl Issuer for Acme {
    async fn issue(&self, hostname: &str) -> Asked<Issued> {
        let account = self.account().await?;
        let issued = self.order(&account, hostname).await;
        if issued.is_err() {
            // An authority may have forgotten the account: asked again, it says which it is.
            *self.account.lock().await = Known::Nothing;
        }
        issued
    }
}

/// The roots that the authority itself is trusted by.
fn client_config(root: Option<&Path>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = root {
        let unreadable = |error: &dyn std::fmt::Display| {
            Error::unavailable(format!("--acme-root {} cannot be read: {error}", path.display()))
        };
        let found = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))?;
        for certificate in found {
            let certificate = certificate.map_err(|error| unreadable(&error))?;
            roots.add(certificate).map_err(|error| unreadable(&error))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("make a TLS client")?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The account's key, sealed in the store; made with the first use of a directory.
async fn account_key(directory: &str, store: &Store, secrets: &Secrets) -> Result<Vec<u8>> {
    let name = format!("acme account at {directory}");
    let key = name.clone();
    let kept = store.read(move |db| store::meta::bytes(db, &key)).await?;
    if let Some(sealed) = kept {
        return secrets.open(&name, &sealed);
    }
    let made = Account::generate_key_pair();
    let sealed = secrets.seal(&name, &made)?;
    store.write(move |db| store::meta::set_bytes(db, &name, &sealed)).await?;
    Ok(made)
}

/// A new key, and the request to sign it for a name.
fn certificate_request(hostname: &str) -> Asked<(Vec<u8>, String)> {
    let failed = |error: rcgen::Error| Refused(format!("No key could be made: {error}"));
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let mut params = CertificateParams::new(vec![hostname.to_string()]).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(failed)?;
    Ok((request.der().to_vec(), key.serialize_pem()))
}

/// The certificate that answers TLS-ALPN-01 (RFC 8737).
fn proof_certificate(hostname: &str, token: &str, answer: &str) -> Asked<Certificate> {
    let failed = |error: rcgen::Error| Refused(format!("No proof could be made: {error}"));
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let mut params = CertificateParams::new(vec![hostname.to_string()]).map_err(failed)?;
    let digest = Sha256::digest(answer.as_bytes());
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest)];
    let made = params.self_signed(&key).map_err(failed)?;
    Ok(Certificate {
        endpoint: token.to_string(),
        names: vec![hostname.to_string()],
        chain: made.pem(),
        key: Secret(key.serialize_pem()),
    })
}

/// The same for every kind of challenge; the library tells it for one.
fn key_authorization(account: &Account, token: &str) -> Asked<String> {
    let challenge = Challenge {
        typ: ChallengeType::Http01,
        url: String::new(),
        token: token.to_string(),
        error: None,
    };
    let made = account.http_01(std::slice::from_ref(&challenge));
    made.map(|(_, answer)| answer).map_err(|error| Refused(error.to_string()))
}

fn refusal(challenges: &[Challenge]) -> String {
    let problem = challenges.iter().find_map(|challenge| challenge.error.as_ref());
    words(problem, "The authority refused the name")
}

fn words(problem: Option<&Problem>, otherwise: &str) -> String {
    let detail = problem.and_then(|problem| problem.detail.as_deref());
    match detail.filter(|detail| !detail.is_empty()) {
        Some(detail) => format!("The certificate authority says: {detail}"),
        None => otherwise.to_string(),
    }
}

/// Asks until there is an answer, as long as that may help and there is time.
async fn again<T, F>(until: Instant, ask: impl Fn() -> F) -> Asked<T>
where
    F: Future<Output = std::result::Result<T, AcmeError>>,
{
    let mut pauses = Pauses::new(limits::ACME_REQUEST_PAUSE, limits::ACME_LOOK_MOST);
    let mut tries = 1;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let asked = tokio::time::timeout(limits::ACME_REQUEST.min(left), ask()).await;
        let (is_passing, refused) = match asked {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => judged(&error),
            Err(_) => (true, Refused("The certificate authority does not answer".to_string())),
        };
        if !is_passing || tries >= limits::ACME_REQUEST_TRIES || Instant::now() >= until {
            return Err(refused);
        }
        tries += 1;
        pauses.pause().await;
    }
}

/// Whether asking again may help, and what to tell.
fn judged(error: &AcmeError) -> (bool, Refused) {
    let AcmeError::HttpRequest(failed) = error else {
        let is_passing = matches!(error, AcmeError::Io(_) | AcmeError::MissingHeader(_));
        return (is_passing, Refused(format!("The certificate authority's answer: {error}")));
    };
    let text = failed.to_string();
    let Some((status, problem)) = problem(&text) else {
        return (true, Refused(format!("The certificate authority cannot be reached: {text}")));
    };
    let kind = problem.typ.as_deref().unwrap_or_default();
    let is_passing = kind.ends_with(":badNonce") || status >= 500;
    (is_passing, Refused(words(Some(&problem), &format!("The authority answered {status}"))))
}

/// Status and problem document of an answer, which the library gives as text only.
fn problem(text: &str) -> Option<(u16, Problem)> {
    let (status, body) = text.strip_prefix("non 2xx http status: ")?.split_once(' ')?;
    let none = Problem { typ: None, detail: None };
    let body: Option<Problem> =
        serde_json::from_str::<String>(body).ok().and_then(|body| serde_json::from_str(&body).ok());
    Some((status.parse().ok()?, body.unwrap_or(none)))
}

#[cfg(test)]
mod unit {
    use super::*;
    use crate::link::Proofs;
    use tokio::net::TcpListener;

    struct Nobody;

    #[async_trait]
    impl Handshakes for Nobody {
        async fn use_certificates(&self, _: Vec<Certificate>) -> bool {
            true
        }

        async fn show_proofs(&self, _: Proofs) -> bool {
            true
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_authority_that_never_answers_holds_up_all_who_wait_for_it_only_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state.db")).unwrap();
        let secrets = Secrets::from_file(&dir.path().join("master.key")).unwrap();
        let settings = ServerSettings::for_tests(&[]);
        let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let directory = format!("https://{}/directory", mute.local_addr().unwrap());
        let acme = Acme::new(&directory, &settings, &store, &secrets, Arc::new(Nobody));
        let acme = acme.await.unwrap();
        let began = Instant::now();
        let (one, two, three) =
            tokio::join!(acme.issue("a.example"), acme.issue("b.example"), acme.issue("c.example"));
        for issued in [one, two, three] {
            let why = issued.err().unwrap().0;
            assert_eq!(why, "The certificate authority does not answer");
        }
        let took = began.elapsed();
        assert!(took <= limits::ACME_ACCOUNT + limits::ACME_LOOK_MOST, "{took:?}");
        // Whoever comes later asks anew.
        tokio::time::advance(limits::ACME_REST).await;
        let began = Instant::now();
        acme.issue("d.example").await.err().unwrap();
        assert!(began.elapsed() >= limits::ACME_REQUEST);
    }

    #[test]
    fn an_answers_problem_is_read_from_the_librarys_text() {
        let body =
            "{\n \"type\": \"urn:ietf:params:acme:error:badNonce\",\n \"detail\": \"a \\\"b\\\"\"}";
        let text = format!("non 2xx http status: 400 {body:?}");
        let (status, found) = problem(&text).unwrap();
        assert_eq!((status, found.detail.as_deref()), (400, Some("a \"b\"")));
        assert!(found.typ.unwrap().ends_with(":badNonce"));
        let (status, found) = problem("non 2xx http status: 503 \"<html>\"").unwrap();
        assert_eq!((status, found.detail), (503, None));
        assert!(problem("io error: broken").is_none());
    }
}
