//! Dynos that may connect to a list of destinations only. They have a network of their own, whose
//! firewall rules are made anew, all at once, from what the engine lists: nothing is remembered,
//! so nothing can be stale. A dyno's address is ours to give, so that its rules are there before
//! it runs, and stays its own until its container is removed.

use super::firewall::{Found, Guard};
use super::{LABEL_EGRESS, LABEL_EGRESS_ADDRESS, LABEL_INSTALLATION, network};
use crate::error::{Context, Error, Result};
use crate::model::Egress;
use bollard::Docker;
use bollard::models::ContainerSummary;
use bollard::query_parameters::ListContainersOptions;
use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub struct Closed {
    docker: Docker,
    installation: String,
    /// Of all containers with a list, until they are removed.
    ids: Mutex<BTreeSet<String>>,
    /// The number of the address that was given last. Held while rules are written, too: of two
    /// lists the newer one is written last.
    turn: tokio::sync::Mutex<u32>,
}

/// The one that a new container is to have.
pub struct Address {
    pub network: String,
    pub address: Ipv4Addr,
}

impl Closed {
    /// Knows those that an earlier server made.
    pub async fn find(docker: &Docker, installation: &str) -> Result<Self> {
        let closed = Self {
            docker: docker.clone(),
            installation: installation.to_string(),
            ids: Mutex::default(),
            turn: tokio::sync::Mutex::new(rand::random_range(0..network::ADDRESSES)),
        };
        let found = closed.list().await?;
        if !found.is_empty() {
            closed.ids().extend(found.into_iter().filter_map(|container| container.id));
            closed.guard().await?;
        }
        Ok(closed)
    }

    fn ids(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn has(&self, container: &str) -> bool {
        self.ids().contains(container)
    }

    pub fn made(&self, container: &str) {
        self.ids().insert(container.to_string());
    }

    /// An address that no other container has had for long: after a server's death one may be in
    /// the making that is not listed yet.
    pub async fn address(&self) -> Result<Address> {
        let subnet = network::ensure_closed(&self.docker, &self.installation).await?;
        let mut turn = self.turn.lock().await;
        let used: BTreeSet<Ipv4Addr> = self.list().await?.iter().filter_map(address).collect();
        for _ in 0..network::ADDRESSES {
            *turn = (*turn + 1) % network::ADDRESSES;
            let address = Ipv4Addr::from(u32::from(subnet) + network::FIRST_ADDRESS + *turn);
            if !used.contains(&address) {
                return Ok(Address { network: network::closed(&self.installation), address });
            }
        }
        Err(Error::unavailable("No address is left for dynos whose egress is limited"))
    }

    /// Before one starts, and after one has gone: the rules fit the containers that there are.
    pub async fn guard(&self) -> Result<()> {
        network::ensure_closed(&self.docker, &self.installation).await?;
        let _turn = self.turn.lock().await;
        self.rules().await?.put().await
    }

    pub async fn removed(&self, container: &str) -> Result<()> {
        let was_closed = self.ids().remove(container);
        if was_closed { self.guard().await } else { Ok(()) }
    }

    /// Puts back what somebody removed, and returns what that was.
    pub async fn mend(&self) -> Result<Vec<String>> {
        let name = network::closed(&self.installation);
        let is_there = network::is_there(&self.docker, &name).await?;
        if !is_there && self.ids().is_empty() {
            // No app has asked for it yet.
            return Ok(Vec::new());
        }
        let mut missing = Vec::new();
        if !is_there {
            missing.push(format!("the network {name}"));
            network::ensure_closed(&self.docker, &self.installation).await?;
        }
        let _turn = self.turn.lock().await;
        let rules = self.rules().await?;
        match rules.look().await? {
            Found::Whole => {}
            Found::TooMany => rules.put().await?,
            Found::Missing => {
                rules.put().await?;
                let bridge = network::closed_bridge(&self.installation);
                missing.push(format!("firewall rules of {bridge}"));
            }
        }
        Ok(missing)
    }

    async fn rules(&self) -> Result<Guard> {
        let dynos = self.list().await?.iter().filter_map(dyno).collect();
        Ok(Guard::closed(network::closed_bridge(&self.installation), dynos))
    }

    /// Those that do not run as well: one that is started has its rules already.
    async fn list(&self) -> Result<Vec<ContainerSummary>> {
        let ours = format!("{LABEL_INSTALLATION}={}", self.installation);
        let labels = vec![ours, LABEL_EGRESS.to_string()];
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([("label".to_string(), labels)])),
            ..Default::default()
        };
        self.docker.list_containers(Some(options)).await.context("list closed dynos")
    }
}

fn address(container: &ContainerSummary) -> Option<Ipv4Addr> {
    container.labels.as_ref()?.get(LABEL_EGRESS_ADDRESS)?.parse().ok()
}

fn dyno(container: &ContainerSummary) -> Option<(Ipv4Addr, Egress)> {
    let list = container.labels.as_ref()?.get(LABEL_EGRESS)?;
    Some((address(container)?, Egress::from_stored(Some(list))))
}
