//! Tokens: made, found by what a client brings along, listed, and revoked. Of each only a hash is
//! kept, so nobody sees it a second time.

use super::access::{Access, refused};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::limits;
use crate::model::{Caller, User};
use crate::secrets;
use crate::store;
use crate::store::users::Authorization;
use uuid::Uuid;

impl Access {
    /// The caller that a token stands for; 401 if none.
    pub async fn by_token(&self, token: &str) -> Result<Caller> {
        let (hash, now) = (secrets::hash_token(token), Timestamp::now());
        let found = self
            .store
            .read(move |db| store::users::by_token(db, &hash, now))
            .await?
            .ok_or_else(refused)?;
        let known = found.used_at.map(|at| now.seconds_since(at));
        if known.is_none_or(|seconds| seconds >= limits::TOKEN_USED.as_secs()) {
            let id = found.id;
            let noted = self.store.write(move |db| store::users::token_used(db, id, now)).await;
            // A full disk is no reason to keep somebody out.
            if let Err(error) = noted {
                tracing::warn!(error = error.chain(), "a token's use is not noted");
            }
        }
        Ok(Caller { user: found.user, authorization: Some(found.id) })
    }

    /// Makes a token; this is the only time that it is seen.
    pub async fn authorize(
        &self,
        user: &User,
        description: &str,
        expires_in: Option<i64>,
    ) -> Result<(Authorization, String)> {
        let (token, hash) = secrets::new_token();
        let now = Timestamp::now();
        let authorization = Authorization {
            id: Uuid::new_v4(),
            user: user.clone(),
            description: description.chars().take(limits::DESCRIPTION_CHARS).collect(),
            expires_at: expires_in.map(|seconds| {
                Timestamp(now.0.saturating_add(seconds.max(0).saturating_mul(1_000_000)))
            }),
            created_at: now,
            used_at: None,
        };
        let row = authorization.clone();
        self.store
            .write(move |db| {
                let id = row.id.to_string();
                let details = [("user", row.user.email.as_str()), ("authorization", id.as_str())];
                store::audit::note(db, "authorization:create", None, &details)?;
                store::users::insert_authorization(db, &row, &hash)
            })
            .await?;
        Ok((authorization, token))
    }

    /// Somebody's own, by id; those that have expired are gone.
    pub async fn authorizations(&self, user: &User) -> Result<Vec<Authorization>> {
        let (id, now) = (user.id, Timestamp::now());
        self.store.read(move |db| store::users::authorizations(db, id, now)).await
    }

    /// One of somebody's own.
    pub async fn authorization(&self, user: &User, id: Uuid) -> Result<Authorization> {
        let found = self.authorizations(user).await?.into_iter().find(|row| row.id == id);
        found.ok_or_else(|| Error::not_found("authorization"))
    }

    /// Ends one of somebody's own: whatever comes with that token is a stranger from now on.
    pub async fn revoke(&self, user: &User, id: Uuid) -> Result<Authorization> {
        let row = self.authorization(user, id).await?;
        let owner = user.id;
        let ended = self.store.write(move |db| {
            let is_there = store::users::delete_authorization(db, owner, id)?;
            if is_there {
                let details = [("authorization", &id.to_string()[..])];
                store::audit::note(db, "authorization:destroy", None, &details)?;
            }
            Ok(is_there)
        });
        match ended.await? {
            true => Ok(row),
            false => Err(Error::not_found("authorization")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apps::testing::Stage;

    #[tokio::test]
    async fn a_token_says_when_it_was_used_and_is_good_until_it_is_revoked() {
        let stage = Stage::new().await;
        let (access, user) = (&stage.access, &stage.user);
        let (made, token) = access.authorize(user, "for a script", Some(3600)).await.unwrap();
        let row = async || access.authorization(user, made.id).await;
        assert_eq!(row().await.unwrap().used_at, None);
        assert_eq!(access.by_token(&token).await.unwrap().authorization, Some(made.id));
        let used = row().await.unwrap().used_at.unwrap();
        access.by_token(&token).await.unwrap();
        assert_eq!(row().await.unwrap().used_at, Some(used), "not each use is a write");

        let id = made.id.to_string();
        let later = stage.store.write(move |db| {
            let ago = Timestamp::now().0 - 3_600_000_000;
            db.execute("UPDATE authorizations SET used_at = ? WHERE id = ?", (ago, id))
                .map_err(|error| Error::internal("age a token", error))
        });
        later.await.unwrap();
        access.by_token(&token).await.unwrap();
        assert!(row().await.unwrap().used_at.unwrap() >= used);

        let (stranger, _) = access.create_user("eve@example.com", false).await.unwrap();
        assert!(access.revoke(&stranger, made.id).await.is_err(), "it is somebody else's");
        assert_eq!(access.revoke(user, made.id).await.unwrap().description, "for a script");
        assert!(access.by_token(&token).await.is_err());
        assert!(access.revoke(user, made.id).await.is_err());
        assert_eq!(stage.audit("authorization:destroy", 1).await.len(), 1);
    }

    #[tokio::test]
    async fn a_token_that_has_expired_is_not_listed_and_goes_with_the_next_that_is_made() {
        let stage = Stage::new().await;
        let (access, user) = (&stage.access, &stage.user);
        let (_, token) = access.authorize(user, "short", Some(0)).await.unwrap();
        assert!(access.by_token(&token).await.is_err());
        assert!(access.authorizations(user).await.unwrap().is_empty());
        access.authorize(user, "long", None).await.unwrap();
        let count = stage.store.read(|db| {
            db.query_row("SELECT count(*) FROM authorizations", [], |row| row.get::<_, i64>(0))
                .map_err(|error| Error::internal("count tokens", error))
        });
        assert_eq!(count.await.unwrap(), 1);
    }
}
