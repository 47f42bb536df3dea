//! What Heroku's accounts and apps can switch on (`labs`, `features`): there is nothing of that
//! here, which its clients hear as an empty list.

use super::addons;
use super::error::Result;
use crate::error::{Error, Kind};
use axum::Json;
use serde_json::Value;

pub async fn list() -> Json<Value> {
    addons::none().await
}

/// Of an account as of an app: Heroku's client asks for the one and then for the other.
pub async fn show() -> Result {
    let message = "Couldn't find that feature: there is none to switch on or off on this platform.";
    Err(Error::new(Kind::NotFound, message).into())
}
