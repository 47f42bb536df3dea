//! An app's log: its newest lines that fit the filters, and what comes after them.

use super::Page;
use super::at::{At, Note};
use super::frame::{self, Frame, Place};
use super::tab::{Here, Tab};
use super::words;
use crate::apps::access::Action;
use crate::logs::{Filter, LogLine, Source, Tail};
use crate::{limits, tasks};
use askama::Template;
use axum::extract::Query;
use axum::response::IntoResponse;
use axum::response::sse::{Event, Sse};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use std::convert::Infallible;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;

/// As the form sends it: what is empty filters nothing.
#[derive(Deserialize, Default)]
pub struct Asked {
    #[serde(default)]
    source: String,
    #[serde(default)]
    dyno: String,
    #[serde(default)]
    process: String,
}

impl Asked {
    fn filter(&self) -> Filter {
        let set = |text: &str| Some(text.trim().to_string()).filter(|text| !text.is_empty());
        Filter {
            source: Source::parse(&self.source),
            dyno: set(&self.dyno),
            process_type: set(&self.process),
        }
    }

    fn query(&self) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let (source, dyno) = (encoded(&self.source), encoded(&self.dyno));
        format!("source={source}&dyno={dyno}&process={}", encoded(&self.process))
    }
}

#[derive(Template)]
#[template(path = "console/logs.html", config = "web/askama.toml")]
struct View {
    frame: Frame,
    app: String,
    tab: Here,
    asked: Asked,
    query: String,
    lines: Vec<String>,
    processes: Vec<String>,
    most: usize,
}

pub async fn show(at: At, Query(asked): Query<Asked>) -> Page {
    let (logs, id) = (&at.platform().logs, at.app().id);
    let lines = logs.last(id, &asked.filter(), limits::LOG_LINES_SHOWN).await?;
    let rows = at.platform().store.read(move |db| crate::store::formations::of_app(db, id));
    let processes = rows.await?.iter().map(|row| row.process.to_string()).collect();
    let view = View {
        frame: at.frame(format!("Logs of {}", at.name()), Note::Nothing),
        app: at.name(),
        tab: at.tab(Tab::Logs),
        query: asked.query(),
        asked,
        lines: lines.iter().map(text).collect(),
        processes,
        most: limits::LOG_LINES_SHOWN,
    };
    frame::render(view.frame.status(), &view)
}

fn text(line: &LogLine) -> String {
    words::visible(&line.to_string())
}

type Events = Sender<std::result::Result<Event, Infallible>>;

/// The same lines again and then each new one, many to an event when they come fast.
pub async fn stream(at: At, Query(asked): Query<Asked>) -> Page {
    let At { console, signed, entry } = at;
    let (history, tail) = console
        .platform
        .logs
        .last_and_tail(entry.app.id, asked.filter(), limits::LOG_LINES_SHOWN)
        .await?;
    let (events, receiver) = channel(limits::LOG_STREAM_PIECES);
    tasks::spawn("live log", async move {
        // Whoever may not see it any more reads no further, however fast it is written.
        tokio::select! {
            () = follow(history, tail, &events) => {}
            () = signed.until_gone(&console, entry.app.id, Action::ReadLogs) => {}
        }
    });
    Ok(Sse::new(ReceiverStream::new(receiver)).into_response())
}

async fn follow(history: Vec<LogLine>, mut tail: Tail, events: &Events) {
    let mut event = Event::default().event("begin").data(lines(&history));
    while events.send(Ok(event)).await.is_ok() {
        event = tokio::select! {
            line = tail.next() => {
                let Some(line) = line else { return };
                let mut batch = vec![line];
                // What comes within a moment goes together: the page is drawn as often.
                tokio::time::sleep(limits::LOG_GATHER).await;
                while batch.len() < limits::LOG_LINES_SHOWN {
                    let Some(line) = tail.ready() else { break };
                    batch.push(line);
                }
                Event::default().data(lines(&batch))
            }
            () = tokio::time::sleep(limits::LIVE_PING) => Event::default().comment("still here"),
            () = events.closed() => return,
        };
    }
}

/// A JSON array: a line's own text can hold no end of an event.
fn lines(lines: &[LogLine]) -> String {
    serde_json::Value::from(lines.iter().map(text).collect::<Vec<_>>()).to_string()
}
