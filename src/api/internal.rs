//! What only root on this machine may do: served on a socket of its own, which the router never
//! sees.

use super::Api;
use super::body::Body;
use super::error::Result;
use crate::error::Error;
use crate::origin::{Origin, Via};
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::Arc;

pub fn routes(api: Arc<Api>) -> Router {
    Router::new()
        .route("/internal/admins", post(create_admin))
        .route("/internal/health", get(health))
        .route("/internal/second-factors/remove", post(remove_second_factor))
        .route("/internal/names", get(names))
        .with_state(api)
}

/// Makes an admin and tells the password, this once. With `login` there is a token as well; for
/// one who exists, only that.
async fn create_admin(State(api): State<Arc<Api>>, body: Body) -> Result<Json<Value>> {
    body.only(&["email", "login"])?;
    let email = body.text("email")?.ok_or_else(|| Error::invalid("email is required"))?;
    let login = body.flag("login")?.unwrap_or(false);
    let root = Origin { via: Via::Root, ..Origin::server() };
    let made = root.scope(async {
        let (user, password) = api.access.create_user(email, true).await?;
        let token = match login {
            true => Some(api.access.authorize(&user, "admin:create --login", None).await?.1),
            false => None,
        };
        Ok::<_, Error>((user, password, token))
    });
    let (user, password, token) = made.await?;
    Ok(Json(json!({
        "email": user.email,
        "created": password.is_some(),
        "password": password,
        "token": token,
    })))
}

/// For the last admin, whom no other can let in.
async fn remove_second_factor(State(api): State<Arc<Api>>, body: Body) -> Result<Json<Value>> {
    body.only(&["email"])?;
    let email = body.text("email")?.ok_or_else(|| Error::invalid("email is required"))?;
    let root = Origin { via: Via::Root, ..Origin::server() };
    let removed = root.scope(async {
        let user = api.access.user(email).await?;
        api.access.remove_second_factor(&user).await?;
        Ok::<_, Error>(user)
    });
    Ok(Json(json!({ "email": removed.await?.email })))
}

/// Domains and names with certificates, and what is wrong with each.
async fn names(State(api): State<Arc<Api>>) -> Result<Json<Value>> {
    let names = api.certs.report().await?;
    let shown = names.iter().map(|name| {
        json!({
            "app": name.app,
            "dns": name.dns,
            "expires_at": name.expires_at.map(|at| at.api()),
            "hostname": name.hostname,
            "reason": name.reason,
        })
    });
    Ok(Json(shown.collect()))
}

/// Whether the server is ready: its dynos are known and its router has a table.
async fn health(State(api): State<Arc<Api>>) -> Json<Value> {
    let state = api.dynos.published();
    Json(json!({
        "ready": state.traffic_version > 0,
        "apps": state.apps.len(),
        "builds": api.deploy.builds_at_work(),
        "version": env!("CARGO_PKG_VERSION"),
    }))
}
