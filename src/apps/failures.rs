//! Which failed sign-ins the audit is told of. It keeps all that it is told for ever, so a flood of
//! them is a few entries and the number of those that were left out.

use crate::limits;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

#[derive(Debug, Clone, Copy)]
struct Told {
    since: Instant,
    entries: u32,
    left_out: u64,
}

impl Told {
    fn new(now: Instant) -> Self {
        Self { since: now, entries: 0, left_out: 0 }
    }

    /// Begins a new window when the last is over. What was left out stays to be told.
    fn renew(&mut self, now: Instant) {
        if now - self.since >= limits::SIGN_IN_WINDOW {
            (self.since, self.entries) = (now, 0);
        }
    }
}

#[derive(Clone, Default)]
pub struct Failures(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    /// For each account that there is; one name for all that there are not.
    accounts: BTreeMap<String, Told>,
    all: Option<Told>,
}

impl Failures {
    /// Whether this failure gets an entry, and how many before it got none.
    pub fn tell(&self, account: &str) -> Option<u64> {
        let now = Instant::now();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Counts { accounts, all } = &mut *counts;
        let all = all.get_or_insert_with(|| Told::new(now));
        all.renew(now);
        let one = accounts.entry(account.to_string()).or_insert_with(|| Told::new(now));
        one.renew(now);
        let is_full = one.entries >= limits::SIGN_IN_FAILURES_ACCOUNT
            || all.entries >= limits::SIGN_IN_FAILURES_ALL;
        if is_full {
            one.left_out += 1;
            return None;
        }
        one.entries += 1;
        all.entries += 1;
        let left_out = std::mem::take(&mut one.left_out);
        // Accounts of which there is nothing left to tell take no room.
        accounts.retain(|_, told| told.left_out > 0 || now - told.since < limits::SIGN_IN_WINDOW);
        Some(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_a_few_entries_and_the_number_of_the_rest() {
        let failures = Failures::default();
        let told = (0..1000).filter(|_| failures.tell("ada@x.org").is_some()).count();
        assert_eq!(told, limits::SIGN_IN_FAILURES_ACCOUNT as usize);
        assert_eq!(failures.tell("eve@x.org"), Some(0), "another account has its own");
        tokio::time::advance(limits::SIGN_IN_WINDOW).await;
        assert_eq!(failures.tell("ada@x.org"), Some(1000 - told as u64));
        assert_eq!(failures.tell("ada@x.org"), Some(0), "they are told once");
    }

    #[tokio::test(start_paused = true)]
    async fn all_accounts_together_have_a_bound_as_well() {
        let failures = Failures::default();
        let told = (0..1000).filter(|n| failures.tell(&format!("{n}@x.org")).is_some()).count();
        assert_eq!(told, limits::SIGN_IN_FAILURES_ALL as usize);
    }
}
