//! The Platform API over HTTP, as any other client uses it. The HTTP machinery is made on first
//! use: a command that needs no server starts without it.

use super::address;
use super::failure::{Failure, Result};
use crate::limits;
use reqwest::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, LOCATION, RANGE, UPGRADE,
};
use reqwest::{Method, Response, StatusCode, Url};
use serde_json::Value;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Heroku's header for the code of a second factor.
const CODE: &str = "heroku-two-factor-code";
const ACCEPT: &str = "application/vnd.heroku+json; version=3";

/// Who a request is from.
#[derive(Debug, Clone)]
pub enum Auth {
    None,
    Token(String),
    Password { email: String, password: String, code: Option<String> },
}

pub struct Client {
    base: Url,
    auth: Auth,
    /// Whether the token came from the environment, for the message when it is refused.
    from_env: bool,
    /// Whether the user has said that secrets may cross a network in the clear.
    in_clear: bool,
    http: OnceLock<reqwest::Client>,
}

/// One request, filled in by the methods of [`Client`].
pub struct Call<'a> {
    pub method: Method,
    pub path: &'a str,
    pub body: Option<&'a Value>,
    pub range: Option<&'a str>,
    /// Whether doing it twice is doing it once, so that it may be sent again when the server goes
    /// away before it answers.
    pub repeatable: bool,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Client {
    /// A client that nobody is logged in to.
    pub fn new(base: &str) -> Result<Self> {
        let wrong = || {
            Failure::usage(format!(
                "SENRYU_URL {base:?} is not the address of a server, like http://localhost:5757"
            ))
        };
        let url = Url::parse(base).map_err(|_| wrong())?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(wrong());
        }
        let (auth, http) = (Auth::None, OnceLock::new());
        Ok(Self { base: url, auth, from_env: false, in_clear: false, http })
    }

    pub fn in_clear(self, in_clear: bool) -> Self {
        Self { in_clear, ..self }
    }

    /// The server's address without a slash at its end: `http://localhost:5757`.
    pub fn base(&self) -> String {
        address::of(&self.base)
    }

    pub fn token(&self) -> Option<&str> {
        match &self.auth {
            Auth::Token(token) => Some(token),
            _ => None,
        }
    }

    /// The same server for another caller.
    pub fn with_auth(&self, auth: Auth) -> Self {
        let (base, http) = (self.base.clone(), self.http.clone());
        Self { base, auth, from_env: false, in_clear: self.in_clear, http }
    }

    /// The same server for whom the variable's token stands for.
    pub fn with_variable(&self, token: &str) -> Self {
        Self { from_env: true, ..self.with_auth(Auth::Token(token.to_string())) }
    }

    /// Refuses to send a password or a token where others can read it on its way.
    pub fn may_tell(&self, url: &Url) -> Result {
        if url.scheme() == "https" || self.in_clear || address::is_loopback(url) {
            return Ok(());
        }
        let message = format!(
            "Passwords and tokens would cross the network in the clear to {}",
            url.origin().ascii_serialization()
        );
        let hint = "Write https:// in SENRYU_URL (and in git's remotes). On a network that is \
                    yours alone: SENRYU_INSECURE=1";
        Err(Failure::with_hint(message, hint))
    }

    /// The same of this server.
    pub fn may_log_in(&self) -> Result {
        self.may_tell(&self.base)
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        Ok(self.send(&Call::new(Method::GET, path)).await?.body)
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        Ok(self.send(&Call { body: Some(body), ..Call::new(Method::POST, path) }).await?.body)
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Result<Value> {
        Ok(self.send(&Call { body: Some(body), ..Call::new(Method::PATCH, path) }).await?.body)
    }

    pub async fn put(&self, path: &str, body: &Value) -> Result<Value> {
        Ok(self.send(&Call { body: Some(body), ..Call::new(Method::PUT, path) }).await?.body)
    }

    pub async fn delete(&self, path: &str) -> Result<Value> {
        Ok(self.send(&Call::new(Method::DELETE, path)).await?.body)
    }

    /// The newest items of a list, one page.
    pub async fn get_range(&self, path: &str, range: &str) -> Result<Vec<Value>> {
        let call = Call { range: Some(range), ..Call::new(Method::GET, path) };
        list(self.send(&call).await?.body)
    }

    /// A whole list: the server's pages one after the other.
    pub async fn get_all(&self, path: &str) -> Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let call = Call { range: next.as_deref(), ..Call::new(Method::GET, path) };
            let answer = self.send(&call).await?;
            items.extend(list(answer.body)?);
            let following = answer.headers.get("next-range").and_then(|v| v.to_str().ok());
            match following {
                // A server that names the same page again would keep us here for ever.
                Some(range) if next.as_deref() != Some(range) => next = Some(range.to_string()),
                _ => return Ok(items),
            }
        }
    }

    /// Sends a request. While the server restarts, what may be repeated is; of the rest it is said
    /// that nobody knows.
    pub async fn send(&self, call: &Call<'_>) -> Result<Answer> {
        if !matches!(self.auth, Auth::None) {
            self.may_log_in()?;
        }
        let until = Instant::now() + limits::CLIENT_PATIENCE;
        let mut repeated = false;
        loop {
            let result = self.send_once(call).await;
            let away = match &result {
                Ok(answer) => matches!(answer.status.as_u16(), 502..=504),
                Err(Sent::Maybe(_)) => true,
                Err(Sent::Never(_)) => false,
            };
            if away && call.repeatable && Instant::now() < until {
                repeated = true;
                tokio::time::sleep(limits::CLIENT_RETRY_PAUSE).await;
                continue;
            }
            return match result {
                Ok(answer) if away && !call.repeatable => Err(unknown(self.judged(answer).err())),
                Ok(answer) if repeated && is_gone(call, &answer) => Ok(answer),
                Ok(answer) => self.judged(answer),
                Err(Sent::Maybe(failure)) if !call.repeatable => Err(unknown(Some(failure))),
                Err(Sent::Never(failure) | Sent::Maybe(failure)) => Err(failure),
            };
        }
    }

    async fn send_once(&self, call: &Call<'_>) -> std::result::Result<Answer, Sent> {
        let url = self.url(call.path).map_err(Sent::Never)?;
        let mut request = self.http().map_err(Sent::Never)?.request(call.method.clone(), url);
        request = request.header("accept", ACCEPT);
        if let Some(range) = call.range {
            let range = HeaderValue::from_str(range)
                .map_err(|_| Sent::Never(Failure::refused("The range is not a header value")))?;
            request = request.header(RANGE, range);
        }
        request = match &self.auth {
            Auth::None => request,
            Auth::Token(token) => request.bearer_auth(token),
            Auth::Password { email, password, code } => {
                let request = request.basic_auth(email, Some(password));
                match code {
                    Some(code) => request.header(CODE, code),
                    None => request,
                }
            }
        };
        if let Some(body) = call.body {
            request = request.json(body);
        }
        let unreachable = |error: reqwest::Error| match error.is_connect() {
            true => Sent::Never(self.unreachable(&error)),
            false => Sent::Maybe(self.unreachable(&error)),
        };
        let late = || Sent::Maybe(self.late());
        let response = timeout(limits::CLIENT_READ_TIMEOUT, request.send())
            .await
            .map_err(|_| late())?
            .map_err(unreachable)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = timeout(limits::CLIENT_READ_TIMEOUT, read_all(response))
            .await
            .map_err(|_| late())?
            .map_err(unreachable)?;
        let body = match body {
            Some(bytes) => serde_json::from_slice(&bytes)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned())),
            None => return Err(Sent::Never(Failure::refused("The answer is too long"))),
        };
        Ok(Answer { status, headers, body })
    }

    /// Success, or the API's error as a failure with what to do about it.
    fn judged(&self, answer: Answer) -> Result<Answer> {
        if answer.status.is_success() {
            return Ok(answer);
        }
        let status = answer.status.as_u16();
        if status == 401 && !matches!(self.auth, Auth::Password { .. }) {
            return Err(self.not_logged_in());
        }
        if answer.status.is_redirection() {
            return Err(self.elsewhere(&answer));
        }
        let field = |name: &str| answer.body.get(name).and_then(Value::as_str);
        match field("message") {
            Some(message) => Err(Failure::Api {
                status,
                id: field("id").unwrap_or_default().to_string(),
                message: message.to_string(),
            }),
            None => Err(Failure::Api {
                status,
                id: String::new(),
                message: format!("HTTP Error {status} from {}", self.base()),
            }),
        }
    }

    /// A redirection is not followed: it may lead anywhere, and a token must not.
    fn elsewhere(&self, answer: &Answer) -> Failure {
        let place = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let place = place.and_then(|place| self.base.join(place).ok());
        let place = place.map_or("nowhere".to_string(), |url| url.origin().ascii_serialization());
        let message = format!("{} leads on to {place} (HTTP {})", self.base(), answer.status);
        Failure::with_hint(message, format!("Set SENRYU_URL to the server: {place}"))
    }

    fn not_logged_in(&self) -> Failure {
        match (&self.auth, self.from_env) {
            (Auth::Token(_), true) => Failure::logged_out(
                "The token in SENRYU_API_KEY is not valid on this server.",
                format!("Unset SENRYU_API_KEY to use the saved one. The server is {}", self.base()),
            ),
            (Auth::Token(_), false) => Failure::logged_out(
                "The saved token is not valid any more.",
                "Log in again: senryu login",
            ),
            _ => Failure::logged_out("not logged in", "Log in first: senryu login"),
        }
    }

    /// Opens a stream whose address the API gave; it carries its own secret, so no token is sent.
    pub async fn open(&self, url: &str, headers: &[(HeaderName, String)]) -> Result<Response> {
        let url = self.url(url)?;
        let mut request = self.http()?.get(url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        timeout(limits::CLIENT_READ_TIMEOUT, request.send())
            .await
            .map_err(|_| self.late())?
            .map_err(|error| self.unreachable(&error))
    }

    /// Puts a file to an address that the API gave; it carries its own secret, so no token is sent.
    pub async fn upload(&self, url: &str, file: tokio::fs::File, bytes: u64) -> Result<()> {
        let body = reqwest::Body::wrap_stream(tokio_util::io::ReaderStream::new(file));
        let request = self.http()?.put(self.url(url)?).header(CONTENT_LENGTH, bytes).body(body);
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        self.judged(Answer { status, headers, body }).map(drop)
    }

    /// Turns a request into a connection of its own; the address carries its own secret.
    pub async fn upgrade(&self, path: &str, protocol: &str) -> Result<reqwest::Upgraded> {
        let request = self.http()?.get(self.url(path)?);
        let request = request.header(CONNECTION, "Upgrade").header(UPGRADE, protocol);
        let response = timeout(limits::CLIENT_READ_TIMEOUT, request.send())
            .await
            .map_err(|_| self.late())?
            .map_err(|error| self.unreachable(&error))?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return response.upgrade().await.map_err(|error| self.unreachable(&error));
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        self.judged(Answer { status, headers, body })?;
        Err(Failure::refused(format!("{} does not lead to a dyno (HTTP {status})", self.base())))
    }

    pub fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut cause: &dyn std::error::Error = error;
        while let Some(below) = cause.source() {
            cause = below;
        }
        let message = format!("Can't reach {}: {cause}", self.base());
        match self.base.scheme() == "https" && message.contains("certificate") {
            true => Failure::with_hint(
                message,
                "SSL_CERT_FILE names a file with the CA's certificate, where it is your own.",
            ),
            false => Failure::Unreachable { message },
        }
    }

    fn late(&self) -> Failure {
        let seconds = limits::CLIENT_READ_TIMEOUT.as_secs();
        Failure::Unreachable {
            message: format!("{} did not answer within {seconds} s", self.base()),
        }
    }

    /// A path below the server's address, or an address as it is.
    fn url(&self, path: &str) -> Result<Url> {
        let wrong = |_| Failure::refused(format!("{path:?} is not an address"));
        match path.starts_with('/') {
            true => Url::parse(&format!("{}{path}", self.base())).map_err(wrong),
            false => Url::parse(path).map_err(wrong),
        }
    }

    fn http(&self) -> Result<&reqwest::Client> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let made = http_client(&self.base)
            .map_err(|error| Failure::refused(format!("Can't set up HTTP: {error}")))?;
        Ok(self.http.get_or_init(|| made))
    }
}

