//! The router: connections that live through deploys, pages, WebSockets and what is no HTTP.

use crate::support::{Connection, Platform};
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn a_keep_alive_connection_survives_a_deploy_without_a_failed_request() {
    let app = Platform::shared().app_from("tiny");
    let mut kept = app.platform.connection();
    assert_eq!(app.get_on(&mut kept, "/").unwrap().header("x-release"), "v3");
    let done = AtomicBool::new(false);
    let requests = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut connection = app.platform.connection();
            let mut requests = 0;
            while !done.load(Ordering::Relaxed) {
                let reply = app.get_on(&mut connection, "/").unwrap();
                assert_eq!(reply.status, 200, "request {requests}: {}", reply.text());
                requests += 1;
            }
            requests
        });
        let slow = scope.spawn(|| app.get("/slow?ms=3000"));
        app.commit("again");
        let push = app.push();
        let set = app.cli(&["config:set", "A=1"]);
        done.store(true, Ordering::Relaxed);
        push.succeeded();
        set.succeeded();
        slow.join().unwrap().is(200);
        load.join().unwrap()
    });
    assert!(requests > 10, "only {requests} requests were made");
    // The same TCP connection, and the command has returned: no old release answers.
    assert_eq!(app.get_on(&mut kept, "/").unwrap().header("x-release"), "v5");
}

#[test]
fn maintenance_is_a_page_and_ends() {
    let app = Platform::shared().app_from("tiny");
    app.cli(&["maintenance:on"]).succeeded();
    let page = app.get("/").is(503);
    assert!(page.text().contains("Offline for Maintenance"), "{}", page.text());
    app.log_says("code=H80");
    assert_eq!(app.cli(&["maintenance"]).succeeded().stdout, "on\n");
    app.cli(&["maintenance:off"]).succeeded();
    assert_eq!(app.serving(), "v3");
}

#[test]
fn an_unknown_host_gets_a_page_of_its_own() {
    let platform = Platform::shared();
    for host in ["nobody.localhost", "nobody.example.com", "LOCALHOST.example"] {
        let reply = platform.connection().request("GET", host, "/", &[], b"").unwrap().is(404);
        assert!(reply.text().contains("No such app"), "{host}: {}", reply.text());
    }
}

/// Requests that two programs could read in two ways.
const AMBIGUOUS: [&str; 5] = [
    "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "Content-Length: 5, 6\r\n\r\nhello",
    "Content-Length: -5\r\n\r\nhello",
    "Content-Length: +5\r\n\r\nhello",
    "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
];

const BOTH: &str = "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";

#[test]
fn ambiguous_requests_are_refused_and_the_connection_closes() {
    let app = Platform::shared().app_from("tiny");
    for host in [app.host(), "localhost".to_string()] {
        for rest in AMBIGUOUS {
            let mut connection = app.platform.connection();
            let head = format!("POST /echo HTTP/1.1\r\nHost: {host}\r\n{rest}");
            connection.send_raw(head.as_bytes()).unwrap();
            let reply = connection.reply("POST").unwrap();
            assert_eq!(reply.status, 400, "{host}: {rest:?}");
            assert!(connection.is_closed(), "{host}: {rest:?}");
        }
    }
    // With both the chunks count, as on Heroku, and nothing may follow on this connection.
    let mut connection = app.platform.connection();
    let head = format!("POST /echo HTTP/1.1\r\nHost: {}\r\n{BOTH}", app.host());
    connection.send_raw(head.as_bytes()).unwrap();
    assert_eq!(connection.reply("POST").unwrap().is(200).text(), "hi");
    assert!(connection.is_closed());

    let mut connection = app.platform.connection();
    connection.send_raw(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(connection.reply("GET").unwrap().status, 400, "no Host");
    assert_eq!(app.serving(), "v3");
}

#[test]
fn bodies_stream_both_ways_and_herokus_headers_are_there() {
    let app = Platform::shared().app_from("tiny");
    let body: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let mut connection = app.platform.connection();
    let reply = connection.request("POST", &app.host(), "/echo", &[], &body).unwrap().is(200);
    assert!(reply.body == body, "the body came back changed");
    let reply = app.get_on(&mut connection, "/stream?chunks=5&ms=20").unwrap().is(200);
    assert_eq!(reply.text().lines().count(), 5);
    let headers = [("X-Request-Id", "given-by-the-client-42")];
    let reply = connection.request("GET", &app.host(), "/headers", &headers, b"").unwrap();
    assert!(reply.header("via").contains("senryu-router"), "{:?}", reply.headers);
    let seen = reply.json();
    assert_eq!(seen["x-request-id"], "given-by-the-client-42");
    assert_eq!(seen["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen["x-forwarded-proto"], "http");
    assert_eq!(seen["x-forwarded-port"], app.platform.address.port().to_string());
    assert!(seen["x-request-start"].is_string(), "{seen}");
    assert_eq!(seen["host"], app.host());
}

#[test]
fn a_websocket_echoes() {
    let app = Platform::shared().app_from("tiny");
    let mut connection: Connection = app.platform.connection();
    let head = format!(
        "GET /socket HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        app.host()
    );
    connection.send_raw(head.as_bytes()).unwrap();
    let reply = connection.reply("GET").unwrap().is(101);
    // The answer that RFC 6455 gives for this key.
    assert_eq!(reply.header("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    for text in ["hello", "and again"] {
        let mask = [1u8, 2, 3, 4];
        let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap()];
        frame.extend(mask);
        frame.extend(text.bytes().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
        connection.send_raw(&frame).unwrap();
        let mut echo = vec![0; 2 + text.len()];
        connection.read_exact(&mut echo).unwrap();
        assert_eq!(&echo[2..], text.as_bytes());
    }
}
