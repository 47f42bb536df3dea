//! A stage for the command line: a home of its own, a server on a real socket that answers by a
//! function, and what a command wrote and asked for.

use super::env::Env;
use super::ui::Ui;
use super::{Cli, conclude, fold, parse};
use bytes::Bytes;
use clap::CommandFactory;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::io::Write;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub headers: http::HeaderMap,
    pub body: Value,
}

impl Asked {
    /// `PATCH /apps/shop`, to match on.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

/// What the server answers.
pub enum Reply {
    Json(u16, Value),
    /// A status, a header and a body as they are.
    Raw(u16, (&'static str, &'static str), String),
    /// Closes the connection without an answer, as a server that is killed.
    Cut,
}

pub struct Stage {
    pub home: tempfile::TempDir,
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    pub vars: Vec<(&'static str, String)>,
}

/// How a command ended.
pub struct Done {
    pub status: u8,
    pub out: String,
    pub err: String,
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Stage {
    /// A stage whose server answers by `answer`, which gets the request and how many came before.
    pub async fn new(answer: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (asked.clone(), Arc::new(answer));
        crate::tasks::spawn("test server", async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (seen, answer) = (seen.clone(), answer.clone());
                crate::tasks::spawn("test connection", async move {
                    let service = service_fn(move |request| {
                        let (seen, answer) = (seen.clone(), answer.clone());
                        async move { serve(request, &seen, &*answer).await }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        let home = tempfile::tempdir().unwrap();
        let vars = vec![("SENRYU_URL", url.clone()), ("SENRYU_API_KEY", "key".to_string())];
        Self { home, url, asked, vars }
    }

    /// The lines of all requests so far.
    pub fn lines(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(Asked::line).collect()
    }

    /// The last request of this method and path.
    pub fn last(&self, line: &str) -> Asked {
        let asked = self.asked.lock().unwrap();
        let found = asked.iter().rev().find(|asked| asked.line() == line);
        found.cloned().unwrap_or_else(|| panic!("nobody asked {line}"))
    }

    pub async fn run(&self, line: &[&str]) -> Done {
        self.run_with(line, "").await
    }

    /// Runs a command line with this on its standard input.
    pub async fn run_with(&self, line: &[&str], input: &'static str) -> Done {
        let tree = Cli::command();
        let args = line.iter().map(|arg| arg.to_string()).collect();
        let args = fold::fold(args, |name| tree.find_subcommand(name).is_some());
        let command = parse(tree, args).unwrap_or_else(|error| panic!("{error}"));
        let vars: Vec<(&str, &str)> =
            self.vars.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let env = Env::for_tests(self.home.path(), &vars);
        let (out, err) = (Sink::default(), Sink::default());
        let ui = Ui::for_tests(Box::new(out.clone()), Box::new(err.clone()), input);
        let status = conclude(env, ui, command).await;
        Done { status, out: out.text(), err: err.text() }
    }
}

async fn serve(
    request: Request<Incoming>,
    seen: &Mutex<Vec<Asked>>,
    answer: &(dyn Fn(&Asked, usize) -> Reply + Send + Sync),
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let asked = Asked {
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    };
    let before = {
        let mut seen = seen.lock().unwrap();
        seen.push(asked.clone());
        seen.len() - 1
    };
    let (status, (name, value), body) = match answer(&asked, before) {
        Reply::Json(status, value) => {
            (status, ("content-type", "application/json"), value.to_string())
        }
        Reply::Raw(status, header, body) => (status, header, body),
        Reply::Cut => return Err(std::io::Error::other("cut")),
    };
    let response = Response::builder().status(status).header(name, value);
    response.body(Full::new(Bytes::from(body))).map_err(std::io::Error::other)
}
