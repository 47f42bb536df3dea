//! The desired formation becomes running dynos.

pub mod plan;
