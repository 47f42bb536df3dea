//! Whether an app's requests are sent to HTTPS and kept there. Heroku has nothing like it: the
//! resource is ours.

use super::auth::State;
use super::body::Body;
use super::error::Result;
use super::guard::OnApp;
use crate::model::Https;
use axum::response::IntoResponse;
use axum::{Json, extract};

pub async fn show(OnApp { app, .. }: OnApp) -> Result {
    Ok(Json(super::json::https(app.https)).into_response())
}

/// `{"redirect": true, "hsts": false}`; what is left out stays.
pub async fn update(
    extract::State(api): State,
    OnApp { caller, app, .. }: OnApp,
    body: Body,
) -> Result {
    body.only(&["redirect", "hsts"])?;
    let wanted = Https {
        redirect: body.flag("redirect")?.unwrap_or(app.https.redirect),
        hsts: body.flag("hsts")?.unwrap_or(app.https.hsts),
    };
    api.set_https(&caller, &app, wanted).await?;
    Ok(Json(super::json::https(wanted)).into_response())
}
