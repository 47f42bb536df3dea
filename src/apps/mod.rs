//! An app exists, and somebody may use it: what comes before the first push.

pub mod access;
pub mod attempts;
pub mod collaborators;
pub mod domains;
mod failures;
pub mod lifecycle;
mod passwords;
pub mod second_factor;
pub mod sessions;
pub mod sign_in;
mod tokens;
mod totp;
pub mod users;

#[cfg(test)]
mod testing;
