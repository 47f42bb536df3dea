//! Input and output of one container, on a connection that Docker hands over after an HTTP
//! upgrade. Our own, since bollard's decoder takes a terminal's bytes for frame headers and holds
//! whole frames in memory.

use super::{Attached, Output};
use crate::error::{Context, Error, Result};
use crate::{limits, tasks};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use http::{Method, Request, StatusCode, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use std::io;
use std::path::Path;
use tokio::net::UnixStream;
use tokio_util::codec::{Decoder, FramedRead};

/// Attaches to a container that does not run yet, so that nothing of its output is missed.
pub async fn attach(socket: &Path, container: &str, terminal: bool) -> Result<Attached> {
    let what = "attach to a container";
    let stream = UnixStream::connect(socket).await.context(what)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.context(what)?;
    tasks::spawn("attached container", async move {
        // An error here is the stream's end too.
        let _ = connection.with_upgrades().await;
    });
    let path = format!("/containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1");
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::HOST, "docker")
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "tcp")
        .body(Empty::<Bytes>::new())
        .context(what)?;
    let answer = tokio::time::timeout(limits::ENGINE_TIMEOUT, sender.send_request(request))
        .await
        .context(what)?
        .context(what)?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let cause = format!("Docker answered {}", answer.status());
        return Err(Error::internal(what, cause));
    }
    let io = TokioIo::new(hyper::upgrade::on(answer).await.context(what)?);
    let (reader, writer) = tokio::io::split(io);
    let pieces = FramedRead::with_capacity(
        reader,
        Pieces { terminal, left: 0, stderr: false },
        limits::ATTACH_PIECE_BYTES,
    );
    let output = pieces.take_while(|piece| std::future::ready(piece.is_ok()));
    let output = output.filter_map(|piece| std::future::ready(piece.ok()));
    Ok(Attached { input: Box::pin(writer), output: output.boxed() })
}

/// What Docker sends, as pieces: a terminal's bytes as they are, else frames of a header (stream,
/// three zeros, length) and a payload, which is passed on as it comes.
struct Pieces {
    terminal: bool,
    /// Bytes of the frame that are still to come, and where they belong.
    left: usize,
    stderr: bool,
}

impl Decoder for Pieces {
    type Item = Output;
    type Error = io::Error;

    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<Output>> {
        if self.terminal {
            let length = bytes.len().min(limits::ATTACH_PIECE_BYTES);
            let piece = (length > 0).then(|| bytes.split_to(length).freeze());
            return Ok(piece.map(|bytes| Output { stderr: false, bytes }));
        }
        while self.left == 0 {
            if bytes.len() < 8 {
                return Ok(None);
            }
            self.stderr = bytes[0] == 2;
            bytes.advance(4);
            self.left = usize::try_from(bytes.get_u32()).unwrap_or(usize::MAX);
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let length = bytes.len().min(self.left).min(limits::ATTACH_PIECE_BYTES);
        let piece = bytes.split_to(length).freeze();
        self.left -= piece.len();
        Ok(Some(Output { stderr: self.stderr, bytes: piece }))
    }

    fn decode_eof(&mut self, bytes: &mut BytesMut) -> io::Result<Option<Output>> {
        // Half a header at the end is nothing.
        self.decode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[stream, 0, 0, 0], &length[..], payload].concat()
    }

    /// Feeds bytes in steps of `step`, and joins what comes out.
    fn decoded(mut pieces: Pieces, sent: &[u8], step: usize) -> (Vec<u8>, Vec<u8>) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut buffer = BytesMut::new();
        for part in sent.chunks(step) {
            buffer.extend_from_slice(part);
            while let Some(piece) = pieces.decode(&mut buffer).unwrap() {
                if piece.stderr { &mut err } else { &mut out }.extend_from_slice(&piece.bytes);
            }
        }
        (out, err)
    }

    #[test]
    fn frames_come_apart_wherever_they_are_cut() {
        let sent =
            [frame(1, b"one\n"), frame(2, b"oops"), frame(1, b""), frame(1, b"two")].concat();
        for step in 1..sent.len() + 1 {
            let pieces = Pieces { terminal: false, left: 0, stderr: false };
            let (out, err) = decoded(pieces, &sent, step);
            assert_eq!((out.as_slice(), err.as_slice()), (&b"one\ntwo"[..], &b"oops"[..]));
        }
    }

    #[test]
    fn a_terminal_may_send_what_looks_like_a_header() {
        let sent = [1, 0, 0, 0, 0, 0, 0, 200, 1, 2, 0, 7];
        let pieces = Pieces { terminal: true, left: 0, stderr: false };
        assert_eq!(decoded(pieces, &sent, 3), (sent.to_vec(), Vec::new()));
    }
}
