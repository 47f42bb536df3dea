//! What clones and fetches read: refs, and packs straight from `git upload-pack`. A client that
//! leaves, or stops reading, ends its git process.

use super::GitHost;
use super::client::Client;
use super::incoming::Incoming;
use super::receive::{feed, last_words};
use crate::error::{Context, Error, Result};
use crate::{limits, tasks};
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use tokio::io::AsyncReadExt;

impl GitHost {
    /// Runs a git service that only reads, and streams what it says after `head`.
    pub(super) async fn serve(
        self: &Arc<Self>,
        arguments: &[&str],
        git_dir: &Path,
        protocol: Option<&OsStr>,
        head: Bytes,
        input: Option<Incoming>,
    ) -> Result<Body> {
        let place = match input {
            Some(_) => Some(self.fetches.clone().acquire_owned().await.context("no fetches")?),
            // A list of refs is short work, and a push begins with it.
            None => None,
        };
        let mut git = self.git(false);
        git.args(arguments).arg(git_dir);
        if let Some(protocol) = protocol {
            git.env("GIT_PROTOCOL", protocol);
        }
        let mut child = git.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => Error::unavailable(
                "The server's machine can start no more processes: end some there, then try again",
            ),
            _ => Error::internal("git cannot be run", error),
        })?;
        let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(mut output), Some(errors)) = streams else {
            return Err(std::io::Error::other("no pipe")).context("git cannot be talked to");
        };
        let feeding = input.map(|body| tasks::spawn("fetch body", feed(Vec::new(), body, stdin)));
        let (mut client, body) = Client::new(None);
        tasks::spawn("fetch", async move {
            client.raw(head).await;
            let pump = async {
                let mut buffer = BytesMut::new();
                while !client.is_gone() {
                    buffer.reserve(limits::GIT_CHUNK_BYTES);
                    match output.read_buf(&mut buffer).await {
                        Ok(0) | Err(_) => break,
                        Ok(_) => client.raw(buffer.split()).await,
                    }
                }
                drop(output);
                client.is_gone()
            };
            let (gone, errors) = tokio::join!(pump, last_words(errors));
            if gone {
                let _ = child.start_kill();
            }
            let status = child.wait().await;
            if !gone && !errors.is_empty() {
                tracing::info!(?status, errors, "git upload-pack");
            }
            if let Some(feeding) = feeding {
                feeding.abort();
            }
            drop(place);
        });
        Ok(body)
    }
}
