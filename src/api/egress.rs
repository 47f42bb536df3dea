//! Where an app's dynos may connect to. Heroku has nothing like it: the resource is ours.

use super::auth::State;
use super::body::Body;
use super::error::Result;
use super::guard::OnApp;
use crate::apps::lifecycle;
use crate::error::Error;
use crate::logs::LogLine;
use crate::model::Egress;
use axum::response::IntoResponse;
use axum::{Json, extract};
use serde_json::{Value, json};

pub async fn show(OnApp { app, .. }: OnApp) -> Result {
    Ok(Json(value(&app.egress)).into_response())
}

/// `{"mode": "on"}`, `{"mode": "off"}`, `{"mode": "list", "allow": ["10.1.0.0/16:5432", "dns"]}`.
pub async fn update(
    extract::State(api): State,
    OnApp { caller, app, .. }: OnApp,
    body: Body,
) -> Result {
    body.only(&["mode", "allow"])?;
    let allow = body.value("allow").map(|_| body.list("allow")).transpose()?.unwrap_or_default();
    let egress = match (body.text("mode")?, allow) {
        (Some("on"), []) => Egress::Anywhere,
        (Some("off"), []) => Egress::Only(Vec::new()),
        (Some("list"), [_, ..]) => {
            let texts: Option<Vec<&str>> = allow.iter().map(Value::as_str).collect();
            Egress::only(texts.ok_or_else(|| Error::invalid("allow must be a list of strings"))?)?
        }
        _ => {
            return Err(
                Error::invalid("mode must be on, off, or list with destinations in allow").into()
            );
        }
    };
    if app.egress != egress {
        lifecycle::set_egress(&api.store, app.id, egress.clone()).await?;
        api.dynos.wake();
        let line = format!("Egress set to {} by user {}", words(&egress), caller.user.email);
        api.logs.write(app.id, vec![LogLine::api(line)]).await;
    }
    Ok(Json(value(&egress)).into_response())
}

fn words(egress: &Egress) -> String {
    match egress.stored() {
        None => "on".to_string(),
        Some(list) if list.is_empty() => "off".to_string(),
        Some(list) => format!("the list {list}"),
    }
}

fn value(egress: &Egress) -> Value {
    let (mode, list) = match egress {
        Egress::Anywhere => ("on", &[][..]),
        Egress::Only(list) if list.is_empty() => ("off", &[][..]),
        Egress::Only(list) => ("list", &list[..]),
    };
    let allow: Vec<String> = list.iter().map(ToString::to_string).collect();
    json!({ "mode": mode, "allow": allow })
}
