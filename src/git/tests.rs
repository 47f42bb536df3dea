//! The git host as git itself sees it.
