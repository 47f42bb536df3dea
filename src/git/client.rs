//! What a client is answered after the status line. Everything for a client that left, or that
//! stopped reading, is dropped: git's output is always read to its end.

use super::commands::Update;
use super::pktline;
use crate::limits;
use bytes::Bytes;
use std::convert::Infallible;
use tokio::sync::mpsc;

/// The writing end of a response's body.
#[derive(Debug)]
pub struct Client {
    queue: mpsc::Sender<Bytes>,
    /// The longest packet of the side-band, if the client reads one.
    band: Option<usize>,
    gone: bool,
}

impl Client {
    /// A client and the body that it reads.
    pub fn new(band: Option<usize>) -> (Self, axum::body::Body) {
        let (queue, mut chunks) = mpsc::channel::<Bytes>(limits::GIT_CLIENT_CHUNKS);
        let stream = futures_util::stream::poll_fn(move |context| {
            chunks.poll_recv(context).map(|chunk| chunk.map(Ok::<_, Infallible>))
        });
        (Self { queue, band, gone: false }, axum::body::Body::from_stream(stream))
    }

    pub fn band(&self) -> Option<usize> {
        self.band
    }

    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Waits until the client closes its connection.
    pub async fn left(&self) {
        self.queue.closed().await;
    }

    /// Sends bytes as they are.
    pub async fn raw(&mut self, bytes: impl Into<Bytes>) {
        if self.gone {
            return;
        }
        let bytes = bytes.into();
        if !bytes.is_empty() {
            let sent = self.queue.send_timeout(bytes, limits::GIT_CLIENT_STALL).await;
            self.gone = sent.is_err();
        }
    }

    /// Sends what git shows after `remote: `.
    pub async fn remote(&mut self, bytes: &[u8]) {
        if let Some(longest) = self.band {
            let mut out = Vec::with_capacity(bytes.len() + 16);
            pktline::put_band(&mut out, 2, bytes, longest);
            self.raw(out).await;
        }
    }

    /// Sends one line to be shown after `remote: `.
    pub async fn line(&mut self, text: &str) {
        self.remote(format!("{text}\n").as_bytes()).await;
    }

    /// A packet without content: it shows nothing, and proxies see that the connection lives.
    pub async fn keep_alive(&mut self) {
        if self.band.is_some() {
            self.raw(Bytes::from_static(b"0005\x02")).await;
        }
    }

    /// A report that refuses every ref, for a push that git never saw.
    pub async fn refuse(&mut self, updates: &[Update], reason: &str) {
        let mut report = Vec::new();
        pktline::put(&mut report, b"unpack ok\n");
        for update in updates {
            pktline::put(&mut report, format!("ng {} {reason}\n", update.git_ref).as_bytes());
        }
        report.extend_from_slice(pktline::FLUSH);
        self.report(&report).await;
    }

    /// Sends a whole report, which is a list of packets itself.
    pub async fn report(&mut self, report: &[u8]) {
        match self.band {
            Some(longest) => {
                let mut out = Vec::with_capacity(report.len() + 16);
                pktline::put_band(&mut out, 1, report, longest);
                self.raw(out).await;
            }
            None => self.raw(report.to_vec()).await,
        }
    }

    /// Ends the side-band: the client may go.
    pub async fn end(&mut self) {
        if self.band.is_some() {
            self.raw(Bytes::from_static(pktline::FLUSH)).await;
        }
    }
}
