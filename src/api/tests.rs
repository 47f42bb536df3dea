//! The API as a whole: who may call what.

mod rules;
mod users;
