//! Log sessions: what `POST /apps/APP/log-sessions` was asked for waits here, under a token that
//! cannot be guessed, for the one GET that fetches it.

use super::filter::Filter;
use crate::limits::{LOG_SESSION_VALID, LOG_SESSIONS};
use crate::model::{AppId, UserId};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;
use uuid::Uuid;

/// What the GET shall deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub app: AppId,
    /// Who asked: a tail ends with the right to read.
    pub user: UserId,
    pub filter: Filter,
    /// Lines of history that come first.
    pub lines: usize,
    /// Whether new lines follow for as long as the client stays.
    pub tail: bool,
}

struct Waiting {
    token: String,
    until: Instant,
    session: Session,
}

/// The sessions nobody has fetched yet, oldest first: all live equally long, so that is also the
/// order in which they expire.
#[derive(Clone, Default)]
pub struct Sessions(Arc<Mutex<VecDeque<Waiting>>>);

impl Sessions {
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps the session and returns its token: 32 hexadecimal digits, 122 of its bits random.
    /// When the table is full the oldest session makes room.
    pub fn create(&self, session: Session) -> String {
        let token = Uuid::new_v4().simple().to_string();
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        expire(&mut waiting);
        while waiting.len() >= LOG_SESSIONS {
            waiting.pop_front();
        }
        let until = Instant::now() + LOG_SESSION_VALID;
        waiting.push_back(Waiting { token: token.clone(), until, session });
        token
    }

    /// Hands the session out, once.
    pub fn take(&self, token: &str) -> Option<Session> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        expire(&mut waiting);
        let at = waiting.iter().position(|one| one.token == token)?;
        waiting.remove(at).map(|one| one.session)
    }
}

fn expire(waiting: &mut VecDeque<Waiting>) {
    let now = Instant::now();
    while waiting.front().is_some_and(|one| one.until <= now) {
        waiting.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn session(lines: usize) -> Session {
        let (app, user) = (AppId::random(), UserId::random());
        Session { app, user, filter: Filter::default(), lines, tail: true }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_good_once_and_for_five_minutes() {
        let sessions = Sessions::new();
        let create = || sessions.create(session(100));
        let (first, second) = (create(), create());
        assert_ne!(first, second);
        assert_eq!(sessions.take("guess"), None);
        assert_eq!(sessions.take(&first).map(|session| session.lines), Some(100));
        assert_eq!(sessions.take(&first), None);
        tokio::time::advance(LOG_SESSION_VALID + Duration::from_secs(1)).await;
        assert_eq!(sessions.take(&second), None);
    }

    #[tokio::test]
    async fn a_full_table_forgets_its_oldest() {
        let sessions = Sessions::new();
        let create = || sessions.create(session(1));
        let tokens: Vec<String> = (0..=LOG_SESSIONS).map(|_| create()).collect();
        assert_eq!(sessions.take(&tokens[0]), None);
        assert!(sessions.take(&tokens[1]).is_some());
    }
}
