//! `logs`: the newest lines of an app's log, and what follows them.

use super::Cx;
use super::app::AppArgs;
use super::client::{segment, text};
use super::failure::{Failure, Result};
use super::sse::Parser;
use super::ui::Ui;
use crate::limits;
use clap::Args;
use reqwest::Response;
use reqwest::header::{ACCEPT, HeaderName};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep, timeout};

#[derive(Debug, Args)]
pub struct Logs {
    #[command(flatten)]
    app: AppArgs,
    /// Number of lines to display
    #[arg(short, long, default_value_t = 100, value_name = "LINES")]
    num: u32,
    /// Continually stream logs
    #[arg(short, long)]
    tail: bool,
    /// Only show output from this source (such as "app" or "heroku")
    #[arg(short, long, value_name = "SOURCE")]
    source: Option<String>,
    /// Only show output from this dyno (such as "worker.2")
    #[arg(short, long, alias = "dyno", value_name = "DYNO")]
    dyno_name: Option<String>,
    /// Only show output from this process type (such as "web" or "worker")
    #[arg(short, long, alias = "ps", value_name = "TYPE", conflicts_with = "dyno_name")]
    process_type: Option<String>,
    /// No colours, as without a terminal
    #[arg(long, hide = true)]
    no_color: bool,
    /// Colours, as on a terminal
    #[arg(long, conflicts_with = "no_color")]
    force_colors: bool,
}

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Follows the log of one dyno.
pub async fn tail_of(cx: &Cx, app: &str, dyno: &str) -> Result {
    let args = Logs {
        app: AppArgs { app: Some(app.to_string()), remote: None },
        num: 100,
        tail: true,
        source: None,
        dyno_name: Some(dyno.to_string()),
        process_type: None,
        no_color: false,
        force_colors: false,
    };
    logs(cx, args).await
}

pub async fn logs(cx: &Cx, args: Logs) -> Result {
    let app = cx.app(&args.app)?;
    let mut body = Map::new();
    body.insert("lines".to_string(), json!(args.num));
    body.insert("tail".to_string(), json!(args.tail));
    if let Some(source) = &args.source {
        body.insert("source".to_string(), json!(source));
    }
    if let Some(dyno) = &args.dyno_name {
        body.insert("dyno".to_string(), json!(dyno));
    }
    if let Some(process) = &args.process_type {
        body.insert("type".to_string(), json!(process));
    }
    let mut body = Value::Object(body);
    let paint = args.force_colors || (cx.ui.colour && !args.no_color);
    let mut reading = Reading { paint, ..Reading::default() };
    let mut url = session(cx, &app, &body).await?;
    let mut until = Instant::now() + limits::CLIENT_PATIENCE;
    loop {
        match reading.follow(cx, &url, &mut until).await {
            Ok(()) if !args.tail => return Ok(()),
            Ok(()) => {}
            // The session is gone, as after a restart of the server: go on in a new one.
            Err(failure) if args.tail && failure.is_api(404) && Instant::now() < until => {
                if reading.resume() {
                    body["lines"] = json!(limits::LOG_RESUME_LINES);
                }
                url = again(cx, &app, &body, until).await?;
            }
            Err(failure @ Failure::Unreachable { .. }) => {
                if !args.tail || Instant::now() >= until {
                    return Err(failure);
                }
            }
            Err(failure) => return Err(failure),
        }
        sleep(limits::LOG_RECONNECT_PAUSE).await;
    }
}

async fn session(cx: &Cx, app: &str, body: &Value) -> Result<String> {
    let session = cx.client.post(&format!("/apps/{}/log-sessions", segment(app)), body).await?;
    match text(&session, "/logplex_url") {
        "" => Err(Failure::refused("The server answered without the address of a log")),
        url => Ok(url.to_string()),
    }
}

/// A new session for a log that is being followed; the server may be away for a moment.
async fn again(cx: &Cx, app: &str, body: &Value, until: Instant) -> Result<String> {
    loop {
        match session(cx, app, body).await {
            Err(Failure::Unreachable { .. }) if Instant::now() < until => {
                sleep(limits::LOG_RECONNECT_PAUSE).await;
            }
            Err(Failure::Api { status: 502..=504, .. }) if Instant::now() < until => {
                sleep(limits::LOG_RECONNECT_PAUSE).await;
            }
            other => return other,
        }
    }
}

