//! An app's builds, and the output of one: so far, and on while it grows.

use super::at::{At, FormAt, Note};
use super::frame::{self, Frame, Place};
use super::oops::refused;
use super::tab::{Here, Tab};
use super::words::{self, Mark};
use super::{Console, Page};
use crate::apps::access::Action;
use crate::clock::Timestamp;
use crate::deploy::outputs::Stream;
use crate::error::{Context, Result};
use crate::model::{Build, BuildStatus};
use crate::{limits, tasks};
use askama::Template;
use axum::extract::Path;
use axum::response::IntoResponse;
use axum::response::sse::{Event, Sse};
use futures_util::FutureExt;
use std::convert::Infallible;
use std::io::{Read, Seek, SeekFrom};
use tokio::sync::mpsc::channel;
use tokio_stream::wrappers::ReceiverStream;

struct Row {
    id: String,
    /// Of the commit, or what the caller named.
    source: String,
    mark: Mark,
    /// Which turn is its, when it waits.
    place: Option<usize>,
    email: String,
    when: String,
    took: String,
}

impl Row {
    fn of(build: &Build) -> Self {
        let source = build.commit.as_deref().unwrap_or("no version");
        Self {
            id: build.id.to_string(),
            source: words::visible(source).chars().take(12).collect(),
            mark: words::of_build(build.status),
            place: None,
            email: build.user_email.clone(),
            when: words::ago(build.created_at, Timestamp::now()),
            took: build.total_millis.map(words::took).unwrap_or_default(),
        }
    }

    /// As it stands at this moment.
    fn now(build: &Build, console: &Console) -> Self {
        let row = Self::of(build);
        match console.platform.deploy.place_in_line(build.id) {
            None => row,
            place => Self { mark: Mark { word: "waiting", tone: "off" }, place, ..row },
        }
    }
}

#[derive(Template)]
#[template(path = "console/builds.html", config = "web/askama.toml")]
struct View {
    frame: Frame,
    app: String,
    tab: Here,
    rows: Vec<Row>,
    more: usize,
}

pub async fn list(at: At) -> Page {
    let builds = at.platform().builds_of(at.app()).await?;
    let row = |build| Row::now(build, &at.console);
    let rows: Vec<Row> = builds.iter().rev().take(limits::ROWS_PER_PAGE).map(row).collect();
    let more = builds.len() - rows.len();
    let frame = at.frame(format!("Builds of {}", at.name()), Note::Nothing);
    let view = View { frame, app: at.name(), tab: at.tab(Tab::Builds), rows, more };
    frame::render(view.frame.status(), &view)
}

#[derive(Template)]
#[template(path = "console/build.html", config = "web/askama.toml")]
struct OneView {
    frame: Frame,
    app: String,
    tab: Here,
    row: Row,
    is_running: bool,
    output: String,
    /// Only the end of a very long output is shown.
    is_cut: bool,
}

pub async fn show(at: At, Path((_, build)): Path<(String, String)>) -> Page {
    let build = at.platform().build(at.app(), &build).await?;
    let (output, is_cut) = so_far(&at.console, &build).await?;
    let view = OneView {
        frame: at.frame(format!("A build of {}", at.name()), Note::Nothing),
        app: at.name(),
        tab: at.tab(Tab::Builds),
        is_running: build.status == BuildStatus::Pending,
        row: Row::of(&build),
        output,
        is_cut,
    };
    frame::render(view.frame.status(), &view)
}

/// The end of what the build has said until now, and whether there is more before it.
async fn so_far(console: &Console, build: &Build) -> Result<(String, bool)> {
    let most = limits::OUTPUT_SHOWN_BYTES;
    let (bytes, is_cut) = match console.platform.deploy.outputs().get(build.id.0) {
        None => return Ok((String::new(), false)),
        Some(Stream::Running(mut reader)) => {
            let mut bytes = Vec::new();
            let mut is_cut = false;
            while let Some(Some(piece)) = reader.next().now_or_never() {
                bytes.extend_from_slice(&piece);
                if bytes.len() > 2 * most {
                    bytes.drain(..bytes.len() - most);
                    is_cut = true;
                }
            }
            (bytes, is_cut)
        }
        Some(Stream::Ended(path)) => {
            tasks::blocking("read a build's output", move || {
                let mut file = std::fs::File::open(path).context("open an output")?;
                let length = file.metadata().context("look at an output")?.len();
                let skipped = length.saturating_sub(most as u64);
                file.seek(SeekFrom::Start(skipped)).context("read an output")?;
                let mut bytes = Vec::new();
                file.take(most as u64).read_to_end(&mut bytes).context("read an output")?;
                Ok((bytes, skipped > 0))
            })
            .await?
        }
    };
    Ok((words::visible(&String::from_utf8_lossy(&bytes)), is_cut))
}

/// The whole output from its start, and on until the build ends.
pub async fn stream(at: At, Path((_, build)): Path<(String, String)>) -> Page {
    let build = at.platform().build(at.app(), &build).await?;
    let (events, receiver) =
        channel::<std::result::Result<Event, Infallible>>(limits::LOG_STREAM_PIECES);
    let stream = at.platform().deploy.outputs().get(build.id.0);
    tasks::spawn("build output", async move {
        let gone = at.signed.until_gone(&at.console, at.app().id, Action::See);
        tokio::pin!(gone);
        if let Some(Stream::Running(mut reader)) = stream {
            let mut text = words::Pieces::default();
            loop {
                let piece = tokio::select! {
                    piece = reader.next() => piece,
                    () = &mut gone => return,
                };
                let Some(piece) = piece else { break };
                let text = text.next(&piece);
                let event = Event::default().data(serde_json::Value::from(text).to_string());
                if events.send(Ok(event)).await.is_err() {
                    return;
                }
            }
        }
        let _ = events.send(Ok(Event::default().event("end").data("end"))).await;
    });
    Ok(Sse::new(ReceiverStream::new(receiver)).into_response())
}

pub async fn cancel(Path((_, build)): Path<(String, String)>, FormAt { at, .. }: FormAt) -> Page {
    // One that has ended meanwhile shows so on its page.
    let _ = refused(at.platform().cancel_build(at.app(), &build).await)?;
    at.back(&format!("/builds/{build}"))
}
