//! Limits of users, their tokens, collaborators and the audit.

use std::time::Duration;

/// When a token was last used is stored this often at most: each is a write.
pub const TOKEN_USED: Duration = Duration::from_secs(60);
/// Bytes of an e-mail address, by the protocol of mail.
pub const EMAIL_BYTES: usize = 254;
/// Collaborators of one app: as many as a page of the API shows in one answer.
pub const COLLABORATORS_PER_APP: usize = 1000;
/// Apps that a message names before it counts the rest.
pub const APPS_NAMED: usize = 5;
/// Entries of the audit that one request may ask for, and those that it gets without a number.
pub const AUDIT_ENTRIES: usize = 1000;
pub const AUDIT_ENTRIES_SHOWN: usize = 50;
