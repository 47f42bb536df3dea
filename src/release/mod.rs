//! Slug and config vars become a numbered release. A release is never changed once made, but for
//! its status; making one is a single transaction with everything that it implies.

mod build_notes;
mod config_vars;
mod create;

pub use config_vars::describe;
pub use create::{NewRelease, Releases, took_over};
