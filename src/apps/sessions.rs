//! Who is signed in to the console. A session is a secret in a cookie, of which only a hash is
//! kept; it ends when nobody used it for a while, after a week, and whenever its owner says so.

use super::second_factor::Proof;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::limits;
use crate::model::User;
use crate::origin::Origin;
use crate::secrets;
use crate::store::{self, Store};
use std::time::Duration;
use uuid::Uuid;

pub use crate::store::console_sessions::Session;

#[derive(Clone)]
pub struct Sessions {
    store: Store,
}

impl Sessions {
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Signs somebody in who has proved who they are. The secret is told this once.
    pub async fn open(
        &self,
        user: &User,
        proof: Option<Proof>,
        from: &Origin,
        agent: &str,
    ) -> Result<String> {
        let secret = secrets::random_hex::<32>();
        let hash = secrets::hash_token(&secret);
        let now = Timestamp::now();
        let session = Session {
            id: Uuid::new_v4(),
            user: user.clone(),
            must_change_password: false,
            address: from.address.clone().unwrap_or_default(),
            agent: agent.chars().take(limits::AGENT_CHARS).collect(),
            created_at: now,
            seen_at: now,
        };
        let origin = Origin { actor: Some((user.id, user.email.clone())), ..from.clone() };
        let stored = self.store.write(move |db| {
            let (created, seen) = (limits::SESSION_LIFE, limits::SESSION_IDLE);
            store::console_sessions::delete_old(db, ago(now, created), ago(now, seen))?;
            let proof = proof.map(|proof| ("second_factor", proof.as_str()));
            store::audit::note(db, "session:create", None, proof.as_slice())?;
            store::console_sessions::insert(db, &session, &hash)
        });
        origin.scope(stored).await?;
        Ok(secret)
    }

    /// The session that a secret stands for, unless it is over. It counts as used now.
    pub async fn find(&self, secret: &str) -> Result<Option<Session>> {
        let hash = secrets::hash_token(secret);
        let found =
            self.store.read(move |db| store::console_sessions::by_secret(db, &hash)).await?;
        let now = Timestamp::now();
        let Some(session) = found.filter(|session| is_live(session, now)) else { return Ok(None) };
        if session.seen_at < ago(now, limits::SESSION_SEEN) {
            let id = session.id;
            self.store.write(move |db| store::console_sessions::seen(db, id, now)).await?;
        }
        Ok(Some(session))
    }

    /// Whether a session that was found a while ago still holds, for pages that stay open.
    pub async fn still(&self, id: Uuid) -> Result<bool> {
        let found = self.store.read(move |db| store::console_sessions::by_id(db, id)).await?;
        Ok(found.is_some_and(|session| is_live(&session, Timestamp::now())))
    }

    /// The sessions of a person that are not over.
    pub async fn of(&self, user: &User) -> Result<Vec<Session>> {
        let id = user.id;
        let mut all = self.store.read(move |db| store::console_sessions::of_user(db, id)).await?;
        let now = Timestamp::now();
        all.retain(|session| is_live(session, now));
        Ok(all)
    }

    /// Ends one of a person's own sessions.
    pub async fn end(&self, user: &User, id: Uuid) -> Result<()> {
        let user = user.id;
        let ended = self.store.write(move |db| {
            let is_there = store::console_sessions::delete(db, user, id)?;
            if is_there {
                store::audit::note(db, "session:destroy", None, &[])?;
            }
            Ok(is_there)
        });
        match ended.await? {
            true => Ok(()),
            false => Err(Error::not_found("session")),
        }
    }

    /// Ends all of a person's sessions but the one that asks.
    pub async fn end_others(&self, user: &User, keep: Uuid) -> Result<()> {
        let user = user.id;
        self.store
            .write(move |db| {
                store::audit::note(db, "session:destroy", None, &[("which", "all others")])?;
                store::console_sessions::delete_others(db, user, Some(keep))
            })
            .await
    }
}

fn ago(now: Timestamp, time: Duration) -> Timestamp {
    Timestamp(now.0.saturating_sub(i64::try_from(time.as_micros()).unwrap_or(i64::MAX)))
}

fn is_live(session: &Session, now: Timestamp) -> bool {
    session.created_at > ago(now, limits::SESSION_LIFE)
        && session.seen_at > ago(now, limits::SESSION_IDLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apps::access::Access;

    async fn signed_in() -> (tempfile::TempDir, Store, Sessions, User) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state.db")).unwrap();
        let secrets = secrets::Secrets::from_file(&dir.path().join("key")).unwrap();
        let access = Access::new(store.clone(), secrets);
        let (user, _) = access.create_user("ada@example.com", true).await.unwrap();
        (dir, store.clone(), Sessions::new(store), user)
    }

    #[tokio::test]
    async fn a_session_ends_unused_after_its_life_and_at_its_owners_word() {
        let (_dir, store, sessions, user) = signed_in().await;
        let secret = sessions.open(&user, None, &Origin::server(), "Browser").await.unwrap();
        assert!(sessions.find("guess").await.unwrap().is_none());
        let found = sessions.find(&secret).await.unwrap().unwrap();
        assert!(found.must_change_password && found.user.email == "ada@example.com");
        let (id, now) = (found.id, Timestamp::now());

        let idle = ago(now, limits::SESSION_IDLE + Duration::from_secs(1));
        store.write(move |db| store::console_sessions::seen(db, id, idle)).await.unwrap();
        assert!(sessions.find(&secret).await.unwrap().is_none());
        store.write(move |db| store::console_sessions::seen(db, id, now)).await.unwrap();
        assert!(sessions.find(&secret).await.unwrap().is_some());
        let old = Session { created_at: ago(now, limits::SESSION_LIFE), ..found.clone() };
        assert!(!is_live(&old, now), "used a moment ago, but too old");

        sessions.end(&user, id).await.unwrap();
        assert!(sessions.find(&secret).await.unwrap().is_none());
        assert!(!sessions.still(id).await.unwrap());
        assert!(sessions.end(&user, id).await.is_err());
    }

    #[tokio::test]
    async fn nobody_has_more_sessions_than_fit() {
        let (_dir, _, sessions, user) = signed_in().await;
        let first = sessions.open(&user, None, &Origin::server(), "").await.unwrap();
        for _ in 0..limits::SESSIONS_PER_USER {
            sessions.open(&user, None, &Origin::server(), "").await.unwrap();
        }
        assert!(sessions.find(&first).await.unwrap().is_none());
        assert_eq!(sessions.of(&user).await.unwrap().len(), limits::SESSIONS_PER_USER as usize);
    }
}
