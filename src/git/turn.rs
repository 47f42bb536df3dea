//! One push at a time moves `main` or `master` of an app; the others stand in line, in the order
//! in which they came.

use crate::limits;
use crate::model::AppId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The lines of all apps. An app without pushes has no entry.
#[derive(Debug, Clone, Default)]
pub struct Turns(Arc<Mutex<HashMap<AppId, Line>>>);

#[derive(Debug)]
struct Line {
    permit: Arc<Semaphore>,
    /// Who has the turn, and who waits for it.
    pushes: usize,
}

/// A place in an app's line; dropping it leaves the line.
#[derive(Debug)]
pub struct Place {
    app: AppId,
    turns: Turns,
    permit: Arc<Semaphore>,
    turn: Option<OwnedSemaphorePermit>,
    ahead: usize,
}

impl Turns {
    /// Joins the line; `None` when it is full.
    pub fn join(&self, app: AppId) -> Option<Place> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines
            .entry(app)
            .or_insert_with(|| Line { permit: Arc::new(Semaphore::new(1)), pushes: 0 });
        if line.pushes > limits::PUSH_QUEUE {
            return None;
        }
        let ahead = line.pushes;
        line.pushes += 1;
        let permit = line.permit.clone();
        let turn = if ahead == 0 { permit.clone().try_acquire_owned().ok() } else { None };
        Some(Place { app, turns: self.clone(), permit, turn, ahead })
    }
}

impl Place {
    /// Pushes that were in the line before this one.
    pub fn ahead(&self) -> usize {
        self.ahead
    }

    /// Waits until this push is the first in the line.
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
        let mut lines = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.turn.take();
        if let Some(line) = lines.get_mut(&self.app) {
            line.pushes -= 1;
            if line.pushes == 0 {
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
        let turns = Turns::default();
        let app = AppId::random();
        let mut first = turns.join(app).unwrap();
        assert!(first.has_turn());
        let mut second = turns.join(app).unwrap();
        let mut third = turns.join(app).unwrap();
        assert_eq!((second.ahead(), third.ahead()), (1, 2));
        assert!(turns.join(AppId::random()).unwrap().has_turn(), "apps do not wait for each other");
        first.turn().await;
        drop(first);
        second.turn().await;
        let waits = tokio::time::timeout(std::time::Duration::ZERO, third.turn()).await;
        assert!(waits.is_err());
        drop(second);
        third.turn().await;
        drop(third);
        assert!(turns.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn whoever_leaves_the_line_holds_nobody_up() {
        let turns = Turns::default();
        let app = AppId::random();
        let first = turns.join(app).unwrap();
        let second = turns.join(app).unwrap();
        let mut third = turns.join(app).unwrap();
        drop(second);
        drop(first);
        third.turn().await;
        assert!(third.has_turn());
    }

    #[test]
    fn a_full_line_takes_no_more() {
        let turns = Turns::default();
        let app = AppId::random();
        let places: Vec<_> = (0..=limits::PUSH_QUEUE).map(|_| turns.join(app).unwrap()).collect();
        assert!(turns.join(app).is_none());
        drop(places);
        assert!(turns.join(app).is_some());
    }
}
