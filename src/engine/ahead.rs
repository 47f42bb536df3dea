//! A load that begins before its archive is there. Docker starts a process of its own for each
//! archive, which takes it a tenth of a second; a build that is about to end need not wait for it.

use super::{Engine, archive};
use crate::error::{Context, Result};
use crate::{limits, tasks};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Given up when it is dropped, and by itself when nothing follows for `LOAD_AHEAD`.
pub struct Ahead {
    pieces: mpsc::Sender<Bytes>,
    ended: oneshot::Receiver<Result<()>>,
}

impl Ahead {
    /// Sends what every archive begins with.
    pub fn begin(engine: &Arc<dyn Engine>) -> Result<Self> {
        let opening = archive::opening()?;
        let (pieces, receive) = mpsc::channel(1);
        let rest = stream::unfold((receive, false), |(mut receive, goes_on)| async move {
            let next = match goes_on {
                true => receive.recv().await,
                false => timeout(limits::LOAD_AHEAD, receive.recv()).await.ok().flatten(),
            };
            next.map(|piece| (piece, (receive, true)))
        });
        let archive = stream::once(std::future::ready(opening)).chain(rest).boxed();
        let (tell, ended) = oneshot::channel();
        let engine = Arc::clone(engine);
        tasks::spawn("load ahead", async move {
            let _ = tell.send(engine.load(archive).await);
        });
        Ok(Self { pieces, ended })
    }

    /// Whether it has not been given up.
    pub fn waits(&self) -> bool {
        !self.pieces.is_closed()
    }

    /// Sends what follows, [`archive::rest`], and waits for the end of the load. `false` if it had
    /// been given up.
    pub async fn finish(self, mut rest: BoxStream<'static, Bytes>) -> Result<bool> {
        while let Some(piece) = rest.next().await {
            if self.pieces.send(piece).await.is_err() {
                return Ok(false);
            }
        }
        drop(self.pieces);
        self.ended.await.context("load an image")?.map(|()| true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::engine::Labels;
    use crate::engine::archive::{ImageConfig, archive, rest};
    use crate::engine::fake::FakeEngine;

    fn config() -> ImageConfig {
        ImageConfig {
            reference: "senryu/slug:1".to_string(),
            labels: Labels::new(),
            user: "1000:1000".to_string(),
            working_dir: "/app".to_string(),
            env: Vec::new(),
            created_at: Timestamp(0),
        }
    }

    #[tokio::test]
    async fn an_archive_that_is_sent_in_two_parts_is_the_same() {
        let fake = Arc::new(FakeEngine::empty());
        let engine: Arc<dyn Engine> = fake.clone();
        let ahead = Ahead::begin(&engine).unwrap();
        assert!(ahead.finish(rest(&config(), &[]).unwrap()).await.unwrap());
        let whole: Vec<Bytes> = archive(&config(), &[]).unwrap().collect().await;
        assert_eq!(fake.loaded(), [whole.concat()]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_nobody_needs_in_time_is_given_up() {
        let engine: Arc<dyn Engine> = Arc::new(FakeEngine::empty());
        let ahead = Ahead::begin(&engine).unwrap();
        assert!(ahead.waits());
        tokio::time::sleep(limits::LOAD_AHEAD * 2).await;
        assert!(!ahead.waits());
        assert!(!ahead.finish(rest(&config(), &[]).unwrap()).await.unwrap());
    }
}
