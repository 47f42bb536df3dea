//! A push, from its commands to the client's last line. It is a task of the server: when the
//! client goes away, git is read on and the deploy ends as it would have.

use super::client::Client;
use super::commands::{Commands, Update, ZERO};
use super::incoming::Incoming;
use super::relay::relay;
use super::{Credentials, GitHost, Progress, Push, process};
use crate::deploy::Place;
use crate::error::Result;
use crate::model::{App, BuildStatus, User};
use crate::origin::Origin;
use crate::{limits, tasks};
use bytes::Bytes;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdin;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// A push whose commands have been read; the pack is still to come.
pub(super) struct Request {
    pub user: User,
    pub app: App,
    pub credentials: Credentials,
    pub git_dir: PathBuf,
    pub commands: Commands,
    pub body: Incoming,
    pub started: Instant,
}

/// What the deploy said of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The hook has not called, or the deploy is at work.
    Open,
    /// The slug is there.
    Built,
    /// Accepted; the ref is there already.
    Nothing,
    /// The ref moved to where this push does not lead.
    FetchFirst,
    /// The build failed.
    Declined,
}

/// A push to `main` or `master` that has its turn.
pub(super) struct Running {
    pub push: Push,
    /// The client did not know where the ref is now: only a descendant may go on.
    pub must_descend: bool,
    /// The client's history may be cut off.
    pub shallow: bool,
    /// The other one of `main` and `master`, when both are pushed.
    pub also: Option<String>,
    pub verdict: Mutex<Verdict>,
    /// Whom the push is for, and from where.
    pub origin: Origin,
    /// What the deploy says while the hook waits, and the end that the relay reads.
    pub progress: Progress,
    said: Mutex<Option<mpsc::Receiver<Bytes>>>,
    pub tasks: TaskTracker,
}

