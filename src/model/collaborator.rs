//! Somebody who may use an app without owning it.

use super::{AppId, CollaboratorId, Permissions, UserId};
use crate::clock::Timestamp;

#[derive(Debug, Clone)]
pub struct Collaborator {
    pub id: CollaboratorId,
    pub app: AppId,
    pub user: UserId,
    pub email: String,
    pub permissions: Permissions,
    /// The app's owner, who stands among the collaborators without a row.
    pub is_owner: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
