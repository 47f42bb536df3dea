//! Requests that go well: hosts, headers, keep-alive, streams, WebSockets, the control host.

use super::support::*;
use crate::link::RoutedState;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

#[tokio::test]
async fn hosts_lead_to_their_apps() {
    let (one, two) = (Dyno::saying("one").await, Dyno::saying("two").await);
    let mut router = TestRouter::with_dynos(short_timers(), &[&one]).await;
    router.set_app(app("other", &[&two])).await;
    let mut client = router.client().await;
    assert_eq!(client.request(&get("/")).await.body, "one");
    let other = "GET / HTTP/1.1\r\nHost: OTHER.localhost\r\n\r\n";
    assert_eq!(client.request(other).await.body, "two");
    let unknown = client.request("GET / HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n").await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.body.contains("No such app"));
}

#[tokio::test]
async fn the_dyno_gets_herokus_headers_and_no_hop_by_hop_ones() {
    let dyno = Dyno::echoing_heads().await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    let request = "GET /a?b=%20c HTTP/1.1\r\nHost: sample.localhost:5757\r\n\
                   X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\nVia: 1.0 front\r\n\
                   X-Request-Id: 0123456789abcdefghij\r\nConnection: keep-alive, X-Hop\r\n\
                   X-Hop: 1\r\nTE: trailers\r\nProxy-Authorization: x\r\nX-Kept: yes\r\n\r\n";
    let response = router.client().await.request(request).await;
    let head = response.body.as_str();
    assert!(head.starts_with("GET /a?b=%20c HTTP/1.1\r\n"), "{head}");
    for line in [
        "Host: sample.localhost:5757",
        "X-Forwarded-For: 203.0.113.7, 127.0.0.1",
        "X-Forwarded-Proto: http",
        "X-Request-Id: 0123456789abcdefghij",
        "Via: 1.0 front",
        "Via: 1.1 senryu-router",
        "X-Kept: yes",
    ] {
        assert!(head.contains(&format!("{line}\r\n")), "{line} is not in {head}");
    }
    assert!(head.contains(&format!("X-Forwarded-Port: {}\r\n", router.addr.port())));
    assert!(head.contains("X-Request-Start: 1"));
    for name in ["Connection:", "X-Hop:", "Te:", "Proxy-Authorization:", "Transfer-Encoding:"] {
        assert!(!head.contains(name), "{name} is in {head}");
    }
    assert_eq!(response.header("via"), Some("1.1 senryu-router"));
    assert_eq!(response.header("server"), Some("senryu-router"));
    assert_eq!(response.header("nel"), None);
}

#[tokio::test]
async fn the_apps_own_server_header_stays() {
    let answer = "HTTP/1.1 200 OK\r\nServer: Puma\r\nContent-Length: 0\r\n\r\n";
    let dyno = Dyno::answering(answer).await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    assert_eq!(router.get("/").await.header("server"), Some("Puma"));
}

#[tokio::test]
async fn log_lines_have_router_2s_form() {
    let dyno = Dyno::saying("hello").await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    let id = "0123456789abcdefghij";
    let request = format!(
        "GET /b%C3%BC?x=y HTTP/1.1\r\nHost: Sample.localhost:1\r\nX-Request-Id: {id}\r\n\r\n"
    );
    router.client().await.request(&request).await;
    let line = router.log_line("at=info").await;
    let (start, rest) = line.split_once(" connect=").unwrap();
    let expected = format!(
        "at=info method=GET path=\"/bü?x=y\" host=sample.localhost request_id={id} \
         fwd=\"127.0.0.1\" dyno=web.1"
    );
    assert_eq!(start, expected);
    let (connect, rest) = rest.split_once("ms service=").unwrap();
    let (service, rest) = rest.split_once("ms ").unwrap();
    assert!(connect.parse::<u32>().is_ok() && service.parse::<u32>().is_ok(), "{line}");
    assert_eq!(rest, "status=200 bytes=5 protocol=http1.1 tls=false");
}

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let dyno = Dyno::saying("hello").await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    let mut client = router.client().await;
    for _ in 0..20 {
        assert_eq!(client.request(&get("/")).await.body, "hello");
    }
    assert_eq!(dyno.connection_count(), 1);
}