impl<'a> Call<'a> {
    pub fn new(method: Method, path: &'a str) -> Self {
        let repeatable = method != Method::POST;
        Self { method, path, body: None, range: None, repeatable }
    }
}

/// What a repeated DELETE does not find was deleted by the first one.
fn is_gone(call: &Call<'_>, answer: &Answer) -> bool {
    call.method == Method::DELETE && answer.status == StatusCode::NOT_FOUND
}

/// The server went away with a request that must not be sent twice.
fn unknown(failure: Option<Failure>) -> Failure {
    let message = failure.map(|failure| failure.to_string()).unwrap_or_default();
    let hint = "It is not known whether this was done: look before you try again.";
    Failure::with_hint(message, hint)
}

/// Whether a failed request can have reached the server.
enum Sent {
    Never(Failure),
    Maybe(Failure),
}

/// Reading the system's certificates takes longer than a whole command, so plain HTTP does
/// without; and no proxy stands between us and our own machine.
fn http_client(base: &Url) -> reqwest::Result<reqwest::Client> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("senryu-cli/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(limits::CLIENT_CONNECT_TIMEOUT)
        .tcp_keepalive(Duration::from_secs(30));
    // A second call finds a provider installed, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = match base.scheme() {
        "http" => {
            let roots = rustls::RootCertStore::empty();
            let config =
                rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
            builder.tls_backend_preconfigured(config)
        }
        _ => builder,
    };
    match address::is_loopback(base) {
        true => builder.no_proxy().build(),
        false => builder.build(),
    }
}

/// The whole body; `None` when it is longer than any answer.
async fn read_all(mut response: Response) -> reqwest::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > limits::CLIENT_ANSWER_BYTES {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

fn list(body: Value) -> Result<Vec<Value>> {
    match body {
        Value::Array(items) => Ok(items),
        _ => Err(Failure::refused("The server answered something that is not a list")),
    }
}

/// A part of a path, such as an app's name.
pub fn segment(text: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(text, KEPT).to_string()
}

/// A string inside an answer by its JSON pointer; empty when it is not there.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A number inside an answer by its JSON pointer.
pub fn number(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer).and_then(Value::as_i64)
}
