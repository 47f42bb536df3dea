//! The log thread: the only writer. It takes commands from a bounded queue and, between them,
//! looks at the logs of the containers that it follows. Since one thread does both, a disk that
//! is slow slows the reading down and no memory fills up.

use super::Follow;
use super::flood::{self, Flood};
use super::followed::{Chunk, Followed};
use super::hub::Hub;
use super::line::LogLine;
use super::record::{Checkpoint, Frame};
use super::segment::AppLog;
use crate::limits::{
    LOG_ABSENT_AFTER, LOG_FILE_BYTES, LOG_FOLLOW_BURST, LOG_FOLLOW_BYTES_PER_SECOND,
    LOG_FORGOTTEN_APPS, LOG_FRAME_BYTES, LOG_NICE, LOG_OPEN_SEGMENTS, LOG_POLL_ACTIVE,
    LOG_POLL_QUIET, LOG_QUEUE, LOG_QUIET_AFTER, LOG_READ_BYTES,
};
use crate::model::AppId;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

pub(crate) type Done = oneshot::Sender<()>;

pub(crate) enum Command {
    Write(AppId, Vec<LogLine>, Done),
    Finish(String, Done),
    Forget(AppId, Done),
    KeepOnlyApps(HashSet<AppId>, Done),
    KeepOnlyContainers(HashSet<String>, Done),
    LetGo(Done),
}

/// A command with its place in the queue.
pub(crate) type Queued = (Command, OwnedSemaphorePermit);

/// Containers that shall be followed, until the thread takes them over.
pub(crate) type Wanted = Arc<Mutex<BTreeMap<String, Follow>>>;

struct Source {
    followed: Followed,
    next_look: Instant,
    last_news: Instant,
    /// Whoever waits for the end of an exited container's log.
    finishing: Vec<Done>,
    /// The last look failed, and that was logged.
    failing: bool,
    allowance: Allowance,
    flood: Flood,
}

/// Bytes that may be read of one log now: they come back with time. One that is written faster
/// than that falls behind until Docker rotates away what was not read, and loses its own lines.
struct Allowance {
    bytes: u64,
    counted: Instant,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self { bytes: LOG_FOLLOW_BURST, counted: now }
    }

    fn is_used_up(&mut self, now: Instant) -> bool {
        let millis = u64::try_from(now.duration_since(self.counted).as_millis()).unwrap_or(0);
        self.counted += Duration::from_millis(millis);
        let more = millis.saturating_mul(LOG_FOLLOW_BYTES_PER_SECOND / 1000);
        self.bytes = self.bytes.saturating_add(more).min(LOG_FOLLOW_BURST);
        self.bytes < LOG_READ_BYTES as u64
    }

    fn take(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes as u64);
    }
}

pub(crate) struct Worker {
    pub dir: PathBuf,
    pub max_bytes: u64,
    /// Bytes at which Docker rotates a dyno's log.
    pub file_bytes: u64,
    pub hub: Arc<Hub>,
    pub wanted: Wanted,
    pub apps: HashMap<AppId, AppLog>,
    sources: BTreeMap<String, Source>,
    forgotten: HashSet<AppId>,
}

impl Worker {
    pub(crate) fn new(dir: PathBuf, max_bytes: u64, hub: Arc<Hub>, wanted: Wanted) -> Self {
        let file_bytes = LOG_FILE_BYTES;
        let (apps, sources, forgotten) = (HashMap::new(), BTreeMap::new(), HashSet::new());
        Self { dir, max_bytes, file_bytes, hub, wanted, apps, sources, forgotten }
    }

    /// Runs until every handle is gone.
    pub(crate) fn run(mut self, commands: &Receiver<Queued>) {
        // Of this thread alone.
        let _ = rustix::process::setpriority_process(None, LOG_NICE);
        loop {
            let next = self.sources.values().map(|source| source.next_look).min();
            let now = Instant::now();
            let wait = next.map_or(LOG_POLL_QUIET, |next| next.saturating_duration_since(now));
            let first = match commands.recv_timeout(wait.min(LOG_POLL_QUIET)) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let more = commands.try_iter().take(LOG_QUEUE);
            let batch: Vec<Queued> = first.into_iter().chain(more).collect();
            self.adopt();
            self.execute(batch);
            self.look_around();
        }
    }

