//! A push that waits in its app's line has its row already, so that it is listed, tells its place and
//! can be cancelled as any other build. One whose turn comes at once gets its row from its hook.

use super::{BuildRequest, Deploy};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::model::{App, BuildId, BuildStatus};
use crate::store;
use tokio_util::sync::CancellationToken;

impl Deploy {
    /// Stores a push that waits. What is returned is cancelled with the build.
    pub async fn wait_in_line(&self, request: &BuildRequest) -> Result<CancellationToken> {
        let id = request.id;
        self.output(id)?;
        self.0.active.add(id, request.app.id);
        match self.insert_build(request, None).await {
            Ok(_) => Ok(self.0.active.cancelled(id)),
            Err(error) => {
                self.finished(id);
                Err(error)
            }
        }
    }

    /// Which turn is its, in the words in which its client is told.
    pub fn stand(&self, build: BuildId, place: Option<usize>, words: &str) {
        self.0.active.set_place(build, place);
        if let Some(out) = self.running_output(build) {
            out.line(words);
        }
    }

    /// Ends what has a row though nothing is built: it left the line, or git wanted nothing of it.
    pub async fn end_unbuilt(&self, build: BuildId, app: &App, end: BuildStatus, why: &str) {
        // A push that did not wait has no row, and a build that failed has ended its own.
        if !self.0.active.has(build) {
            return;
        }
        let out = self.running_output(build);
        if end == BuildStatus::Failed {
            out.inspect(|out| out.warning(why));
            self.build_failed(build, app).await;
        } else {
            out.inspect(|out| out.line(why));
            let now = Timestamp::now();
            let store = &self.parts().store;
            let ended =
                store.write(move |db| store::releases::finish_build(db, build, end, None, now));
            if let Err(error) = ended.await {
                // The next clean-up finds the row pending and ends it.
                tracing::error!(error = error.chain(), "the end of a push is not stored");
            }
        }
        self.finished(build);
    }
}
