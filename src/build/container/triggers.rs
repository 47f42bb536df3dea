//! Instructions that a base image brings along (`ONBUILD`). The builder does them as if they stood in
//! the Dockerfile, so they are looked at before it begins, and once more when it comes to them: it
//! may have fetched another image of that name.

use super::{adds, bases, context::BuildContext};
use crate::build::{BuildFailure, Builder, OutputSink};
use crate::engine::ImageFacts;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

impl Builder {
    /// Fetches the images that a Dockerfile begins from, where they are not there, and looks at
    /// them. One that can't be had is the builder's to name.
    pub(super) async fn look_at_bases(
        &self,
        context: &BuildContext,
        deadline: Instant,
        out: &OutputSink,
        cancel: &CancellationToken,
    ) -> Result<(), BuildFailure> {
        for base in &context.bases {
            let mut facts = self.engine.image_facts(base).await.ok().flatten();
            if facts.is_none() {
                out.line(&format!("Pulling {base}"));
                let pulled = tokio::select! {
                    pulled = self.engine.pull_image(base) => pulled,
                    () = cancel.cancelled() => return Err(BuildFailure::Cancelled),
                    // The builder is told at once that its time is over.
                    () = tokio::time::sleep_until(deadline) => return Ok(()),
                };
                if let Err(error) = pulled {
                    tracing::info!(base, error = error.chain(), "a base image can't be pulled");
                    continue;
                }
                facts = self.engine.image_facts(base).await?;
            }
            facts.map_or(Ok(()), |facts| look(base, &facts))?;
        }
        Ok(())
    }

    /// The builder is about to do those of this image.
    pub(super) async fn look_at_triggers(&self, base: &str) -> Result<(), BuildFailure> {
        if base.contains('$') {
            return Err(refused(base, "has ONBUILD instructions: name it without a variable"));
        }
        // Of an earlier stage there is no image; its instructions were looked at with all others.
        let facts = self.engine.image_facts(base).await?.unwrap_or_default();
        look(base, &facts)
    }
}

fn look(base: &str, facts: &ImageFacts) -> Result<(), BuildFailure> {
    let triggers = facts.on_build.iter().map(String::as_bytes);
    let fault = |text| adds::refused(text).or_else(|| bases::named(text, &[]).err());
    match triggers.filter_map(fault).next() {
        Some(fault) => Err(refused(base, &format!("has an ONBUILD that can't be done. {fault}"))),
        None => Ok(()),
    }
}

fn refused(base: &str, why: &str) -> BuildFailure {
    BuildFailure::Image { reason: format!("The image {base}, which FROM names, {why}") }
}
