//! Log sessions: asked for by the API, fetched from an address that works once without a token.

use super::auth::State;
use super::body::Body;
use super::error::{Result, reply};
use super::guard::OnApp;
use crate::apps::access::Action;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::limits;
use crate::logs::session::Session;
use crate::logs::{Filter, LogLine, Source};
use axum::body::Body as Reply;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, extract};
use bytes::Bytes;
use serde_json::json;
use std::convert::Infallible;
use std::fmt::Write;

pub async fn create(
    extract::State(api): State,
    OnApp { app, caller, .. }: OnApp,
    body: Body,
) -> Result {
    body.only(&["dyno", "dyno_name", "type", "lines", "source", "tail"])?;
    let source = match body.text("source")? {
        None => None,
        Some(text) => Some(
            Source::parse(text)
                .ok_or_else(|| Error::invalid("source must be \"app\" or \"heroku\""))?,
        ),
    };
    let lines = body.integer("lines")?.unwrap_or(limits::LOG_LINES_DEFAULT);
    let lines = usize::try_from(lines)
        .map_err(|_| Error::invalid("lines must be a whole number that is not negative"))?;
    let own = |text: Option<&str>| text.map(str::to_string);
    let filter = Filter {
        source,
        dyno: own(body.text("dyno_name")?.or(body.text("dyno")?)),
        process_type: own(body.text("type")?),
    };
    let tail = body.flag("tail")?.unwrap_or(false);
    let user = caller.user.id;
    let token = api.log_sessions.create(Session { app: app.id, user, filter, lines, tail });
    let now = Timestamp::now().api();
    let value = json!({
        "created_at": now,
        "id": uuid::Uuid::new_v4(),
        "logplex_url": format!("{}/streams/logs/{token}", api.settings.control_url()),
        "updated_at": now,
    });
    Ok((StatusCode::CREATED, Json(value)).into_response())
}

/// Server-sent events for those who ask for them, plain lines for the rest.
pub async fn stream(
    extract::State(api): State,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result {
    let Some(session) = api.log_sessions.take(&token) else {
        let text = "This log session has expired. Ask for a new one.";
        return Ok(reply(StatusCode::NOT_FOUND, "not_found", text, None));
    };
    let events = headers.get(header::ACCEPT).is_some_and(|accept| {
        accept.as_bytes().windows(17).any(|part| part == b"text/event-stream")
    });
    let kind = if events { "text/event-stream" } else { "text/plain; charset=utf-8" };
    if !session.tail {
        let lines = api.logs.last(session.app, &session.filter, session.lines).await?;
        return Ok(([(header::CONTENT_TYPE, kind)], written(&lines, events)).into_response());
    }
    let (history, mut tail) =
        api.logs.last_and_tail(session.app, session.filter, session.lines).await?;
    let access = api.access.clone();
    let (sender, receiver) = tokio::sync::mpsc::channel::<std::result::Result<Bytes, Infallible>>(
        limits::LOG_STREAM_PIECES,
    );
    crate::tasks::spawn("log stream", async move {
        let revoked = access.until_revoked(session.user, session.app, Action::ReadLogs);
        tokio::pin!(revoked);
        let mut next = written(&history, events);
        loop {
            if !next.is_empty() && sender.send(Ok(Bytes::from(next))).await.is_err() {
                return;
            }
            next = tokio::select! {
                line = tail.next() => {
                    let Some(line) = line else { return };
                    let mut lines = vec![line];
                    while let Some(line) = tail.ready() {
                        lines.push(line);
                        if lines.len() >= limits::LOG_STREAM_BATCH { break; }
                    }
                    written(&lines, events)
                }
                // Keeps idle time-outs on the way from ending the stream, and finds out that the
                // reader has gone.
                () = tokio::time::sleep(limits::LOG_STREAM_PING) => {
                    if events { ": ping\n\n".to_string() } else { "\0".to_string() }
                }
                () = sender.closed() => return,
                () = &mut revoked => return,
            };
        }
    });
    let body = Reply::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver));
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")];
    Ok::<Response, _>((headers, body).into_response())
}

fn written(lines: &[LogLine], events: bool) -> String {
    let mut text = String::new();
    for line in lines {
        let _ = if events {
            // One event for each line; a bare CR would end a field.
            write!(text, "data: {}\n\n", line.to_string().replace('\r', ""))
        } else {
            writeln!(text, "{line}")
        };
    }
    text
}
