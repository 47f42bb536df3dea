//! Finds the pieces of a response's body in what was read of it: a length, chunks with their
//! trailers, or everything up to the connection's end.

use super::response_head::Framing;
use crate::limits;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

/// What is left of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    Length(u64),
    Chunked(Chunk),
    UntilClose,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk {
    SizeLine,
    Data(u64),
    DataEnd,
    Trailer,
}

/// A chunk's size line or a trailer line that is longer is no HTTP.
const LINE_BYTES: usize = 4096;

#[derive(Debug)]
pub struct Decoder {
    pub left: Left,
    /// Complete once nothing is left.
    pub trailers: Option<Box<HeaderMap>>,
    trailer_bytes: usize,
}

#[derive(Debug)]
pub struct Malformed;

impl Decoder {
    pub fn new(framing: Framing) -> Self {
        let left = match framing {
            Framing::None | Framing::Length(0) => Left::Done,
            Framing::Length(length) => Left::Length(length),
            Framing::Chunked => Left::Chunked(Chunk::SizeLine),
            Framing::UntilClose => Left::UntilClose,
        };
        Self { left, trailers: None, trailer_bytes: 0 }
    }

    pub fn is_done(&self) -> bool {
        matches!(self.left, Left::Done)
    }

    /// The next piece, if there is one. Goes on to the body's end if that was read already.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, Malformed> {
        self.skip_framing(buffer)?;
        let left = match self.left {
            Left::Done => return Ok(None),
            Left::UntilClose => buffer.len() as u64,
            Left::Length(left) | Left::Chunked(Chunk::Data(left)) => left,
            Left::Chunked(_) => return Ok(None),
        };
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if length == 0 {
            return Ok(None);
        }
        let data = buffer.split_to(length).freeze();
        let left = left - length as u64;
        match self.left {
            Left::Length(_) if left == 0 => self.left = Left::Done,
            Left::Length(_) => self.left = Left::Length(left),
            Left::Chunked(_) if left == 0 => self.left = Left::Chunked(Chunk::DataEnd),
            Left::Chunked(_) => self.left = Left::Chunked(Chunk::Data(left)),
            Left::UntilClose | Left::Done => {}
        }
        self.skip_framing(buffer)?;
        Ok(Some(data))
    }

    fn skip_framing(&mut self, buffer: &mut BytesMut) -> Result<(), Malformed> {
        while let Left::Chunked(state) = self.left {
            match state {
                Chunk::Data(_) => return Ok(()),
                Chunk::DataEnd => {
                    if buffer.len() < 2 {
                        return Ok(());
                    }
                    if &buffer.split_to(2)[..] != b"\r\n" {
                        return Err(Malformed);
                    }
                    self.left = Left::Chunked(Chunk::SizeLine);
                }
                Chunk::SizeLine => {
                    let Some(line) = take_line(buffer)? else { return Ok(()) };
                    self.left = Left::Chunked(match chunk_size(&line).ok_or(Malformed)? {
                        0 => Chunk::Trailer,
                        size => Chunk::Data(size),
                    });
                }
                Chunk::Trailer => {
                    let Some(line) = take_line(buffer)? else { return Ok(()) };
                    if line.is_empty() {
                        self.left = Left::Done;
                    } else {
                        self.keep_trailer(line.freeze())?;
                    }
                }
            }
        }
        Ok(())
    }

    fn keep_trailer(&mut self, line: Bytes) -> Result<(), Malformed> {
        self.trailer_bytes += line.len();
        if self.trailer_bytes > limits::TRAILER_BYTES {
            return Err(Malformed);
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(Malformed)?;
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| Malformed)?;
        let value = line.slice_ref(line[colon + 1..].trim_ascii());
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| Malformed)?;
        self.trailers.get_or_insert_default().append(name, value);
        Ok(())
    }
}

/// A line without its end.
fn take_line(buffer: &mut BytesMut) -> Result<Option<BytesMut>, Malformed> {
    match buffer.iter().take(LINE_BYTES).position(|byte| *byte == b'\n') {
        Some(end) => {
            let mut line = buffer.split_to(end + 1);
            line.truncate(end);
            if line.last() == Some(&b'\r') {
                line.truncate(end - 1);
            }
            Ok(Some(line))
        }
        None if buffer.len() >= LINE_BYTES => Err(Malformed),
        None => Ok(None),
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    if digits.is_empty() || digits.len() > 15 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str, step: usize) -> Result<(Vec<u8>, Option<HeaderMap>), Malformed> {
        let mut decoder = Decoder::new(Framing::Chunked);
        let (mut buffer, mut body) = (BytesMut::new(), Vec::new());
        for piece in text.as_bytes().chunks(step) {
            buffer.extend_from_slice(piece);
            while let Some(data) = decoder.next(&mut buffer)? {
                body.extend_from_slice(&data);
            }
        }
        let trailers = decoder.trailers.take().filter(|_| decoder.is_done());
        Ok((body, trailers.map(|fields| *fields)))
    }

    #[test]
    fn chunks_are_found_however_they_arrive() {
        let text = "3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n";
        for step in 1..text.len() {
            let (body, trailers) = decode(text, step).unwrap();
            assert_eq!(body, b"abc0123456789");
            assert_eq!(trailers.expect("done")["x-sum"], "1", "in steps of {step}");
        }
    }

    #[test]
    fn broken_chunks_are_refused() {
        assert!(decode("zz\r\n", 9).is_err());
        assert!(decode("-3\r\nabc", 9).is_err());
        assert!(decode("3\r\nabcd\r\n", 99).is_err());
        assert!(decode(&"1".repeat(5000), 5000).is_err());
        assert!(decode("0\r\nno trailer\r\n\r\n", 99).is_err());
        assert!(decode(&format!("0\r\n{}\r\n", "X: 1\r\n".repeat(9999)), 99).is_err());
        assert!(decode("fffffffffffffffff\r\n", 99).is_err());
    }
}
