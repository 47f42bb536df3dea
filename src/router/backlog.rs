//! Requests of one app that wait for a place on a dyno, or for a dyno that starts. A place that
//! becomes free is passed on to the first of them and is never free in between, so none that
//! comes later overtakes it. It outlives snapshots.

use super::target::Target;
use crate::limits;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use tokio::sync::oneshot;
use tokio::time::Instant;

#[derive(Default)]
pub struct Backlog {
    /// As long as the queue; read without its lock.
    waiting: AtomicUsize,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    next_number: u64,
    waiters: VecDeque<Waiter>,
}

struct Waiter {
    number: u64,
    thread: ThreadId,
    since: Instant,
    wake: oneshot::Sender<Wake>,
}

/// Why a waiting request goes on.
pub enum Wake {
    /// A request on this target ended, and its place is for this one.
    Place(Arc<Target>),
    /// The table changed, or a place became free that can't be passed on.
    Look,
}

impl Backlog {
    pub fn waiting(&self) -> usize {
        // A place is given back before this is read, and a request waits before it looks for a
        // place: in one order for all, so that at least one of the two sees the other.
        self.waiting.load(Ordering::SeqCst)
    }

    /// Takes a place at the queue's end.
    pub fn join(self: &Arc<Self>) -> Waiting {
        let (wake, woken) = oneshot::channel();
        let mut queue = self.lock();
        let number = queue.next_number;
        queue.next_number += 1;
        let (thread, since) = (std::thread::current().id(), Instant::now());
        queue.waiters.push_back(Waiter { number, thread, since, wake });
        self.waiting.store(queue.waiters.len(), Ordering::SeqCst);
        drop(queue);
        Waiting { backlog: self.clone(), number, woken }
    }

    /// Gives a place that a request leaves to one that waits. False if there is none, or if no
    /// further request may begin on the target; the place is the caller's still.
    pub fn pass_on(&self, target: &Arc<Target>) -> bool {
        let mut queue = self.lock();
        // Under the lock: whoever joins after the target left the table does not get it.
        if !target.takes_requests() {
            return false;
        }
        while let Some(waiter) = queue.next(std::thread::current().id()) {
            self.waiting.store(queue.waiters.len(), Ordering::SeqCst);
            if waiter.wake.send(Wake::Place(target.clone())).is_ok() {
                return true;
            }
        }
        false
    }

    /// Lets the first one look for a place.
    pub fn wake_first(&self) {
        let mut queue = self.lock();
        if let Some(waiter) = queue.waiters.pop_front() {
            self.waiting.store(queue.waiters.len(), Ordering::SeqCst);
            // It may have given up in this moment.
            let _ = waiter.wake.send(Wake::Look);
        }
    }

    /// Lets all look, since the table changed.
    pub fn wake_all(&self) {
        let mut queue = self.lock();
        self.waiting.store(0, Ordering::SeqCst);
        for waiter in queue.waiters.drain(..) {
            let _ = waiter.wake.send(Wake::Look);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Nearly the first: among those that wait about as long, one of the same thread, since
    /// waking another thread costs two system calls.
    fn next(&mut self, thread: ThreadId) -> Option<Waiter> {
        let until = self.waiters.front()?.since + limits::BACKLOG_ORDER;
        let about_first = self.waiters.iter().take_while(|waiter| waiter.since <= until);
        let own = about_first.into_iter().position(|waiter| waiter.thread == thread);
        self.waiters.remove(own.unwrap_or(0))
    }
}

/// A request's place in the queue.
pub struct Waiting {
    backlog: Arc<Backlog>,
    number: u64,
    woken: oneshot::Receiver<Wake>,
}

impl Waiting {
    pub async fn woken(&mut self) -> Wake {
        (&mut self.woken).await.unwrap_or(Wake::Look)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.woken.is_terminated() {
            return;
        }
        let mut queue = self.backlog.lock();
        if let Ok(at) = queue.waiters.binary_search_by_key(&self.number, |waiter| waiter.number) {
            queue.waiters.remove(at);
            self.backlog.waiting.store(queue.waiters.len(), Ordering::SeqCst);
        }
        drop(queue);
        // One that gives up passes on what it just got.
        self.woken.close();
        match self.woken.try_recv() {
            Ok(Wake::Place(target)) => drop(target.resume()),
            Ok(Wake::Look) => self.backlog.wake_first(),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::target::Drains;
    use super::*;

    fn target(backlog: &Arc<Backlog>) -> Arc<Target> {
        let addr = "127.0.0.1:1".parse().unwrap();
        let drains = Arc::new(Drains::default());
        Arc::new(Target::new("c1".into(), "web.1".into(), addr, backlog.clone(), drains))
    }

    async fn is_placed(waiting: &mut Waiting) -> Option<Arc<Target>> {
        match waiting.woken().await {
            Wake::Place(target) => Some(target),
            Wake::Look => None,
        }
    }

    #[tokio::test]
    async fn a_place_is_passed_on_and_never_free_in_between() {
        let backlog = Arc::new(Backlog::default());
        let target = target(&backlog);
        let busy = target.begin(1).unwrap();
        let (mut first, second) = (backlog.join(), backlog.join());
        drop(busy);
        assert!(target.begin(1).is_err(), "one that comes later overtakes nobody");
        let place = is_placed(&mut first).await.expect("a place").resume();
        drop(second);
        assert_eq!((backlog.waiting(), target.in_flight()), (0, 1));
        drop(place);
        assert_eq!(target.in_flight(), 0);
    }

    #[tokio::test]
    async fn one_that_gives_up_passes_on_what_it_just_got() {
        let backlog = Arc::new(Backlog::default());
        let target = target(&backlog);
        let busy = target.begin(1).unwrap();
        let (first, mut second) = (backlog.join(), backlog.join());
        drop(busy);
        drop(first);
        drop(is_placed(&mut second).await.expect("a place").resume());
        assert_eq!((backlog.waiting(), target.in_flight()), (0, 0));
    }

    #[tokio::test]
    async fn no_place_on_a_target_that_left_is_passed_on() {
        let backlog = Arc::new(Backlog::default());
        let target = target(&backlog);
        let busy = target.begin(1).unwrap();
        let mut waiting = backlog.join();
        assert!(!target.retire());
        drop(busy);
        assert!(is_placed(&mut waiting).await.is_none(), "it looks at the newest table");
        assert_eq!(target.in_flight(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_the_same_thread_comes_first_unless_another_waits_longer() {
        let backlog = Arc::new(Backlog::default());
        let target = target(&backlog);
        let join_elsewhere = || {
            let backlog = backlog.clone();
            let runtime = tokio::runtime::Handle::current();
            let joining = std::thread::spawn(move || {
                let _entered = runtime.enter();
                backlog.join()
            });
            joining.join().unwrap()
        };
        let (mut other, mut own) = (join_elsewhere(), backlog.join());
        drop(target.begin(1).unwrap());
        let place = is_placed(&mut own).await.expect("a place").resume();
        tokio::time::advance(2 * limits::BACKLOG_ORDER).await;
        let (mut later, mut last) = (backlog.join(), backlog.join());
        drop(place);
        let place = is_placed(&mut other).await.expect("the oldest's turn").resume();
        drop(place);
        let place = is_placed(&mut later).await.expect("a place").resume();
        drop(place);
        drop(is_placed(&mut last).await.expect("a place").resume());
        assert_eq!(target.in_flight(), 0);
    }
}