impl Running {
    fn verdict(&self) -> Verdict {
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn said(&self) -> Option<mpsc::Receiver<Bytes>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl GitHost {
    /// Serves one push to its end.
    pub(super) async fn receive(self: Arc<Self>, mut request: Request, mut client: Client) {
        let deleted = request.commands.updates.iter().find(|u| u.deploys() && u.is_delete());
        let rest = if let Some(branch) = deleted.and_then(Update::branch) {
            let text = format!(" !     Push rejected, cannot delete {branch} branch");
            client.line(&text).await;
            client.refuse(&request.commands.updates, "pre-receive hook declined").await;
            drain(request.body)
        } else if let Some(update) = request.commands.deploying().cloned() {
            self.deploy(request, update, &mut client).await
        } else {
            let commands = std::mem::take(&mut request.commands);
            let mut branches = commands.updates.iter().filter(|u| u.branch().is_some());
            let other = branches.find(|u| !u.is_delete()).map(|u| u.git_ref.clone());
            let received = self.receive_pack(
                &request.git_dir,
                commands,
                request.body,
                None,
                &mut client,
                other,
            );
            let (rest, moved) = received.await;
            if moved {
                client.line("Pushed to branch other than [main, master], skipping build.").await;
            }
            rest
        };
        client.end().await;
        // The client may still be sending; it reads the answer before it minds that nobody listens.
        let _ = timeout(limits::GIT_BODY_DRAIN, rest).await;
    }

    /// Waits for the turn, lets git receive, and sees the deploy through.
    async fn deploy(
        self: &Arc<Self>,
        mut request: Request,
        update: Update,
        client: &mut Client,
    ) -> JoinHandle<()> {
        let Some(mut place) = self.lines.join(request.app.id) else {
            client.line(" !     Too many builds of this app wait for their turn; try later.").await;
            client.refuse(&request.commands.updates, "too many pushes wait").await;
            return drain(request.body);
        };
        let push = push_of(&request, &update);
        if let Err(refusal) = self.wait(&mut place, &mut request, &push, client).await {
            self.deployer.unbuilt(&push, BuildStatus::Failed, refusal.sentence).await;
            client.line(&format!(" !     {}", refusal.sentence)).await;
            client.refuse(&request.commands.updates, refusal.reason).await;
            return drain(request.body);
        }
        let current = match self.repositories.head(request.app.id, &update.git_ref).await {
            Ok(current) => current.unwrap_or_else(|| ZERO.to_string()),
            Err(error) => {
                tracing::error!(app = %request.app.name, error = error.chain(), "ref unreadable");
                let why = "The server cannot read the ref.";
                self.deployer.unbuilt(&push, BuildStatus::Failed, why).await;
                client.refuse(&request.commands.updates, "the server cannot read the ref").await;
                return drain(request.body);
            }
        };
        let running = Arc::new(begin(&mut request, push, current));
        self.expect_hook(&running);
        self.announce(&request.app);
        let commands = std::mem::take(&mut request.commands);
        let (body, awaited) = (request.body, Some(update.git_ref));
        let received =
            self.receive_pack(&request.git_dir, commands, body, Some(&running), client, awaited);
        let (rest, moved) = received.await;
        self.take_expected(running.push.id);
        running.tasks.close();
        running.tasks.wait().await;
        self.finish(&running, moved, client).await;
        drop(place);
        let host = self.clone();
        tasks::spawn("git gc", async move { host.collect_garbage(&request.git_dir).await });
        rest
    }

    /// Stands in line, and tells the client so.
    async fn wait(
        &self,
        place: &mut Place,
        request: &mut Request,
        push: &Push,
        client: &mut Client,
    ) -> std::result::Result<(), Refusal> {
        if place.has_turn() {
            return Ok(());
        }
        let name = request.app.name.clone();
        tracing::info!(app = %name, "push waits");
        let cancelled = self.stand_in_line(push).await?;
        let (moved, mut ahead) = watch::channel(0);
        let turn = place.turn(|builds| {
            moved.send_replace(builds);
        });
        tokio::pin!(turn);
        loop {
            tokio::select! {
                () = &mut turn => break,
                Ok(()) = ahead.changed() => {
                    let builds = *ahead.borrow_and_update();
                    let words = crate::deploy::ahead(builds, name.as_str());
                    self.deployer.stands(push.id, Some(builds), &words);
                    client.line(&words).await;
                }
                () = cancelled.cancelled() => return Err(Refusal::CANCELLED),
                () = self.stopping.cancelled() => return Err(Refusal::STOPPING),
                () = client.left() => {
                    tracing::info!(app = %name, "a push left the line");
                    return Err(Refusal::LEFT);
                }
                () = tokio::time::sleep(limits::GIT_KEEPALIVE) => client.keep_alive().await,
            }
        }
        // Meanwhile the app may have another name, or be gone, or the user no longer be allowed.
        let app = request.app.id.to_string();
        match self.access.authorize(&app, &request.credentials, true).await {
            Ok((user, app)) if app.id == request.app.id => {
                (request.user, request.app) = (user, app);
                let words = "It is this push's turn now.";
                self.deployer.stands(push.id, None, words);
                client.line(words).await;
                Ok(())
            }
            _ => Err(Refusal::NO_ACCESS),
        }
    }

    /// From here on the push is listed; what is returned says that it was cancelled.
    async fn stand_in_line(&self, push: &Push) -> std::result::Result<CancellationToken, Refusal> {
        self.deployer.waits(push).await.map_err(|error| {
            tracing::error!(app = %push.app.name, error = error.chain(), "a push cannot wait");
            Refusal::FAILED
        })
    }

    /// Runs git on what the client sends. It returns a task that ends when the client's body
    /// does, and whether git reported that the ref which is awaited has moved.
    async fn receive_pack(
        &self,
        git_dir: &std::path::Path,
        commands: Commands,
        body: Incoming,
        running: Option<&Arc<Running>>,
        client: &mut Client,
        awaited: Option<String>,
    ) -> (JoinHandle<()>, bool) {
        let mut git = self.git(running.is_some());
        if body.is_large() {
            // Kept as the pack that it is: unpacking compresses every object anew.
            git.args(["-c", "receive.unpackLimit=1"]);
        }
        git.args(["receive-pack", "--stateless-rpc"]).arg(git_dir);
        if let Some(running) = running {
            git.env(process::PUSH_ID, running.push.id.to_string());
        }
        let spawned = git.spawn().and_then(|mut child| {
            let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
            let (Some(input), Some(output), Some(errors)) = streams else {
                return Err(std::io::Error::other("a stream of git's is missing"));
            };
            Ok((child, input, output, errors))
        });
        let (mut child, input, output, errors) = match spawned {
            Ok(parts) => parts,
            Err(error) => {
                tracing::error!(%error, "git cannot be run");
                client.refuse(&commands.updates, "the server cannot run git").await;
                return (drain(body), false);
            }
        };
        let rest = tasks::spawn("push body", feed(commands.encode(), body, input));
        let reason = |git_ref: &str| {
            let running = running?;
            let first = running.verdict() == Verdict::FetchFirst && git_ref == running.push.git_ref;
            first.then_some("fetch first")
        };
        let said = running.and_then(|running| running.said());
        let (relayed, errors, status) = tokio::join!(
            relay(output, said, client, awaited.as_deref(), reason),
            last_words(errors),
            child.wait()
        );
        let reported = relayed.as_ref().is_ok_and(|relayed| relayed.reported);
        if !reported || !errors.is_empty() {
            tracing::info!(?status, ?relayed, errors, "git receive-pack");
        }
        if !reported && commands.report {
            client.remote(errors.as_bytes()).await;
            client.refuse(&commands.updates, "git receive-pack failed").await;
        }
        (rest, relayed.is_ok_and(|relayed| relayed.moved))
    }

    /// What the hook asks: may the ref move? Builds the slug.
    pub(super) async fn pre_receive(
        &self,
        running: &Running,
        object_env: Vec<(OsString, OsString)>,
        out: &Progress,
    ) -> Verdict {
        let push = Push { object_env, ..running.push.clone() };
        tracing::info!(push = %push.id, app = %push.app.name, phase = "received");
        let verdict = self.decide(running, &push, out).await;
        *running.verdict.lock().unwrap_or_else(PoisonError::into_inner) = verdict;
        verdict
    }

    async fn decide(&self, running: &Running, push: &Push, out: &Progress) -> Verdict {
        let branch = push.git_ref.trim_start_matches("refs/heads/");
        if push.old == push.new {
            out.line(format!("{branch} is at this commit already; nothing to build.")).await;
            return Verdict::Nothing;
        }
        match self.fits(running, push).await {
            Ok(Verdict::Open) => {}
            Ok(Verdict::FetchFirst) => {
                let old = push.old.get(..7).unwrap_or_default();
                out.line(format!(" !     Push rejected: {branch} has moved to {old},")).await;
                out.line(" !     which you do not have. Fetch first, then push again.").await;
                return Verdict::FetchFirst;
            }
            Ok(other) => return other,
            Err(error) => {
                tracing::error!(push = %push.id, error = error.chain(), "history unreadable");
                out.line(format!(" !     {}", error.public_message())).await;
                return Verdict::Declined;
            }
        }
        if let Some(also) = &running.also {
            let also = also.trim_start_matches("refs/heads/");
            out.line(format!("Both {branch} and {also} are pushed: only {branch} is built.")).await;
        }
        match self.deployer.pre_receive(push, out).await {
            Ok(()) => Verdict::Built,
            Err(()) => Verdict::Declined,
        }
    }

    /// Whether the new commit's history is such that it may be built.
    async fn fits(&self, running: &Running, push: &Push) -> Result<Verdict> {
        let (app, objects) = (push.app.id, push.quarantine());
        if running.shallow && !self.repositories.complete(app, &push.new, objects.clone()).await? {
            // Git has found out too and will say so, but it asks its hook all the same.
            return Ok(Verdict::Declined);
        }
        if running.must_descend && push.old != ZERO {
            let descends = self.repositories.descends(app, &push.new, &push.old, objects);
            if !descends.await? {
                return Ok(Verdict::FetchFirst);
            }
        }
        Ok(Verdict::Open)
    }

    /// Git is done: what was built is released if the ref moved.
    async fn finish(self: &Arc<Self>, running: &Arc<Running>, reported: bool, client: &mut Client) {
        let push = &running.push;
        let (end, why) = match running.verdict() {
            Verdict::Built => (BuildStatus::Pending, ""),
            Verdict::Nothing => {
                (BuildStatus::Succeeded, "The branch is at this commit already; nothing to build.")
            }
            Verdict::FetchFirst => (BuildStatus::Failed, "The branch has moved: fetch first."),
            Verdict::Open | Verdict::Declined => (BuildStatus::Failed, "This push was refused."),
        };
        if end != BuildStatus::Pending {
            return self.deployer.unbuilt(push, end, why).await;
        }
        let moved = match self.repositories.head(push.app.id, &push.git_ref).await {
            Ok(head) => head.as_ref() == Some(&push.new),
            Err(error) => {
                tracing::error!(push = %push.id, error = error.chain(), "ref unreadable");
                reported
            }
        };
        if !moved {
            tracing::warn!(push = %push.id, "built, but the ref did not move");
            return self.deployer.abandoned(push).await;
        }
        tracing::info!(push = %push.id, app = %push.app.name, phase = "ref moved");
        if let Err(error) = self.repositories.point_head_at(push.app.id, &push.git_ref).await {
            tracing::warn!(error = error.chain(), "HEAD stays");
        }
        let (progress, mut chunks) = Progress::channel();
        let (host, deployed) = (self.clone(), running.clone());
        let deploy = tasks::spawn("post-receive", async move {
            host.deployer.post_receive(&deployed.push, &progress).await;
        });
        loop {
            match timeout(limits::GIT_KEEPALIVE, chunks.recv()).await {
                Ok(Some(chunk)) => client.remote(&chunk).await,
                Ok(None) => break,
                Err(_) => client.keep_alive().await,
            }
        }
        let _ = deploy.await;
    }
}

/// Why a push ends before git sees it: for the client's eyes, and for its list of refs.
struct Refusal {
    sentence: &'static str,
    reason: &'static str,
}

impl Refusal {
    const CANCELLED: Self =
        Self { sentence: "The build was cancelled.", reason: "build cancelled" };
    const STOPPING: Self =
        Self { sentence: "The server is stopping; push again.", reason: "server is stopping" };
    const LEFT: Self = Self { sentence: "Its client left before its turn.", reason: "client left" };
    const NO_ACCESS: Self =
        Self { sentence: "This app is no longer open to you.", reason: "no access any more" };
    const FAILED: Self = Self {
        sentence: "The platform failed: the disk may be full. Try again later.",
        reason: "the server cannot store it",
    };
}

/// As its client sees it, until it has its turn.
fn push_of(request: &Request, update: &Update) -> Push {
    Push {
        id: Uuid::new_v4(),
        app: request.app.clone(),
        user: request.user.clone(),
        git_dir: request.git_dir.clone(),
        object_env: Vec::new(),
        git_ref: update.git_ref.clone(),
        old: update.old.clone(),
        new: update.new.clone(),
        started: request.started,
    }
}

/// Fixes from where the ref moves.
fn begin(request: &mut Request, push: Push, current: String) -> Running {
    let must_descend = push.old != current;
    request.commands.start_from(&push.git_ref, &current);
    let also = request
        .commands
        .updates
        .iter()
        .find(|other| other.deploys() && !other.is_delete() && other.git_ref != push.git_ref);
    let (progress, said) = Progress::channel();
    Running {
        must_descend,
        shallow: request.commands.shallow,
        also: also.map(|other| other.git_ref.clone()),
        push: Push { app: request.app.clone(), user: request.user.clone(), old: current, ..push },
        verdict: Mutex::new(Verdict::Open),
        origin: Origin::current(),
        progress,
        said: Mutex::new(Some(said)),
        tasks: TaskTracker::new(),
    }
}

/// Gives git what the client sends, and reads on when git wants no more.
pub(super) async fn feed(head: Vec<u8>, mut body: Incoming, mut git: ChildStdin) {
    let mut chunk = Bytes::from(head);
    loop {
        if git.write_all(&chunk).await.is_err() {
            break;
        }
        match body.chunk().await {
            Ok(Some(next)) => chunk = next,
            Ok(None) => return,
            Err(error) => return tracing::info!(%error, "a request broke off"),
        }
    }
    drop(git);
    while let Ok(Some(_)) = body.chunk().await {}
}

/// Reads what nobody wants, so that the client gets to the answer.
fn drain(mut body: Incoming) -> JoinHandle<()> {
    tasks::spawn("push body", async move { while let Ok(Some(_)) = body.chunk().await {} })
}

/// The end of what git says on standard error, for the log.
pub(super) async fn last_words(mut errors: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let mut chunk = [0; 1024];
    while let Ok(read @ 1..) = errors.read(&mut chunk).await {
        kept.extend_from_slice(&chunk[..read]);
        let surplus = kept.len().saturating_sub(limits::GIT_STDERR_BYTES);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).into_owned()
}
