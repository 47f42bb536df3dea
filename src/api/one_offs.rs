//! One-off dynos: `POST /apps/APP/dynos`.

use super::auth::State;
use super::body::Body;
use super::error::Result;
use super::guard::OnApp;
use super::json;
use crate::dynos::one_off::RunRequest;
use crate::error::Error;
use crate::{frames, limits};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Json, extract};
use serde_json::{Value, json};
use std::time::Duration;

const FIELDS: [&str; 7] =
    ["attach", "command", "env", "force_no_tty", "size", "time_to_live", "type"];

pub async fn create(
    extract::State(api): State,
    OnApp { caller, app, .. }: OnApp,
    body: Body,
) -> Result {
    body.only(&FIELDS)?;
    let request = RunRequest {
        command: body
            .text("command")?
            .ok_or_else(|| Error::invalid("command is required"))?
            .to_string(),
        attach: body.flag("attach")?.unwrap_or(false),
        env: env(&body)?,
        force_no_tty: body.flag("force_no_tty")?.unwrap_or(false),
        size: body.text("size")?.map(str::to_string),
        process: body.text("type")?.map(str::to_string),
        time_to_live: body.integer("time_to_live")?.map(time_to_live).transpose()?,
    };
    let run = api.dynos.run(&app, &caller.user, request).await?;
    api.record("dyno:create", app.id, ("dyno", &run.dyno.name.to_string())).await?;
    let mut shown = json::dyno(&run.dyno, &app);
    if let Some(secret) = run.secret {
        shown["attach_url"] = json!(attach_url(&api.settings.control_url(), &secret));
    }
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

/// With TLS an address that Heroku's own client understands, which must name its port; that client
/// knows no connection without TLS. Ours looks at the end only.
fn attach_url(control_url: &str, secret: &str) -> String {
    match control_url.strip_prefix("https://") {
        Some(host) if host.contains(':') => format!("rendezvous://{host}/{secret}"),
        Some(host) => format!("rendezvous://{host}:443/{secret}"),
        None => format!("{control_url}{}{secret}", frames::PATH),
    }
}

/// Numbers are as good as text: Heroku's client sends `COLUMNS` so.
fn env(body: &Body) -> Result<Vec<(String, String)>> {
    let Some(value) = body.value("env") else { return Ok(Vec::new()) };
    let map = Body::from_value("env", value.clone())?.into_map();
    let mut env = Vec::new();
    for (key, value) in map {
        match value {
            Value::String(text) => env.push((key, text)),
            Value::Number(number) => env.push((key, number.to_string())),
            Value::Bool(flag) => env.push((key, flag.to_string())),
            // A terminal that has no name or size.
            Value::Null => {}
            _ => return Err(Error::invalid(format!("env.{key} must be a string")).into()),
        }
    }
    Ok(env)
}

fn time_to_live(seconds: i64) -> Result<Duration> {
    let most = i64::try_from(limits::ONE_OFF_LIFE.as_secs()).unwrap_or(i64::MAX);
    match u64::try_from(seconds) {
        Ok(whole) if (1..=most).contains(&seconds) => Ok(Duration::from_secs(whole)),
        _ => {
            Err(Error::invalid(format!("time_to_live must be between 1 and {most} seconds")).into())
        }
    }
}
