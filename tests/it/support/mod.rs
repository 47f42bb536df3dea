//! The harness: a platform of its own for each group of tests, driven as its users drive it, by
//! `git`, by the command line and over HTTP. Nothing here knows the program's code.

pub mod app;
pub mod axe;
pub mod browser;
pub mod command;
pub mod console;
pub mod docker;
pub mod http;
#[path = "../../../src/certs/testing.rs"]
pub mod openssl;
pub mod outside;
#[path = "../../../src/certs/auto/pebble.rs"]
pub mod pebble;
pub mod platform;
pub mod process;
pub mod registry;
pub mod terminal;
pub mod times;
pub mod wait;

pub use app::App;
pub use command::{Output, run};
pub use http::{Connection, Reply};
pub use outside::Outside;
pub use platform::{Platform, peak_memory};
pub use wait::{eventually, until};
