//! Senryu is a Heroku you own: `git push` builds an app with buildpacks and runs it as dynos
//! behind a built-in router.
//!
//! The modules read in the order that data flows: [`git`] receives a push, [`deploy`] turns the
//! source into a build, [`build`] runs the buildpacks and makes the slug, [`release`] joins slug
//! and config vars into a numbered release, [`dynos`] makes the formation true in the [`engine`],
//! [`routing`] tells the [`router`] process where requests go. [`actions`] are what can be asked
//! for; [`api`] is Heroku's Platform API over all of it, [`console`] the pages, [`cli`] the client.
//! `src/ARCHITECTURE.md` is the map.

pub mod cgroup;
pub mod clock;
pub mod config;
pub mod error;
pub mod frames;
pub mod limits;
pub mod link;
pub mod meminfo;
pub mod model;
pub mod origin;
pub mod secrets;
pub mod tasks;
pub mod wake;

pub mod engine;
pub mod logs;
pub mod metrics;
pub mod store;

pub mod apps;
pub mod build;
pub mod certs;
pub mod deploy;
pub mod dynos;
pub mod git;
pub mod release;
pub mod routing;
pub mod slugs;

pub mod router;

pub mod actions;
pub mod api;
pub mod cli;
pub mod console;
pub mod server;
