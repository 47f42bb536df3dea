//! What a certificate says of itself, and whether it may be served: readable, in date, whole, and
//! with the key that belongs to it. Errors name the field and what to do.

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::limits;
use crate::model::Hostname;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use std::sync::{Arc, OnceLock};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

/// What is told of a certificate, by Heroku's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub cert_domains: Vec<String>,
    pub issuer: String,
    pub subject: String,
    pub starts_at: Timestamp,
    pub expires_at: Timestamp,
    pub is_self_signed: bool,
    /// A root that this machine trusts stands behind it.
    pub is_ca_signed: bool,
}

impl Facts {
    /// May a domain be served with it?
    pub fn covers(&self, hostname: &str) -> bool {
        self.cert_domains.iter().any(|name| {
            let below = name.strip_prefix('*').and_then(|base| hostname.strip_suffix(base));
            name == hostname || below.is_some_and(|label| !label.is_empty() && !label.contains('.'))
        })
    }
}

/// Checks a chain and its key, as a user gave them, for serving from `now` on.
pub fn check(chain: &str, key: &str, now: Timestamp) -> Result<Facts> {
    let ders = ders(chain)?;
    let facts = facts(&ders)?;
    if facts.expires_at <= now {
        let on = facts.expires_at.api();
        return Err(wrong(format!("has expired: it was valid until {on}. Have it renewed.")));
    }
    // Clocks differ a little, and some authorities date back by less than they could.
    if facts.starts_at > now.after(limits::CERTIFICATE_EARLY) {
        let from = facts.starts_at.api();
        return Err(wrong(format!("is not valid yet: it is from {from} on. Add it then.")));
    }
    check_order(&ders, facts.is_ca_signed)?;
    if facts.cert_domains.is_empty() {
        return Err(wrong("names no host: it has neither a subjectAltName nor a common name."));
    }
    check_key(ders, key)?;
    Ok(facts)
}

/// Checks what an authority issued for a name. What stands behind it is the authority's business.
pub fn check_issued(chain: &str, key: &str, hostname: &str) -> Result<Facts> {
    let ders = ders(chain)?;
    let facts = facts(&ders)?;
    if !facts.covers(hostname) {
        let names = facts.cert_domains.join(", ");
        return Err(wrong(format!("is not for {hostname}, but for {names}.")));
    }
    check_key(ders, key)?;
    Ok(facts)
}

/// What a stored chain says.
pub fn read(chain: &str) -> Result<Facts> {
    facts(&ders(chain)?)
}

fn wrong(what: impl AsRef<str>) -> Error {
    Error::invalid(format!("certificate_chain {}", what.as_ref()))
}

fn ders(chain: &str) -> Result<Vec<CertificateDer<'static>>> {
    let ders: std::result::Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
    let ders = ders.map_err(|error| wrong(format!("is not readable as PEM: {error}")))?;
    match ders.len() {
        0 => Err(wrong(
            "holds no certificate: it must be PEM text, with -----BEGIN CERTIFICATE----- in it.",
        )),
        count if count > limits::CHAIN_CERTIFICATES => Err(wrong(format!(
            "holds {count} certificates: at most {} are needed.",
            limits::CHAIN_CERTIFICATES
        ))),
        _ => Ok(ders),
    }
}

fn parse<'d>(der: &'d CertificateDer<'_>, place: usize) -> Result<X509Certificate<'d>> {
    X509Certificate::from_der(der).map(|(_, certificate)| certificate).map_err(|error| {
        wrong(format!("cannot be read: its certificate {place} is no X.509 certificate: {error}"))
    })
}

fn facts(ders: &[CertificateDer<'_>]) -> Result<Facts> {
    let first = ders.first().ok_or_else(|| wrong("is empty."))?;
    let certificate = parse(first, 1)?;
    let cert_domains = names(&certificate);
    Ok(Facts {
        is_self_signed: certificate.subject() == certificate.issuer(),
        is_ca_signed: cert_domains.first().is_some_and(|name| is_trusted(ders, name)),
        cert_domains,
        issuer: certificate.issuer().to_string(),
        subject: certificate.subject().to_string(),
        starts_at: timestamp(certificate.validity().not_before),
        expires_at: timestamp(certificate.validity().not_after),
    })
}

fn timestamp(time: ASN1Time) -> Timestamp {
    Timestamp(time.timestamp().saturating_mul(1_000_000))
}

/// The host names, or the common name of a certificate from before there were such.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    if let Ok(Some(extension)) = certificate.subject_alternative_name() {
        names.extend(extension.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        }));
    }
    if names.is_empty() {
        let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        names.extend(common.map(str::to_ascii_lowercase));
    }
    names.retain(|name| Hostname::parse(name).is_ok());
    names
}

