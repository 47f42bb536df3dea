//! Lists and the `Range` header: `version ..; max=1, order=desc`. More than a page is 206 with
//! `Next-Range`.

use super::error::Result;
use crate::error::{Error, Kind};
use crate::limits;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use std::cmp::Ordering;

#[derive(Debug, PartialEq, Eq)]
pub struct Range {
    pub field: String,
    pub from: Option<String>,
    /// `]` before the first value: it is not in the range itself.
    pub exclusive: bool,
    pub to: Option<String>,
    pub max: usize,
    pub descending: bool,
}

impl Range {
    fn of(field: &str) -> Self {
        Self {
            field: field.to_string(),
            from: None,
            exclusive: false,
            to: None,
            max: limits::PAGE_DEFAULT,
            descending: false,
        }
    }

    fn parse(text: &str, fields: &[&str]) -> Option<Self> {
        let (range, options) = text.split_once(';').unwrap_or((text, ""));
        let (field, bounds) = range.trim().split_once(' ').unwrap_or((range.trim(), ".."));
        let (from, to) = bounds.trim().split_once("..")?;
        let mut parsed = Self::of(fields.iter().find(|known| **known == field)?);
        parsed.exclusive = from.starts_with(']');
        let bound = |text: &str| (!text.is_empty()).then(|| text.to_string());
        parsed.from = bound(from.trim_start_matches(']').trim());
        parsed.to = bound(to.trim());
        for option in options.split([',', ';']).map(str::trim).filter(|option| !option.is_empty()) {
            match option.split_once('=')? {
                ("max", number) => parsed.max = number.parse().ok().filter(|max| *max > 0)?,
                ("order", "asc") => parsed.descending = false,
                ("order", "desc") => parsed.descending = true,
                _ => return None,
            }
        }
        parsed.max = parsed.max.min(limits::PAGE_MAX);
        Some(parsed)
    }
}

/// What the request asks for. The first of `fields` is the default order.
pub fn asked(headers: &HeaderMap, fields: &[&str]) -> std::result::Result<Range, Error> {
    let default = fields.first().copied().unwrap_or("id");
    match headers.get(header::RANGE).map(HeaderValue::to_str) {
        None => Ok(Range::of(default)),
        Some(Ok(text)) if text.trim().is_empty() => Ok(Range::of(default)),
        Some(text) => text.ok().and_then(|text| Range::parse(text, fields)).ok_or_else(|| {
            Error::new(
                Kind::Range,
                format!("Range must be of the form: {default} FROM..TO; max=N, order=asc"),
            )
        }),
    }
}

/// Answers with the part of `items` that the request asks for.
pub fn page(headers: &HeaderMap, mut items: Vec<Value>, fields: &[&str]) -> Result {
    let range = asked(headers, fields)?;
    let key = |item: &Value| item.get(&range.field).cloned().unwrap_or(Value::Null);
    items.sort_by(|a, b| compare(&key(a), &key(b)));
    if range.descending {
        items.reverse();
    }
    let inside = |item: &Value| {
        let value = key(item);
        let after_start = range.from.as_ref().is_none_or(|from| {
            match directed(compare_text(&value, from), range.descending) {
                Ordering::Greater => true,
                Ordering::Equal => !range.exclusive,
                Ordering::Less => false,
            }
        });
        let before_end = range.to.as_ref().is_none_or(|to| {
            directed(compare_text(&value, to), range.descending) != Ordering::Greater
        });
        after_start && before_end
    };
    items.retain(inside);
    // The next page begins behind this one's last value: all that have it must be on this one.
    let mut end = range.max.min(items.len());
    while end > 0 && items.get(end).is_some_and(|next| key(next) == key(&items[end - 1])) {
        end += 1;
    }
    let more = items.len() > end;
    items.truncate(end);
    Ok(reply(&range, fields, &items, more))
}