#[tokio::test]
async fn bodies_stream_both_ways_at_the_same_time() {
    // Answers each chunk of the request before the next one is sent.
    let dyno = Dyno::start(|mut client| async move {
        client.head().await;
        client.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        for _ in 0..3 {
            let got = client.read(8).await;
            assert_eq!(&got[..3], "3\r\n");
            client.write(&got).await;
        }
        assert_eq!(client.read(5).await, "0\r\n\r\n");
        client.write("0\r\n\r\n").await;
    })
    .await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    let mut client = router.client().await;
    let head = "POST / HTTP/1.1\r\nHost: sample.localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.write(head).await;
    let answer = client.response().await;
    assert_eq!(answer.status, 200);
    for piece in ["one", "two", "six"] {
        client.write(&format!("3\r\n{piece}\r\n")).await;
        assert_eq!(client.read(8).await, format!("3\r\n{piece}\r\n"));
    }
    client.write("0\r\n\r\n").await;
    assert_eq!(client.read(5).await, "0\r\n\r\n");
    assert!(router.log_line("status=200").await.contains("bytes=9"));
}

#[tokio::test]
async fn a_long_body_arrives_whole_in_both_directions() {
    const LENGTH: usize = 3_000_000;
    let dyno = Dyno::start(|mut client| async move {
        client.head().await;
        let body = client.read(LENGTH).await;
        client.write(&ok(&body)).await;
    })
    .await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    let body: String = (0..LENGTH).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
    let head = format!("POST / HTTP/1.1\r\nHost: sample.localhost\r\nContent-Length: {LENGTH}\r\n");
    let request = format!("{head}\r\n{body}");
    let stream = tokio::net::TcpStream::connect(router.addr).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let writing = async move { writer.write_all(request.as_bytes()).await.map(|()| writer) };
    let reading = async {
        let mut got = Vec::new();
        let mut piece = vec![0; 65536];
        while !got.ends_with(body.as_bytes()) {
            let length = reader.read(&mut piece).await.unwrap();
            assert!(length > 0, "closed after {} bytes", got.len());
            got.extend_from_slice(&piece[..length]);
        }
    };
    let (written, ()) = tokio::join!(writing, reading);
    written.unwrap();
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection_is_passed_on() {
    let dyno = Dyno::start(|mut client| async move {
        client.head().await;
        client.write("HTTP/1.1 200 OK\r\n\r\nuntil the end").await;
    })
    .await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    let mut client = router.client().await;
    client.write("GET / HTTP/1.0\r\nHost: sample.localhost\r\n\r\n").await;
    let got = client.rest().await;
    assert!(got.ends_with("\r\n\r\nuntil the end"), "{got}");
    assert!(router.log_line("status=200").await.contains("bytes=13"));
}

#[tokio::test]
async fn head_requests_keep_the_length_and_send_no_body() {
    let dyno = Dyno::answering("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n").await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    let mut client = router.client().await;
    for _ in 0..2 {
        client.write("HEAD / HTTP/1.1\r\nHost: sample.localhost\r\n\r\n").await;
        let head = client.head().await.unwrap().to_lowercase();
        assert!(head.contains("content-length: 1234\r\n"), "{head}");
    }
}

#[tokio::test]
async fn continue_is_answered_by_the_router_and_not_sent_on() {
    let dyno = Dyno::start(|mut client| async move {
        let head = client.head().await.unwrap();
        let body = client.read(3).await;
        client.write(&ok(&format!("{body} {}", head.to_lowercase().contains("expect")))).await;
    })
    .await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    let mut client = router.client().await;
    let head = "POST / HTTP/1.1\r\nHost: sample.localhost\r\nContent-Length: 3\r\n\
                Expect: 100-continue\r\n\r\n";
    client.write(head).await;
    assert_eq!(client.head().await.unwrap(), "HTTP/1.1 100 Continue\r\n");
    assert_eq!(client.request("abc").await.body, "abc false");
}

#[tokio::test]
async fn early_hints_do_not_end_a_request() {
    let dyno = Dyno::answering(&format!("HTTP/1.1 103 Early Hints\r\n\r\n{}", ok("late"))).await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    assert_eq!(router.get("/").await.body, "late");
}

pub async fn websocket_dyno() -> Dyno {
    Dyno::start(|mut client| async move {
        let head = client.head().await.unwrap();
        assert!(head.contains("Connection: Upgrade\r\n") && head.contains("Upgrade: websocket"));
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                      Upgrade: websocket\r\n\r\nhi";
        client.write(answer).await;
        loop {
            let mut byte = [0];
            match client.0.read(&mut byte).await {
                Ok(1) if byte[0] != b'.' => client.write(&char::from(byte[0]).to_string()).await,
                _ => return,
            }
        }
    })
    .await
}

pub const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: sample.localhost\r\n\
                           Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";

#[tokio::test]
async fn websockets_are_a_pipe_and_do_not_hold_up_a_drain() {
    let dyno = websocket_dyno().await;
    let mut router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    let mut client = router.client().await;
    assert_eq!(client.request(UPGRADE).await.status, 101);
    assert_eq!(client.read(2).await, "hi");
    client.write("abc").await;
    assert_eq!(client.read(3).await, "abc");
    router.set_app(app("sample", &[])).await;
    eventually("drained", || router.drained().contains(&dyno.id).then_some(())).await;
    client.write("def.").await;
    assert_eq!(client.rest().await, "def");
    let line = router.log_line("/chat").await;
    assert!(line.contains("status=101 bytes=8"), "{line}");
}

#[tokio::test]
async fn a_silent_websocket_ends_with_h15() {
    let dyno = websocket_dyno().await;
    let timers = Timers { idle: Duration::from_millis(30), ..short_timers() };
    let router = TestRouter::with_dynos(timers, &[&dyno]).await;
    let mut client = router.client().await;
    assert_eq!(client.request(UPGRADE).await.status, 101);
    assert_eq!(client.rest().await, "hi");
    router.log_line("code=H15 desc=\"Idle connection\"").await;
}

use crate::router::timers::Timers;

/// A server that answers with what it got of the client's claims.
pub fn serve_control(router: &TestRouter) {
    let listener = UnixListener::bind(&router.server_socket).unwrap();
    crate::tasks::spawn("server", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(ok(&String::from_utf8(head).unwrap()).as_bytes()).await.unwrap();
        }
    });
}

