//! An app exists, and somebody may use it: what comes before the first push.

pub mod access;
pub mod attempts;
pub mod collaborators;
pub mod domains;
pub mod lifecycle;
pub mod sessions;
pub mod users;
