//! People who use the platform, and the one who makes the request at hand.

use super::UserId;
use crate::clock::Timestamp;

#[derive(Debug, Clone)]
pub struct User {
    pub id: UserId,
    pub email: String,
    pub admin: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Who asks, as a token or password proved it.
#[derive(Debug, Clone)]
pub struct Caller {
    pub user: User,
    /// The authorization whose token was used; none for e-mail and password.
    pub authorization: Option<uuid::Uuid>,
}
