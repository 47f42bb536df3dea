//! What a client and the server say to each other about an attached one-off dyno, after the HTTP
//! upgrade: frames of a kind, a length and a payload, in both directions.

use crate::limits;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_util::codec::Decoder;

/// What the `Upgrade` header names.
pub const PROTOCOL: &str = "senryu-run.1";
/// What it names for Heroku's own client, which knows no frames.
pub const RENDEZVOUS: &str = "rendezvous";
/// Below this path, the last part of a dyno's `attach_url` leads to its connection.
pub const PATH: &str = "/streams/attach/";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Standard input to the dyno; standard output, or all of its terminal, from it.
    Data(Bytes),
    Stderr(Bytes),
    /// The client's standard input has ended.
    EndOfInput,
    /// The client's terminal has this size now: columns, rows.
    Resize(u16, u16),
    /// The command has ended with this status. Nothing follows.
    Exit(i32),
    /// The connection ends without an exit status: why. Nothing follows.
    Closed(String),
    /// Nothing to say, but alive: shows the server a client that has gone.
    Alive,
}

const HEAD: usize = 5;

/// Sends frames. What waits to be sent stays here when the caller stops waiting.
pub struct Writer<W> {
    io: W,
    buffer: BytesMut,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub fn new(io: W) -> Self {
        Self { io, buffer: BytesMut::new() }
    }

    /// Adds a frame to what goes out with the next flush, which is now if it is much.
    pub async fn feed(&mut self, frame: &Frame) -> io::Result<()> {
        frame.put(&mut self.buffer)?;
        match self.buffer.len() >= limits::ATTACH_PIECE_BYTES {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    pub async fn flush(&mut self) -> io::Result<()> {
        self.io.write_all_buf(&mut self.buffer).await?;
        self.io.flush().await
    }

    pub async fn send(&mut self, frame: &Frame) -> io::Result<()> {
        self.feed(frame).await?;
        self.flush().await
    }
}

impl Frame {
    fn put(&self, out: &mut BytesMut) -> io::Result<()> {
        let mut put = |kind: u8, payload: &[u8]| -> io::Result<()> {
            let length = u32::try_from(payload.len()).ok();
            let length = length.filter(|_| payload.len() <= limits::ATTACH_PIECE_BYTES);
            out.reserve(HEAD + payload.len());
            out.put_u8(kind);
            out.put_u32(length.ok_or_else(|| invalid("a frame is too long"))?);
            out.put_slice(payload);
            Ok(())
        };
        match self {
            Frame::Data(bytes) => put(0, bytes),
            Frame::Stderr(bytes) => put(1, bytes),
            Frame::EndOfInput => put(2, &[]),
            Frame::Resize(columns, rows) => {
                put(3, &[columns.to_be_bytes(), rows.to_be_bytes()].concat())
            }
            Frame::Exit(status) => put(4, &status.to_be_bytes()),
            Frame::Closed(reason) => put(5, reason.as_bytes()),
            Frame::Alive => put(6, &[]),
        }
    }
}

/// Reads frames; for `FramedRead`.
pub struct Codec;

impl Decoder for Codec {
    type Item = Frame;
    type Error = io::Error;

    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<Frame>> {
        let Some(mut head) = bytes.get(..HEAD) else { return Ok(None) };
        let kind = head.get_u8();
        let length = usize::try_from(head.get_u32()).unwrap_or(usize::MAX);
        if length > limits::ATTACH_PIECE_BYTES {
            return Err(invalid("a frame is too long"));
        }
        if bytes.len() < HEAD + length {
            bytes.reserve(HEAD + length - bytes.len());
            return Ok(None);
        }
        bytes.advance(HEAD);
        let mut payload = bytes.split_to(length).freeze();
        Ok(Some(match (kind, length) {
            (0, _) => Frame::Data(payload),
            (1, _) => Frame::Stderr(payload),
            (2, 0) => Frame::EndOfInput,
            (3, 4) => Frame::Resize(payload.get_u16(), payload.get_u16()),
            (4, 4) => Frame::Exit(payload.get_i32()),
            (5, _) => Frame::Closed(String::from_utf8_lossy(&payload).into_owned()),
            (6, 0) => Frame::Alive,
            _ => return Err(invalid("a frame of no known kind")),
        }))
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_arrive_as_they_were_sent_wherever_they_are_cut() {
        let sent = [
            Frame::Data(Bytes::from_static(b"\x00\x01one")),
            Frame::Stderr(Bytes::from_static(b"two")),
            Frame::Resize(80, 24),
            Frame::EndOfInput,
            Frame::Alive,
            Frame::Closed("idle".into()),
            Frame::Exit(-1),
        ];
        let mut wire = BytesMut::new();
        for frame in sent.clone() {
            frame.put(&mut wire).unwrap();
        }
        for step in 1..20 {
            let (mut buffer, mut got) = (BytesMut::new(), Vec::new());
            for part in wire.chunks(step) {
                buffer.extend_from_slice(part);
                while let Some(frame) = Codec.decode(&mut buffer).unwrap() {
                    got.push(frame);
                }
            }
            assert_eq!(got, sent, "in steps of {step}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused_and_not_waited_for() {
        for wire in [&[0, 255, 255, 255, 255][..], &[9, 0, 0, 0, 0], &[4, 0, 0, 0, 1, 7]] {
            assert!(Codec.decode(&mut BytesMut::from(wire)).is_err(), "{wire:?}");
        }
        let long = Frame::Data(vec![0; limits::ATTACH_PIECE_BYTES + 1].into());
        assert!(long.put(&mut BytesMut::new()).is_err());
    }
}
