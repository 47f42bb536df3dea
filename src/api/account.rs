//! Account and authorizations: whose token this is, and how to get and give up one.

use super::auth::{self, Auth, State};
use super::body::Body;
use super::error::Result;
use super::{json, range};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::limits;
use crate::model::Caller;
use crate::origin::Origin;
use crate::store::users::Authorization;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::{Json, extract};
use serde_json::Value;
use uuid::Uuid;

pub async fn show(extract::State(api): State, Auth(caller): Auth) -> Result<Json<Value>> {
    let has_second_factor = api.access.second_factor(&caller.user).await?.is_some();
    Ok(Json(json::account(&caller.user, has_second_factor)))
}

/// Changes the caller's password, as Heroku does: to `new_password`, where `password` is right. It
/// takes no token, as long as that would take a password that has been changed.
pub async fn update(
    extract::State(api): State,
    Auth(caller): Auth,
    body: Body,
) -> Result<Json<Value>> {
    body.only(&["password", "new_password"])?;
    let wanted = |field: &str| Error::invalid(format!("{field} is required"));
    let current = body.text("password")?.ok_or_else(|| wanted("password"))?;
    let new = body.text("new_password")?.ok_or_else(|| wanted("new_password"))?;
    let from = Origin::current();
    api.access.change_password(&caller.user, current, new, None, &from).await?;
    show(extract::State(api), Auth(caller)).await
}

pub async fn authorize(extract::State(api): State, Auth(caller): Auth, body: Body) -> Result {
    body.only(&["description", "expires_in", "scope", "client"])?;
    if body.value("scope").is_some() && body.list("scope")?.iter().any(|scope| *scope != "global") {
        // A token of a lesser scope than it asks for could do more than its owner thinks.
        return Err(Error::invalid("scope can only be [\"global\"] here").into());
    }
    let description = body.text("description")?.unwrap_or("Long-lived user authorization");
    let expires_in = body.integer("expires_in")?;
    if expires_in.is_some_and(|seconds| seconds <= 0 || seconds > limits::TOKEN_SECONDS) {
        return Err(Error::invalid(format!(
            "expires_in must be between 1 and {} seconds",
            limits::TOKEN_SECONDS
        ))
        .into());
    }
    let (row, token) = api.access.authorize(&caller.user, description, expires_in).await?;
    let reply = json::authorization(&row, Some(&token), expires_in);
    Ok((StatusCode::CREATED, Json(reply)).into_response())
}

pub async fn authorizations(
    extract::State(api): State,
    Auth(caller): Auth,
    headers: HeaderMap,
) -> Result {
    let rows = api.access.authorizations(&caller.user).await?;
    let items = rows.iter().map(|row| shown(row, &caller, &headers)).collect();
    range::page(&headers, items, &["id"])
}

/// The token of the request itself is told, to whoever has it already: Heroku's client finds out
/// by that which one it has to revoke when it logs out.
fn shown(row: &Authorization, caller: &Caller, headers: &HeaderMap) -> Value {
    let now = Timestamp::now();
    let left = row.expires_at.map(|at| i64::try_from(at.seconds_since(now)).unwrap_or(0));
    let own = auth::token(headers).filter(|_| caller.authorization == Some(row.id));
    json::authorization(row, own.as_deref(), left)
}

pub async fn authorization(
    extract::State(api): State,
    Auth(caller): Auth,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result {
    // To Heroku's client `~` is the one that everybody has from the first day. There is none such.
    let row = api.access.authorization(&caller.user, parsed(&id)?).await?;
    Ok(Json(shown(&row, &caller, &headers)).into_response())
}

fn parsed(id: &str) -> crate::error::Result<Uuid> {
    id.parse().map_err(|_| Error::not_found("authorization"))
}

/// Gives up one of the caller's tokens; `~` is the one of this request.
pub async fn revoke(
    extract::State(api): State,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result {
    let id = match (id.as_str(), caller.authorization) {
        ("~", Some(own)) => own,
        (text, _) => parsed(text)?,
    };
    let row = api.access.revoke(&caller.user, id).await?;
    Ok(Json(json::authorization(&row, None, None)).into_response())
}

/// Tokens are not sessions: Heroku's CLI expects this 404 when it logs out.
pub async fn end_session(Auth(_): Auth) -> Result {
    Err(Error::not_found("session").into())
}
