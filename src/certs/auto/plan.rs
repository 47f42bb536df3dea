//! When a certificate is tried for, and what a try leaves: pure, so that a year takes no time.

use crate::clock::Timestamp;
use crate::limits;
use crate::model::{AppId, AutoCertificate, AutoState, SniEndpointId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// When the next try is due.
pub fn due_at(row: &AutoCertificate) -> Timestamp {
    let tried_at = row.tried_at.unwrap_or(row.created_at);
    match row.state {
        AutoState::Waiting => row.created_at,
        // A server that died in the middle left it so.
        AutoState::DnsVerified | AutoState::InProgress => tried_at.after(limits::ACME_AGAIN),
        AutoState::Issued => renewal(row.renew_at.unwrap_or(tried_at), tried_at),
        AutoState::Failing | AutoState::Failed => tried_at.after(pause(row.attempts)),
    }
}

/// An authority may give certificates for hours only. Where clocks differ a new one may look old at
/// once: that must not become a loop.
fn renewal(renew_at: Timestamp, issued_at: Timestamp) -> Timestamp {
    let rest = if renew_at > issued_at { limits::ACME_REST } else { limits::ACME_DAY };
    renew_at.max(issued_at.after(rest))
}

/// How long after so many failures in a row nobody is asked.
fn pause(failures: u32) -> Duration {
    let step = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    let last = limits::ACME_PAUSES.len() - 1;
    limits::ACME_PAUSES[step.min(last)]
}

/// When two thirds of its life are over.
pub fn renew_at(starts_at: Timestamp, expires_at: Timestamp) -> Timestamp {
    let life = expires_at.0.saturating_sub(starts_at.0);
    Timestamp(starts_at.0.saturating_add(life / 3 * 2))
}

/// The row after a try that failed.
pub fn failed(mut row: AutoCertificate, reason: &str, now: Timestamp) -> AutoCertificate {
    row.attempts = row.attempts.saturating_add(1);
    let is_given_up = row.attempts >= limits::ACME_FAILURES || !is_asked_for(&row);
    row.state = if is_given_up { AutoState::Failed } else { AutoState::Failing };
    let plain = reason.chars().map(|c| if c.is_control() { ' ' } else { c });
    row.reason = Some(plain.take(limits::ACME_REASON_CHARS).collect());
    row.updated_at = now;
    row
}

/// No authority is asked for a wildcard.
fn is_asked_for(row: &AutoCertificate) -> bool {
    !row.hostname.starts_with("*.")
}

/// What an app has taken of the hour's tries.
#[derive(Default, Clone, Copy)]
struct Taken {
    all: usize,
    /// Those that issued nothing, or not yet.
    vain: usize,
}

/// Names for which a try goes on.
pub type Running = BTreeSet<SniEndpointId>;

/// Those to try for now: the ones that are due, app by app in turn and of each the longest first,
/// within the bounds on tries. One app's many names that lead elsewhere hold up nobody else's.
pub fn due(rows: Vec<AutoCertificate>, running: &Running, now: Timestamp) -> Vec<AutoCertificate> {
    let hour = Timestamp(now.0 - 3_600_000_000);
    let mut taken: BTreeMap<Option<AppId>, Taken> = BTreeMap::new();
    // A try that has just begun may not say so in its row yet.
    let is_recent = |row: &&AutoCertificate| {
        running.contains(&row.id) || row.tried_at.is_some_and(|at| at > hour)
    };
    for row in rows.iter().filter(|row| is_asked_for(row)).filter(is_recent) {
        let taken = taken.entry(row.app).or_default();
        taken.all += 1;
        taken.vain += usize::from(row.state != AutoState::Issued);
    }
    let tries: usize = taken.values().map(|taken| taken.all).sum();
    let left = limits::ACME_TRIES_PER_HOUR.saturating_sub(tries);
    let is_due = |row: &AutoCertificate| !running.contains(&row.id) && due_at(row) <= now;
    let mut due: Vec<AutoCertificate> = rows.into_iter().filter(is_due).collect();
    due.sort_by_key(due_at);
    let (asking, mut others): (Vec<_>, Vec<_>) = due.into_iter().partition(is_asked_for);
    let mut ranked = Vec::new();
    for row in asking {
        let taken = taken.entry(row.app).or_default();
        taken.all += 1;
        taken.vain += 1;
        let is_within =
            taken.all <= limits::ACME_TRIES_PER_APP && taken.vain <= limits::ACME_FAILURES_PER_APP;
        // The platform's own names have no app.
        if row.app.is_none() || is_within {
            ranked.push((taken.all, row));
        }
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    others.splice(0..0, ranked.into_iter().take(left).map(|(_, row)| row));
    others
}

/// How long to wait until one is due. What is due already waits for the bound on tries.
pub fn until_next(rows: &[AutoCertificate], running: &Running, now: Timestamp) -> Duration {
    let resting = rows.iter().filter(|row| !running.contains(&row.id));
    let next = resting.map(due_at).filter(|due| *due > now).min();
    let micros = next.and_then(|due| u64::try_from(due.0.saturating_sub(now.0)).ok());
    micros.map_or(limits::ACME_PERIOD, Duration::from_micros).min(limits::ACME_PERIOD)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(state: AutoState) -> AutoCertificate {
        AutoCertificate {
            id: SniEndpointId::random(),
            hostname: "www.example.com".to_string(),
            app: None,
            domain: None,
            state,
            reason: None,
            attempts: 0,
            tried_at: None,
            chain: None,
            renew_at: None,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn failures_are_tried_again_ever_later_and_end_at_once_a_day() {
        let mut row = row(AutoState::Waiting);
        let mut now = Timestamp(0);
        let mut hours = Vec::new();
        for _ in 0..12 {
            assert!(due_at(&row) <= now);
            row.tried_at = Some(now);
            row = failed(row, "no\nwell", now);
            let next = due_at(&row);
            hours.push((next.0 - now.0) / HOUR);
            now = next;
        }
        assert!(hours.is_sorted() && hours[..3] == [0, 0, 0] && hours[9..] == [24, 24, 24]);
        assert_eq!((row.state, row.reason.as_deref()), (AutoState::Failed, Some("no well")));
    }

    #[test]
    fn it_has_failed_when_it_is_known_that_waiting_is_in_vain() {
        let mut name = row(AutoState::Waiting);
        for _ in 1..limits::ACME_FAILURES {
            name = failed(name, "no", Timestamp(0));
            assert_eq!(name.state, AutoState::Failing);
        }
        assert_eq!(failed(name, "no", Timestamp(0)).state, AutoState::Failed);
        let mut wildcard = row(AutoState::Waiting);
        wildcard.hostname = "*.example.com".to_string();
        assert_eq!(failed(wildcard, "no", Timestamp(0)).state, AutoState::Failed);
    }

    #[test]
    fn a_short_life_is_renewed_at_two_thirds_as_well() {
        let issued_at = Timestamp(100 * HOUR);
        let of = |life: u64| {
            let renew_at = Some(renew_at(issued_at, issued_at.after(Duration::from_secs(life))));
            let tried_at = Some(issued_at);
            let row = AutoCertificate { tried_at, renew_at, ..row(AutoState::Issued) };
            (due_at(&row).0 - issued_at.0) / 1_000_000
        };
        assert_eq!([of(90 * 86400), of(3600), of(60)], [60 * 86400, 2400, 40]);
        assert_eq!(of(3), 10, "no authority is asked without end");
    }

    #[test]
    fn the_next_look_is_at_the_next_that_is_due() {
        let now = Timestamp(100 * HOUR);
        let mut left = row(AutoState::InProgress);
        left.tried_at = Some(now);
        assert_eq!(
            until_next(&[row(AutoState::Waiting), left], &Running::new(), now),
            limits::ACME_AGAIN
        );
        // One that is due but may not be tried yet is no reason to look again and again.
        assert_eq!(
            until_next(&[row(AutoState::Waiting)], &Running::new(), now),
            limits::ACME_PERIOD
        );
        assert_eq!(until_next(&[], &Running::new(), now), limits::ACME_PERIOD);
    }

    #[test]
    fn tries_are_bounded_by_the_hour_and_the_longest_due_comes_first() {
        let now = Timestamp(100 * HOUR);
        let mut rows = vec![row(AutoState::Waiting); limits::ACME_TRIES_PER_HOUR + 5];
        rows[3].created_at = Timestamp(-1);
        let first = rows[3].id;
        let found = due(rows.clone(), &Running::new(), now);
        assert_eq!((found.len(), found[0].id), (limits::ACME_TRIES_PER_HOUR, first));
        for row in &mut rows {
            (row.state, row.renew_at) = (AutoState::Issued, Some(Timestamp(200 * HOUR)));
            row.tried_at = Some(now);
        }
        rows[0].state = AutoState::Waiting;
        rows[1].renew_at = Some(Timestamp(0));
        assert!(due_at(&rows[1]) > now, "it was issued just now, whatever it says");
        assert!(due(rows.clone(), &Running::new(), now).is_empty(), "so many were tried just now");
        assert_eq!(due(rows.clone(), &Running::new(), Timestamp(102 * HOUR)).len(), 1);
        assert_eq!(
            due(rows, &Running::new(), Timestamp(200 * HOUR)).len(),
            limits::ACME_TRIES_PER_HOUR
        );
    }

    #[test]
    fn what_is_being_tried_for_counts_and_is_not_tried_for_twice() {
        let now = Timestamp(100 * HOUR);
        let app = Some(AppId::random());
        let new =
            || AutoCertificate { app, id: SniEndpointId::random(), ..row(AutoState::Waiting) };
        let rows: Vec<_> = std::iter::repeat_with(new).take(50).collect();
        let running: Running = rows.iter().take(4).map(|row| row.id).collect();
        let found = due(rows.clone(), &running, now);
        assert_eq!(found.len(), limits::ACME_FAILURES_PER_APP - running.len());
        assert!(found.iter().all(|row| !running.contains(&row.id)));
        let mut begun = rows[0].clone();
        (begun.state, begun.tried_at) = (AutoState::InProgress, Some(now));
        assert_eq!(until_next(&[begun], &running, now), limits::ACME_PERIOD);
    }

    #[test]
    fn one_apps_many_names_hold_up_nobody_elses() {
        let now = Timestamp(100 * HOUR);
        let of = |app: AppId, created_at: i64| {
            let created_at = Timestamp(created_at);
            AutoCertificate { app: Some(app), created_at, ..row(AutoState::Waiting) }
        };
        let (many, other) = (AppId::random(), AppId::random());
        let mut rows: Vec<_> = (0..1000).map(|n| of(many, n)).collect();
        rows.push(of(other, HOUR));
        rows[7].hostname = "*.example.com".to_string();
        let found = due(rows.clone(), &Running::new(), now);
        assert_eq!(
            found.len(),
            limits::ACME_FAILURES_PER_APP + 2,
            "and the other's, and a wildcard"
        );
        assert!(found[..2].iter().any(|row| row.app == Some(other)), "in turn");
        for row in rows.iter_mut().take(limits::ACME_FAILURES_PER_APP + 1) {
            row.tried_at = Some(now);
        }
        let found: Vec<_> =
            due(rows.clone(), &Running::new(), now).into_iter().map(|row| row.app).collect();
        assert_eq!(found, [Some(other), Some(many)], "the wildcard asks nobody");

        // What was issued is no sign that the rest would fail.
        rows[7].hostname = "www.example.com".to_string();
        let mut passes = Vec::new();
        while passes.last() != Some(&0) {
            for row in rows.iter_mut().filter(|row| row.tried_at.is_some()) {
                (row.state, row.renew_at) = (AutoState::Issued, Some(Timestamp(500 * HOUR)));
            }
            let found: Vec<_> =
                due(rows.clone(), &Running::new(), now).into_iter().map(|row| row.id).collect();
            for row in rows.iter_mut().filter(|row| found.contains(&row.id)) {
                row.tried_at = Some(now);
            }
            passes.push(found.len());
        }
        assert_eq!(passes, [21, 19, 0], "with the 21 from before and the other's");
    }
}
