//! HTTP over a Unix socket of this machine: the server's own, and the engine's.

use super::failure::{Failure, Result};
use crate::limits;
use serde_json::Value;
use std::path::Path;
use tokio::time::timeout;

/// Sends one request and reads a JSON answer: its status and body.
pub async fn send(socket: &Path, path: &str, body: Option<&Value>) -> Result<(u16, Value)> {
    let failed = |error: &reqwest::Error| {
        let mut cause: &dyn std::error::Error = error;
        while let Some(below) = cause.source() {
            cause = below;
        }
        Failure::refused(format!("Can't reach {}: {cause}", socket.display()))
    };
    let client = client(socket).map_err(|error| failed(&error))?;
    let url = format!("http://localhost{path}");
    let request = match body {
        Some(body) => client.post(url).json(body),
        None => client.get(url),
    };
    let work = async {
        let response = request.send().await?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    };
    match timeout(limits::CLIENT_READ_TIMEOUT, work).await {
        Ok(result) => result.map_err(|error| failed(&error)),
        Err(_) => Err(Failure::refused(format!("{} did not answer", socket.display()))),
    }
}

fn client(socket: &Path) -> reqwest::Result<reqwest::Client> {
    // TLS never happens on these sockets, but the builder wants to be told how it would.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(config).unix_socket(socket).build()
}
