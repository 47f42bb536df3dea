//! The certificates that the server gave, by host name. They are in memory only, keys included,
//! and all of them are replaced at once.

use crate::link::Certificate;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Default)]
pub struct Certificates {
    by_name: HashMap<String, Arc<Served>>,
}

/// A certificate ready for handshakes.
pub struct Served {
    /// What tells it from others; it stays when the certificate is renewed.
    pub endpoint: String,
    pub key: Arc<CertifiedKey>,
}

impl Certificates {
    /// One that can't be read is left out: the others go on.
    pub fn build(certificates: &[Certificate]) -> Self {
        Self::build_with(certificates, certified)
    }

    /// Of proofs for authorities, which are none that anybody else takes.
    pub fn build_proofs(proofs: &[Certificate]) -> Self {
        Self::build_with(proofs, proof)
    }

    fn build_with(
        certificates: &[Certificate],
        certified: impl Fn(&Certificate) -> Result<CertifiedKey, String>,
    ) -> Self {
        let mut by_name = HashMap::new();
        for certificate in certificates {
            let endpoint = certificate.endpoint.clone();
            match certified(certificate) {
                Ok(key) => {
                    let served = Arc::new(Served { endpoint, key: Arc::new(key) });
                    let names = certificate.names.iter().map(|name| name.to_ascii_lowercase());
                    by_name.extend(names.map(|name| (name, served.clone())));
                }
                Err(error) => tracing::error!(endpoint, %error, "can't use a certificate"),
            }
        }
        Self { by_name }
    }

    /// The certificate for a host name: that of the name itself, else of the nearest wildcard.
    pub fn find(&self, name: &str) -> Option<&Arc<Served>> {
        if let Some(exact) = self.by_name.get(name) {
            return Some(exact);
        }
        let mut parents = name.match_indices('.').map(|(at, _)| &name[at..]);
        parents.find_map(|parent| self.by_name.get(&format!("*{parent}")))
    }
}

fn certified(certificate: &Certificate) -> Result<CertifiedKey, String> {
    let (chain, key) = read(certificate)?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| error.to_string())
}

/// Without a look inside: the critical extension of a proof is one that rustls refuses.
fn proof(certificate: &Certificate) -> Result<CertifiedKey, String> {
    let (chain, key) = read(certificate)?;
    let key = ring::default_provider().key_provider.load_private_key(key);
    key.map(|key| CertifiedKey::new(chain, key)).map_err(|error| error.to_string())
}

type Read = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn read(certificate: &Certificate) -> Result<Read, String> {
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(certificate.chain.as_bytes()).collect();
    let chain = chain.map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key.0.as_bytes());
    Ok((chain, key.map_err(|error| error.to_string())?))
}
