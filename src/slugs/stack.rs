//! The stack's two images. `scripts/stack` keeps them as one archive, from which they come back.

use super::Slugs;
use crate::error::{Error, Result};
use crate::limits;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::time::Instant;
use tokio_util::io::ReaderStream;

impl Slugs {
    /// As [`Slugs::base`], for who has the turn.
    pub(super) async fn run_layers(&self) -> Result<Vec<String>> {
        let image = &self.0.parts.settings.run_image;
        if let Some((_, layers)) = self.0.parts.engine.image_layers(image).await? {
            return Ok(layers);
        }
        self.restore_stack(image).await?;
        let found = self.0.parts.engine.image_layers(image).await?;
        Ok(found.ok_or_else(|| missing(image, "its archive holds another one"))?.1)
    }

    /// Loads both images of the stack, because `image` is missing.
    pub(super) async fn restore_stack(&self, image: &str) -> Result<()> {
        let path = &self.0.parts.settings.stack_archive;
        let began = Instant::now();
        let file = tokio::fs::File::open(path)
            .await
            .map_err(|error| missing(image, &format!("{}: {error}", path.display())))?;
        tracing::warn!(image, archive = %path.display(), "the stack is missing and is loaded");
        self.0.parts.engine.load(pieces(file)).await?;
        let seconds = began.elapsed().as_secs_f64();
        tracing::warn!(image, seconds, "the stack is back");
        Ok(())
    }
}

/// A read that fails ends the stream early, and the engine refuses the archive as cut short.
fn pieces(file: tokio::fs::File) -> BoxStream<'static, Bytes> {
    ReaderStream::with_capacity(file, limits::LAYER_PIECE_BYTES)
        .take_while(|piece| {
            if let Err(error) = piece {
                tracing::error!(%error, "the stack's archive could not be read");
            }
            std::future::ready(piece.is_ok())
        })
        .filter_map(|piece| std::future::ready(piece.ok()))
        .boxed()
}

fn missing(image: &str, why: &str) -> Error {
    Error::unavailable(format!(
        "The stack's image {image} is missing from Docker ({why}): run scripts/stack on the server"
    ))
}
