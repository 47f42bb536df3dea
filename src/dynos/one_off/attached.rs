//! An attached one-off and its client, whatever protocol the client speaks: input, output and
//! window size pass through bounded channels; a client that is lost means SIGHUP.

use super::life::Outcome;
use super::make::Made;
use crate::dynos::reconciler::Dynos;
use crate::engine::{self, Attached, Output};
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::model::{AppId, UserId, WindowSize};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::PoisonError;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What a client sends.
#[derive(Debug)]
pub enum Input {
    Data(Bytes),
    /// Its standard input has ended.
    End,
}

/// What a client hears.
#[derive(Debug)]
pub enum Said {
    Output(Output),
    /// The exit status; nothing follows.
    Ended(i64),
    /// Why the connection ends without one; nothing follows.
    Closed(String),
}

/// A client's end of an attached one-off. When it is dropped, the client is lost.
pub struct Session {
    pub input: mpsc::Sender<Input>,
    pub output: mpsc::Receiver<Said>,
    pub window: watch::Sender<Option<WindowSize>>,
    /// The command has a terminal.
    pub terminal: bool,
    pub app: AppId,
    /// Who made the dyno: with the right to do so the session ends.
    pub user: UserId,
    /// The other end will hear and say nothing more.
    pub closed: CancellationToken,
    pub gone: DropGuard,
}

/// The dyno's end of it.
pub struct Client {
    input: mpsc::Receiver<Input>,
    output: mpsc::Sender<Said>,
    window: watch::Receiver<Option<WindowSize>>,
    gone: CancellationToken,
}

fn pair(terminal: bool, app: AppId, user: UserId) -> (Session, Client) {
    let (input, from_client) = mpsc::channel(limits::ATTACH_QUEUE);
    let (to_client, output) = mpsc::channel(limits::ATTACH_QUEUE);
    let (window, size) = watch::channel(None);
    let gone = CancellationToken::new();
    let closed = gone.clone();
    let gone_too = gone.clone().drop_guard();
    let session = Session { input, output, window, terminal, app, user, closed, gone: gone_too };
    (session, Client { input: from_client, output: to_client, window: size, gone })
}

impl Dynos {
    /// Hands a client its dyno, whose command starts now.
    pub fn attach(&self, secret: &str) -> Result<Session> {
        let missing = || {
            Error::new(Kind::NotFound, "Couldn't find that dyno, or somebody is attached already.")
        };
        let place = self.one_offs.take_place(secret).ok_or_else(missing)?;
        let (session, client) = pair(place.terminal, place.app, place.user);
        place.client.send(client).map_err(|_| missing())?;
        Ok(session)
    }
}

impl Made {
    /// Waits for the client, runs the command for it, and removes what is left.
    pub(super) async fn serve(self, client: oneshot::Receiver<Client>) {
        tokio::select! {
            client = timeout(limits::ATTACH_WAIT, client) => match client {
                Ok(Ok(client)) => self.run(client).await,
                _ => {
                    let line = "Error R13 (Attach error) -> Failed to attach to process";
                    self.say([line, "State changed from up to complete"]).await;
                }
            },
            () = self.one_off.stop.cancelled() => {
                self.say(["State changed from up to complete"]).await;
            }
        }
        self.clear().await;
    }

    async fn run(&self, client: Client) {
        let command = format!("Starting process with command `{}`", self.one_off.command);
        self.say([&command]).await;
        let to_client = client.output.clone();
        let gone = client.gone.clone();
        let last = match self.begin().await {
            Ok(attached) => Said::Ended(self.converse(attached, client).await.code),
            Err(error) => {
                tracing::warn!(error = error.chain(), "a one-off could not be started");
                let reason = format!("The dyno could not be started: {}", error.public_message());
                self.say([&reason, "State changed from up to complete"]).await;
                Said::Closed(reason)
            }
        };
        tokio::select! {
            _ = to_client.send(last) => {}
            () = gone.cancelled() => {}
        }
    }

    /// Carries input and output until the command has ended and all its output is with the client.
    async fn converse(&self, attached: Attached, client: Client) -> Outcome {
        let Client { input, output, window, gone } = client;
        let activity = Activity::new();
        let beside = async {
            tokio::join!(
                self.feed(attached.input, input, &activity),
                self.resize(window),
                hang_up_when_idle(&activity, &output, &gone),
            );
            std::future::pending::<Outcome>().await
        };
        let ended = async {
            let carry = carry(attached.output, &output, &gone, &activity);
            tokio::join!(self.live(&gone), carry).0
        };
        tokio::select! {
            outcome = ended => outcome,
            outcome = beside => outcome,
        }
    }

    /// Input of the client to the process. A terminal has no end of input but the character.
    async fn feed(
        &self,
        mut process: Pin<Box<dyn AsyncWrite + Send>>,
        mut input: mpsc::Receiver<Input>,
        activity: &Activity,
    ) {
        let terminal = self.input == engine::Input::Terminal;
        while let Some(Input::Data(bytes)) = input.recv().await {
            activity.note();
            if process.write_all(&bytes).await.is_err() || process.flush().await.is_err() {
                break;
            }
        }
        let ended = match terminal {
            true => process.write_all(&[limits::END_OF_TRANSMISSION]).await,
            false => process.shutdown().await,
        };
        drop(ended);
        // What comes after the end is read, so that the client is not held up by it.
        while input.recv().await.is_some() {}
        if terminal {
            // Docker takes the end of a terminal's input for the end of its output as well.
            std::future::pending::<()>().await;
        }
    }

    async fn resize(&self, mut window: watch::Receiver<Option<WindowSize>>) {
        while window.changed().await.is_ok() {
            let size = *window.borrow_and_update();
            let Some(size) = size.filter(|_| self.input == engine::Input::Terminal) else {
                continue;
            };
            if let Err(error) = self.parts.engine.resize(&self.container, size).await {
                tracing::warn!(error = error.chain(), "a terminal could not be resized");
            }
        }
    }
}

/// Output of the process to the client; to nobody once the client has gone, for the process must
/// not wait for a reader that never comes.
async fn carry(
    mut process: BoxStream<'static, Output>,
    client: &mpsc::Sender<Said>,
    gone: &CancellationToken,
    activity: &Activity,
) {
    while let Some(piece) = process.next().await {
        tokio::select! {
            sent = client.send(Said::Output(piece)), if !gone.is_cancelled() => match sent {
                Ok(()) => activity.note(),
                Err(_) => gone.cancel(),
            },
            () = gone.cancelled() => {}
        }
    }
}

async fn hang_up_when_idle(
    activity: &Activity,
    client: &mpsc::Sender<Said>,
    gone: &CancellationToken,
) {
    loop {
        let due = activity.last() + limits::ONE_OFF_IDLE;
        if due <= Instant::now() {
            break;
        }
        sleep_until(due).await;
    }
    let hours = limits::ONE_OFF_IDLE.as_secs() / 3600;
    let reason = format!("Nothing was said for {hours} h: the connection is closed");
    // A client that reads nothing does not read this either.
    let _ = client.try_send(Said::Closed(reason));
    gone.cancel();
}

/// When a byte last passed, in either direction.
struct Activity(Mutex<Instant>);

impl Activity {
    fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