    fn adopt(&mut self) {
        let wanted =
            std::mem::take(&mut *self.wanted.lock().unwrap_or_else(PoisonError::into_inner));
        for (container, follow) in wanted {
            if self.sources.contains_key(&container) || self.forgotten.contains(&follow.app) {
                continue;
            }
            let app = self.apps.get(&follow.app);
            let resume = app.and_then(|app| app.checkpoints.get(&container).cloned());
            let now = Instant::now();
            let source = Source {
                flood: Flood::new(follow.freezer.clone(), now),
                followed: Followed::new(follow, self.file_bytes, resume),
                next_look: now,
                last_news: now,
                finishing: Vec::new(),
                failing: false,
                allowance: Allowance::new(now),
            };
            self.sources.insert(container, source);
        }
    }

    /// Neighbouring writes to an app become one frame.
    fn execute(&mut self, batch: Vec<Queued>) {
        let mut lines: HashMap<AppId, Vec<LogLine>> = HashMap::new();
        let mut written = Vec::new();
        for (command, permit) in batch {
            if let Command::Write(app, more, done) = command {
                let lines = lines.entry(app).or_default();
                more.into_iter().for_each(|line| line.into_stored(lines));
                written.push((done, permit));
                continue;
            }
            self.write(&mut lines);
            match command {
                Command::Write(..) => {}
                Command::Finish(container, done) => self.finish(&container, done),
                Command::Forget(app, done) => {
                    self.forget(app);
                    let _ = done.send(());
                }
                Command::KeepOnlyApps(apps, done) => {
                    let gone = self.apps.keys().filter(|app| !apps.contains(app));
                    gone.copied().collect::<Vec<_>>().into_iter().for_each(|app| self.forget(app));
                    let _ = done.send(());
                }
                Command::KeepOnlyContainers(existing, done) => {
                    self.keep_only(&existing);
                    let _ = done.send(());
                }
                Command::LetGo(done) => {
                    let now = Instant::now();
                    self.sources.values_mut().for_each(|s| s.flood = Flood::new(None, now));
                    let _ = done.send(());
                }
            }
        }
        self.write(&mut lines);
        for (done, _permit) in written {
            let _ = done.send(());
        }
    }

    fn write(&mut self, lines: &mut HashMap<AppId, Vec<LogLine>>) {
        for (app, mut lines) in lines.drain() {
            while !lines.is_empty() {
                let mut bytes = 0;
                let mut fits = |line: &LogLine| {
                    bytes += line.message.len();
                    bytes <= LOG_FRAME_BYTES
                };
                let count = lines.iter().take_while(|line| fits(line)).count().max(1);
                let rest = lines.split_off(count);
                let lost = lines.len();
                if let Err(error) = self.append(app, lines, None, &[]) {
                    tracing::error!(%app, %error, lost, "log lines could not be stored");
                }
                lines = rest;
            }
        }
    }

