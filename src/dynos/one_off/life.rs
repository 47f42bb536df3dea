//! A one-off from its start to its end: it ends by itself, or by a user, its time limit or the
//! loss of its client.

use super::make::Made;
use crate::dynos::execute::await_init;
use crate::dynos::usage::{self, starved_lines};
use crate::engine::ContainerStatus;
use crate::limits;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// How a one-off ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    pub code: i64,
    pub out_of_memory: bool,
    /// Somebody ended it before it ended by itself.
    pub ended_by: Option<EndedBy>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    User,
    TimeLimit,
}

/// What has been done to end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    /// Its client has gone: SIGHUP so many times, and again then.
    HungUp(u32, Instant),
    /// It took no notice (R16) and goes on, for it may want to.
    Deaf,
    /// SIGTERM has been sent; SIGKILL follows then.
    Stopping(Instant),
    Killed,
}

impl Made {
    /// Waits for the end of a container that runs. `gone` tells that its client has left.
    pub(super) async fn live(&self, gone: &CancellationToken) -> Outcome {
        let mut exit = pin!(self.exit());
        let mut limit = pin!(sleep(self.one_off.left()));
        let (mut stage, mut ended_by) = (Stage::Running, None);
        let mut starved = false;
        let (code, out_of_memory) = loop {
            let before = !matches!(stage, Stage::Stopping(_) | Stage::Killed);
            let next = match stage {
                Stage::HungUp(_, at) | Stage::Stopping(at) => Some(at),
                _ => None,
            };
            tokio::select! {
                ended = &mut exit => break ended,
                () = self.one_off.stop.cancelled(), if before => {
                    ended_by = Some(EndedBy::User);
                    stage = self.terminate().await;
                }
                () = &mut limit, if before => {
                    ended_by = Some(EndedBy::TimeLimit);
                    self.say(["Time limit reached"]).await;
                    stage = self.terminate().await;
                }
                () = self.one_off.starved.cancelled(), if !starved => {
                    starved = true;
                    self.say_starved().await;
                    self.signal("SIGKILL").await;
                    stage = Stage::Killed;
                }
                () = gone.cancelled(), if stage == Stage::Running => {
                    stage = self.hang_up(0).await;
                }
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                    stage = match stage {
                        Stage::HungUp(times, _) => self.hang_up(times).await,
                        _ => self.kill().await,
                    };
                }
            }
        };
        // The engine may say so only once the container has gone.
        if out_of_memory && !starved {
            self.say_starved().await;
        } else if code != 0 && !starved && usage::host_was_short(&self.container).await {
            self.say([usage::HOST_SHORT_LINE]).await;
        }
        let status = format!("Process exited with status {code}");
        self.say([&status, "State changed from up to complete"]).await;
        Outcome { code, out_of_memory: out_of_memory || starved, ended_by }
    }

    /// R15, unless it was the host that had no memory left.
    async fn say_starved(&self) {
        if usage::host_was_short(&self.container).await {
            return self.say([usage::HOST_SHORT_LINE]).await;
        }
        let size = self.parts.settings.dyno_sizes.stored(&self.one_off.size);
        let lines = starved_lines(&size, &self.one_off.name.to_string());
        self.parts.logs.write(self.one_off.app, lines).await;
    }

    /// SIGHUP, a few times; a process that does not mind lives on.
    async fn hang_up(&self, times: u32) -> Stage {
        if times >= limits::HANG_UPS {
            let line = "Error R16 (Detached) -> An attached process is not responding to SIGHUP \
                        after its external connection was closed.";
            self.say([line]).await;
            return Stage::Deaf;
        }
        self.say(["Client connection closed. Sending SIGHUP to all processes"]).await;
        self.signal("SIGHUP").await;
        Stage::HungUp(times + 1, Instant::now() + limits::HANG_UP_PERIOD)
    }

    async fn terminate(&self) -> Stage {
        self.say(["Stopping all processes with SIGTERM"]).await;
        self.signal("SIGTERM").await;
        Stage::Stopping(Instant::now() + Duration::from_secs(self.parts.settings.stop_grace))
    }

    async fn kill(&self) -> Stage {
        let seconds = self.parts.settings.stop_grace;
        let line = format!(
            "Error R12 (Exit timeout) -> At least one process failed to exit within {seconds} \
             seconds of SIGTERM"
        );
        self.say([&line, "Stopping remaining processes with SIGKILL"]).await;
        self.signal("SIGKILL").await;
        Stage::Killed
    }

    async fn signal(&self, signal: &str) {
        let engine = self.parts.engine.as_ref();
        if signal != "SIGKILL" {
            await_init(engine, &self.container).await;
        }
        if let Err(error) = engine.signal(&self.container, signal).await {
            tracing::warn!(signal, error = error.chain(), "a one-off could not be signalled");
        }
    }

    /// The exit status, and whether it was killed for its memory, however often the engine goes
    /// away meanwhile.
    async fn exit(&self) -> (i64, bool) {
        let engine = &self.parts.engine;
        loop {
            let waited = engine.wait(&self.container).await;
            if let Err(error) = &waited {
                tracing::warn!(error = error.chain(), "the wait for a one-off broke off");
                sleep(limits::ENGINE_RETRY).await;
            }
            match (engine.inspect(&self.container).await, waited) {
                (Ok(Some(found)), Ok(code)) => return (code, found.out_of_memory),
                (Ok(Some(found)), Err(_)) if found.status == ContainerStatus::Exited => {
                    return (found.exit_code.unwrap_or(137), found.out_of_memory);
                }
                // Removed by somebody: as if killed.
                (Ok(None), waited) => return (waited.unwrap_or(137), false),
                (Err(_), Ok(code)) => return (code, false),
                (Ok(Some(_)) | Err(_), Err(_)) => {}
            }
        }
    }
}
