//! One source of an app is built and released at a time, whether it was pushed or uploaded; the
//! others stand in line, in the order in which they came.

use crate::limits;
use crate::model::AppId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The lines of all apps. An app without builds has no entry.
#[derive(Debug, Clone, Default)]
pub struct Lines(Arc<Mutex<HashMap<AppId, Line>>>);

#[derive(Debug)]
struct Line {
    permit: Arc<Semaphore>,
    /// Who has the turn, and who waits for it.
    builds: usize,
}

/// A place in an app's line; dropping it leaves the line.
#[derive(Debug)]
pub struct Place {
    app: AppId,
    lines: Lines,
    permit: Arc<Semaphore>,
    turn: Option<OwnedSemaphorePermit>,
    ahead: usize,
}

impl Lines {
    /// Joins the line; `None` when it is full.
    pub fn join(&self, app: AppId) -> Option<Place> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines
            .entry(app)
            .or_insert_with(|| Line { permit: Arc::new(Semaphore::new(1)), builds: 0 });
        if line.builds > limits::BUILD_QUEUE {
            return None;
        }
        let ahead = line.builds;
        line.builds += 1;
        let permit = line.permit.clone();
        let turn = if ahead == 0 { permit.clone().try_acquire_owned().ok() } else { None };
        Some(Place { app, lines: self.clone(), permit, turn, ahead })
    }
}

impl Place {
    /// Builds that were in the line before this one.
    pub fn ahead(&self) -> usize {
        self.ahead
    }

    /// Waits until this build is the first in the line.
    pub async fn turn(&mut self) {
        if self.turn.is_none() {
            // The semaphore is fair and is never closed.
            self.turn = self.permit.clone().acquire_owned().await.ok();
        }
    }

    pub fn has_turn(&self) -> bool {
        self.turn.is_some()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.lines.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.turn.take();
        if let Some(line) = lines.get_mut(&self.app) {
            line.builds -= 1;
            if line.builds == 0 {
                lines.remove(&self.app);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_come_in_order_and_lines_end() {
        let lines = Lines::default();
        let app = AppId::random();
        let mut first = lines.join(app).unwrap();
        assert!(first.has_turn());
        let mut second = lines.join(app).unwrap();
        let mut third = lines.join(app).unwrap();
        assert_eq!((second.ahead(), third.ahead()), (1, 2));
        assert!(lines.join(AppId::random()).unwrap().has_turn(), "apps do not wait for each other");
        first.turn().await;
        drop(first);
        second.turn().await;
        let waits = tokio::time::timeout(std::time::Duration::ZERO, third.turn()).await;
        assert!(waits.is_err());
        drop(second);
        third.turn().await;
        drop(third);
        assert!(lines.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn whoever_leaves_the_line_holds_nobody_up() {
        let lines = Lines::default();
        let app = AppId::random();
        let first = lines.join(app).unwrap();
        let second = lines.join(app).unwrap();
        let mut third = lines.join(app).unwrap();
        drop(second);
        drop(first);
        third.turn().await;
        assert!(third.has_turn());
    }

    #[test]
    fn a_full_line_takes_no_more() {
        let lines = Lines::default();
        let app = AppId::random();
        let places: Vec<_> = (0..=limits::BUILD_QUEUE).map(|_| lines.join(app).unwrap()).collect();
        assert!(lines.join(app).is_none());
        drop(places);
        assert!(lines.join(app).is_some());
    }
}