/// From items that are in the range and in its order, one more than fit if there are more.
pub fn answer(range: &Range, fields: &[&str], mut items: Vec<Value>) -> Response {
    let more = items.len() > range.max;
    items.truncate(range.max);
    reply(range, fields, &items, more)
}

fn reply(range: &Range, fields: &[&str], items: &[Value], more: bool) -> Response {
    let key = |item: &Value| item.get(&range.field).cloned().unwrap_or(Value::Null);
    let status = if more { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let mut response = (status, axum::Json(items)).into_response();
    let order = if range.descending { ", order=desc" } else { "" };
    let mut set = |name: &'static str, text: String| {
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().insert(name, value);
        }
    };
    set("accept-ranges", fields.join(", "));
    if let (Some(first), Some(last)) = (items.first(), items.last()) {
        let (first, last) = (text(&key(first)), text(&key(last)));
        let (field, max) = (&range.field, range.max);
        set("content-range", format!("{field} {first}..{last}; max={max}{order}"));
        if more {
            set("next-range", format!("{field} ]{last}..; max={max}{order}"));
        }
    }
    response
}

fn directed(ordering: Ordering, descending: bool) -> Ordering {
    if descending { ordering.reverse() } else { ordering }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a.as_i64(), b.as_i64()) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => text(a).cmp(&text(b)),
    }
}

fn compare_text(value: &Value, bound: &str) -> Ordering {
    match (value.as_i64(), bound.parse::<i64>()) {
        (Some(value), Ok(bound)) => value.cmp(&bound),
        _ => text(value).as_str().cmp(bound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ask(range: Option<&'static str>) -> (StatusCode, HeaderMap, usize) {
        let mut headers = HeaderMap::new();
        if let Some(range) = range {
            headers.insert(header::RANGE, HeaderValue::from_static(range));
        }
        let items = (1..=12).map(|version| json!({ "version": version, "id": "x" })).collect();
        match page(&headers, items, &["version", "id"]) {
            Ok(response) => (response.status(), response.headers().clone(), 0),
            Err(error) => (error.into_response().status(), HeaderMap::new(), 0),
        }
    }

    #[test]
    fn the_forms_that_herokus_clients_send() {
        for range in ["version ..; max=1, order=desc", "version ..; order=desc,max=1;"] {
            let (status, headers, _) = ask(Some(range));
            assert_eq!(status, StatusCode::PARTIAL_CONTENT, "{range}");
            assert_eq!(headers["content-range"], "version 12..12; max=1, order=desc");
            assert_eq!(headers["next-range"], "version ]12..; max=1, order=desc");
        }
        let (status, headers, _) = ask(Some("version ]12..; max=11, order=desc"));
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers["content-range"], "version 11..1; max=11, order=desc");
        assert_eq!(ask(Some("")).0, StatusCode::OK);
        assert_eq!(ask(None).0, StatusCode::OK);
        assert_eq!(ask(Some("version 9..11")).1["content-range"], "version 9..11; max=200");
    }

    #[test]
    fn items_of_one_value_are_on_one_page() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static("created_at ..; max=2"));
        let items = [1, 2, 2, 2, 3].map(|at| json!({ "created_at": format!("second {at}") }));
        let response = page(&headers, items.to_vec(), &["created_at"]).ok().unwrap();
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(response.headers()["next-range"], "created_at ]second 2..; max=2");
        headers.insert(header::RANGE, HeaderValue::from_static("created_at ]second 2..; max=2"));
        let response = page(&headers, items.to_vec(), &["created_at"]).ok().unwrap();
        assert_eq!(response.headers()["content-range"], "created_at second 3..second 3; max=2");
    }

    #[test]
    fn nonsense_is_416() {
        for range in ["color ..", "version", "version ..; max=0", "version ..; speed=1", "bytes=0-"]
        {
            let expected = match range {
                "version" => StatusCode::OK,
                _ => StatusCode::RANGE_NOT_SATISFIABLE,
            };
            assert_eq!(ask(Some(range)).0, expected, "{range}");
        }
    }
}
