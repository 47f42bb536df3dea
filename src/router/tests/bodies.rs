//! Bodies beyond the plain case: answers that come before a body was sent, and trailers.

use super::support::*;
use crate::router::timers::Timers;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

/// More than all socket buffers on the way hold.
const LARGE: usize = 24 * 1024 * 1024;

const TOO_LARGE: &str = "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 8\r\n\
                         Connection: close\r\n\r\ntoo long";

/// A dyno that reads a request's head only, answers and closes.
async fn refusing_dyno() -> Dyno {
    Dyno::start(|mut client| async move {
        client.head().await;
        client.write(TOO_LARGE).await;
    })
    .await
}

/// Sends a large body, and reads the answer only when all of it is sent.
async fn upload(router: &TestRouter, host: &str, framing: &str, piece: &[u8]) -> Response {
    let mut client = router.client().await;
    client.write(&format!("POST / HTTP/1.1\r\nHost: {host}\r\n{framing}\r\n\r\n")).await;
    for _ in 0..LARGE / (64 * 1024) {
        client.0.get_mut().write_all(piece).await.expect("the router reads on");
    }
    client.response().await
}

fn by_length() -> (String, Vec<u8>) {
    (format!("Content-Length: {LARGE}"), vec![b'x'; 64 * 1024])
}

fn in_chunks() -> (String, Vec<u8>) {
    let piece = [b"10000\r\n".to_vec(), vec![b'x'; 64 * 1024], b"\r\n".to_vec()].concat();
    ("Transfer-Encoding: chunked".to_string(), piece)
}

#[tokio::test]
async fn a_dyno_that_refuses_a_large_body_early_is_heard() {
    let dyno = refusing_dyno().await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    for (framing, piece) in [by_length(), in_chunks()] {
        let response = upload(&router, "sample.localhost", &framing, &piece).await;
        assert_eq!((response.status, response.body.as_str()), (413, "too long"));
    }
    let line = router.log_line("status=413").await;
    assert!(line.starts_with("at=info ") && line.contains(" bytes=8 "), "{line}");
}

#[tokio::test]
async fn the_routers_own_refusal_of_a_large_body_is_heard() {
    let mut router = TestRouter::start(short_timers()).await;
    router.set_app(app("sample", &[])).await;
    let (framing, piece) = by_length();
    assert_eq!(upload(&router, "sample.localhost", &framing, &piece).await.status, 503);
    router.log_line("code=H10").await;
}

#[tokio::test]
async fn a_server_that_refuses_a_large_body_early_is_heard() {
    let mut router = TestRouter::start(short_timers()).await;
    router.publish().await;
    let listener = UnixListener::bind(&router.server_socket).unwrap();
    crate::tasks::spawn("server", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(TOO_LARGE.as_bytes()).await.unwrap();
        }
    });
    for (framing, piece) in [by_length(), in_chunks()] {
        let response = upload(&router, "localhost", &framing, &piece).await;
        assert_eq!((response.status, response.body.as_str()), (413, "too long"));
    }
}

#[tokio::test]
async fn a_client_that_never_stops_sending_is_let_go() {
    let dyno = refusing_dyno().await;
    let timers = Timers { linger: Duration::from_millis(200), ..short_timers() };
    let router = TestRouter::with_dynos(timers, &[&dyno]).await;
    let mut client = router.client().await;
    client
        .write("POST / HTTP/1.1\r\nHost: sample.localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    let (_, piece) = in_chunks();
    let sending = async { while client.0.get_mut().write_all(&piece).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(20), sending).await.expect("it is let go");
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let dyno = Dyno::start(|mut client| async move {
        let head = client.head().await.unwrap();
        let body = client.read("3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n".len()).await;
        let echo = format!("{head}{body}");
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
        client.write(&format!("{answer}{:x}\r\n{echo}\r\n", echo.len())).await;
        client.write("0\r\nX-Sum: 2\r\nContent-Length: 3\r\nX-Unannounced: 1\r\n\r\n").await;
    })
    .await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    let mut client = router.client().await;
    let response = client
        .request(
            "POST / HTTP/1.1\r\nHost: sample.localhost\r\nTransfer-Encoding: chunked\r\n\
             TE: trailers\r\nConnection: TE\r\nTrailer: X-Sum, Host\r\n\r\n\
             3\r\nabc\r\n0\r\nX-Sum: 1\r\nHost: elsewhere\r\n\r\n",
        )
        .await;
    assert_eq!(response.header("trailer"), Some("X-Sum"));
    let mut rest = String::new();
    while !rest.ends_with("\r\n0\r\nX-Sum: 2\r\n\r\n") {
        rest.push_str(&client.read(1).await);
    }
    assert!(rest.contains("Trailer: X-Sum, Host\r\n"), "{rest}");
    assert!(rest.contains("3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"), "{rest}");
    assert!(router.log_line("status=200").await.starts_with("at=info"));
}

#[tokio::test]
async fn a_client_that_reads_no_trailers_gets_none() {
    let dyno = Dyno::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         3\r\nabc\r\n0\r\nX-Sum: 2\r\n\r\n",
    )
    .await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    let mut client = router.client().await;
    for _ in 0..2 {
        client.request(&get("/")).await;
        assert_eq!(client.read(13).await, "3\r\nabc\r\n0\r\n\r\n");
    }
    assert_eq!(dyno.connection_count(), 1, "the connection is kept");
}
