//! What an event changes in what is known, and what the app's log says of it.

use super::Reconciler;
use super::recovery::blameless;
use crate::dynos::events::{End, Event};
use crate::dynos::lifecycle::Live;
use crate::dynos::plan::Phase;
use crate::dynos::usage;
use crate::engine::Container;
use crate::limits;
use tokio::time::Instant;
use uuid::Uuid;

impl Reconciler {
    pub(super) async fn take(&mut self, event: Event) {
        match event {
            Event::Relist => self.relist().await,
            Event::EngineAway => self.engine_away(),
            Event::Changed(container) => {
                if let Some(dyno) = self.dyno_in(&container) {
                    self.executor.look(dyno, &container);
                }
            }
            Event::OutOfMemory(container) => self.out_of_memory(&container).await,
            Event::Killed { dyno, reason } => {
                if let Some(live) = self.live.get_mut(&dyno) {
                    live.killed.get_or_insert(reason);
                }
            }
            Event::Started { dyno, container, address } => {
                self.started(dyno, &container, address).await;
            }
            Event::StartFailed { dyno, reason, away } => {
                self.start_failed(dyno, reason, away).await;
            }
            Event::Listens { dyno } => self.up(dyno).await,
            Event::LoopbackOnly { dyno } => {
                if let Some(live) = self.live.get_mut(&dyno) {
                    live.loopback_only = true;
                }
            }
            Event::Drained { dyno } => self.stop(dyno).await,
            Event::Cleared { dyno } => {
                self.clearing.remove(&dyno);
            }
            Event::Exited { dyno, end } => self.exited(dyno, end).await,
        }
    }

    fn dyno_in(&self, container: &str) -> Option<Uuid> {
        let mut live = self.live.values();
        live.find(|live| live.container.as_deref() == Some(container) && !live.ended)
            .map(|live| live.id)
    }

    /// R15. The kernel may have killed one process of many, without which the others are no whole
    /// app: all of it starts anew.
    async fn out_of_memory(&mut self, container: &str) {
        // Version 2 of control groups counts what was killed for the host's want of memory too.
        let host_short = usage::host_was_short(container).await;
        let dyno = self.dyno_in(container);
        let Some(live) = dyno.and_then(|dyno| self.live.get_mut(&dyno)) else {
            // Not one of the formation's, or too young to be known.
            self.executor.name_starved(container, &self.one_offs);
            return;
        };
        let reason = if host_short { usage::HOST_SHORT } else { usage::STARVED };
        if live.killed.replace(reason).is_some() {
            return;
        }
        let size = self.executor.settings.dyno_sizes.stored(&live.generation.size);
        let lines = match host_short {
            true => vec![live.line(usage::HOST_SHORT_LINE)],
            false => usage::starved_lines(&size, &live.name.to_string()),
        };
        let app = live.app;
        self.executor.signal(container, "SIGKILL");
        self.log(app, lines).await;
    }

    async fn started(
        &mut self,
        dyno: Uuid,
        container: &Container,
        address: Option<std::net::SocketAddr>,
    ) {
        let Some(live) = self.live.get_mut(&dyno) else { return };
        live.container = Some(container.id.clone());
        live.address = address;
        if live.phase == Phase::Starting {
            // The boot time-out counts from here: before it was the engine's time.
            live.since = Instant::now();
        }
        if live.phase == Phase::Stopping {
            self.executor.signal(&container.id, "SIGTERM");
        } else if !live.name.process.is_web() {
            self.up(dyno).await;
        }
        // It may have ended before anybody knew whose container it was.
        self.executor.look(dyno, &container.id);
    }

    async fn up(&mut self, dyno: Uuid) {
        let Some(live) = self.live.get_mut(&dyno) else { return };
        if live.phase != Phase::Starting || live.ended {
            return;
        }
        live.enter(Phase::Up);
        if !live.name.process.is_web() {
            live.settles_at = Some(live.since + limits::MEMORY_SETTLES);
        }
        let (app, line) = (live.app, live.line("State changed from starting to up"));
        self.log(app, vec![line]).await;
    }

    async fn start_failed(&mut self, dyno: Uuid, reason: String, away: bool) {
        let Some(live) = self.live.remove(&dyno) else { return };
        if away {
            let line = live.line("State changed from starting to down: Docker does not answer");
            self.log(live.app, vec![line]).await;
            return self.engine_away();
        }
        let crashes = self.crashes.entry(live.app).or_default();
        let key = (live.name.clone(), live.generation.release);
        let mut crash = live.crash(-1, false, crashes.get(&key));
        let line = live.line(format!("State changed from starting to crashed: {reason}"));
        crash.reason = reason;
        crashes.insert(key, crash);
        self.log(live.app, vec![line]).await;
    }

    async fn exited(&mut self, dyno: Uuid, end: End) {
        let End { code, out_of_memory, host_short, removed } = end;
        let Some(live) = self.live.get(&dyno).filter(|live| !live.ended) else { return };
        let (mut live, mut lines) = (live.clone(), Vec::new());
        if live.killed.is_some() {
            // The log has said why.
        } else if host_short {
            live.killed = Some(usage::HOST_SHORT);
            lines.push(live.line(usage::HOST_SHORT_LINE));
        } else if out_of_memory {
            let size = self.executor.settings.dyno_sizes.stored(&live.generation.size);
            lines.extend(usage::starved_lines(&size, &live.name.to_string()));
        }
        lines.push(live.line(format!("Process exited with status {code}")));
        let unexpected = matches!(live.phase, Phase::Starting | Phase::Up);
        let state = if live.phase == Phase::Starting { "starting" } else { "up" };
        if unexpected && let Some(reason) = blameless(&live, removed) {
            lines.push(live.line(reason));
            lines.push(live.line(format!("State changed from {state} to down")));
            self.hurt(live.app, reason);
        } else if unexpected {
            lines.push(live.line(format!("State changed from {state} to crashed")));
            let crashes = self.crashes.entry(live.app).or_default();
            let key = (live.name.clone(), live.generation.release);
            let crash = live.crash(code, out_of_memory, crashes.get(&key));
            crashes.insert(key, crash);
        } else {
            // It was stopped on purpose: how often it had crashed before says nothing any more.
            if let Some(crashes) = self.crashes.get_mut(&live.app) {
                let key = (live.name.clone(), live.generation.release);
                if crashes.get(&key).is_some_and(|crash| crash.generation == live.generation) {
                    crashes.remove(&key);
                }
            }
            if !self.has_successor(&live) {
                lines.push(live.line("State changed from up to down"));
            }
        }
        self.log(live.app, lines).await;
        self.clear_up(&live);
        self.live.remove(&dyno);
    }

    pub(super) fn clear_up(&mut self, live: &Live) {
        self.clearing.insert(live.id);
        self.executor.clear_up(live);
    }

    fn has_successor(&self, live: &Live) -> bool {
        self.live
            .values()
            .any(|other| other.id != live.id && other.app == live.app && other.name == live.name)
    }
}
