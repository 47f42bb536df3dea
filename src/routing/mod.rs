//! Domains and live dynos become the snapshot that the router follows.

pub mod link_client;
