//! Request bodies: JSON objects, read field by field so that an error can name the field.

use super::error::ApiError;
use crate::error::{Error, Kind, Result};
use crate::limits;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Map, Value};

/// The body as a JSON object. No body is an empty object, as Heroku allows.
pub struct Body(Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> std::result::Result<Self, ApiError> {
        let bytes = read(request, state).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self(Map::new()));
        }
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(object)) => Ok(Self(object)),
            Ok(other) => Err(ApiError(Error::bad_request(format!(
                "The request's body must be a JSON object, not {}",
                kind(&other)
            )))),
            Err(error) => Err(ApiError(Error::bad_request(format!(
                "The request's body is not valid JSON: {error}"
            )))),
        }
    }
}

/// The whole body, up to the limit. What is beyond it is read and dropped, within reason: a client
/// that is still sending when its connection closes never reads why it was refused.
async fn read<S: Send + Sync>(request: Request, state: &S) -> std::result::Result<Bytes, ApiError> {
    let is_config = request.uri().path().ends_with("/config-vars");
    let too_large = || too_large(is_config);
    let unreadable = || ApiError(Error::bad_request("The request's body could not be read"));
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_none_or(|length| length <= limits::API_BODY_BYTES) {
        return Bytes::from_request(request, state).await.map_err(|rejection| {
            match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => too_large(),
                _ => unreadable(),
            }
        });
    }
    let mut body = request.into_body();
    let rest = async {
        let mut dropped = 0;
        while let Some(Ok(frame)) = body.frame().await {
            dropped += frame.data_ref().map_or(0, Bytes::len);
            if dropped > limits::API_BODY_DROPPED_BYTES {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(limits::API_BODY_DROP, rest).await;
    Err(too_large())
}

fn too_large(is_config: bool) -> ApiError {
    let megabytes = limits::API_BODY_BYTES / (1024 * 1024);
    let mut message = format!("The request's body is larger than {megabytes} MB");
    if is_config {
        let bytes = limits::CONFIG_VARS_BYTES;
        message = format!("{message}, and all config vars of an app may take {bytes} bytes");
    }
    ApiError(Error::new(Kind::TooLarge, message))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn wrong(field: &str, wanted: &str, got: &Value) -> Error {
    Error::invalid(format!("{field} must be {wanted}, not {}", kind(got)))
}

impl Body {
    pub fn into_map(self) -> Map<String, Value> {
        self.0
    }

    pub fn from_value(field: &str, value: Value) -> Result<Self> {
        match value {
            Value::Object(object) => Ok(Self(object)),
            other => Err(wrong(field, "an object", &other)),
        }
    }

    /// A string that may be missing or null.
    pub fn text(&self, field: &str) -> Result<Option<&str>> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(field, "a string", other)),
        }
    }

    pub fn flag(&self, field: &str) -> Result<Option<bool>> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(wrong(field, "true or false", other)),
        }
    }

    pub fn integer(&self, field: &str) -> Result<Option<i64>> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                value.as_i64().map(Some).ok_or_else(|| wrong(field, "a whole number", value))
            }
        }
    }

    pub fn value(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    pub fn list(&self, field: &str) -> Result<&[Value]> {
        match self.0.get(field) {
            Some(Value::Array(list)) => Ok(list),
            Some(other) => Err(wrong(field, "an array", other)),
            None => Err(Error::invalid(format!("{field} is required"))),
        }
    }

    /// Fields that the endpoint doesn't know are refused by name rather than ignored.
    pub fn only(&self, known: &[&str]) -> Result<()> {
        match self.0.keys().find(|field| !known.contains(&field.as_str())) {
            None => Ok(()),
            Some(field) => {
                let shown: String = field.chars().take(60).collect();
                let known = known.join(", ");
                Err(Error::invalid(format!("{shown:?} is not a parameter; there are: {known}")))
            }
        }
    }
}
