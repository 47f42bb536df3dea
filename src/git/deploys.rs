//! A push, as `deploy` takes it: its output is relayed to the client as it is written.

use super::{Deployer, Progress, Push};
use crate::build::{GitTree, OutputReader, Source};
use crate::deploy::{BuildRequest, Deploy, Repos};
use crate::error::Result;
use crate::git::GitHost;
use crate::model::{App, AppId, BuildId, BuildStatus, SourceBlob};
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

#[async_trait]
impl Deployer for Deploy {
    async fn coming(&self, app: &App) {
        self.prepare(app).await;
    }

    async fn waits(&self, push: &Push) -> Result<CancellationToken> {
        self.wait_in_line(&request_of(push)).await
    }

    fn stands(&self, push: Uuid, place: Option<usize>, words: &str) {
        self.stand(BuildId(push), place, words);
    }

    async fn unbuilt(&self, push: &Push, end: BuildStatus, why: &str) {
        self.end_unbuilt(BuildId(push.id), &push.app, end, why).await;
    }

    async fn pre_receive(&self, push: &Push, out: &Progress) -> Result<(), ()> {
        let id = BuildId(push.id);
        // One that has waited has its output, whose lines until now its client knows.
        let output = match self.running_output(id).map_or_else(|| self.output(id), Ok) {
            Ok(output) => output,
            Err(error) => {
                tracing::error!(error = error.chain(), "a build has no output file");
                out.line(" !     The platform failed: the disk may be full. Try again later.")
                    .await;
                return Err(());
            }
        };
        let reader = output.follow_on();
        while_relayed(self.build(request_of(push), &output), reader, out).await
    }

    async fn post_receive(&self, push: &Push, out: &Progress) {
        let id = BuildId(push.id);
        let Some(output) = self.running_output(id) else { return };
        let reader = output.follow_on();
        let launch = self.launch(id, &push.app, push.started, &output);
        while_relayed(launch, reader, out).await;
    }

    async fn abandoned(&self, push: &Push) {
        self.abandon(BuildId(push.id), &push.app).await;
    }
}

#[async_trait]
impl Repos for GitHost {
    async fn head(&self, app: AppId, git_ref: &str) -> Result<Option<String>> {
        GitHost::head(self, app, git_ref).await
    }

    async fn delete(&self, app: AppId) -> Result<()> {
        self.delete_repo(app).await
    }
}

fn request_of(push: &Push) -> BuildRequest {
    BuildRequest {
        id: BuildId(push.id),
        app: push.app.clone(),
        user: push.user.clone(),
        source: Source::GitTree(GitTree {
            git_dir: push.git_dir.clone(),
            git_env: push.object_env.clone(),
            commit: push.new.clone(),
        }),
        git_ref: Some(push.git_ref.clone()),
        buildpacks: Vec::new(),
        blob: SourceBlob::default(),
    }
}

/// Relays output while `work` is done and until all that it wrote is relayed. A client that
/// stalls holds up the relay, never the work.
async fn while_relayed<T>(
    work: impl Future<Output = T>,
    mut reader: OutputReader,
    out: &Progress,
) -> T {
    let done = CancellationToken::new();
    let relay = async {
        loop {
            let piece = tokio::select! {
                piece = reader.next() => piece,
                () = done.cancelled() => reader.ready(),
            };
            match piece {
                Some(piece) => out.bytes(piece).await,
                None => return,
            }
        }
    };
    let worked = async {
        let result = work.await;
        done.cancel();
        result
    };
    tokio::join!(worked, relay).0
}
