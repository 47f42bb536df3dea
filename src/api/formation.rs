//! The formation: how many dynos of which size each process type shall have.

use super::auth::State;
use super::body::Body;
use super::error::Result;
use super::guard::OnApp;
use super::{Api, json, range};
use crate::dynos::formation::{Quantity, Update};
use crate::error::Error;
use crate::model::{App, Formation, Procfile};
use crate::store;
use axum::extract::Path;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::{Json, extract};
use serde_json::Value;

pub async fn list(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    headers: HeaderMap,
) -> Result {
    let id = app.id;
    let rows = api.store.read(move |db| store::formations::of_app(db, id)).await?;
    range::page(&headers, values(&api, &app, &rows).await?, &["id", "type"])
}

pub async fn show(
    extract::State(api): State,
    OnApp { app, .. }: OnApp,
    Path((_, process)): Path<(String, String)>,
) -> Result {
    let id = app.id;
    let rows = api.store.read(move |db| store::formations::of_app(db, id)).await?;
    let row = rows
        .into_iter()
        .find(|row| row.process.as_str() == process || row.id.to_string() == process)
        .ok_or_else(|| Error::not_found("process type"))?;
    let mut values = values(&api, &app, &[row]).await?;
    Ok(Json(values.remove(0)).into_response())
}

pub async fn batch(
    extract::State(api): State,
    OnApp { caller, app, .. }: OnApp,
    body: Body,
) -> Result {
    body.only(&["updates"])?;
    let mut updates = Vec::new();
    for value in body.list("updates")? {
        let item = Body::from_value("updates", value.clone())?;
        let process = item
            .text("type")?
            .ok_or_else(|| Error::invalid("type is required in each of updates"))?
            .to_string();
        updates.push(update_from(&api, process, &item)?);
    }
    let rows = api.scale(&caller, &app, updates).await?;
    Ok(Json(values(&api, &app, &rows).await?).into_response())
}

pub async fn update(
    extract::State(api): State,
    OnApp { caller, app, .. }: OnApp,
    Path((_, process)): Path<(String, String)>,
    body: Body,
) -> Result {
    let update = update_from(&api, process, &body)?;
    let rows = api.scale(&caller, &app, vec![update]).await?;
    let mut values = values(&api, &app, &rows).await?;
    Ok(Json(values.remove(0)).into_response())
}

fn update_from(api: &Api, process: String, item: &Body) -> Result<Update> {
    item.only(&["type", "quantity", "size", "dyno_size"])?;
    let quantity = match item.value("quantity") {
        None => None,
        Some(value) => Some(quantity(value).ok_or_else(|| {
            Error::invalid("Quantity must be a whole number, or a change such as \"+1\"")
        })?),
    };
    let size = match item.value("dyno_size") {
        Some(size) => Some(size_name(api, size).ok_or_else(|| {
            Error::invalid("dyno_size must be an object with the name or the id of a dyno size")
        })?),
        None => item.text("size")?.map(str::to_string),
    };
    Ok(Update { process, quantity, size })
}

/// `{"name": "standard-2x"}` or `{"id": "…"}`, as the schema has it, or just the name.
fn size_name(api: &Api, value: &Value) -> Option<String> {
    if let Some(name) = value.as_str().or_else(|| value.get("name")?.as_str()) {
        return Some(name.to_string());
    }
    let id = value.get("id")?.as_str()?;
    let mut sizes = api.settings.dyno_sizes.iter().map(|size| size.name);
    sizes.find(|name| json::size_id(name).to_string() == id).map(str::to_string)
}

/// `2`, `"2"`, `"+1"`, `"-1"`.
fn quantity(value: &Value) -> Option<Quantity> {
    if let Some(number) = value.as_i64() {
        return Some(Quantity::Absolute(number));
    }
    let text = value.as_str()?;
    let relative = text.starts_with(['+', '-']);
    let digits = if relative { &text[1..] } else { text };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i64 = text.strip_prefix('+').unwrap_or(text).parse().ok()?;
    Some(if relative { Quantity::Relative(number) } else { Quantity::Absolute(number) })
}

async fn values(api: &Api, app: &App, rows: &[Formation]) -> Result<Vec<Value>> {
    let slug = api.releases.current_slug(app.id).await?;
    let types = slug.map_or_else(Procfile::default, |slug| slug.process_types);
    Ok(rows.iter().map(|row| json::formation(row, app, types.command(&row.process))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quantities_are_numbers_or_steps() {
        assert_eq!(quantity(&json!(2)), Some(Quantity::Absolute(2)));
        assert_eq!(quantity(&json!("2")), Some(Quantity::Absolute(2)));
        assert_eq!(quantity(&json!("+1")), Some(Quantity::Relative(1)));
        assert_eq!(quantity(&json!("-1")), Some(Quantity::Relative(-1)));
        assert_eq!(quantity(&json!(-1)), Some(Quantity::Absolute(-1)));
        for bad in [json!("two"), json!(1.5), json!([]), json!(""), json!("++1"), json!("+-1")] {
            assert_eq!(quantity(&bad), None, "{bad}");
        }
    }
}
