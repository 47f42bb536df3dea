//! Addresses to which a source's tar is put, and from which it may be read, until a build takes
//! it. They need no token: each is a secret of its own, for an hour.

use super::Api;
use super::auth::{Auth, State};
use super::error::Result;
use super::guard::OnApp;
use crate::deploy::{Sources, Upload};
use crate::error::{Context, Error};
use crate::model::UserId;
use crate::{limits, tasks};
use axum::body::{Body, Bytes};
use axum::extract::{self, Path};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Json, http};
use http_body_util::BodyExt;
use serde_json::json;

pub async fn create(extract::State(api): State, Auth(caller): Auth) -> Result {
    address(&api, caller.user.id).await
}

pub async fn create_for_app(extract::State(api): State, OnApp { caller, .. }: OnApp) -> Result {
    address(&api, caller.user.id).await
}

async fn address(api: &Api, user: UserId) -> Result {
    let sources = api.deploy.sources().clone();
    let secret = tasks::blocking("make a source's address", move || sources.create(user)).await?;
    let url = format!("{}/sources/{secret}", api.settings.control_url());
    let value = json!({ "source_blob": { "get_url": url, "put_url": url } });
    Ok((StatusCode::CREATED, Json(value)).into_response())
}

pub async fn upload(extract::State(api): State, Path(secret): Path<String>, body: Body) -> Result {
    let mut upload = begin(api.deploy.sources(), &secret)?;
    let mut body = body;
    loop {
        match piece(&mut body).await {
            Ok(Some(piece)) => {
                let written = write(upload, piece).await;
                match written {
                    Ok(going_on) => upload = going_on,
                    Err(error) => {
                        // A client that still sends when its connection closes reads no answer.
                        drain(&mut body).await;
                        return Err(error.into());
                    }
                }
            }
            Ok(None) => break,
            Err(error) => return Err(error.into()),
        }
    }
    tasks::blocking("keep a source", move || upload.finish()).await?;
    Ok(StatusCode::OK.into_response())
}

fn begin(sources: &Sources, secret: &str) -> crate::error::Result<Upload> {
    sources.upload(secret)
}

async fn write(mut upload: Upload, piece: Bytes) -> crate::error::Result<Upload> {
    tasks::blocking("write a source", move || {
        upload.write(&piece)?;
        Ok(upload)
    })
    .await
}

async fn piece(body: &mut Body) -> crate::error::Result<Option<Bytes>> {
    let broken = |why: &str| Error::bad_request(format!("The source's upload {why}"));
    loop {
        let frame = tokio::time::timeout(limits::SOURCE_UPLOAD_IDLE, body.frame()).await;
        match frame.map_err(|_| broken("has stopped"))? {
            None => return Ok(None),
            Some(Err(_)) => return Err(broken("broke off")),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

async fn drain(body: &mut Body) {
    let rest = async {
        let mut dropped = 0;
        while let Ok(Some(piece)) = piece(body).await {
            dropped += piece.len();
            if dropped > limits::API_BODY_DROPPED_BYTES {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(limits::API_BODY_DROP, rest).await;
}

pub async fn download(extract::State(api): State, Path(secret): Path<String>) -> Result {
    let path = api.deploy.sources().find(&secret).ok_or_else(|| Error::not_found("source"))?;
    let file = tokio::fs::File::open(&path).await.context("open a source")?;
    let body = Body::from_stream(tokio_util::io::ReaderStream::new(file));
    let kind = [(header::CONTENT_TYPE, "application/gzip")];
    Ok::<http::Response<Body>, _>((kind, body).into_response())
}
