//! Who has the ports that the platform listens on: our router, nobody, or somebody else.

use super::Finding;
use crate::cli::client::Client;
use crate::config::ServerSettings;
use crate::limits;
use reqwest::header::{HOST, SERVER};
use serde_json::Value;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::TcpStream;
use tokio::time::timeout;

const RESTART: &str =
    "restart the server, which starts the router: systemctl restart senryu, or scripts/up";

pub(super) async fn look(settings: &ServerSettings, running: bool) -> Vec<Finding> {
    let mut findings = vec![plain(settings.listen, running).await];
    if let Some(listen) = settings.tls_listen {
        findings.push(secure(listen, running).await);
    }
    findings
}

async fn plain(listen: SocketAddr, running: bool) -> Finding {
    let what = "port";
    if !accepts(listen).await {
        return unused(what, listen, running);
    }
    match routed(here(listen)).await {
        Some(true) => Finding::ok(what, format!("the router answers on {listen}")),
        Some(false) if running => Finding::warn(
            what,
            format!("the router on {listen} does not reach the server"),
            "restart the server: systemctl restart senryu, or scripts/up",
        ),
        _ => Finding::fail(
            what,
            format!("another program listens on {listen}"),
            &format!("find it with: ss -ltnp 'sport = :{}', or choose --listen", listen.port()),
        ),
    }
}

/// What answers there is not asked who it is: a server that runs holds this listener itself.
async fn secure(listen: SocketAddr, running: bool) -> Finding {
    let what = "port for HTTPS";
    match accepts(listen).await {
        true => Finding::ok(what, format!("{listen} accepts connections")),
        false => unused(what, listen, running),
    }
}

fn unused(what: &'static str, listen: SocketAddr, running: bool) -> Finding {
    match running {
        true => {
            let message = format!("nothing listens on {listen}, though the server runs");
            Finding::fail(what, message, RESTART)
        }
        false => Finding::ok(what, format!("{listen} is free")),
    }
}

async fn accepts(listen: SocketAddr) -> bool {
    let connect = timeout(limits::DOCTOR_TIMEOUT, TcpStream::connect(here(listen))).await;
    matches!(connect, Ok(Ok(_)))
}

/// An address to reach a listener at from this machine.
fn here(listen: SocketAddr) -> SocketAddr {
    match listen {
        _ if !listen.ip().is_unspecified() => listen,
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, listen.port())),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::LOCALHOST, listen.port())),
    }
}

/// Whether the API answers behind this address: it refuses a caller without a token in its own
/// words. `None` when what answers is not ours.
async fn routed(local: SocketAddr) -> Option<bool> {
    // The server has this name whatever the router listens on.
    let client = Client::new(&format!("http://localhost:{}", local.port())).ok()?;
    let (url, host) = (format!("http://{local}/account"), [(HOST, "localhost".to_string())]);
    let asked = timeout(limits::DOCTOR_TIMEOUT, client.open(&url, &host));
    let response = asked.await.ok()?.ok()?;
    let status = response.status().as_u16();
    // At an address of the network, the router itself sends everybody to HTTPS.
    let is_router = response.headers().get(SERVER).is_some_and(|name| name == "senryu-router");
    if is_router && matches!(status, 301 | 308 | 403) {
        return Some(true);
    }
    let body: Value = timeout(limits::DOCTOR_TIMEOUT, response.json()).await.ok()?.ok()?;
    match (status, body.get("id").and_then(Value::as_str)) {
        (401, Some("unauthorized")) => Some(true),
        (503, Some(_)) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use std::io::{Read, Write};

    /// Answers a connection that only asks whether somebody listens, and then a request, which it
    /// gives back.
    fn listener(answer: &'static str) -> (SocketAddr, std::thread::JoinHandle<String>) {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            socket.accept().unwrap();
            let (mut stream, _) = socket.accept().unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        (address, thread)
    }

    #[tokio::test]
    async fn a_port_that_another_program_has_is_found() {
        let (address, answered) =
            listener("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi");
        let finding = plain(address, false).await;
        assert_eq!(finding.level, Level::Fail, "{finding:?}");
        assert!(finding.message.contains("another program"));
        answered.join().unwrap();
        assert_eq!(plain(address, false).await.level, Level::Ok);
        assert_eq!(plain(address, true).await.level, Level::Fail);
        assert_eq!(secure(address, true).await.level, Level::Fail);
    }

    #[tokio::test]
    async fn a_router_on_one_address_is_asked_by_a_name_that_it_knows() {
        let moved = "HTTP/1.1 301 Moved Permanently\r\nserver: senryu-router\r\n\
                     location: https://localhost/account\r\ncontent-length: 0\r\n\r\n";
        let (address, answered) = listener(moved);
        let finding = plain(address, true).await;
        assert_eq!(finding.level, Level::Ok, "{finding:?}");
        let request = answered.join().unwrap().to_ascii_lowercase();
        assert!(request.contains("\r\nhost: localhost\r\n"), "{request}");
    }
}
