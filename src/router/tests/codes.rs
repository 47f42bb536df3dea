//! What goes wrong, code by code, and requests that are refused for their form.

use super::support::*;
use crate::link::{RoutedApp, RoutedState, WebTarget};
use crate::router::timers::Timers;
use std::net::SocketAddr;
use std::time::Duration;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// An address that refuses connections.
fn closed_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn app_at(addr: SocketAddr) -> RoutedApp {
    let target = WebTarget { id: "closed".into(), dyno: "web.1".into(), addr };
    RoutedApp { targets: vec![target], ..app("sample", &[]) }
}

/// A dyno that reads the request, writes `answer` and closes.
async fn closing_dyno(answer: &'static str) -> Dyno {
    Dyno::start(move |mut client| async move {
        client.head().await;
        client.write(answer).await;
    })
    .await
}

/// A dyno that never answers.
async fn silent_dyno() -> Dyno {
    Dyno::start(|mut client| async move { while client.head().await.is_some() {} }).await
}

#[tokio::test]
async fn states_without_dynos_have_their_codes() {
    let mut router = TestRouter::start(short_timers()).await;
    for (state, status, line) in [
        (RoutedState::Blank, 502, "at=info code=H81 desc=\"Blank app\" method=GET"),
        (RoutedState::NoWeb, 503, "at=error code=H14 desc=\"No web processes running\""),
        (RoutedState::Crashed, 503, "at=error code=H10 desc=\"App crashed\""),
        (RoutedState::Maintenance, 503, "at=info code=H80 desc=\"Maintenance mode\""),
        (RoutedState::Dynos, 503, "at=error code=H10 desc=\"App crashed\""),
    ] {
        router.set_app(RoutedApp { state, ..app("sample", &[]) }).await;
        let response = router.get("/").await;
        assert_eq!(response.status, status, "{state:?}");
        let kind = Some("text/html; charset=utf-8");
        assert_eq!(response.header("content-type"), kind);
        let line = router.log_line(line).await;
        assert!(line.contains(" dyno= connect= service= status="), "{line}");
        assert!(line.ends_with(" bytes= protocol=http1.1 tls=false"), "{line}");
    }
}

#[tokio::test]
async fn h11_backlog_too_deep() {
    let dyno = silent_dyno().await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    let mut clients = Vec::new();
    for _ in 0..101 {
        let mut client = router.client().await;
        client.write(&get("/")).await;
        clients.push(client);
    }
    // 50 are in flight, 50 wait, one is refused.
    router.log_line("code=H11 desc=\"Backlog too deep\"").await;
}

#[tokio::test]
async fn a_request_in_the_backlog_goes_on_when_another_ends() {
    let (release, _) = tokio::sync::broadcast::channel::<()>(1);
    let holding = release.clone();
    let dyno = Dyno::start(move |mut client| {
        let mut released = holding.subscribe();
        async move {
            while let Some(head) = client.head().await {
                if head.starts_with("GET /hold") {
                    let _ = released.recv().await;
                }
                client.write(&ok("done")).await;
            }
        }
    })
    .await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    let mut held = Vec::new();
    for _ in 0..50 {
        let mut client = router.client().await;
        client.write(&get("/hold")).await;
        held.push(client);
    }
    eventually("50 in flight", || (dyno.connection_count() == 50).then_some(())).await;
    let mut waiting = router.client().await;
    waiting.write(&get("/after")).await;
    let still = tokio::time::timeout(ms(50), waiting.head()).await;
    assert!(still.is_err(), "it did not wait");
    release.send(()).unwrap();
    assert_eq!(waiting.response().await.body, "done");
}

#[tokio::test]
async fn h12_request_timeout() {
    let dyno = silent_dyno().await;
    let timers = Timers { first_byte: ms(30), ..short_timers() };
    let router = TestRouter::with_dynos(timers, &[&dyno]).await;
    assert_eq!(router.get("/").await.status, 503);
    let line = router.log_line("at=error code=H12 desc=\"Request timeout\"").await;
    let service = line.split_once(" service=").unwrap().1.split_once("ms").unwrap().0;
    assert!(line.contains("dyno=web.1 connect=") && service.parse::<u32>().unwrap() >= 30);
    assert!(line.contains("status=503 bytes=0 "), "{line}");
}

#[tokio::test]
async fn h13_connection_closed_without_response() {
    let dyno = closing_dyno("").await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    assert_eq!(router.get("/").await.status, 503);
    router.log_line("code=H13 desc=\"Connection closed without response\"").await;
    assert_eq!(dyno.connection_count(), 1, "what was sent is not sent again");
}