/// Each certificate must be signed by the next, up to a root that clients can know.
fn check_order(ders: &[CertificateDer<'_>], is_trusted: bool) -> Result<()> {
    let parsed: Vec<X509Certificate<'_>> =
        ders.iter().enumerate().map(|(at, der)| parse(der, at + 1)).collect::<Result<_>>()?;
    for (at, pair) in parsed.windows(2).enumerate() {
        if pair[0].verify_signature(Some(pair[1].public_key())).is_err() {
            let (this, next) = (at + 1, at + 2);
            return Err(wrong(format!(
                "is out of order: certificate {this} ({}) was not signed by certificate {next} \
                 ({}). The host's own comes first, then the one that signed it, and so on.",
                pair[0].subject(),
                pair[1].subject(),
            )));
        }
    }
    let Some(last) = parsed.last() else { return Ok(()) };
    let is_root = last.subject() == last.issuer();
    if !is_root && !is_trusted {
        return Err(wrong(format!(
            "is incomplete: it ends with {}, which was signed by {}. Append that one's \
             certificate, which your CA gives you as intermediate or bundle.",
            last.subject(),
            last.issuer(),
        )));
    }
    Ok(())
}

fn check_key(ders: Vec<CertificateDer<'static>>, key: &str) -> Result<()> {
    let wrong = |what: &str| Error::invalid(format!("private_key {what}"));
    if key.contains("ENCRYPTED") {
        return Err(wrong(
            "is protected by a passphrase: give it without (openssl pkey -in KEY -out PLAIN).",
        ));
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| {
        wrong("holds no private key: it must be PEM text, with -----BEGIN PRIVATE KEY----- in it.")
    })?;
    match CertifiedKey::from_der(ders, key, &ring::default_provider()) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err(wrong(
            "does not belong to certificate_chain: the first certificate there has another key.",
        )),
        Err(_) => Err(wrong(
            "is of no kind that can be used: RSA of 2048 to 4096 bits, ECDSA on \
                             P-256 or P-384, or Ed25519.",
        )),
    }
}

/// Whether this machine's roots stand behind a chain.
fn is_trusted(ders: &[CertificateDer<'_>], name: &str) -> bool {
    let (Some(verifier), [own, others @ ..]) = (verifier(), ders) else { return false };
    let Ok(name) = ServerName::try_from(name.replace('*', "any")) else { return false };
    verifier.verify_server_cert(own, others, &name, &[], UnixTime::now()).is_ok()
}

/// Reads the machine's roots once.
fn verifier() -> Option<&'static WebPkiServerVerifier> {
    static VERIFIER: OnceLock<Option<Arc<WebPkiServerVerifier>>> = OnceLock::new();
    let make = || {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(ring::default_provider());
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()
    };
    VERIFIER.get_or_init(make).as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::testing::Authority;

    fn refused(chain: &str, key: &str, words: &str) {
        let error = check(chain, key, Timestamp::now()).unwrap_err().to_string();
        assert!(error.contains(words), "{words:?} is not in {error:?}");
    }

    #[test]
    fn a_whole_chain_with_its_key_is_read() {
        let authority = Authority::create();
        let middle = authority.intermediate("middle");
        let made = authority.sign("shop", &["www.example.com", "*.Example.org"], "middle");
        let chain = format!("{}{}{}", made.chain, middle.chain, authority.root());
        let facts = check(&chain, &made.key, Timestamp::now()).unwrap();
        assert_eq!(facts.cert_domains, ["www.example.com", "*.example.org"]);
        assert_eq!((facts.subject.as_str(), facts.issuer.as_str()), ("CN=shop", "CN=Test middle"));
        assert!(!facts.is_ca_signed && !facts.is_self_signed);
        assert!(facts.starts_at < facts.expires_at && facts.expires_at > Timestamp::now());
        for (host, is_covered) in [
            ("www.example.com", true),
            ("example.com", false),
            ("a.example.org", true),
            ("*.example.org", true),
            ("a.b.example.org", false),
            ("example.org", false),
        ] {
            assert_eq!(facts.covers(host), is_covered, "{host}");
        }
        assert_eq!(read(&chain).unwrap(), facts);
    }

    #[test]
    fn a_self_signed_certificate_needs_nothing_behind_it() {
        let authority = Authority::create();
        let made = authority.self_signed("own", "/CN=own.example.com", &[]);
        let facts = check(&made.chain, &made.key, Timestamp::now()).unwrap();
        assert!(facts.is_self_signed);
        assert_eq!(
            facts.cert_domains,
            ["own.example.com"],
            "the common name where there is no SAN"
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_field() {
        let authority = Authority::create();
        let middle = authority.intermediate("middle");
        let made = authority.sign("shop", &["www.example.com"], "middle");
        let whole = format!("{}{}{}", made.chain, middle.chain, authority.root());
        let nameless = authority.self_signed("nameless", "/O=Nobody", &[]);
        for (chain, key, words) in [
            (made.chain.as_str(), made.key.as_str(), "certificate_chain is incomplete: it ends"),
            (&format!("{}{}", made.chain, middle.chain), &made.key, "signed by CN=Test Root"),
            (&format!("{}{}", made.chain, authority.root()), &made.key, "out of order"),
            (&format!("{}{}", middle.chain, whole), &middle.key, "out of order"),
            (&whole, &middle.key, "private_key does not belong to certificate_chain"),
            (&whole, "", "private_key holds no private key"),
            (&whole, &made.chain, "private_key holds no private key"),
            (&whole, &authority.locked_key("shop"), "private_key is protected by a passphrase"),
            ("", &made.key, "certificate_chain holds no certificate"),
            (&made.key, &made.key, "certificate_chain holds no certificate"),
            (&whole[..300], &made.key, "certificate_chain"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &made.key, "X.509"),
            (&made.chain.repeat(11), &made.key, "holds 11 certificates"),
            (&nameless.chain, &nameless.key, "names no host"),
        ] {
            refused(chain, key, words);
        }
        let later = Timestamp(Timestamp::now().0 + 21 * 24 * 3600 * 1_000_000);
        let error = check(&whole, &made.key, later).unwrap_err().to_string();
        assert!(error.contains("certificate_chain has expired: it was valid until 20"), "{error}");
    }
}
