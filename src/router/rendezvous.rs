//! Heroku's own client attaches to a one-off by TLS without HTTP: it sends the secret of its dyno
//! on a line, hears a line, and from then on there are bytes both ways. To the server that is an
//! HTTP upgrade like any other.

use super::flow::RequestMark;
use super::listen::ConnState;
use super::shared::Worker;
use super::{control, tunnel};
use crate::frames::{PATH, RENDEZVOUS};
use crate::limits;
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt};

/// The client throws away what it receives first, whatever it is.
const BANNER: &[u8] = b"rendezvous\r\n";
const NOT_THERE: &[u8] =
    b" !     Couldn't find that dyno, or somebody is attached already. Run the command again.\r\n";

/// The secret, if the client begins with one. Else what it sent stays unread.
pub async fn greeting<S: AsyncBufRead + Unpin>(client: &mut S) -> io::Result<Option<String>> {
    let sent = client.fill_buf().await?;
    let (secret, length) = (secret(sent), sent.len());
    if secret.is_some() {
        client.consume(length);
    }
    Ok(secret)
}

/// No request of HTTP is one word.
fn secret(sent: &[u8]) -> Option<String> {
    let line = sent.strip_suffix(b"\r\n")?;
    let is_secret = !line.is_empty()
        && line.len() <= limits::RENDEZVOUS_SECRET_BYTES
        && line.iter().all(u8::is_ascii_alphanumeric);
    is_secret.then(|| String::from_utf8_lossy(line).into_owned())
}

/// Is the pipe between the client and the server, until one of them ends it.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    worker: Arc<Worker>,
    mut client: S,
    conn: Arc<ConnState>,
    secret: &str,
) -> io::Result<()> {
    let _mark = RequestMark::new(conn);
    let server = control::upgrade(&worker, &format!("{PATH}{secret}"), RENDEZVOUS).await;
    client.write_all(BANNER).await?;
    client.flush().await?;
    match server {
        Some(server) => {
            let idle = worker.shared.timers.control_idle;
            tunnel::pipe(client, TokioIo::new(server), idle).await;
            Ok(())
        }
        None => {
            client.write_all(NOT_THERE).await?;
            client.shutdown().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn a_secret_is_taken_and_a_request_is_left_as_it_is() {
        let mut client: &[u8] = b"0123abc\r\n";
        assert_eq!(greeting(&mut client).await.unwrap().as_deref(), Some("0123abc"));
        let long = format!("{}\r\n", "a".repeat(limits::RENDEZVOUS_SECRET_BYTES + 1));
        for other in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "\r\n", "../etc\r\n", &long] {
            let mut client = other.as_bytes();
            assert_eq!(greeting(&mut client).await.unwrap(), None, "{other}");
            let mut left = String::new();
            client.read_to_string(&mut left).await.unwrap();
            assert_eq!(left, other);
        }
    }
}
