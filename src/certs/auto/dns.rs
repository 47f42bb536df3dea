//! Where names lead, as far as this machine can tell, and what is wrong with that in words.

use crate::limits;
use async_trait::async_trait;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Who knows addresses of names.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// None if there are none or nobody answers.
    async fn addresses(&self, name: &str) -> BTreeSet<IpAddr>;
}

/// What this machine's resolver says.
pub struct System;

#[async_trait]
impl Lookup for System {
    async fn addresses(&self, name: &str) -> BTreeSet<IpAddr> {
        let asked = tokio::net::lookup_host((name, 0));
        match tokio::time::timeout(limits::DNS_LOOKUP, asked).await {
            Ok(Ok(found)) => found.map(|addr| addr.ip().to_canonical()).collect(),
            _ => BTreeSet::new(),
        }
    }
}

/// Whether a name leads where `target` does.
#[derive(Debug, PartialEq, Eq)]
pub enum Leads {
    Here,
    /// Not so, in words.
    Elsewhere(String),
    /// Nobody here knows where `target` is.
    Unknown,
}

pub async fn leads(lookup: &dyn Lookup, name: &str, target: &str) -> Leads {
    let (found, wanted) = tokio::join!(lookup.addresses(name), lookup.addresses(target));
    if wanted.is_empty() {
        return Leads::Unknown;
    }
    let list =
        |all: &BTreeSet<IpAddr>| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if found.is_empty() {
        let right = list(&wanted);
        return Leads::Elsewhere(format!(
            "{name} has no address in DNS: point it at {target} ({right})"
        ));
    }
    match found.is_disjoint(&wanted) {
        true => Leads::Elsewhere(format!(
            "{name} leads to {}: it should lead to {target} ({})",
            list(&found),
            list(&wanted)
        )),
        false => Leads::Here,
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Addresses by name.
    #[derive(Default)]
    pub struct Zone(pub BTreeMap<&'static str, &'static str>);

    #[async_trait]
    impl Lookup for Zone {
        async fn addresses(&self, name: &str) -> BTreeSet<IpAddr> {
            self.0.get(name).into_iter().map(|addr| addr.parse().unwrap()).collect()
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_elsewhere_is_told_where_and_where_to() {
        let zone = Zone(
            [
                ("shop.paas.example.org", "198.51.100.1"),
                ("www.example.com", "198.51.100.1"),
                ("old.example.com", "203.0.113.9"),
            ]
            .into(),
        );
        let target = "shop.paas.example.org";
        assert_eq!(leads(&zone, "www.example.com", target).await, Leads::Here);
        assert_eq!(leads(&zone, "www.example.com", "shop.localhost").await, Leads::Unknown);
        for (name, words) in [
            (
                "old.example.com",
                "old.example.com leads to 203.0.113.9: it should lead to shop.paas.example.org \
                 (198.51.100.1)",
            ),
            (
                "new.example.com",
                "new.example.com has no address in DNS: point it at shop.paas.example.org \
                 (198.51.100.1)",
            ),
        ] {
            assert_eq!(leads(&zone, name, target).await, Leads::Elsewhere(words.to_string()));
        }
    }
}
