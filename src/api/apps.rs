//! Apps: create, list, show, rename, maintenance, destroy.

use super::auth::{Auth, State};
use super::body::Body;
use super::error::Result;
use super::guard::OnApp;
use super::{json, range};
use crate::actions::AppChange;
use crate::apps::access::Action;
use crate::error::Error;
use crate::limits;
use crate::model::AppName;
use crate::store::app_list::{Bounds, By};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::{Json, extract};

pub async fn list(extract::State(api): State, Auth(caller): Auth, headers: HeaderMap) -> Result {
    const FIELDS: &[&str] = &["id", "name", "updated_at"];
    let range = range::asked(&headers, FIELDS)?;
    let by = match range.field.as_str() {
        "id" => By::Id,
        "name" => By::Name,
        _ => {
            let apps = api.access.apps(&caller).await?;
            let items = apps.iter().map(|app| json::app(app, &api.settings)).collect();
            return range::page(&headers, items, FIELDS);
        }
    };
    let bounds = Bounds {
        by,
        from: range.from.clone(),
        exclusive: range.exclusive,
        to: range.to.clone(),
        descending: range.descending,
        most: range.max + 1,
    };
    let apps = api.access.apps_within(&caller, bounds).await?;
    let items = apps.iter().map(|app| json::app(app, &api.settings)).collect();
    Ok(range::answer(&range, FIELDS, items))
}

pub async fn create(extract::State(api): State, Auth(caller): Auth, body: Body) -> Result {
    body.only(&["name", "region", "stack", "feature_flags"])?;
    let stack = super::stacks::known("stack", body.text("stack")?)?.unwrap_or(limits::STACK);
    let here = json::region();
    if let Some(region) = body.text("region")?
        && here["name"] != region
        && here["id"] != region
    {
        let shown: String = region.chars().take(60).collect();
        let message = format!("region {shown:?} is unknown; there is: us, which is this platform");
        return Err(Error::invalid(message).into());
    }
    if body.value("feature_flags").is_some() {
        body.list("feature_flags")?;
    }
    let shown = api.create_app(&caller, body.text("name")?, stack).await?;
    Ok((StatusCode::CREATED, Json(json::app(&shown, &api.settings))).into_response())
}

pub async fn show(extract::State(api): State, OnApp { app, .. }: OnApp) -> Result {
    Ok(Json(json::app(&app, &api.settings)).into_response())
}

pub async fn update(
    extract::State(api): State,
    OnApp { caller, app, entry }: OnApp,
    body: Body,
) -> Result {
    body.only(&["name", "maintenance", "build_stack"])?;
    for (field, action) in [
        ("name", Action::Rename),
        ("maintenance", Action::SetMaintenance),
        ("build_stack", Action::SetStack),
    ] {
        if body.value(field).is_some() {
            entry.require(action)?;
        }
    }
    let change = AppChange {
        name: body.text("name")?.map(AppName::parse).transpose()?,
        maintenance: body.flag("maintenance")?,
        stack: super::stacks::known("build_stack", body.text("build_stack")?)?,
    };
    let app = api.update_app(&caller, &app, change).await?;
    Ok(Json(json::app(&app, &api.settings)).into_response())
}

pub async fn destroy(extract::State(api): State, OnApp { app, .. }: OnApp) -> Result {
    api.destroy_app(&app).await?;
    Ok(Json(json::app(&app, &api.settings)).into_response())
}
