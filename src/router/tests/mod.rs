//! The router as clients and dynos meet it: real sockets on port 0, a router of its own for each
//! test, dynos that are a few lines each.

mod bodies;
mod codes;
mod drain;
mod http2;
mod requests;
mod support;
mod tls;
