//! The part of an app's page that changes by itself, as server-sent events: each is the same
//! piece of HTML that the page came with.

use super::app::Live;
use super::at::At;
use super::signed::Signed;
use super::{Console, Page};
use crate::apps::access::{Action, Entry};
use crate::error::{Context, Result};
use crate::{limits, tasks};
use askama::Template;
use axum::response::IntoResponse;
use axum::response::sse::{Event, Sse};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;

type Events = Sender<std::result::Result<Event, Infallible>>;

pub async fn stream(at: At) -> Page {
    let At { console, signed, entry } = at;
    let (events, receiver) = channel(limits::LOG_STREAM_PIECES);
    tasks::spawn("live page", async move {
        if let Err(error) = send(console, signed, entry, &events).await {
            tracing::debug!(error = error.chain(), "a live page ended");
        }
    });
    Ok(Sse::new(ReceiverStream::new(receiver)).into_response())
}

/// Ends when the browser has gone, and when the session or the right to see the app has.
async fn send(
    console: Arc<Console>,
    signed: Signed,
    mut entry: Entry,
    events: &Events,
) -> Result<()> {
    let mut watch = console.platform.dynos.watch();
    let token = signed.token();
    let mut last = String::new();
    let mut seen = tokio::time::Instant::now();
    loop {
        if seen.elapsed() >= limits::LIVE_PING {
            if !console.sessions.still(signed.session.id).await? {
                return Ok(());
            }
            let id = entry.app.id.to_string();
            entry = signed.enter(&console, &id, Action::See).await?;
            seen = tokio::time::Instant::now();
        }
        watch.mark_unchanged();
        let live = Live::of(&console, &entry, &token).await?;
        let html = live.render().context("render an app's state")?;
        let event = match html == last {
            true => Event::default().comment("still here"),
            false => Event::default().data(&html),
        };
        last = html;
        if events.send(Ok(event)).await.is_err() {
            return Ok(());
        }
        tokio::time::sleep(limits::LIVE_PERIOD).await;
        tokio::select! {
            changed = watch.changed() => if changed.is_err() { return Ok(()) },
            () = tokio::time::sleep(limits::LIVE_PING) => {}
            () = events.closed() => return Ok(()),
        }
    }
}
