//! HTTP/2: what dynos and the log are told, many streams at once, WebSockets, and clients that
//! leave, stall or ask for another's host.

use super::requests::websocket_dyno;
use super::support::*;
use super::tls::{both, config, sample, served};
use crate::certs::testing::Authority;
use crate::limits;
use crate::router::timers::Timers;
use crate::tasks;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

type Sender = SendRequest<Full<Bytes>>;

/// A connection by HTTP/2, with a window of `window` bytes for each answer.
async fn client(router: &TestRouter, authority: &Authority, window: u32) -> Sender {
    let mut config = config(authority);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(router.tls_addr).await.unwrap();
    let name = ServerName::try_from("www.example.com").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tasks::spawn("http2 client", async move {
        // How it ends is what the test sees in its requests.
        let _ = connection.await;
    });
    sender
}

fn request(method: Method, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("https://www.example.com{path}"))
}

fn plain(path: &str) -> Request<Full<Bytes>> {
    request(Method::GET, path).body(Full::default()).unwrap()
}

async fn text(response: http::Response<hyper::body::Incoming>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8_lossy(&body).into_owned()
}

async fn start(authority: &Authority, dyno: &Dyno) -> TestRouter {
    let mut router = sample(dyno).await;
    certify(&mut router, authority).await;
    router
}

async fn certify(router: &mut TestRouter, authority: &Authority) {
    let (www, _) = both(authority);
    router.certify(1, vec![served(&www, "one", &["www.example.com"])]).await;
}

#[tokio::test]
async fn a_dyno_is_told_the_same_as_by_http1() {
    let authority = Authority::create();
    let dyno = Dyno::echoing_heads().await;
    let router = start(&authority, &dyno).await;
    let mut sender = client(&router, &authority, 65_535).await;
    let asked = request(Method::GET, "/a?b=c")
        .header("cookie", "one=1")
        .header("cookie", "two=2")
        .header("te", "trailers")
        .body(Full::default())
        .unwrap();
    let answer = sender.send_request(asked).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["server"], "senryu-router");
    let head = text(answer).await;
    assert!(head.starts_with("GET /a?b=c HTTP/1.1\r\nHost: www.example.com\r\n"), "{head}");
    for line in [
        "Cookie: one=1; two=2",
        "X-Forwarded-Proto: https",
        "X-Forwarded-For: 127.0.0.1",
        "Via: 2.0 senryu-router",
    ] {
        assert!(head.lines().any(|found| found == line), "{line} is not in {head}");
    }
    assert!(!head.contains("Te:") && !head.contains("Transfer-Encoding"), "{head}");
    let line = router.log_line("path=\"/a?b=c\"").await;
    assert!(line.ends_with("protocol=http2.0 tls=true tls_version=tls1.3"), "{line}");

    let all = (0..40).map(|n| sender.send_request(plain(&format!("/{n}"))));
    for (n, answer) in futures_util::future::join_all(all).await.into_iter().enumerate() {
        let head = text(answer.unwrap()).await;
        assert!(head.starts_with(&format!("GET /{n} ")), "{head}");
    }
    let elsewhere = Request::get("https://a.example.org/").body(Full::default()).unwrap();
    assert_eq!(sender.send_request(elsewhere).await.unwrap().status(), 421);
    let connect = Request::connect("www.example.com:443").body(Full::default()).unwrap();
    assert_eq!(sender.send_request(connect).await.unwrap().status(), 405);
    let mut two_hosts = plain("/");
    two_hosts.headers_mut().insert("host", "a.example.org".parse().unwrap());
    assert_eq!(sender.send_request(two_hosts).await.unwrap().status(), 400);
}