#[tokio::test]
async fn h15_idle_connection() {
    let dyno = Dyno::start(|mut client| async move {
        client.head().await;
        client.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").await;
        client.head().await;
    })
    .await;
    let timers = Timers { idle: ms(30), ..short_timers() };
    let router = TestRouter::with_dynos(timers, &[&dyno]).await;
    let mut client = router.client().await;
    client.write(&get("/")).await;
    let got = client.rest().await;
    assert!(got.starts_with("HTTP/1.1 200 OK") && got.ends_with("abc"), "{got}");
    let line = router.log_line("at=error code=H15 desc=\"Idle connection\"").await;
    assert!(line.contains("status=503 bytes=3"), "{line}");
}

#[tokio::test]
async fn h17_poorly_formatted_response() {
    let dyno = closing_dyno("hello world\r\n\r\n").await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    assert_eq!(router.get("/").await.status, 503);
    router.log_line("code=H17 desc=\"Poorly formatted HTTP response\"").await;
}

#[tokio::test]
async fn h18_server_request_interrupted() {
    let dyno = closing_dyno("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    let mut client = router.client().await;
    client.write(&get("/")).await;
    assert!(client.rest().await.ends_with("abc"));
    router.log_line("sock=backend at=error code=H18 desc=\"Server Request Interrupted\"").await;
}

#[tokio::test]
async fn h19_backend_connection_timeout() {
    // A listener whose queue is full takes no further connection.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    let _fills_the_queue = std::net::TcpStream::connect(addr).unwrap();
    let timers = Timers { connect: ms(50), ..short_timers() };
    let mut router = TestRouter::start(timers).await;
    router.set_app(app_at(addr)).await;
    assert_eq!(router.get("/").await.status, 503);
    let line = router.log_line("code=H19 desc=\"Backend connection timeout\"").await;
    let (_, rest) = line.split_once("connect=").unwrap();
    let (millis, rest) = rest.split_once("ms ").unwrap();
    assert!(millis.parse::<u64>().unwrap() >= 50 && rest.starts_with("service= "), "{line}");
}

#[tokio::test]
async fn h20_app_boot_timeout_and_no_timeout_when_the_dyno_comes() {
    let timers = Timers { start_wait: ms(200), ..short_timers() };
    let mut router = TestRouter::start(timers).await;
    router.set_app(RoutedApp { starting: true, ..app("sample", &[]) }).await;
    assert_eq!(router.get("/late").await.status, 503);
    router.log_line("code=H20 desc=\"App boot timeout\"").await;
}

#[tokio::test]
async fn a_request_waits_for_a_dyno_that_starts() {
    let mut router = TestRouter::start(short_timers()).await;
    router.set_app(RoutedApp { starting: true, ..app("sample", &[]) }).await;
    let mut client = router.client().await;
    client.write(&get("/")).await;
    // The router's clock starts when it reads the request, on a busy machine a little later.
    assert!(tokio::time::timeout(ms(200), client.head()).await.is_err());
    let dyno = Dyno::saying("up").await;
    router.set_app(app("sample", &[&dyno])).await;
    assert_eq!(client.response().await.body, "up");
    let line = router.log_line("status=200").await;
    let connect = line.split_once("connect=").unwrap().1.split_once("ms").unwrap().0;
    assert!(connect.parse::<u32>().unwrap() >= 20, "the wait counts as connect: {line}");
}

#[tokio::test]
async fn h21_then_h34_for_a_dyno_that_refuses() {
    let mut router = TestRouter::start(short_timers()).await;
    router.set_app(app_at(closed_port())).await;
    assert_eq!(router.get("/").await.status, 503);
    let line = router.log_line("code=H21 desc=\"Backend connection refused\"").await;
    assert!(line.contains("ms service= status=503"), "{line}");
    assert_eq!(router.get("/").await.status, 503);
    router.log_line("code=H34 desc=\"All up dynos are quarantined\"").await;
}

#[tokio::test]
async fn a_dyno_that_refuses_is_passed_over() {
    let dyno = Dyno::saying("other").await;
    let mut router = TestRouter::start(short_timers()).await;
    let mut app = app("sample", &[&dyno]);
    app.targets.extend(app_at(closed_port()).targets);
    router.set_app(app).await;
    let mut client = router.client().await;
    for _ in 0..20 {
        assert_eq!(client.request(&get("/")).await.body, "other");
    }
}

#[tokio::test]
async fn quarantine_ends() {
    let addr = closed_port();
    let timers = Timers { quarantine: ms(100), ..short_timers() };
    let mut router = TestRouter::start(timers).await;
    router.set_app(app_at(addr)).await;
    assert_eq!(router.get("/").await.status, 503);
    let listener = tokio::net::TcpListener::bind(addr).await.unwrap();
    crate::tasks::spawn("dyno", async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut client = Client(tokio::io::BufReader::new(stream));
        client.head().await;
        client.write(&ok("back")).await;
    });
    let deadline = tokio::time::Instant::now() + ms(10_000);
    while router.get("/").await.body != "back" {
        assert!(tokio::time::Instant::now() < deadline);
    }
}

