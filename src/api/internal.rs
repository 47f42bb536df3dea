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
        .route("/internal/passwords", post(reset_password))
        .route("/internal/second-factors/remove", post(remove_second_factor))
        .route("/internal/names", get(names))
        .with_state(api)
}

/// Makes an admin and tells the password, this once; of a user who is no admin, one who keeps the
/// password. With `login` there is a token as well.
async fn create_admin(State(api): State<Arc<Api>>, body: Body) -> Result<Json<Value>> {
    body.only(&["email", "login"])?;
    let email = body.text("email")?.ok_or_else(|| Error::invalid("email is required"))?;
    let login = body.flag("login")?.unwrap_or(false);
    let root = Origin { via: Via::Root, ..Origin::server() };
    let made = root.scope(async {
        let (user, password) = api.access.create_user(email, true).await?;
        let promoted = !user.admin;
        let user = if promoted { api.access.promote(&user).await? } else { user };
        let token = match login {
            true => Some(api.access.authorize(&user, "admin:create --login", None).await?.1),
            false => None,
        };
        Ok::<_, Error>((user, password, promoted, token))
    });
    let (user, password, promoted, token) = made.await?;
    Ok(Json(json!({
        "email": user.email,
        "created": password.is_some(),
        "password": password,
        "promoted": promoted,
        "token": token,
    })))
}

/// For somebody who has forgotten it. The new one is in this answer and nowhere else.
async fn reset_password(State(api): State<Arc<Api>>, body: Body) -> Result<Json<Value>> {
    body.only(&["email"])?;
    let email = body.text("email")?.ok_or_else(|| Error::invalid("email is required"))?;
    let root = Origin { via: Via::Root, ..Origin::server() };
    let reset = root.scope(async {
        let user = api.access.user(email).await?;
        let password = api.access.reset_password(&user).await?;
        Ok::<_, Error>((user, password))
    });
    let (user, password) = reset.await?;
    Ok(Json(json!({ "email": user.email, "password": password })))
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
            "has_no_room": name.has_no_room,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::Stage;
    use axum::http::{Method, Request, StatusCode};
    use tower::ServiceExt as _;

    async fn create(stage: &Stage, email: &str) -> Value {
        let body = json!({ "email": email, "login": true }).to_string();
        let request = Request::post("/internal/admins").body(axum::body::Body::from(body));
        let answer = routes(stage.api.clone()).oneshot(request.unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 16).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn somebody_who_is_no_admin_becomes_one_and_keeps_the_password() {
        let stage = Stage::new().await;
        let ada = stage.person("ada@x.org", false).await;
        let users = stage.ask(Some(&ada), &Method::GET, "/users", None).await;
        assert_eq!(users.status, StatusCode::FORBIDDEN);
        let made = create(&stage, "Ada@x.org").await;
        let told = (&made["created"], &made["password"], &made["promoted"]);
        assert_eq!(told, (&json!(false), &Value::Null, &json!(true)), "{made}");
        let audit = stage.ask(Some(&ada), &Method::GET, "/audit", None).await;
        assert_eq!(audit.status, StatusCode::OK, "{}", audit.body);
        let entry = audit.body.as_array().unwrap().iter();
        let entry = entry.into_iter().find(|entry| entry["action"] == "user:update").unwrap();
        assert_eq!(entry["actor"]["email"], "root", "{entry}");
        assert_eq!(entry["details"], json!({ "user": "ada@x.org", "role": "admin" }));
        assert_eq!(create(&stage, "ada@x.org").await["promoted"], json!(false));
        let new = create(&stage, "eve@x.org").await;
        assert_eq!((&new["created"], &new["promoted"]), (&json!(true), &json!(false)));
    }
}
