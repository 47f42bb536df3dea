//! The platform's people, for admins: ours, on Heroku they are a team's. Anybody may ask for the
//! apps that are their own or shared with them.

use super::auth::{Auth, State};
use super::body::Body;
use super::error::Result;
use super::{json, range};
use crate::error::Error;
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::{Json, extract};
use serde_json::json;
use std::collections::HashMap;

pub async fn list(extract::State(api): State, Auth(_): Auth, headers: HeaderMap) -> Result {
    let users = api.access.users().await?;
    let with = api.access.with_second_factor().await?;
    let items = users.iter().map(|user| json::user(user, with.contains(&user.id))).collect();
    range::page(&headers, items, &["email", "id"])
}

/// Makes a user. The password is in this answer and nowhere else.
pub async fn create(extract::State(api): State, Auth(_): Auth, body: Body) -> Result {
    body.only(&["email", "admin"])?;
    let email = body.text("email")?.ok_or_else(|| Error::invalid("email is required"))?;
    let admin = body.flag("admin")?.unwrap_or(false);
    let (user, password) = api.access.create_user(email, admin).await?;
    let Some(password) = password else {
        return Err(Error::invalid(format!("Email {} is already taken", user.email)).into());
    };
    let mut shown = json::user(&user, false);
    shown["password"] = json!(password);
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

/// `?apps_to=EMAIL` says who gets the apps that the user owns.
pub async fn remove(
    extract::State(api): State,
    Auth(_): Auth,
    Path(user): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Result {
    let user = api.access.user(&user).await?;
    let heir = match query.get("apps_to") {
        None => None,
        Some(heir) => Some(api.access.user(heir).await?),
    };
    api.access.remove_user(&user, heir.as_ref()).await?;
    Ok(Json(json::user(&user, false)).into_response())
}

/// For somebody whose phone is gone, and the recovery codes too.
pub async fn remove_second_factor(
    extract::State(api): State,
    Auth(_): Auth,
    Path(user): Path<String>,
) -> Result {
    let user = api.access.user(&user).await?;
    api.access.remove_second_factor(&user).await?;
    Ok(Json(json::user(&user, false)).into_response())
}

/// Own and shared apps of the caller (`~`); those of others are for admins.
pub async fn apps(
    extract::State(api): State,
    Auth(caller): Auth,
    Path(user): Path<String>,
    headers: HeaderMap,
) -> Result {
    let is_self = user == "~"
        || user == caller.user.id.to_string()
        || user.eq_ignore_ascii_case(&caller.user.email);
    let user = match (is_self, caller.user.admin) {
        (true, _) => caller.user,
        (false, true) => api.access.user(&user).await?,
        (false, false) => return Err(Error::not_found("user").into()),
    };
    let apps = api.access.shared_apps(&user).await?;
    let items = apps.iter().map(|app| json::app(app, &api.settings)).collect();
    range::page(&headers, items, &["id", "name", "updated_at"])
}
