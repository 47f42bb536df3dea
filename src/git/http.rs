//! Git's smart HTTP at `/<app>.git`: who may, what the request means, and refusals in text that
//! git shows to its user.

use super::client::Client;
use super::commands::{self, Commands};
use super::incoming::{Broken, Incoming};
use super::receive::Request as PushRequest;
use super::{Credentials, GitHost, Refusal, pktline, process};
use crate::error::Error;
use crate::limits;
use crate::model::{App, User};
use crate::origin::{Origin, Via};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::{any, get, post};
use base64::Engine;
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

const UPLOAD: &str = "git-upload-pack";
const RECEIVE: &str = "git-receive-pack";

type Answer = Result<Response, Response>;

/// Where a request is allowed to go.
struct Entry {
    user: User,
    app: App,
    credentials: Credentials,
    git_dir: PathBuf,
}

impl GitHost {
    /// The routes under the control host.
    pub fn routes(self: Arc<Self>) -> Router {
        Router::new()
            .route("/{repo}/info/refs", get(info_refs))
            .route("/{repo}/git-upload-pack", post(upload_pack))
            .route("/{repo}/git-receive-pack", post(receive_pack))
            .route("/{repo}/info/lfs/{*rest}", any(no_lfs))
            .with_state(self)
    }

    /// Finds out who asks and for which app, and makes sure of the repository.
    async fn enter(&self, repo: &str, headers: &HeaderMap, write: bool) -> Result<Entry, Response> {
        let name = repo.strip_suffix(".git").unwrap_or(repo);
        let credentials = credentials(headers).ok_or_else(unauthorized)?;
        let allowed = self.access.authorize(name, &credentials, write).await;
        let (user, app) = allowed.map_err(|refusal| match refusal {
            Refusal::Unauthorized => unauthorized(),
            Refusal::NotFound => text(StatusCode::NOT_FOUND, &format!("There is no app {name}.")),
            Refusal::Forbidden(sentence) => text(StatusCode::FORBIDDEN, &sentence),
            Refusal::Failed(error) => fault(&error),
        })?;
        if write && self.stopping.is_cancelled() {
            return Err(text(
                StatusCode::SERVICE_UNAVAILABLE,
                "The server is stopping; push again in a moment.",
            ));
        }
        let git_dir = self.repositories.create(app.id).await.map_err(|error| fault(&error))?;
        Ok(Entry { user, app, credentials, git_dir })
    }

    /// A push is about to come, or has: what its build needs is made ready meanwhile.
    pub(super) fn announce(&self, app: &App) {
        let (deployer, app) = (self.deployer.clone(), app.clone());
        crate::tasks::spawn("make ready for a build", async move { deployer.coming(&app).await });
    }
}