#[tokio::test]
async fn h25_restrictions_on_responses() {
    let two_lengths = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
    let dyno = closing_dyno(two_lengths).await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    assert_eq!(router.get("/").await.status, 502);
    let line = "code=H25 desc=\"HTTP restriction: invalid content length\"";
    router.log_line(line).await;
}

#[tokio::test]
async fn h26_bad_expectations_and_chunks() {
    let dyno = silent_dyno().await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    let expects = "GET / HTTP/1.1\r\nHost: sample.localhost\r\nExpect: wonders\r\n\r\n";
    assert_eq!(router.client().await.request(expects).await.status, 417);
    let cause = "cause=\"unsupported expect header value\" method=GET";
    router.log_line(&format!("code=H26 desc=\"Request Error\" {cause}")).await;
    let chunks = "POST / HTTP/1.1\r\nHost: sample.localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
                  zz\r\n";
    let mut client = router.client().await;
    client.write(chunks).await;
    client.rest().await;
    router.log_line("code=H26 desc=\"Request Error\" cause=\"bad chunk\"").await;
}

#[tokio::test]
async fn h27_client_request_interrupted() {
    let dyno = silent_dyno().await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    let mut client = router.client().await;
    client.write(&get("/")).await;
    eventually("in flight", || (dyno.connection_count() == 1).then_some(())).await;
    drop(client);
    let line =
        router.log_line("sock=client at=warning code=H27 desc=\"Client Request Interrupted\"");
    assert!(line.await.contains("status=499"));
}

#[tokio::test]
async fn h28_client_connection_idle() {
    let dyno = silent_dyno().await;
    let timers = Timers { idle: ms(50), ..short_timers() };
    let router = TestRouter::with_dynos(timers, &[&dyno]).await;
    let mut client = router.client().await;
    client.write("POST / HTTP/1.1\r\nHost: sample.localhost\r\nContent-Length: 9\r\n\r\nabc").await;
    let line = router.log_line("at=warning code=H28 desc=\"Client Connection Idle\"").await;
    assert!(line.contains("status=499"), "{line}");
}

#[tokio::test]
async fn ambiguous_requests_are_refused_and_the_connection_closes() {
    let dyno = Dyno::saying("hello").await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    let long = "x".repeat(8200);
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: a.b\r\nHost: sample.localhost\r\n\r\n".to_string(), 400),
        ("GET / HTTP/1.1\r\n\r\n".to_string(), 400),
        ("GET / HTTP/1.0\r\n\r\n".to_string(), 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_string(), 400),
        (
            "POST / HTTP/1.1\r\nHost: sample.localhost\r\nContent-Length: 3\r\n\
             Content-Length: 4\r\n\r\nabcd"
                .to_string(),
            400,
        ),
        ("GET / HTTP/1.1\r\nHost : sample.localhost\r\n\r\n".to_string(), 400),
        (format!("GET /{long} HTTP/1.1\r\nHost: sample.localhost\r\n\r\n"), 414),
        (format!("GET / HTTP/1.1\r\nHost: sample.localhost\r\nX: {long}\r\n\r\n"), 400),
        ("CONNECT a.b:443 HTTP/1.1\r\nHost: a.b:443\r\n\r\n".to_string(), 405),
        ("nonsense\r\n\r\n".to_string(), 400),
    ] {
        let mut client = router.client().await;
        client.write(&request).await;
        let got = client.rest().await;
        assert_eq!(got.get(8..13), Some(&*format!(" {status} ")), "{request:.80}: {got}");
    }
    assert_eq!(dyno.connection_count(), 0);
}

#[tokio::test]
async fn a_thousand_headers_pass() {
    let dyno = Dyno::saying("hello").await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    let many = "X-Many: 1\r\n".repeat(990);
    let request = format!("GET / HTTP/1.1\r\nHost: sample.localhost\r\n{many}\r\n");
    assert_eq!(router.client().await.request(&request).await.status, 200);
}

#[tokio::test]
async fn a_request_with_length_and_chunks_reaches_the_dyno_with_one_of_them() {
    let dyno = Dyno::echoing_heads().await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    let mut client = router.client().await;
    let both = "POST / HTTP/1.1\r\nHost: sample.localhost\r\nContent-Length: 3\r\n\
                Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    client.write(both).await;
    let head = client.response().await.body;
    assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{head}");
    assert!(!head.contains("Content-Length"), "{head}");
}

#[tokio::test]
async fn a_client_that_sends_no_request_is_let_go() {
    let timers = Timers { client_idle: ms(30), client_head: ms(30), ..short_timers() };
    let dyno = Dyno::saying("hello").await;
    let router = TestRouter::with_dynos(timers, &[&dyno]).await;
    let mut client = router.client().await;
    assert_eq!(client.request(&get("/")).await.body, "hello");
    assert_eq!(client.rest().await, "");
    let mut dripping = router.client().await;
    dripping.write("GET / HT").await;
    dripping.rest().await;
}