    /// Stores lines, the checkpoint that they reach up to, and who is gone, in one frame.
    fn append(
        &mut self,
        app: AppId,
        lines: Vec<LogLine>,
        checkpoint: Option<&Checkpoint>,
        gone: &[String],
    ) -> io::Result<()> {
        if self.forgotten.contains(&app) {
            return Ok(());
        }
        let mut frame = Frame::new();
        lines.iter().for_each(|line| frame.line(line));
        checkpoint.into_iter().for_each(|checkpoint| frame.checkpoint(checkpoint));
        gone.iter().for_each(|container| frame.gone(container));
        if !self.apps.get(&app).is_some_and(AppLog::is_open)
            && self.apps.values().filter(|app| app.is_open()).count() >= LOG_OPEN_SEGMENTS
        {
            self.apps.values_mut().for_each(AppLog::close);
        }
        let log = match self.apps.entry(app) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(AppLog::open(self.dir.join(app.to_string()), self.max_bytes)?)
            }
        };
        log.append(frame, checkpoint, gone)?;
        self.hub.publish(app, log.end(), lines);
        Ok(())
    }

    fn look_around(&mut self) {
        // Looks that are due soon are taken now: a hundred quiet logs then cost a few wake-ups.
        let soon = Instant::now() + LOG_POLL_ACTIVE / 2;
        let due = self.sources.iter().filter(|(_, source)| source.next_look <= soon);
        let due: Vec<String> = due.map(|(container, _)| container.clone()).collect();
        for container in due {
            // Taken out, so that it can be used beside the rest.
            let Some(mut source) = self.sources.remove(&container) else { continue };
            let stays = match self.look(&mut source) {
                Ok(stays) => {
                    source.failing = false;
                    stays
                }
                Err(error) => self.failed(&mut source, &error),
            };
            self.hold_back(&mut source);
            if stays {
                self.sources.insert(container, source);
            }
        }
    }

    /// Reads a chunk and stores it. False: it has come to its end.
    fn look(&mut self, source: &mut Source) -> io::Result<bool> {
        let now = Instant::now();
        // The end of a log is waited for, and is no more than what Docker keeps.
        if source.finishing.is_empty() && source.allowance.is_used_up(now) {
            source.followed.refresh()?;
            source.next_look = now + LOG_POLL_ACTIVE;
            return Ok(true);
        }
        if let Some(chunk) = source.followed.read()? {
            let more = chunk.more;
            source.allowance.take(if more { LOG_READ_BYTES } else { 0 });
            self.store(source, chunk)?;
            source.last_news = now;
            // Where there is more, the others have their turn first. A log that was read to its end
            // gets time to collect lines: a frame for each would double what is written.
            let at_once = more || !source.finishing.is_empty();
            source.next_look = if at_once { now } else { now + LOG_POLL_ACTIVE };
            return Ok(true);
        }
        if !source.finishing.is_empty() {
            if let Some(chunk) = source.followed.rest()? {
                self.store(source, chunk)?;
            }
            answer(source);
            return Ok(false);
        }
        let quiet = now.duration_since(source.last_news) > LOG_QUIET_AFTER;
        source.next_look = now + if quiet { LOG_POLL_QUIET } else { LOG_POLL_ACTIVE };
        Ok(true)
    }

    /// A dyno that writes more than it may is held, and named.
    fn hold_back(&mut self, source: &mut Source) {
        let next = source.flood.look(Instant::now(), source.followed.take_grown());
        if let Some(look) = next.look {
            source.next_look = source.next_look.min(look);
        }
        if next.tell {
            let Follow { app, process, .. } = &source.followed.follow;
            let line = LogLine::heroku(process.clone(), flood::line());
            if let Err(error) = self.append(*app, vec![line], None, &[]) {
                tracing::error!(%app, %error, "a flood could not be named");
            }
        }
    }

    fn store(&mut self, source: &mut Source, mut chunk: Chunk) -> io::Result<()> {
        let lines = std::mem::take(&mut chunk.lines);
        // Without a line there is nothing to store: after a kill the parts are read again.
        if !lines.is_empty() {
            self.append(source.followed.follow.app, lines, Some(&chunk.checkpoint), &[])?;
        }
        source.followed.accept(chunk);
        Ok(())
    }

    /// Nothing was read, or what was read could not be stored: the same is tried again.
    fn failed(&mut self, source: &mut Source, error: &io::Error) -> bool {
        if !source.failing {
            let Follow { app, process, path, .. } = &source.followed.follow;
            let path = path.display();
            tracing::warn!(%app, process, %path, %error, "a dyno's log cannot be followed now");
        }
        source.failing = true;
        source.next_look = Instant::now() + Duration::from_secs(1);
        if source.finishing.is_empty() {
            return true;
        }
        answer(source);
        false
    }

    fn finish(&mut self, container: &str, done: Done) {
        let Some(source) = self.sources.get_mut(container) else {
            let _ = done.send(());
            return;
        };
        source.finishing.push(done);
        source.next_look = Instant::now();
    }

    fn forget(&mut self, app: AppId) {
        self.sources.retain(|_, source| source.followed.follow.app != app);
        self.hub.forget(app);
        let dir =
            self.apps.remove(&app).map_or_else(|| self.dir.join(app.to_string()), |log| log.dir);
        if let Err(error) = std::fs::remove_dir_all(&dir)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%app, %error, "an app's log could not be deleted");
        }
        if self.forgotten.len() >= LOG_FORGOTTEN_APPS {
            self.forgotten.clear();
        }
        self.forgotten.insert(app);
    }

    fn keep_only(&mut self, existing: &HashSet<String>) {
        let now = Instant::now();
        for (container, source) in &mut self.sources {
            let absent = now.duration_since(source.last_news) > LOG_ABSENT_AFTER;
            if absent && !existing.contains(container) && source.followed.is_gone() {
                // Removed behind our back; nobody waits, but its log has an end all the same.
                source.finishing.push(oneshot::channel().0);
                source.next_look = now;
            }
        }
        let mut gone = Vec::new();
        for (app, log) in &self.apps {
            let stale = |container: &&String| {
                !existing.contains(*container) && !self.sources.contains_key(*container)
            };
            let stale: Vec<String> = log.checkpoints.keys().filter(stale).cloned().collect();
            if !stale.is_empty() {
                gone.push((*app, stale));
            }
        }
        for (app, gone) in gone {
            if let Err(error) = self.append(app, Vec::new(), None, &gone) {
                tracing::warn!(%app, %error, "old log checkpoints stay");
            }
        }
    }
}

fn answer(source: &mut Source) {
    for done in source.finishing.drain(..) {
        let _ = done.send(());
    }
}
