//! TLS on the router's other listener: picks the certificate by the name that the client asks
//! for, refuses the handshake where there is none for it, and resumes sessions by tickets that
//! only this process can read.

use super::certificates::{Certificates, Served};
use crate::limits;
use crate::link::Certificate;
use arc_swap::ArcSwap;
use rustls::crypto::ring;
use rustls::server::{Acceptor, ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ProtocolVersion, ServerConfig};
use std::fmt;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

/// Told to a client that asks for a name without a certificate, or for none: a fatal alert,
/// `unrecognized_name`.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
/// HTTP/2 as handshakes name it.
const HTTP2: &[u8] = b"h2";
/// The handshake of an authority that wants proof (RFC 8737).
const ACME_TLS: &[u8] = b"acme-tls/1";
/// To whoever speaks plain HTTP where TLS is spoken.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
    Connection: close\r\nContent-Length: 54\r\n\r\n\
    This is a port for HTTPS, but the request came as HTTP";

/// What all threads need for handshakes.
pub struct Tls {
    config: Arc<ServerConfig>,
    certificates: Arc<ArcSwap<Certificates>>,
    /// For authorities that ask for proof, and what they are shown.
    proof_config: Arc<ServerConfig>,
    proofs: Arc<ArcSwap<Certificates>>,
}

/// What a connection's handshake came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secure {
    /// The host name that the client asked for, in lower case.
    pub name: String,
    /// As in the log: `tls1.3`.
    pub version: &'static str,
    /// The client chose HTTP/2.
    pub is_http2: bool,
    /// The client named no protocol, not even HTTP.
    pub is_bare: bool,
    endpoint: String,
}

struct Resolver(Arc<ArcSwap<Certificates>>);

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificates = self.0.load();
        Some(certificates.find(&asked_name(&hello)?)?.key.clone())
    }
}

fn asked_name(hello: &ClientHello<'_>) -> Option<String> {
    hello.server_name().map(str::to_ascii_lowercase)
}

/// TLS-ALPN-01: the handshake is all that there is to it.
fn asks_for_proof(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut offered| offered.any(|protocol| protocol == ACME_TLS))
}

fn config(certificates: &Arc<ArcSwap<Certificates>>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth();
    Ok(config.with_cert_resolver(Arc::new(Resolver(certificates.clone()))))
}

impl Tls {
    pub fn new() -> Result<Self, rustls::Error> {
        let certificates: Arc<ArcSwap<Certificates>> = Arc::default();
        let proofs: Arc<ArcSwap<Certificates>> = Arc::default();
        let mut config = config(&certificates)?;
        config.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
        // The client keeps the session, sealed with a key that changes every few hours.
        config.ticketer = ring::Ticketer::new()?;
        let mut proof_config = self::config(&proofs)?;
        proof_config.alpn_protocols = vec![ACME_TLS.to_vec()];
        let (config, proof_config) = (Arc::new(config), Arc::new(proof_config));
        Ok(Self { config, certificates, proof_config, proofs })
    }

    /// Makes these all that authorities are shown.
    pub fn show(&self, proofs: &[Certificate]) {
        self.proofs.store(Arc::new(Certificates::build_proofs(proofs)));
    }

    pub fn set(&self, certificates: &[Certificate]) {
        self.certificates.store(Arc::new(Certificates::build(certificates)));
    }

    /// The handshake of a connection; the error is for nobody but the client, who was told.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, Secure)> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let name = asked_name(&start.client_hello());
        if asks_for_proof(&start.client_hello()) {
            let mut stream = start.into_stream(self.proof_config.clone()).await?;
            stream.shutdown().await?;
            return Err(io::Error::other("an authority was shown what there is for it"));
        }
        let found = name.as_ref().and_then(|name| self.find(name));
        let (Some(name), Some(served)) = (name, found) else {
            let mut stream = start.io;
            stream.write_all(&UNRECOGNIZED_NAME).await?;
            stream.shutdown().await?;
            return Err(io::Error::other("no certificate for the name that was asked for"));
        };
        let stream = start.into_stream(self.config.clone()).await?;
        let version = match stream.get_ref().1.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "tls1.3",
            _ => "tls1.2",
        };
        let protocol = stream.get_ref().1.alpn_protocol();
        let (is_http2, is_bare) = (protocol == Some(HTTP2), protocol.is_none());
        let endpoint = served.endpoint.clone();
        Ok((stream, Secure { name, version, is_http2, is_bare, endpoint }))
    }

    fn find(&self, name: &str) -> Option<Arc<Served>> {
        self.certificates.load().find(name).cloned()
    }

    /// Is there a certificate for this host?
    pub fn has(&self, host: &str) -> bool {
        self.certificates.load().find(host).is_some()
    }

    /// Was this connection's certificate meant for the host of a request on it, too?
    pub fn is_for(&self, secure: &Secure, host: &str) -> bool {
        secure.name == host
            || self.find(host).is_some_and(|served| served.endpoint == secure.endpoint)
    }
}

/// Says to a client that this port speaks TLS.
pub async fn refuse_plain(mut stream: TcpStream) {
    let answer = async {
        // What is left unread would take the answer with it when this closes.
        let mut dropped = [0; limits::LINGER_READ_BYTES];
        let _ = stream.read(&mut dropped).await?;
        stream.write_all(SPEAK_TLS).await?;
        stream.shutdown().await
    };
    // A client that does not take it has gone.
    let _ = tokio::time::timeout(limits::TLS_HANDSHAKE, answer).await;
}
