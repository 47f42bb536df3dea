//! One entry of the audit.

use super::AppId;
use crate::clock::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// From 1, without a gap.
    pub seq: i64,
    pub at: Timestamp,
    pub actor_id: Option<String>,
    /// E-mail, `root`, `server`, or `nobody` where a sign-in failed.
    pub actor: String,
    /// `api`, `cli`, `git`, `console`, `root` or `server`.
    pub via: String,
    pub address: Option<String>,
    pub request_id: Option<String>,
    /// As Heroku's webhooks name events: `app:update`, `release:create`.
    pub action: String,
    pub app_id: Option<AppId>,
    /// The name that the app had then.
    pub app: Option<String>,
    /// A JSON object. It never holds a secret.
    pub details: String,
    /// SHA-256 over the hash before it and all of the above.
    pub hash: Vec<u8>,
}
