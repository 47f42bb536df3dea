//! A certificate of an app: Heroku calls what serves it an SNI endpoint.

use super::{AppId, DomainId, SniEndpointId};
use crate::clock::Timestamp;

#[derive(Debug, Clone)]
pub struct SniEndpoint {
    pub id: SniEndpointId,
    pub app: AppId,
    pub name: String,
    /// PEM, the host's own certificate first.
    pub chain: String,
    /// The domains that it is served for.
    pub domains: Vec<DomainId>,
    /// It comes and renews by itself.
    pub acm: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
