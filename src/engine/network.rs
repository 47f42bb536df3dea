//! The one bridge network of an installation, and the host's firewall rules for it. Name, subnet
//! and chain derive from the installation's id, so that a test installation lives beside a real
//! one.

use super::{LABEL_INSTALLATION, LABEL_KIND};
use crate::error::{Error, Result};
use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use std::collections::HashMap;
use tokio::process::Command;

/// Sub-networks of 2,046 addresses that are tried in turn: a bridge holds at most 1,023 ports,
/// and a deploy runs old and new dynos side by side.
const SUBNETS: u32 = 32;

/// Where packets of dynos and builds meet our chain.
const HOOKS: [&str; 2] = ["INPUT", "FORWARD"];

const RULES: [&[&str]; 4] = [
    &["-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "RETURN"],
    &["-d", "169.254.0.0/16", "-j", "DROP"],
    &["-m", "addrtype", "--dst-type", "LOCAL", "-j", "DROP"],
    &["-j", "RETURN"],
];

/// Makes the network unless it is there, and returns its name.
pub async fn ensure(docker: &Docker, installation: &str) -> Result<String> {
    let name = format!("senryu-{installation}");
    match docker.inspect_network(&name, None).await {
        Ok(_) => {}
        Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => {
            create(docker, installation, &name).await?;
        }
        Err(error) => return Err(Error::internal("Docker could not inspect the network", error)),
    }
    firewall(&bridge(installation)).await?;
    Ok(name)
}

/// Puts back what somebody removed of the network and its rules, and returns what that was.
pub async fn mend(docker: &Docker, installation: &str) -> Result<Vec<String>> {
    let name = format!("senryu-{installation}");
    let mut missing = Vec::new();
    match docker.inspect_network(&name, None).await {
        Ok(_) => {}
        Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => {
            missing.push(format!("the network {name}"));
        }
        Err(error) => return Err(Error::internal("Docker could not inspect the network", error)),
    }
    let bridge = bridge(installation);
    if !is_guarded(&bridge).await {
        missing.push(format!("firewall rules of {bridge}"));
    }
    if !missing.is_empty() {
        ensure(docker, installation).await?;
    }
    Ok(missing)
}

/// Whether the chain is whole and in its place.
async fn is_guarded(bridge: &str) -> bool {
    let chain = bridge.to_uppercase();
    for hook in HOOKS {
        if iptables(&["-C", hook, "-i", bridge, "-j", &chain]).await.is_err() {
            return false;
        }
    }
    for rule in RULES {
        if iptables(&[&["-C", chain.as_str()], rule].concat()).await.is_err() {
            return false;
        }
    }
    true
}

/// The kernel's name of the bridge: 15 bytes at most.
pub fn bridge(installation: &str) -> String {
    format!("snr{installation}").chars().take(15).collect()
}

async fn create(docker: &Docker, installation: &str, name: &str) -> Result<()> {
    let first = u32::from_str_radix(installation.get(..4).unwrap_or("0"), 16).unwrap_or(0);
    let mut last = None;
    for step in 0..SUBNETS {
        let slot = (first + step) % SUBNETS;
        let request = NetworkCreateRequest {
            name: name.to_string(),
            driver: Some("bridge".to_string()),
            ipam: Some(Ipam {
                config: Some(vec![IpamConfig {
                    subnet: Some(format!("10.213.{}.0/21", slot * 8)),
                    ..IpamConfig::default()
                }]),
                ..Ipam::default()
            }),
            options: Some(HashMap::from([
                // Dynos of different apps share the bridge and must not reach each other.
                ("com.docker.network.bridge.enable_icc".to_string(), "false".to_string()),
                ("com.docker.network.bridge.name".to_string(), bridge(installation)),
            ])),
            labels: Some(HashMap::from([
                (LABEL_INSTALLATION.to_string(), installation.to_string()),
                (LABEL_KIND.to_string(), "network".to_string()),
            ])),
            ..NetworkCreateRequest::default()
        };
        match docker.create_network(request).await {
            Ok(_) => return Ok(()),
            // The subnet overlaps with another network: try the next one.
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(Error::internal("Docker could not make the dynos' network", error)),
        None => Ok(()),
    }
}

/// What dynos and builds may not reach: the host itself, and the link-local addresses where
/// clouds keep their credentials. Replies to the router's connections pass.
async fn firewall(bridge: &str) -> Result<()> {
    let chain = bridge.to_uppercase();
    iptables(&["-N", &chain]).await.ok();
    iptables(&["-F", &chain]).await?;
    for rule in RULES {
        iptables(&[&["-A", chain.as_str()], rule].concat()).await?;
    }
    for hook in HOOKS {
        let jump = ["-i", bridge, "-j", chain.as_str()];
        if iptables(&[&["-C", hook], jump.as_slice()].concat()).await.is_err() {
            iptables(&[&["-I", hook, "1"], jump.as_slice()].concat()).await?;
        }
    }
    Ok(())
}

async fn iptables(arguments: &[&str]) -> Result<()> {
    let output = Command::new("iptables")
        .arg("-w")
        .args(arguments)
        .output()
        .await
        .map_err(|error| Error::internal("iptables could not be run", error))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).trim().to_string();
    Err(Error::internal(format!("iptables {}", arguments.join(" ")), text))
}
