//! Waiting for a condition with a deadline. The only place in the tests that sleeps.

use std::time::{Duration, Instant};

/// Between two looks at a condition.
const PERIOD: Duration = Duration::from_millis(25);

/// Waits until `look` finds something. The panic says what was waited for.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain for: {what}");
        pause();
    }
}

/// Waits until `holds` is true: half a minute at most.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    until(what, Duration::from_secs(30), || holds().then_some(()));
}

#[allow(clippy::disallowed_methods, reason = "the one sleep, inside a wait with a deadline")]
pub fn pause() {
    std::thread::sleep(PERIOD);
}
