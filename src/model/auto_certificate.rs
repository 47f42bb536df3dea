//! A certificate that comes by itself, and how far it is. Heroku calls this automated certificate
//! management, `acm` for short.

use super::{AppId, DomainId, SniEndpointId};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use std::str::FromStr;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoState {
    /// Nobody has looked at it yet.
    Waiting,
    /// Its name leads here.
    DnsVerified,
    /// The authority has been asked.
    InProgress,
    Issued,
    /// The last try failed, the next one comes.
    Failing,
    /// So many failed that the next comes in a day, or when somebody asks for it.
    Failed,
}

impl AutoState {
    /// Heroku's word; nothing while nobody has looked.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Waiting => None,
            Self::DnsVerified => Some("dns-verified"),
            Self::InProgress => Some("verified"),
            Self::Issued => Some("cert issued"),
            Self::Failing => Some("failing"),
            Self::Failed => Some("failed"),
        }
    }
}

impl FromStr for AutoState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let all = [Self::DnsVerified, Self::InProgress, Self::Issued, Self::Failing, Self::Failed];
        match text {
            "waiting" => Ok(Self::Waiting),
            _ => all
                .into_iter()
                .find(|state| state.word() == Some(text))
                .ok_or_else(|| Error::invalid(format!("{text} is no state of a certificate"))),
        }
    }
}

#[derive(Debug, Clone)]
pub struct AutoCertificate {
    pub id: SniEndpointId,
    pub hostname: String,
    /// Whose name it is; the platform's own if nobody's.
    pub app: Option<AppId>,
    /// The custom domain that it is for.
    pub domain: Option<DomainId>,
    pub state: AutoState,
    /// Why the last try failed.
    pub reason: Option<String>,
    /// Tries that failed, one after the other.
    pub attempts: u32,
    pub tried_at: Option<Timestamp>,
    /// PEM, once there is one.
    pub chain: Option<String>,
    pub renew_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
