//! A source that lies somewhere on the net is fetched by a container of its own, under the same
//! limits and network rules as a build: the server never connects to what a user names.

use super::orders::Orders;
use super::output::OutputSink;
use super::volume::Volume;
use super::{BuildFailure, BuildInput, Builder, compile};
use crate::engine::Ended;
use crate::error::Context;
use crate::limits;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const SCRIPT: &str = include_str!("fetch_source.sh");

impl Builder {
    /// The archive, on the app's volume.
    pub(super) async fn fetch(
        &self,
        input: &BuildInput,
        volume: &Volume,
        url: &str,
        out: &OutputSink,
        cancel: &CancellationToken,
    ) -> Result<File, BuildFailure> {
        out.headline("Fetching the source");
        let name = format!("{}-source", compile::container_name(input));
        let orders = Arc::new(Orders::create(&self.orders_home(), &name)?);
        orders.set_config(std::iter::once(("source", url)))?;
        let bytes = (self.settings.source_megabytes << 20).to_string();
        let seconds = limits::SOURCE_FETCH.as_secs().to_string();
        let command = ["/bin/bash", "-c", SCRIPT, "fetch", &bytes, &seconds].map(str::to_string);
        let spec = self.spec(&name, input.app, volume, &orders, command.to_vec())?;
        let limit = Duration::from_secs(self.settings.build_timeout);
        let (ended, _) =
            self.follow(self.start(spec, &orders), limit, out, cancel, || false).await?;
        if cancel.is_cancelled() {
            return Err(BuildFailure::Cancelled);
        }
        if !matches!(ended, Ended::Exited { code: 0, .. }) {
            if volume.is_full() {
                return Err(BuildFailure::DiskFull { megabytes: volume.megabytes() });
            }
            let reason = compile::first_line(volume, "reason");
            let reason = reason.unwrap_or_else(|| "the container that did so ended".to_string());
            return Err(BuildFailure::Source(format!("The source can't be fetched: {reason}.")));
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let path = volume.work("tmp").join("source");
        let file = rustix::fs::open(&path, flags, Mode::empty()).context("open the source")?;
        // Open is all that it need be: the build has the room.
        std::fs::remove_file(&path).context("remove the source's archive")?;
        Ok(file.into())
    }
}
