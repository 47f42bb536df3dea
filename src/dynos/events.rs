//! Everything that can make the reconciler look again, in one list.

use crate::engine::{Container, Engine, EventAction};
use crate::{limits, tasks};
use futures_util::StreamExt;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::mpsc;
use uuid::Uuid;

#[derive(Debug)]
pub enum Event {
    /// The engine may have changed in ways that nobody told us: list everything.
    Relist,
    /// The engine's event stream ended: it was stopped, or killed, or is not there.
    EngineAway,
    /// The engine started, stopped or lost this container.
    Changed(String),
    /// The kernel killed a process in this container, which had used all its memory.
    OutOfMemory(String),
    /// A dyno was killed for this: what is said of its crash.
    Killed { dyno: Uuid, reason: &'static str },
    /// A container was made and started.
    Started { dyno: Uuid, container: Box<Container>, address: Option<SocketAddr> },
    /// It could not be started: the reason, for the user.
    StartFailed { dyno: Uuid, reason: String, away: bool },
    /// A web dyno accepts connections.
    Listens { dyno: Uuid },
    /// A web dyno listens where the router can't reach it.
    LoopbackOnly { dyno: Uuid },
    /// No request is under way on a dyno that left the table, or it had its time.
    Drained { dyno: Uuid },
    /// Its container has ended.
    Exited { dyno: Uuid, end: End },
    /// What was left of it has been removed.
    Cleared { dyno: Uuid },
}

/// How a container ended.
#[derive(Debug, Clone, Copy)]
pub struct End {
    pub code: i64,
    /// The kernel killed it for its memory limit.
    pub out_of_memory: bool,
    /// It killed one of its processes because the host had no memory left.
    pub host_short: bool,
    /// Somebody has removed it.
    pub removed: bool,
}

/// Passes the engine's events on; when the stream ends, the engine was away: everything is listed
/// again once it is back.
pub async fn watch_engine(engine: Arc<dyn Engine>, events: mpsc::Sender<Event>) {
    let mut told = false;
    loop {
        match engine.events().await {
            Ok(mut stream) => {
                // What happened before the stream began is seen by listing.
                if events.send(Event::Relist).await.is_err() {
                    return;
                }
                // What a server that died had asked the engine for may be done only now.
                let mut again = pin!(tokio::time::sleep(limits::ENGINE_SETTLES));
                let mut listed = false;
                loop {
                    let event = tokio::select! {
                        event = stream.next() => match event {
                            Some(event) if event.action == EventAction::OutOfMemory => {
                                Event::OutOfMemory(event.container)
                            }
                            Some(event) => Event::Changed(event.container),
                            None => break,
                        },
                        () = &mut again, if !listed => {
                            listed = true;
                            // A stream to nowhere would have ended by now.
                            told = false;
                            Event::Relist
                        }
                    };
                    if events.send(event).await.is_err() {
                        return;
                    }
                }
                if !told {
                    tracing::warn!("the engine's event stream ended");
                }
                told = true;
            }
            // Once for each time that it is away.
            Err(error) if !told => {
                told = true;
                tracing::warn!(error = error.chain(), "the engine is away");
            }
            Err(_) => {}
        }
        if events.send(Event::EngineAway).await.is_err() {
            return;
        }
        tokio::time::sleep(limits::ENGINE_RETRY).await;
    }
}

pub fn spawn_watch(engine: Arc<dyn Engine>, events: mpsc::Sender<Event>) {
    tasks::spawn("engine events", watch_engine(engine, events));
}
