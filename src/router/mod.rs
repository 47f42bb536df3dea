//! The other process: requests reach dynos. It owns the public listeners, knows hosts and dynos
//! from the snapshot alone, and never sees the store, the engine or a key.
//!
//! A request's way: [`listen`] accepts and parses it, [`forward`] tells the story, [`choose`]
//! finds a dyno in the [`table`], [`pool`] and [`upstream`] speak to it, [`flow`] and
//! [`decoder`] stream the answer, [`record`] writes the log line and [`rescue`] turns what went wrong into a page.

pub mod backlog;
pub mod certificates;
pub mod choose;
pub mod client_io;
pub mod control;
pub mod decoder;
pub mod flow;
pub mod forward;
pub mod headers;
pub mod http2;
pub mod link_server;
pub mod listen;
pub mod pool;
pub mod process;
pub mod record;
mod rendezvous;
pub mod rescue;
pub mod response_head;
pub mod ring;
pub mod shared;
pub mod snapshot_file;
pub mod table;
pub mod target;
pub mod timers;
pub mod tls;
pub mod tunnel;
pub mod upstream;

#[cfg(test)]
mod tests;
