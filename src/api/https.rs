//! Whether an app's requests are sent to HTTPS and kept there. Heroku has nothing like it: the
//! resource is ours.

use super::auth::State;
use super::body::Body;
use super::error::Result;
use super::guard::OnApp;
use crate::apps::lifecycle;
use crate::error::Error;
use crate::limits;
use crate::logs::LogLine;
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
    if api.settings.tls_listen.is_none() && wanted != Https::default() {
        return Err(Error::invalid(
            "This platform does not listen for HTTPS. Whoever runs it gives senryu server a \
             --tls-listen first.",
        )
        .into());
    }
    if app.https != wanted {
        lifecycle::set_https(&api.store, app.id, wanted).await?;
        // Whoever is told that it is done may ask the router at once.
        api.dynos.routed(limits::TABLE_MARGIN).await;
        let word = |on| if on { "on" } else { "off" };
        let line = format!(
            "HTTPS redirect {}, HSTS {} by user {}",
            word(wanted.redirect),
            word(wanted.hsts),
            caller.user.email
        );
        api.logs.write(app.id, vec![LogLine::api(line)]).await;
    }
    Ok(Json(super::json::https(wanted)).into_response())
}
