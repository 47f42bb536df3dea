//! Passwords: changed by whoever knows the one before, and set by root for whoever does not.

use super::access::Access;
use crate::clock::Timestamp;
use crate::error::{Error, Kind, Result};
use crate::model::User;
use crate::origin::Origin;
use crate::store;
use crate::{limits, secrets, tasks};
use uuid::Uuid;

impl Access {
    /// Changes a password that is known, and ends the person's sessions but the one that asks:
    /// whoever knew the old one may be in them.
    pub async fn change_password(
        &self,
        user: &User,
        current: &str,
        new: &str,
        keep: Option<Uuid>,
        from: &Origin,
    ) -> Result<()> {
        check_new(&user.email, current, new)?;
        // A session that somebody left open, or a token, is no way to guess a password.
        let proved = self.by_password(&user.email, current, from).await;
        proved.map_err(|error| match error.kind() {
            Kind::Unauthorized => Error::invalid("The current password is not right."),
            _ => error,
        })?;
        let hash = hashed(new.to_string()).await?;
        let id = user.id;
        self.store
            .write(move |db| {
                store::audit::note(db, "user:update", None, &[("changed", "password")])?;
                store::console_sessions::set_password(db, id, &hash, false, Timestamp::now())?;
                store::console_sessions::delete_others(db, id, keep)
            })
            .await
    }

    /// Makes a new password, which is told this once and changed at the first sign-in, and ends the
    /// person's sessions.
    pub async fn reset_password(&self, user: &User) -> Result<String> {
        let password = secrets::random_hex::<12>();
        let hash = hashed(password.clone()).await?;
        let user = user.clone();
        self.store
            .write(move |db| {
                let details = [("user", user.email.as_str()), ("changed", "password")];
                store::audit::note(db, "user:update", None, &details)?;
                store::console_sessions::set_password(db, user.id, &hash, true, Timestamp::now())?;
                store::console_sessions::delete_others(db, user.id, None)
            })
            .await?;
        Ok(password)
    }
}

async fn hashed(plain: String) -> Result<String> {
    tasks::blocking("hash a password", move || secrets::hash_password(&plain)).await
}

fn check_new(email: &str, current: &str, new: &str) -> Result<()> {
    if new.chars().count() < limits::PASSWORD_CHARS {
        let least = limits::PASSWORD_CHARS;
        let message = format!("The new password is too short: it needs {least} characters.");
        return Err(Error::invalid(message));
    }
    if new.len() > limits::PASSWORD_BYTES {
        return Err(Error::invalid("The new password is too long."));
    }
    if new == current || new.eq_ignore_ascii_case(email) {
        return Err(Error::invalid(
            "The new password must differ from the old one and from your e-mail address.",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apps::sessions::Sessions;
    use crate::secrets::Secrets;
    use crate::store::Store;

    async fn signed_in() -> (tempfile::TempDir, Sessions, Access, User, String) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state.db")).unwrap();
        let secrets = Secrets::from_file(&dir.path().join("key")).unwrap();
        let access = Access::new(store.clone(), secrets);
        let (user, password) = access.create_user("ada@example.com", true).await.unwrap();
        (dir, Sessions::new(store), access, user, password.unwrap())
    }

    #[tokio::test]
    async fn a_new_password_ends_the_other_sessions_and_the_duty_to_change_it() {
        let (_dir, sessions, access, user, first) = signed_in().await;
        let from = Origin::server();
        let (here, there) = (
            sessions.open(&user, None, &from, "").await.unwrap(),
            sessions.open(&user, None, &from, "").await.unwrap(),
        );
        let session = sessions.find(&here).await.unwrap().unwrap();
        let change = async |old: &str, new: &str| {
            access.change_password(&user, old, new, Some(session.id), &from).await
        };
        for (old, new) in [
            ("wrong", "a long enough one"),
            (&*first, "short"),
            (&*first, &*first),
            (&*first, "Ada@Example.com"),
        ] {
            assert!(change(old, new).await.is_err(), "{new}");
        }
        change(&first, "a long enough one").await.unwrap();
        assert!(sessions.find(&there).await.unwrap().is_none());
        let now = sessions.find(&here).await.unwrap().unwrap();
        assert!(!now.must_change_password);
        assert!(access.by_password("ada@example.com", &first, &from).await.is_err());
        access.by_password("ada@example.com", "a long enough one", &from).await.unwrap();
    }

    #[tokio::test]
    async fn a_password_that_root_made_is_to_be_changed_and_ends_all_sessions() {
        let (_dir, sessions, access, user, first) = signed_in().await;
        let from = Origin::server();
        access.change_password(&user, &first, "a long enough one", None, &from).await.unwrap();
        let user = access.user(&user.email).await.unwrap();
        let before = sessions.open(&user, None, &from, "").await.unwrap();
        assert!(!sessions.find(&before).await.unwrap().unwrap().must_change_password);
        let made = access.reset_password(&user).await.unwrap();
        assert!(sessions.find(&before).await.unwrap().is_none());
        assert!(access.by_password(&user.email, "a long enough one", &from).await.is_err());
        let user = access.by_password(&user.email, &made, &from).await.unwrap();
        let after = sessions.open(&user, None, &from, "").await.unwrap();
        assert!(sessions.find(&after).await.unwrap().unwrap().must_change_password);
    }
}
