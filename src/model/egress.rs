//! Where an app's dynos may connect to outside: anywhere, nowhere, or a list.

use crate::error::{Error, Result};
use crate::limits;
use std::fmt;
use std::net::Ipv4Addr;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Egress {
    #[default]
    Anywhere,
    /// An empty list is nowhere.
    Only(Vec<Destination>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// Port 53 anywhere: without it names cannot be looked up.
    Dns,
    /// A network, or a single address, and all of its ports or one.
    Network { address: Ipv4Addr, prefix: u8, port: Option<u16> },
}

impl Destination {
    /// `dns`, `10.1.2.3`, `10.1.0.0/16`, either with `:PORT`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            let shown: String = text.chars().take(64).collect();
            Error::invalid(format!(
                "{shown:?} is no destination: use an IPv4 address or a network such as \
                 10.1.0.0/16, either with :PORT, or dns"
            ))
        };
        if text == "dns" {
            return Ok(Self::Dns);
        }
        let (network, port) = match text.split_once(':') {
            Some((network, port)) => (network, Some(port.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let (address, prefix) = match network.split_once('/') {
            Some((address, prefix)) => (address, prefix.parse().map_err(|_| wrong())?),
            None => (network, 32),
        };
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        if prefix > 32 || port == Some(0) {
            return Err(wrong());
        }
        Ok(Self::Network { address, prefix, port })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns => f.write_str("dns"),
            Self::Network { address, prefix, port } => {
                write!(f, "{address}")?;
                if *prefix < 32 {
                    write!(f, "/{prefix}")?;
                }
                port.map_or(Ok(()), |port| write!(f, ":{port}"))
            }
        }
    }
}

impl Egress {
    pub fn only<'a>(destinations: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let list = destinations.into_iter().map(Destination::parse).collect::<Result<Vec<_>>>()?;
        if list.len() > limits::EGRESS_DESTINATIONS {
            return Err(Error::invalid(format!(
                "allow has {} destinations; there may be {}",
                list.len(),
                limits::EGRESS_DESTINATIONS
            )));
        }
        Ok(Self::Only(list))
    }

    /// As it is stored and put on containers: nothing for anywhere, else the list with spaces.
    pub fn stored(&self) -> Option<String> {
        match self {
            Self::Anywhere => None,
            Self::Only(list) => {
                Some(list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
            }
        }
    }

    /// A list that cannot be read opens nothing.
    pub fn from_stored(text: Option<&str>) -> Self {
        let Some(text) = text else { return Self::Anywhere };
        Self::only(text.split_ascii_whitespace()).unwrap_or(Self::Only(Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read_back_as_they_were_written() {
        for text in ["dns", "10.1.2.3", "10.1.0.0/16", "10.1.2.3:5432", "0.0.0.0/0:443"] {
            assert_eq!(Destination::parse(text).unwrap().to_string(), text);
        }
        for wrong in ["", "host.example", "10.1.2", "1.2.3.4/33", "1.2.3.4:0", "1.2.3.4:x", "::1"] {
            let error = Destination::parse(wrong).unwrap_err().to_string();
            assert!(error.contains("is no destination"), "{error}");
        }
        for stored in [None, Some(""), Some("dns 10.1.0.0/16:5432")] {
            let egress = Egress::from_stored(stored);
            assert_eq!(egress.stored().as_deref(), stored);
        }
        assert_eq!(Egress::from_stored(Some("anywhere")), Egress::Only(Vec::new()));
    }
}
