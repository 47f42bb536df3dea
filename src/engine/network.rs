//! An installation's bridge networks: one for all, and one for dynos whose connections are
//! limited. Names and subnets derive from the installation's id, so that a test installation lives
//! beside a real one.

use super::firewall::{Found, Guard};
use super::{LABEL_INSTALLATION, LABEL_KIND};
use crate::error::{Context, Error, Result};
use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use std::collections::HashMap;
use std::net::Ipv4Addr;

/// Sub-networks of 2,046 addresses that are tried in turn: a bridge holds at most 1,023 ports,
/// and a deploy runs old and new dynos side by side.
const SUBNETS: u32 = 32;

/// Of a subnet, the addresses that dynos may be given: not the network's own, nor the gateway's,
/// nor the one that reaches all.
pub const FIRST_ADDRESS: u32 = 2;
pub const ADDRESSES: u32 = 2_045;

/// Makes the network unless it is there, with its rules, and returns its name.
pub async fn ensure(docker: &Docker, installation: &str) -> Result<String> {
    let name = open(installation);
    make(docker, installation, &name, &bridge(installation)).await?;
    let guard = Guard::open(bridge(installation));
    if guard.look().await? != Found::Whole {
        guard.put().await?;
    }
    Ok(name)
}

/// Puts back what somebody removed of the network and its rules, and returns what that was.
pub async fn mend(docker: &Docker, installation: &str) -> Result<Vec<String>> {
    let name = open(installation);
    let mut missing = Vec::new();
    if !is_there(docker, &name).await? {
        missing.push(format!("the network {name}"));
    }
    let bridge = bridge(installation);
    if Guard::open(bridge.clone()).look().await? != Found::Whole {
        missing.push(format!("firewall rules of {bridge}"));
    }
    if !missing.is_empty() {
        ensure(docker, installation).await?;
    }
    Ok(missing)
}

/// The network of dynos that may connect to a list of destinations only, made unless it is there,
/// and its first address. Its rules are written by `egress` before a dyno starts in it.
pub async fn ensure_closed(docker: &Docker, installation: &str) -> Result<Ipv4Addr> {
    make(docker, installation, &closed(installation), &closed_bridge(installation)).await
}

pub async fn is_there(docker: &Docker, name: &str) -> Result<bool> {
    match docker.inspect_network(name, None).await {
        Ok(_) => Ok(true),
        Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => Ok(false),
        Err(error) => Err(Error::internal("Docker could not inspect a network", error)),
    }
}

fn open(installation: &str) -> String {
    format!("senryu-{installation}")
}

pub fn closed(installation: &str) -> String {
    format!("senryu-{installation}-closed")
}

/// The kernel's name of the bridge: 15 bytes at most.
pub fn bridge(installation: &str) -> String {
    format!("snr{installation}").chars().take(15).collect()
}

pub fn closed_bridge(installation: &str) -> String {
    format!("snc{installation}").chars().take(15).collect()
}

/// The first address of the network's subnet.
async fn make(docker: &Docker, installation: &str, name: &str, bridge: &str) -> Result<Ipv4Addr> {
    if !is_there(docker, name).await? {
        create(docker, installation, name, bridge).await?;
    }
    let found = docker.inspect_network(name, None).await.context("inspect a network")?;
    let config = found.ipam.and_then(|ipam| ipam.config).into_iter().flatten();
    let subnet = config.filter_map(|config| config.subnet).find_map(|subnet| {
        let (address, _) = subnet.split_once('/')?;
        address.parse().ok()
    });
    subnet.ok_or_else(|| Error::internal("Docker does not tell a network's subnet", name))
}

async fn create(docker: &Docker, installation: &str, name: &str, bridge: &str) -> Result<()> {
    let first = u32::from_str_radix(installation.get(..4).unwrap_or("0"), 16).unwrap_or(0);
    let mut last = None;
    for step in 0..SUBNETS {
        let slot = (first + step) % SUBNETS;
        let subnet = format!("10.213.{}.0/21", slot * 8);
        let request = request(installation, name, bridge, subnet);
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

fn request(installation: &str, name: &str, bridge: &str, subnet: String) -> NetworkCreateRequest {
    let subnet = IpamConfig { subnet: Some(subnet), ..IpamConfig::default() };
    NetworkCreateRequest {
        name: name.to_string(),
        driver: Some("bridge".to_string()),
        ipam: Some(Ipam { config: Some(vec![subnet]), ..Ipam::default() }),
        // Docker's settings may switch it on for all networks; our rules are for IPv4.
        enable_ipv6: Some(false),
        options: Some(HashMap::from([
            // Dynos of different apps share the bridge and must not reach each other.
            ("com.docker.network.bridge.enable_icc".to_string(), "false".to_string()),
            ("com.docker.network.bridge.name".to_string(), bridge.to_string()),
        ])),
        labels: Some(HashMap::from([
            (LABEL_INSTALLATION.to_string(), installation.to_string()),
            (LABEL_KIND.to_string(), "network".to_string()),
        ])),
        ..NetworkCreateRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_no_ipv6_whatever_dockers_settings_say() {
        let request = request("1", "senryu-1", "snr1", "10.213.0.0/21".to_string());
        let sent = serde_json::to_value(request).unwrap();
        assert_eq!(sent["EnableIPv6"], false, "{sent}");
    }
}
