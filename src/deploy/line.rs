//! One source of an app is built and released at a time, whether it was pushed or uploaded; the
//! others stand in line, in the order in which they came, and each is told where.

use super::queue::{Queue, Ticket};
use crate::limits;
use crate::model::AppId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The lines of all apps. An app without builds has no entry.
#[derive(Debug, Clone, Default)]
pub struct Lines(Arc<Mutex<HashMap<AppId, Line>>>);

#[derive(Debug)]
struct Line {
    queue: Queue,
    /// Who has the turn, and who waits for it.
    builds: usize,
}

/// A place in an app's line; dropping it leaves the line.
#[derive(Debug)]
pub struct Place {
    app: AppId,
    lines: Lines,
    /// Only a drop takes it.
    ticket: Option<Ticket>,
}

impl Lines {
    /// Joins the line; `None` when it is full.
    pub fn join(&self, app: AppId) -> Option<Place> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry(app).or_insert_with(|| Line { queue: Queue::new(1), builds: 0 });
        if line.builds > limits::BUILD_QUEUE {
            return None;
        }
        line.builds += 1;
        let mut ticket = line.queue.join();
        ticket.begin_or_place();
        Some(Place { app, lines: self.clone(), ticket: Some(ticket) })
    }
}

impl Place {
    /// Waits until this build is the first in the line. `tell` hears how many are before it, at
    /// first and whenever that changes.
    pub async fn turn(&mut self, tell: impl FnMut(usize)) {
        if let Some(ticket) = &mut self.ticket {
            ticket.turn(tell).await;
        }
    }

    pub fn has_turn(&self) -> bool {
        self.ticket.as_ref().is_some_and(Ticket::runs)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.lines.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.ticket.take();
        if let Some(line) = lines.get_mut(&self.app) {
            line.builds -= 1;
            if line.builds == 0 {
                lines.remove(&self.app);
            }
        }
    }
}

/// What is said to whoever waits.
pub fn ahead(builds: usize, app: &str) -> String {
    match builds {
        1 => format!("Waiting for another build of {app} to finish..."),
        n => format!("Waiting for {n} other builds of {app} to finish..."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// What a place that does not get its turn is told now.
    async fn told(place: &mut Place) -> Vec<usize> {
        let mut told = Vec::new();
        let turn = place.turn(|ahead| told.push(ahead));
        assert!(tokio::time::timeout(Duration::ZERO, turn).await.is_err());
        told
    }

    #[tokio::test]
    async fn turns_come_in_order_and_lines_end() {
        let lines = Lines::default();
        let app = AppId::random();
        let mut first = lines.join(app).unwrap();
        assert!(first.has_turn());
        let mut second = lines.join(app).unwrap();
        let mut third = lines.join(app).unwrap();
        assert_eq!((told(&mut second).await, told(&mut third).await), (vec![1], vec![2]));
        assert!(lines.join(AppId::random()).unwrap().has_turn(), "apps do not wait for each other");
        first.turn(|_| panic!("has its turn")).await;
        drop(first);
        second.turn(|_| {}).await;
        assert_eq!(told(&mut third).await, [1], "it has moved up");
        drop(second);
        third.turn(|_| {}).await;
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
        third.turn(|_| {}).await;
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