#[tokio::test]
async fn bodies_go_up_and_down_in_pieces() {
    let authority = Authority::create();
    let dyno = Dyno::start(|mut client| async move {
        let head = client.head().await.unwrap();
        assert!(head.contains("Content-Length: 300000\r\n"), "{head}");
        let body = client.read(300_000).await;
        let answer = "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.write(answer).await;
        for piece in body.as_bytes().chunks(10_000) {
            client.write(&format!("2710\r\n{}\r\n", std::str::from_utf8(piece).unwrap())).await;
        }
        client.write("0\r\n\r\n").await;
    })
    .await;
    let router = start(&authority, &dyno).await;
    let mut sender = client(&router, &authority, 65_535).await;
    let body = "x".repeat(300_000);
    let asked = request(Method::POST, "/").body(Full::from(body.clone())).unwrap();
    let answer = sender.send_request(asked).await.unwrap();
    assert_eq!(answer.status(), 201);
    assert!(text(answer).await == body);
    router.log_line("method=POST").await;
    router.log_line("status=201 bytes=300000").await;
}

#[tokio::test]
async fn websockets_come_as_streams() {
    let authority = Authority::create();
    let dyno = websocket_dyno().await;
    let router = start(&authority, &dyno).await;
    let mut sender = client(&router, &authority, 65_535).await;
    // What the router allows is known with its first frames.
    sender.ready().await.unwrap();
    let mut asked = request(Method::CONNECT, "/chat").body(Full::default()).unwrap();
    asked.extensions_mut().insert(Protocol::from_static("websocket"));
    let mut answer = sender.send_request(asked).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("sec-websocket-accept"));
    let mut socket = TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap());
    socket.write_all(b"abc").await.unwrap();
    let mut said = [0; 5];
    socket.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"hiabc");
    socket.write_all(b".").await.unwrap();
    let line = router.log_line("/chat").await;
    assert!(line.contains("method=GET") && line.contains("status=101 bytes=5"), "{line}");
}

/// An answer without end, or one to a request for `/small`.
async fn endless() -> Dyno {
    Dyno::start(|mut client| async move {
        while let Some(head) = client.head().await {
            if head.starts_with("GET /small") {
                client.write(&ok("small")).await;
                continue;
            }
            client.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
            let piece = "x".repeat(65_536);
            while client.0.get_mut().write_all(piece.as_bytes()).await.is_ok() {}
            return;
        }
    })
    .await
}

#[tokio::test]
async fn a_stream_whose_client_takes_nothing_ends_alone() {
    let authority = Authority::create();
    let dyno = endless().await;
    let timers = Timers { idle: Duration::from_millis(300), ..short_timers() };
    let mut router = TestRouter::with_dynos(timers, &[&dyno]).await;
    let id = router.snapshot.apps[0].id;
    router.snapshot.hosts.insert("www.example.com".to_string(), id);
    router.publish().await;
    certify(&mut router, &authority).await;
    let mut sender = client(&router, &authority, 1000).await;
    let answer = sender.send_request(plain("/big")).await.unwrap();
    let line = router.log_line("code=H28").await;
    assert!(line.contains("path=\"/big\""), "{line}");
    answer.into_body().collect().await.unwrap_err();
    let small = sender.send_request(plain("/small")).await.unwrap();
    assert_eq!(text(small).await, "small");
}

#[tokio::test]
async fn a_client_that_leaves_request_after_request_is_cut_off() {
    let authority = Authority::create();
    let dyno = Dyno::start(|mut client| async move {
        while let Some(head) = client.head().await {
            if head.starts_with("GET /answer") {
                client.write(&ok("hello")).await;
            }
        }
    })
    .await;
    let router = start(&authority, &dyno).await;
    let mut sender = client(&router, &authority, 65_535).await;
    let mut left = 0;
    while let Ok(()) = sender.ready().await {
        assert!(left <= 20 * limits::HTTP2_LEFT, "nothing ends it");
        let asked = sender.send_request(plain("/left"));
        // It has to be on its way before it is left.
        let _ = tokio::time::timeout(Duration::from_millis(2), asked).await;
        left += 1;
    }
    let mut other = client(&router, &authority, 65_535).await;
    assert_eq!(text(other.send_request(plain("/answer")).await.unwrap()).await, "hello");
}
