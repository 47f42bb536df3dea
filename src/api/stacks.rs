//! The stacks that an app can be built on, and the one region that it can run in.

use super::auth::Auth;
use super::error::Result;
use super::guard::OnApp;
use super::json;
use crate::error::Error;
use crate::limits;
use axum::Json;
use axum::extract::Path;
use axum::response::IntoResponse;
use serde_json::{Value, json};

const STACKS: [&str; 2] = [limits::STACK, limits::CONTAINER_STACK];

/// The stack that a field names, if it does.
pub fn known(field: &str, name: Option<&str>) -> crate::error::Result<Option<&'static str>> {
    let Some(name) = name else { return Ok(None) };
    let is_it = |known: &&str| *known == name || json::stack_id(known).to_string() == name;
    let found = STACKS.into_iter().find(is_it);
    found.map(Some).ok_or_else(|| {
        let shown: String = name.chars().take(60).collect();
        Error::invalid(format!("{field} {shown:?} is unknown; there are: {}", STACKS.join(", ")))
    })
}

fn all() -> Value {
    STACKS.into_iter().map(json::whole_stack).collect()
}

pub async fn list(Auth(_): Auth) -> Result {
    Ok(Json(all()).into_response())
}

pub async fn show(Auth(_): Auth, Path(stack): Path<String>) -> Result {
    let stacks = STACKS.into_iter().map(json::whole_stack);
    let found = stacks.into_iter().find(|known| known["name"] == stack || known["id"] == stack);
    let found = found.ok_or_else(|| Error::not_found("stack"))?;
    Ok(Json(found).into_response())
}

pub async fn regions(Auth(_): Auth) -> Result {
    Ok(Json(json!([json::whole_region()])).into_response())
}

pub async fn region(Auth(_): Auth, Path(region): Path<String>) -> Result {
    let here = json::whole_region();
    match here["name"] == region || here["id"] == region {
        true => Ok(Json(here).into_response()),
        false => Err(Error::not_found("region").into()),
    }
}

pub async fn of_app(OnApp { .. }: OnApp) -> Result {
    Ok(Json(all()).into_response())
}
