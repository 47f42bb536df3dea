//! The API as a whole: who may call what, and what is left of it.

mod audit;
mod builds;
mod changes;
mod rules;
pub mod scene;
mod users;