#[tokio::test]
async fn the_control_host_reaches_the_server_whatever_the_port() {
    let mut router = TestRouter::start(short_timers()).await;
    router.snapshot.control_hosts.push("api.example.com".into());
    router.publish().await;
    serve_control(&router);
    for host in ["localhost", "localhost:5757", "127.0.0.1:1", "[::1]:80", "API.example.com"] {
        let request =
            format!("GET /apps HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n");
        let head = router.client().await.request(&request).await.body.to_lowercase();
        assert!(head.starts_with("get /apps http/1.1\r\n"), "{head}");
        assert!(head.contains("x-forwarded-for: 127.0.0.1\r\n"), "{head}");
        assert!(head.contains(&format!("host: {}\r\n", host.to_lowercase())), "{head}");
    }
    assert_eq!(router.log_lines(), 0);
}

#[tokio::test]
async fn the_control_host_waits_for_a_server_that_restarts() {
    let mut router = TestRouter::start(short_timers()).await;
    router.publish().await;
    let mut client = router.client().await;
    client.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    // Another answer over the same router shows that the first request is under way.
    assert_eq!(router.get("/").await.status, 404);
    serve_control(&router);
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn a_look_is_repeated_when_the_server_dies_under_it_and_a_write_is_not() {
    let mut router = TestRouter::start(short_timers()).await;
    router.publish().await;
    let dying = UnixListener::bind(&router.server_socket).unwrap();
    let mut client = router.client().await;
    client.write("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").await;
    drop(dying.accept().await.unwrap());
    assert_eq!(client.response().await.status, 503);
    client.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    drop(dying.accept().await.unwrap());
    drop(dying);
    std::fs::remove_file(&router.server_socket).unwrap();
    serve_control(&router);
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn the_control_host_says_so_when_the_server_stays_away() {
    let timers = Timers { control_wait: Duration::from_millis(20), ..short_timers() };
    let mut router = TestRouter::start(timers).await;
    router.publish().await;
    let mut client = router.client().await;
    let response = client.request("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(response.status, 503);
    assert!(response.body.starts_with("{\"id\":\"service_unavailable\",\"message\":"));
}

#[tokio::test]
async fn maintenance_shows_its_own_page_in_a_frame() {
    let dyno = Dyno::saying("hello").await;
    let mut router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    let mut app = app("sample", &[&dyno]);
    app.state = RoutedState::Maintenance;
    app.maintenance_page_url = Some("https://example.com/m.html".into());
    router.set_app(app).await;
    let response = router.get("/").await;
    assert_eq!(response.status, 503);
    assert!(response.body.contains("<iframe src=\"https://example.com/m.html\""));
    assert_eq!(response.header("cache-control"), Some("no-cache, no-store"));
    router.log_line("at=info code=H80 desc=\"Maintenance mode\"").await;
}