async fn info_refs(
    State(host): State<Arc<GitHost>>,
    Path(repo): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Answer {
    let (service, command) = match query.get("service").map(String::as_str) {
        Some(UPLOAD) => (UPLOAD, "upload-pack"),
        Some(RECEIVE) => (RECEIVE, "receive-pack"),
        Some(_) => return Err(text(StatusCode::FORBIDDEN, "There is no such git service.")),
        None => {
            let sentence = "Only git's smart HTTP protocol is spoken here; upgrade your git.";
            return Err(text(StatusCode::FORBIDDEN, sentence));
        }
    };
    let entry = host.enter(&repo, &headers, service == RECEIVE).await?;
    if service == RECEIVE {
        host.announce(&entry.app);
    }
    let protocol = process::protocol(value(&headers, "git-protocol"));
    let mut head = Vec::new();
    let second = protocol.and_then(|text| text.to_str()).is_some_and(|p| p.contains("version=2"));
    if service == RECEIVE || !second {
        pktline::put(&mut head, format!("# service={service}\n").as_bytes());
        head.extend_from_slice(pktline::FLUSH);
    }
    let arguments = [command, "--stateless-rpc", "--advertise-refs"];
    let body = host.serve(&arguments, &entry.git_dir, protocol, head.into(), None).await;
    let body = body.map_err(|error| fault(&error))?;
    Ok(reply(StatusCode::OK, &format!("application/x-{service}-advertisement"), body))
}

async fn upload_pack(
    State(host): State<Arc<GitHost>>,
    Path(repo): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let entry = host.enter(&repo, &headers, false).await?;
    let input = incoming(&headers, body, UPLOAD).map_err(|why| unsupported(&why))?;
    let protocol = process::protocol(value(&headers, "git-protocol"));
    let arguments = ["upload-pack", "--stateless-rpc"];
    let body = host.serve(&arguments, &entry.git_dir, protocol, Bytes::new(), Some(input)).await;
    let body = body.map_err(|error| fault(&error))?;
    Ok(reply(StatusCode::OK, "application/x-git-upload-pack-result", body))
}

async fn receive_pack(
    State(host): State<Arc<GitHost>>,
    Path(repo): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let started = tokio::time::Instant::now();
    let entry = host.enter(&repo, &headers, true).await?;
    let address = Origin::address(&headers);
    let request_id = value(&headers, "x-request-id").map(str::to_string);
    let mut body = incoming(&headers, body, RECEIVE).map_err(|why| unsupported(&why))?;
    let commands = read_commands(&mut body).await?;
    let result = "application/x-git-receive-pack-result";
    if commands.updates.is_empty() {
        // Git asks with an empty list whether it may send a large pack.
        return Ok(reply(StatusCode::OK, result, Body::empty()));
    }
    let (client, answer) = Client::new(commands.band);
    let Entry { user, app, credentials, git_dir } = entry;
    let mut origin = Origin::of(&user, Via::Git);
    origin.address = address;
    origin.request = request_id;
    let request = PushRequest { user, app, credentials, git_dir, commands, body, started };
    let push = host.pushes.track_future(host.clone().receive(request, client));
    origin.sync_scope(|| crate::tasks::spawn("push", push));
    Ok(reply(StatusCode::OK, result, answer))
}

/// What Git LFS asks before a push: its client shows the message, and then pushes nothing.
async fn no_lfs() -> Response {
    let message = "Git LFS is not supported, as on Heroku. `git push --no-verify` deploys the \
                   pointers in place of the files";
    let body = serde_json::json!({ "message": message }).to_string();
    reply(StatusCode::NOT_FOUND, "application/vnd.git-lfs+json", Body::from(body))
}

/// Reads the commands and leaves the pack in the body.
async fn read_commands(body: &mut Incoming) -> Result<Commands, Response> {
    let refuse = |sentence: String| text(StatusCode::BAD_REQUEST, &sentence);
    let mut buffer = BytesMut::new();
    let mut commands = Commands::default();
    let mut bytes = 0;
    loop {
        let chunk = body.chunk().await.map_err(|broken| match broken {
            Broken::Idle => text(StatusCode::REQUEST_TIMEOUT, &broken.to_string()),
            _ => refuse(broken.to_string()),
        })?;
        let Some(chunk) = chunk else {
            return Err(refuse("This is not a git push: it ends among its commands".to_string()));
        };
        bytes += chunk.len();
        buffer.extend_from_slice(&chunk);
        let whole = commands::read(&mut buffer, &mut commands).map_err(refuse)?;
        if bytes - buffer.len() > limits::PUSH_COMMANDS_BYTES {
            return Err(refuse("This push moves too many refs at once".to_string()));
        }
        if whole {
            body.unread(buffer.freeze());
            return Ok(commands);
        }
    }
}

/// The body, if the request says that it is what the service reads; else why not, for a 415.
fn incoming(headers: &HeaderMap, body: Body, service: &str) -> Result<Incoming, String> {
    let wanted = format!("application/x-{service}-request");
    if value(headers, "content-type") != Some(wanted.as_str()) {
        return Err(format!("The Content-Type must be {wanted}."));
    }
    match value(headers, "content-encoding") {
        None | Some("identity") => Ok(Incoming::new(body, false)),
        Some("gzip" | "x-gzip") => Ok(Incoming::new(body, true)),
        Some(_) => Err("The only Content-Encoding known here is gzip.".to_string()),
    }
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// What `Authorization` carries: `Basic` from git, or the API's `Bearer`.
fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let (scheme, rest) = value(headers, "authorization")?.split_once(' ')?;
    let address = Origin::address(headers);
    if scheme.eq_ignore_ascii_case("bearer") {
        let password = rest.trim().to_string();
        return Some(Credentials { user: String::new(), password, address });
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let plain = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
    let plain = String::from_utf8(plain).ok()?;
    let (user, password) = plain.split_once(':')?;
    Some(Credentials { user: user.to_string(), password: password.to_string(), address })
}

fn unauthorized() -> Response {
    let sentence = "Log in with `senryu login`, or give an API token as the password.";
    let mut response = text(StatusCode::UNAUTHORIZED, sentence);
    response.headers_mut().insert(
        header::WWW_AUTHENTICATE,
        header::HeaderValue::from_static("Basic realm=\"Senryu\", charset=\"UTF-8\""),
    );
    response
}

fn unsupported(sentence: &str) -> Response {
    text(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence)
}

fn fault(error: &Error) -> Response {
    tracing::error!(error = error.chain(), "git request failed");
    let status = match error.kind() {
        crate::error::Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        crate::error::Kind::RateLimit => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    text(status, error.public_message())
}

/// Git prints a refusal's body only when it is plain text.
fn text(status: StatusCode, sentence: &str) -> Response {
    reply(status, "text/plain; charset=utf-8", Body::from(format!("{sentence}\n")))
}

fn reply(status: StatusCode, content_type: &str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Ok(value) = header::HeaderValue::from_str(content_type) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    let never = header::HeaderValue::from_static("no-cache, max-age=0, must-revalidate");
    headers.insert(header::CACHE_CONTROL, never);
    response
}