#[derive(Default)]
struct Reading {
    paint: bool,
    /// Id of the last event, from which a server that gives ids goes on.
    seen: Option<String>,
    /// Time of the last line shown, and the lines of that very time.
    stamp: String,
    shown: Vec<String>,
    /// Set while lines that come again are left out.
    resuming: bool,
}

impl Reading {
    /// The next lines begin before the last one that was shown. `false` when none was.
    fn resume(&mut self) -> bool {
        self.resuming = !self.stamp.is_empty();
        self.resuming
    }

    /// Whether a line is to be shown. Times have one width, so they compare as text.
    fn is_new(&mut self, line: &str) -> bool {
        let stamp = line.split(' ').next().unwrap_or_default();
        if self.resuming {
            let old = stamp < self.stamp.as_str()
                || (stamp == self.stamp && self.shown.iter().any(|shown| shown == line));
            if old {
                return false;
            }
            self.resuming = false;
        }
        if stamp != self.stamp {
            self.stamp = stamp.to_string();
            self.shown.clear();
        }
        if self.shown.len() < limits::LOG_SAME_TIME_LINES {
            self.shown.push(line.to_string());
        }
        true
    }

    /// Prints a stream until it ends.
    async fn follow(&mut self, cx: &Cx, url: &str, until: &mut Instant) -> Result {
        let mut headers = vec![(ACCEPT, "text/event-stream".to_string())];
        if let Some(id) = &self.seen {
            headers.push((LAST_EVENT_ID, id.clone()));
        }
        let mut response = opened(cx.client.open(url, &headers).await?)?;
        let mut parser = Parser::default();
        loop {
            let chunk = timeout(limits::CLIENT_STREAM_TIMEOUT, response.chunk())
                .await
                .map_err(|_| Failure::Unreachable { message: "The log fell silent".into() })?
                .map_err(|error| cx.client.unreachable(&error))?;
            let Some(chunk) = chunk else { return Ok(()) };
            *until = Instant::now() + limits::CLIENT_PATIENCE;
            let events = parser
                .push(&chunk)
                .map_err(|()| Failure::refused("The server sent a line without an end"))?;
            for event in events {
                for line in event.data.split('\n') {
                    if !self.is_new(line) {
                        continue;
                    }
                    match self.paint {
                        true => cx.ui.line(painted(&cx.ui, line))?,
                        false => cx.ui.line(line)?,
                    }
                }
                self.seen = event.id.or(self.seen.take());
            }
            cx.ui.flush()?;
        }
    }
}

fn opened(response: Response) -> Result<Response> {
    let status = response.status();
    match status.as_u16() {
        200 => Ok(response),
        404 | 403 => Err(Failure::Api {
            status: 404,
            id: String::new(),
            message: "Log stream timed out. Please try again.".to_string(),
        }),
        502..=504 => Err(Failure::Unreachable { message: format!("The log answered {status}") }),
        _ => Err(Failure::refused(format!("Can't read the log: HTTP {status}"))),
    }
}

/// Colours the part before the message, one colour for each process type.
fn painted(ui: &Ui, line: &str) -> String {
    const COLOURS: [&str; 5] = ["33", "32", "36", "35", "34"];
    let Some(end) = line.find("]: ") else { return line.to_string() };
    let head = &line[..end + 2];
    let process = head.rsplit_once('[').map_or("", |(_, rest)| rest);
    let process = process.split(['.', ']']).next().unwrap_or("");
    let colour = match process {
        "web" => COLOURS[2],
        "router" => COLOURS[1],
        "run" => COLOURS[0],
        other => {
            let sum: usize = other.bytes().map(usize::from).sum();
            COLOURS[sum % COLOURS.len()]
        }
    };
    format!("{}{}", ui.painted(colour, head), &line[end + 2..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_come_again_after_a_restart_are_left_out() {
        let mut reading = Reading::default();
        assert!(!reading.resume());
        for line in ["01 a", "02 b", "02 c"] {
            assert!(reading.is_new(line));
        }
        assert!(reading.resume());
        let again = ["01 a", "02 b", "02 c", "02 d", "03 e", "02 late", "03 e"];
        let shown: Vec<&str> = again.into_iter().filter(|line| reading.is_new(line)).collect();
        assert_eq!(shown, ["02 d", "03 e", "02 late", "03 e"]);
    }
}
