//! How far what is wanted has come true: the one endpoint that Heroku doesn't have. Our CLI waits
//! on it, so that a command returns when traffic has switched.

use super::auth::State;
use super::error::Result;
use super::guard::OnApp;
use crate::dynos::Progress;
use crate::error::Error;
use crate::limits;
use axum::extract::Query;
use axum::{Json, extract};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;

/// `?wait=SECONDS` answers as soon as the state is `settled` or `failing`, or when the time is up.
pub async fn show(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Value>> {
    let wait = match query.get("wait") {
        None => Duration::ZERO,
        Some(text) => {
            let seconds: u64 = text
                .parse()
                .map_err(|_| Error::invalid("wait must be a whole number of seconds"))?;
            Duration::from_secs(seconds).min(limits::ROLLOUT_WAIT)
        }
    };
    let began = tokio::time::Instant::now();
    let rollout = api.dynos.rollout(app.id, wait.max(limits::TABLE_MARGIN)).await;
    let (state, message) = match rollout.progress {
        Progress::Settled => ("settled", None),
        Progress::Converging => ("converging", None),
        Progress::Failing(reason) => ("failing", Some(reason)),
    };
    let version = |version: Option<i64>| version.map(|version| json!({ "version": version }));
    Ok(Json(json!({
        "state": state,
        "message": message,
        "release": version(rollout.current),
        "serving": version(rollout.serving),
        "elapsed_ms": u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    })))
}
