//! Output streams of builds and release phases: from the start, and on until they end.

use super::auth::State;
use super::error::Result;
use crate::deploy::outputs::Stream;
use crate::error::{Context, Error};
use axum::body::Body;
use axum::extract::{self, Path};
use axum::http::header;
use axum::response::IntoResponse;
use std::convert::Infallible;
use uuid::Uuid;

pub async fn output(extract::State(api): State, Path(id): Path<String>) -> Result {
    let missing = || Error::not_found("output");
    let id: Uuid = id.parse().map_err(|_| missing())?;
    let body = match api.deploy.outputs().get(id).ok_or_else(missing)? {
        Stream::Running(reader) => {
            Body::from_stream(futures_util::stream::unfold(reader, |mut reader| async {
                let piece = reader.next().await?;
                Some((Ok::<_, Infallible>(piece), reader))
            }))
        }
        Stream::Ended(path) => {
            let file = tokio::fs::File::open(&path).await.context("open an output")?;
            Body::from_stream(tokio_util::io::ReaderStream::new(file))
        }
    };
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response())
}
