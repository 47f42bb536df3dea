//! The part of an app's page that changes by itself: its state, its processes and its dynos; and
//! the same piece of HTML again as a server-sent event, whenever it has changed.

use super::at::At;
use super::signed::Signed;
use super::words::{self, Mark};
use super::{Console, Page};
use crate::apps::access::{Action, Entry};
use crate::clock::Timestamp;
use crate::dynos::{Dyno, Progress};
use crate::error::{Context, Error, Result};
use crate::model::{DynoState, Formation};
use crate::{limits, store, tasks};
use askama::Template;
use axum::response::IntoResponse;
use axum::response::sse::{Event, Sse};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;

/// One process type, with the form that scales it.
pub struct Process {
    pub name: String,
    pub command: String,
    pub quantity: u32,
    pub size: String,
    pub up: usize,
    pub share: String,
}

struct DynoRow {
    name: String,
    mark: Mark,
    size: String,
    version: i64,
    since: String,
    command: String,
    is_one_off: bool,
}

/// What changes by itself, and is sent again whenever it has.
#[derive(Template)]
#[template(path = "console/live.html", config = "web/askama.toml")]
pub struct Live {
    app: String,
    token: String,
    may_restart: bool,
    pub mark: Mark,
    maintenance: bool,
    /// Why it does not come up.
    failing: Option<String>,
    pub processes: Vec<Process>,
    dynos: Vec<DynoRow>,
}

impl Live {
    pub async fn of(console: &Console, entry: &Entry, token: &str) -> Result<Self> {
        let id = entry.app.id;
        let (wanted, app, slug) = console
            .platform
            .store
            .read(move |db| {
                let release = store::releases::current_release(db, id)?;
                let slug = release.and_then(|release| release.slug);
                let slug = slug.map(|slug| store::slugs::by_id(db, slug)).transpose()?.flatten();
                Ok((store::formations::of_app(db, id)?, store::apps::by_id(db, id)?, slug))
            })
            .await?;
        let app = app.ok_or_else(|| Error::not_found("app"))?;
        let published = console.platform.dynos.published();
        let seen = published.apps.get(&id);
        let dynos = console.platform.dynos.of_app(id);
        let command = |row: &Formation| {
            let types = slug.as_ref().map(|slug| &slug.process_types);
            types.and_then(|types| types.command(&row.process)).unwrap_or_default().to_string()
        };
        let failing = seen.and_then(|seen| match &seen.progress {
            Progress::Failing(why) => Some(why.clone()),
            _ => None,
        });
        let outage = published.outage().map(|outage| format!("{outage}: this was last known"));
        let failing = outage.or(failing);
        let rows = wanted.iter().filter(|row| !row.process.is_release());
        Ok(Self {
            app: app.name.to_string(),
            token: token.to_string(),
            may_restart: entry.may(Action::Restart),
            mark: words::of_app(app.maintenance, seen, &wanted),
            maintenance: app.maintenance,
            failing,
            processes: rows.map(|row| process(row, command(row), &dynos)).collect(),
            dynos: dynos.iter().map(dyno_row).collect(),
        })
    }

    /// What the rest of the page is made from: where this differs, another page is due.
    fn shape(&self) -> String {
        let rows = self.processes.iter();
        let rows =
            rows.map(|row| format!("{}@{}:{} {}", row.name, row.quantity, row.size, row.command));
        let rows: Vec<String> = rows.collect();
        format!("{}\n{}", self.maintenance, rows.join("\n"))
    }
}

fn process(row: &Formation, command: String, dynos: &[Dyno]) -> Process {
    let up = dynos
        .iter()
        .filter(|dyno| dyno.name.process == row.process && dyno.state == DynoState::Up)
        .filter(|dyno| dyno.size == row.size)
        .count();
    Process {
        name: row.process.to_string(),
        command,
        quantity: row.quantity,
        size: row.size.clone(),
        up,
        share: words::share(up, row.quantity),
    }
}

fn dyno_row(dyno: &Dyno) -> DynoRow {
    DynoRow {
        name: dyno.name.to_string(),
        mark: words::of_dyno(dyno.state),
        size: dyno.size.clone(),
        version: dyno.version,
        since: words::ago(dyno.since, Timestamp::now()),
        command: dyno.command.clone(),
        is_one_off: limits::ONE_OFF_NUMBERS.contains(&dyno.name.number),
    }
}

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
