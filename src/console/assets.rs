//! Style, script and icon: embedded in the binary, at addresses that name their content, so that
//! a browser keeps them for as long as it likes and has a new one at once.

use super::oops::{self, Oops};
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;
use std::sync::LazyLock;

#[derive(RustEmbed)]
#[folder = "web/assets"]
struct Files;

/// Of all files together: one of them rarely changes alone, and all are small.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut names: Vec<_> = Files::iter().collect();
    names.sort();
    let hashes = names.iter().filter_map(|name| Files::get(name));
    let all: Vec<u8> = hashes.flat_map(|file| file.metadata.sha256_hash()).collect();
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&all);
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
});

/// The address of a file: `/console/assets/1f2e3d4c5b6a/console.css`.
pub fn url(file: &str) -> String {
    format!("/console/assets/{}/{file}", *VERSION)
}

/// Whichever version is asked for, there is only this one.
pub async fn serve(Path((_, file)): Path<(String, String)>) -> Result<Response, Oops> {
    let Some(found) = Files::get(&file) else { return Ok(oops::no_page().await) };
    let kind = match file.rsplit_once('.').map(|(_, kind)| kind) {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok((headers, found.data.into_owned()).into_response())
}
