//! Metrics of an app's last day: ours, Heroku has them at another host.

use super::auth::State;
use super::error::Result;
use super::guard::OnApp;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::limits;
use crate::metrics::{Point, Series};
use crate::store;
use axum::extract::Query;
use axum::response::IntoResponse;
use axum::{Json, extract};
use serde_json::{Value, json};
use std::collections::HashMap;

/// `?step=30`: minutes of one point. `?dynos=false` leaves single dynos out.
pub async fn show(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    Query(query): Query<HashMap<String, String>>,
) -> Result {
    let step = query.get("step").map_or(Ok(limits::METRICS_STEP), |text| step(text))?;
    let with_dynos = query.get("dynos").is_none_or(|text| text != "false");
    let window = api.metrics.of_app(app.id, Timestamp::now(), step).await?;
    let (id, begins) = (app.id, window.begins());
    let releases = api
        .store
        .read(move |db| store::releases::releases_since(db, id, begins, limits::METRICS_RELEASES))
        .await?;
    let deploys = releases.iter().rev().map(|release| {
        json!({
            "created_at": release.created_at.api(),
            "description": release.description,
            "version": release.version,
        })
    });
    let series = window.series.iter().filter(|one| with_dynos || one.dyno.is_none());
    Ok(Json(json!({
        "releases": deploys.collect::<Vec<_>>(),
        "series": series.map(shown).collect::<Vec<_>>(),
        "start_time": begins.api(),
        "step": step * 60,
    }))
    .into_response())
}

/// So many minutes that points as they are stored make up steps, and steps a day.
fn step(text: &str) -> std::result::Result<i64, Error> {
    let fits = |step: &i64| {
        *step > 0 && step % limits::METRICS_STEP == 0 && limits::METRICS_MINUTES % step == 0
    };
    text.parse().ok().filter(fits).ok_or_else(|| {
        let (least, day) = (limits::METRICS_STEP, limits::METRICS_MINUTES);
        Error::invalid(format!(
            "step must be a number of minutes that divides {day} and is divided by {least}"
        ))
    })
}

/// Each list has one value for each step; null where nothing was measured.
fn shown(series: &Series) -> Value {
    let all = |value: &dyn Fn(&Point) -> Value| -> Vec<Value> {
        series.points.iter().map(value).collect()
    };
    let status = |class: usize| all(&|point| json!(point.statuses[class]));
    let time = |share: f64| all(&|point| json!(point.times.percentile(share)));
    json!({
        "cpu": all(&|point| json!(point.cpu_thousandths().map(|cpu| cpu as f64 / 1000.0))),
        "dyno": series.dyno,
        "memory_bytes": all(&|point| match point.memory_bytes {
            0 => Value::Null,
            bytes => json!(bytes),
        }),
        "requests": all(&|point| json!(point.requests())),
        "response_ms": { "p50": time(0.5), "p95": time(0.95), "p99": time(0.99) },
        "status": { "2xx": status(0), "3xx": status(1), "4xx": status(2), "5xx": status(3) },
        "type": series.process,
    })
}
