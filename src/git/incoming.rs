//! The body of a request, inflated when it came as gzip, a bounded piece at a time.

use crate::limits;
use axum::body::{Body, BodyDataStream};
use bytes::{Buf, Bytes};
use flate2::write::GzDecoder;
use futures_util::StreamExt;
use std::io::Write;

/// Compressed bytes inflated at one time: gzip makes at most about a thousand out of each.
const STEP: usize = 512;

/// Why the rest of a body will not come; each is a sentence.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error("The client sent nothing for {} seconds", limits::GIT_BODY_IDLE.as_secs())]
    Idle,
    #[error("The connection ended in the middle of the request")]
    Ended,
    #[error("The body is not gzip, though Content-Encoding says so")]
    NotGzip,
}

pub struct Incoming {
    stream: BodyDataStream,
    /// At most so many bytes will come, before they are inflated.
    size: u64,
    gunzip: Option<GzDecoder<Vec<u8>>>,
    packed: Bytes,
    /// Plain bytes that were read and given back.
    rest: Option<Bytes>,
}

impl Incoming {
    pub fn new(body: Body, gzip: bool) -> Self {
        let size = http_body::Body::size_hint(&body).upper().unwrap_or(u64::MAX);
        Self {
            size,
            stream: body.into_data_stream(),
            gunzip: gzip.then(|| GzDecoder::new(Vec::new())),
            packed: Bytes::new(),
            rest: None,
        }
    }

    /// The client has sent no length, or a large one: git sends what it has not measured.
    pub fn is_large(&self) -> bool {
        self.size > limits::GIT_UNPACK_BYTES
    }

    /// Gives back what was read too far.
    pub fn unread(&mut self, rest: Bytes) {
        if !rest.is_empty() {
            self.rest = Some(rest);
        }
    }

    /// The next bytes; `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Broken> {
        if let Some(rest) = self.rest.take() {
            return Ok(Some(rest));
        }
        loop {
            if let Some(plain) = self.inflate()? {
                return Ok(Some(plain));
            }
            let next = tokio::time::timeout(limits::GIT_BODY_IDLE, self.stream.next()).await;
            match next.map_err(|_| Broken::Idle)? {
                Some(Ok(bytes)) if self.gunzip.is_some() => self.packed = bytes,
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(bytes)) => return Ok(Some(bytes)),
                Some(Err(_)) => return Err(Broken::Ended),
                None => return self.finish(),
            }
        }
    }

    /// Inflates a step of what has come, if there is any.
    fn inflate(&mut self) -> Result<Option<Bytes>, Broken> {
        let Some(gunzip) = &mut self.gunzip else { return Ok(None) };
        while !self.packed.is_empty() {
            let step = self.packed.len().min(STEP);
            let taken = gunzip.write(&self.packed[..step]).map_err(|_| Broken::NotGzip)?;
            if taken == 0 {
                return Err(Broken::NotGzip);
            }
            self.packed.advance(taken);
            if !gunzip.get_ref().is_empty() {
                return Ok(Some(std::mem::take(gunzip.get_mut()).into()));
            }
        }
        Ok(None)
    }

    /// The stream has ended: the checksum must be right.
    fn finish(&mut self) -> Result<Option<Bytes>, Broken> {
        let Some(mut gunzip) = self.gunzip.take() else { return Ok(None) };
        gunzip.try_finish().map_err(|_| Broken::NotGzip)?;
        let last = std::mem::take(gunzip.get_mut());
        Ok((!last.is_empty()).then(|| last.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(body: impl Into<Body>, gzip: bool) -> Result<(Vec<u8>, usize), Broken> {
        let mut incoming = Incoming::new(body.into(), gzip);
        let (mut all, mut largest) = (Vec::new(), 0);
        while let Some(chunk) = incoming.chunk().await? {
            largest = largest.max(chunk.len());
            all.extend_from_slice(&chunk);
        }
        Ok((all, largest))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[tokio::test]
    async fn gzip_is_inflated_in_bounded_pieces() {
        let plain = vec![b'a'; 20 * 1024 * 1024];
        let (all, largest) = read(gzip(&plain), true).await.unwrap();
        assert!(all == plain);
        assert!(largest < 1024 * 1024, "{largest}");
        assert_eq!(read("plain", false).await.unwrap().0, b"plain");
    }

    #[tokio::test]
    async fn what_is_not_whole_gzip_is_refused() {
        let whole = gzip(b"hello hello hello");
        assert!(matches!(read("no gzip at all", true).await, Err(Broken::NotGzip)));
        assert!(matches!(
            read(whole[..whole.len() - 3].to_vec(), true).await,
            Err(Broken::NotGzip)
        ));
        let twice = [whole.clone(), whole].concat();
        assert!(matches!(read(twice, true).await, Err(Broken::NotGzip)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_falls_silent_is_given_up() {
        let body =
            Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        assert!(matches!(read(body, false).await, Err(Broken::Idle)));
    }
}
