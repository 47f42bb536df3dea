//! How often passwords and codes are tried, for one account and from one address. A try counts
//! before it is checked, so that many at once are no way around; one that was right does not count.

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
    fn most(self) -> u32 {
        match self {
            Self::Password => limits::SIGN_IN_TRIES_ACCOUNT,
            Self::Code => limits::SIGN_IN_TRIES_CODE,
        }
    }

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

/// Counts of this server; a restart begins anew.
#[derive(Clone, Default)]
pub struct Attempts(Arc<Mutex<BTreeMap<String, Count>>>);

impl Attempts {
    /// Counts a try, or refuses it: 429 with the time to wait.
    pub fn begin(&self, what: Try, email: &str, address: &str) -> Result<()> {
        let now = Instant::now();
        let [account, place] = keys(what, email, address);
        let mut counts = self.lock();
        let bounds = [(&account, what.most()), (&place, limits::SIGN_IN_TRIES_ADDRESS)];
        for (key, most) in bounds {
            let count = counts.get(key).filter(|count| is_open(count, now));
            let Some(count) = count.filter(|_| !key.is_empty()) else { continue };
            if count.tries >= most {
                let left = limits::SIGN_IN_WINDOW.saturating_sub(now - count.since);
                let minutes = left.as_secs() / 60 + 1;
                let message = format!("Too many attempts. Try again in {minutes} minutes.");
                return Err(Error::new(Kind::RateLimit, message));
            }
        }
        for key in [account, place].into_iter().filter(|key| !key.is_empty()) {
            make_room(&mut counts, now);
            let count = counts.entry(key).or_insert(Count { tries: 0, since: now });
            if !is_open(count, now) {
                *count = Count { tries: 0, since: now };
            }
            count.tries += 1;
        }
        Ok(())
    }

    /// The try was right: the account starts anew, and the address gets it back.
    pub fn succeeded(&self, what: Try, email: &str, address: &str) {
        let [account, place] = keys(what, email, address);
        let mut counts = self.lock();
        counts.remove(&account);
        if let Some(count) = counts.get_mut(&place) {
            count.tries = count.tries.saturating_sub(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
    while counts.len() >= limits::SIGN_IN_COUNTS {
        // Many tries of made-up names must not push out a count that is about to refuse.
        let least = counts.iter().min_by_key(|(_, count)| (count.tries, count.since));
        let Some(least) = least.map(|(key, _)| key.clone()) else { return };
        counts.remove(&least);
    }
}

/// Whoever has one IPv6 address has the 2^64 beside it. An address that is not known has no count.
fn keys(what: Try, email: &str, address: &str) -> [String; 2] {
    let place = match address.parse() {
        Ok(IpAddr::V6(v6)) => format!("{:x?}", &v6.segments()[..4]),
        _ => address.to_string(),
    };
    let place = if place.is_empty() { place } else { format!("address {place}") };
    let email: String = email.trim().to_ascii_lowercase().chars().take(254).collect();
    [format!("{} of {email}", what.word()), place]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tries_are_counted_for_the_account_and_for_the_address() {
        let attempts = Attempts::default();
        for n in 0..limits::SIGN_IN_TRIES_ACCOUNT {
            attempts.begin(Try::Password, "Ada@x.org", &format!("192.0.2.{n}")).unwrap();
        }
        let refused = attempts.begin(Try::Password, "ada@x.org ", "198.51.100.1").unwrap_err();
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
        attempts.begin(Try::Password, "ada@x.org", "198.51.100.1").unwrap();
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
