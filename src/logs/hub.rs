//! Where the log thread and readers meet: how far each app's log reaches, and who tails it. Both
//! change under one lock, so that a reader can have history and what follows without a seam.

use super::filter::Filter;
use super::line::LogLine;
use super::segment::Position;
use super::tail::{Feed, Tail};
use crate::model::AppId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct App {
    end: Position,
    feeds: Vec<Feed>,
}

#[derive(Default)]
pub(crate) struct Hub(Mutex<HashMap<AppId, App>>);

impl Hub {
    fn lock(&self) -> MutexGuard<'_, HashMap<AppId, App>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These lines are stored now, up to `end`.
    pub(crate) fn publish(&self, app: AppId, end: Position, lines: Vec<LogLine>) {
        let mut apps = self.lock();
        let app = apps.entry(app).or_default();
        app.end = end;
        app.feeds.retain(|feed| !feed.is_closed());
        if app.feeds.is_empty() {
            return;
        }
        let lines: Vec<Arc<LogLine>> = lines.into_iter().map(Arc::new).collect();
        for feed in &app.feeds {
            feed.push(&lines);
        }
    }

    pub(crate) fn end(&self, app: AppId) -> Position {
        self.lock().get(&app).map(|app| app.end).unwrap_or_default()
    }

    /// A tail, and the end of what is stored before its first line.
    pub(crate) fn subscribe(&self, app: AppId, filter: Filter) -> (Position, Tail) {
        let (feed, tail) = Feed::new(filter);
        let mut apps = self.lock();
        let app = apps.entry(app).or_default();
        app.feeds.retain(|feed| !feed.is_closed());
        app.feeds.push(feed);
        (app.end, tail)
    }

    /// The app is gone: its tails end.
    pub(crate) fn forget(&self, app: AppId) {
        let gone = self.lock().remove(&app);
        drop(gone);
    }
}
