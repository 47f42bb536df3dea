//! How often passwords and codes are tried, for one account and from one address. A try counts
//! before it is checked, so that many at once are no way around; one that was right does not count.
//! Whoever knows an e-mail address only must not lock its owner out: passwords for an account are
//! counted by address, and in all where the account was not used from there before.

use crate::error::{Error, Kind, Result};
use crate::limits;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// What is tried. Each is counted for itself: whoever knows the password has no more codes to try
/// for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Try {
    Password,
    Code,
}

impl Try {
    fn word(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Code => "code",
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Count {
    tries: u32,
    since: Instant,
}

impl Count {
    /// The least goes first when there is no room.
    fn weight(&self) -> (u32, Instant) {
        (self.tries, self.since)
    }
}

/// Counts of this server; a restart begins anew.
#[derive(Clone, Default)]
pub struct Attempts(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    tries: BTreeMap<String, Count>,
    /// Accounts at addresses where they were used last.
    known: BTreeMap<String, Instant>,
}

impl Attempts {
    /// Counts a try, or refuses it: 429 with the time to wait.
    pub fn begin(&self, what: Try, email: &str, address: &str) -> Result<()> {
        let now = Instant::now();
        let mut counts = self.lock();
        let bounds = counts.bounds(what, &Keys::new(what, email, address));
        for (key, most) in &bounds {
            let count = counts.tries.get(key).filter(|count| is_open(count, now));
            let Some(count) = count else { continue };
            if count.tries >= *most {
                let left = limits::SIGN_IN_WINDOW.saturating_sub(now - count.since);
                let minutes = left.as_secs() / 60 + 1;
                let message = format!("Too many attempts. Try again in {minutes} minutes.");
                return Err(Error::new(Kind::RateLimit, message));
            }
        }
        for (key, _) in bounds {
            make_room(&mut counts.tries, now);
            let count = counts.tries.entry(key).or_insert(Count { tries: 0, since: now });
            if !is_open(count, now) {
                *count = Count { tries: 0, since: now };
            }
            count.tries += 1;
        }
        Ok(())
    }

    /// The try was right: the account starts anew here, and the others get it back.
    pub fn succeeded(&self, what: Try, email: &str, address: &str) {
        let keys = Keys::new(what, email, address);
        let mut counts = self.lock();
        let here = if what == Try::Code { &keys.account } else { &keys.account_here };
        counts.tries.remove(here);
        // Only what it counted for: a stranger's tries stay.
        for (key, _) in counts.bounds(what, &keys) {
            if let Some(count) = counts.tries.get_mut(&key) {
                count.tries = count.tries.saturating_sub(1);
            }
        }
        if what == Try::Password && !keys.place.is_empty() {
            counts.learn(keys.account_here);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// What a try counts for, and how many there may be.
    fn bounds(&self, what: Try, keys: &Keys) -> Vec<(String, u32)> {
        let mut bounds = Vec::new();
        match what {
            Try::Code => bounds.push((keys.account.clone(), limits::SIGN_IN_TRIES_CODE)),
            Try::Password => {
                bounds.push((keys.account_here.clone(), limits::SIGN_IN_TRIES_ACCOUNT));
                if !self.known.contains_key(&keys.account_here) {
                    bounds.push((keys.account.clone(), limits::SIGN_IN_TRIES_STRANGERS));
                }
            }
        }
        if !keys.place.is_empty() {
            bounds.push((keys.place.clone(), limits::SIGN_IN_TRIES_ADDRESS));
        }
        bounds
    }

    /// The account was used from there.
    fn learn(&mut self, account_here: String) {
        self.known.insert(account_here, Instant::now());
        if self.known.len() > limits::SIGN_IN_COUNTS {
            let oldest = self.known.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.known.remove(&key));
        }
    }
}

fn is_open(count: &Count, now: Instant) -> bool {
    now - count.since < limits::SIGN_IN_WINDOW
}

fn make_room(counts: &mut BTreeMap<String, Count>, now: Instant) {
    if counts.len() < limits::SIGN_IN_COUNTS {
        return;
    }
    counts.retain(|_, count| is_open(count, now));
    if counts.len() < limits::SIGN_IN_COUNTS {
        return;
    }
    // Many tries of made-up names must not push out a count that is about to refuse. A quarter goes
    // at once, so that a flood does not look through all of them each time.
    let mut all: Vec<(u32, Instant)> = counts.values().map(Count::weight).collect();
    let quarter = all.len() / 4;
    let (_, last, _) = all.select_nth_unstable(quarter);
    let last = *last;
    counts.retain(|_, count| count.weight() > last);
}

/// Under which names a try is counted.
struct Keys {
    account: String,
    account_here: String,
    /// Empty if nobody knows the address.
    place: String,
}

impl Keys {
    /// Whoever has one IPv6 address has the 2^64 beside it.
    fn new(what: Try, email: &str, address: &str) -> Self {
        let place = match address.parse() {
            Ok(IpAddr::V6(v6)) => format!("{:x?}", &v6.segments()[..4]),
            _ => address.to_string(),
        };
        let email: String = email.trim().to_ascii_lowercase().chars().take(254).collect();
        let account = format!("{} of {email}", what.word());
        let account_here = format!("{account} at {place}");
        let place = if place.is_empty() { place } else { format!("address {place}") };
        Self { account, account_here, place }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tries_are_counted_for_the_account_and_for_the_address() {
        let attempts = Attempts::default();
        for _ in 0..limits::SIGN_IN_TRIES_ACCOUNT {
            attempts.begin(Try::Password, "Ada@x.org", "192.0.2.1").unwrap();
        }
        let refused = attempts.begin(Try::Password, "ada@x.org ", "192.0.2.1").unwrap_err();
        assert_eq!(refused.kind(), Kind::RateLimit);
        assert!(refused.to_string().ends_with("in 16 minutes."), "{refused}");
        attempts.begin(Try::Password, "eve@x.org", "192.0.2.1").unwrap();

        for n in 0..limits::SIGN_IN_TRIES_ADDRESS {
            attempts.begin(Try::Password, &format!("{n}@x.org"), "2001:db8:1:2::5").unwrap();
        }
        assert!(
            attempts.begin(Try::Password, "who@x.org", "2001:db8:1:2:9::7").is_err(),
            "the same network"
        );
        attempts.begin(Try::Password, "who@x.org", "2001:db8:1:3::5").unwrap();

        tokio::time::advance(limits::SIGN_IN_WINDOW).await;
        attempts.begin(Try::Password, "ada@x.org", "192.0.2.1").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_knows_the_e_mail_only_locks_nobody_out() {
        let attempts = Attempts::default();
        let own = "192.0.2.1";
        attempts.begin(Try::Password, "ada@x.org", own).unwrap();
        attempts.succeeded(Try::Password, "ada@x.org", own);
        for _ in 0..limits::SIGN_IN_TRIES_ADDRESS {
            // What is refused does not count, so that no flood makes it last.
            let _ = attempts.begin(Try::Password, "ada@x.org", "198.51.100.1");
        }
        attempts.begin(Try::Password, "ada@x.org", "203.0.113.1").unwrap();

        // Many addresses together have a bound as well, which her own does not know.
        let strange = |n: u32| format!("2001:db8:0:{n:x}::1");
        let mut tried = 0;
        while attempts.begin(Try::Password, "ada@x.org", &strange(tried)).is_ok() {
            tried += 1;
            assert!(tried <= limits::SIGN_IN_TRIES_STRANGERS);
        }
        assert!(attempts.begin(Try::Password, "ada@x.org", "203.0.113.2").is_err());
        attempts.begin(Try::Password, "ada@x.org", own).unwrap();
        attempts.succeeded(Try::Password, "ada@x.org", own);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_made_up_names_does_not_make_room_for_more_tries() {
        let attempts = Attempts::default();
        for _ in 0..limits::SIGN_IN_TRIES_ACCOUNT {
            attempts.begin(Try::Password, "ada@x.org", "").unwrap();
        }
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        for n in 0..limits::SIGN_IN_COUNTS + 1 {
            attempts.begin(Try::Password, &format!("{n}@x.org"), "").unwrap();
        }
        assert!(attempts.begin(Try::Password, "ada@x.org", "").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_right_does_not_count() {
        let attempts = Attempts::default();
        for _ in 0..limits::SIGN_IN_TRIES_ADDRESS * 2 {
            attempts.begin(Try::Password, "ada@x.org", "192.0.2.1").unwrap();
            attempts.succeeded(Try::Password, "ada@x.org", "192.0.2.1");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_password_gives_no_more_codes_to_try() {
        let attempts = Attempts::default();
        for _ in 0..limits::SIGN_IN_TRIES_CODE {
            attempts.begin(Try::Password, "ada@x.org", "192.0.2.1").unwrap();
            attempts.succeeded(Try::Password, "ada@x.org", "192.0.2.1");
            attempts.begin(Try::Code, "ada@x.org", "192.0.2.1").unwrap();
        }
        attempts.begin(Try::Password, "ada@x.org", "192.0.2.1").unwrap();
        assert!(attempts.begin(Try::Code, "ada@x.org", "198.51.100.7").is_err());
        attempts.begin(Try::Code, "eve@x.org", "198.51.100.7").unwrap();
    }
}
