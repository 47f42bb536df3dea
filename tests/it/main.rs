//! Tests of the built program, which they see only from outside: real git, real Docker, real
//! sockets. One file for each journey of a user.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failing step is a failing test")]

mod access;
mod acme;
mod api;
mod buildpacks;
mod builds;
mod certs;
mod config;
mod console;
mod console_live;
mod console_people;
mod container;
mod crash;
mod destroy;
mod domains;
mod egress;
mod fixtures;
mod host;
mod isolation;
mod languages;
mod logs;
mod misbehave;
mod push;
mod release_phase;
mod releases;
mod router;
mod run;
mod scale;
mod second_factor;
mod settings;
mod sizes;
mod support;
mod tidy;
mod trees;
