//! Builds run side by side up to a setting. The others wait in the order in which they came, and
//! each is told where it stands.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// One is of all builds, each app with one in it at most: its others wait in a queue of its own.
#[derive(Debug, Clone)]
pub struct Queue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    /// Builds that may begin now.
    free: usize,
    /// Numbers of the tickets that wait, the oldest first.
    waiting: VecDeque<u64>,
    next: u64,
}

/// A place in the queue, and then one among the builds that run; dropping it gives up either.
#[derive(Debug)]
pub struct Ticket {
    queue: Queue,
    number: u64,
    runs: bool,
}

impl Queue {
    pub fn new(parallel: usize) -> Self {
        let state = State { free: parallel, waiting: VecDeque::new(), next: 0 };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: watch::Sender::new(()) }))
    }

    pub fn join(&self) -> Ticket {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.waiting.push_back(number);
        Ticket { queue: self.clone(), number, runs: false }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Waits until the build may begin. `tell` hears which place it has, from 1, at first and
    /// whenever it moves up.
    pub async fn turn(&mut self, mut tell: impl FnMut(usize)) {
        let mut changed = self.queue.0.changed.subscribe();
        let mut told = None;
        while !self.runs {
            changed.borrow_and_update();
            let place = self.begin_or_place();
            if let Some(place) = place
                && told != Some(place)
            {
                tell(place);
                told = Some(place);
            }
            // The sender lives as long as the queue does.
            if place.is_some() && changed.changed().await.is_err() {
                return;
            }
        }
    }

    pub fn runs(&self) -> bool {
        self.runs
    }

    /// Takes a free slot, if it is this build's turn; else its place.
    pub fn begin_or_place(&mut self) -> Option<usize> {
        let mut state = self.queue.lock();
        let at = state.waiting.iter().position(|number| *number == self.number)?;
        // Those before it take a slot each, and are about to.
        if at >= state.free {
            return Some(at - state.free + 1);
        }
        state.waiting.remove(at);
        state.free -= 1;
        self.runs = true;
        drop(state);
        self.queue.0.changed.send_replace(());
        None
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        match self.runs {
            true => state.free += 1,
            false => state.waiting.retain(|number| *number != self.number),
        }
        drop(state);
        self.queue.0.changed.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// What a ticket that does not get its turn is told now.
    async fn place(ticket: &mut Ticket) -> Vec<usize> {
        let mut told = Vec::new();
        let turn = ticket.turn(|place| told.push(place));
        assert!(tokio::time::timeout(Duration::ZERO, turn).await.is_err());
        told
    }

    #[tokio::test]
    async fn builds_begin_in_order_and_know_their_place() {
        let queue = Queue::new(2);
        let mut tickets: Vec<Ticket> = (0..5).map(|_| queue.join()).collect();
        for ticket in &mut tickets[..2] {
            ticket.turn(|place| panic!("told to wait at {place}")).await;
        }
        for (ticket, expected) in tickets[2..].iter_mut().zip([1, 2, 3]) {
            assert_eq!(place(ticket).await, [expected]);
        }
        let fourth = tickets.remove(3);
        drop(fourth);
        assert_eq!(place(&mut tickets[3]).await, [2], "one that leaves lets those behind move up");
        drop(tickets.remove(0));
        tickets[1].turn(|place| panic!("told to wait at {place}")).await;
        assert_eq!(place(&mut tickets[2]).await, [1]);
        drop(tickets);
        assert_eq!(queue.lock().free, 2);
        assert!(queue.lock().waiting.is_empty());
    }

    #[tokio::test]
    async fn whoever_waits_hears_of_each_step() {
        let queue = Queue::new(1);
        let mut first = queue.join();
        first.turn(|_| {}).await;
        let (second, mut third) = (queue.join(), queue.join());
        let (tell, told) = std::sync::mpsc::channel();
        let waits = crate::tasks::spawn("a build waits", async move {
            third.turn(|place| tell.send(place).unwrap()).await;
        });
        let next = async || loop {
            match told.try_recv() {
                Ok(place) => return place,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        assert_eq!(next().await, 2);
        drop(second);
        assert_eq!(next().await, 1);
        drop(first);
        waits.await.unwrap();
    }
}
