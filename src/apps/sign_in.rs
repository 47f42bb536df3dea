//! Signing in with e-mail and password, and a code where the account has a second factor. Tries
//! are limited, and the audit is told of those that failed.

use super::access::{Access, refused};
use super::attempts::Try;
use crate::clock::Timestamp;
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::model::{Caller, User};
use crate::origin::Origin;
use crate::{secrets, store, tasks};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

/// What the proof of a right password is sealed as.
const HALF: &str = "half a sign-in";
/// Who the audit says failed where there is no such account: what was typed may be a password.
const UNKNOWN: &str = "unknown";

/// Which passwords let somebody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryBy {
    /// One that its owner has chosen. Any other is a `PasswordChange` error.
    OwnPassword,
    /// Also one that others have seen: for whoever is about to choose another.
    AnyPassword,
}

impl Access {
    /// The caller with this e-mail and password; and with this code, if there is a second factor:
    /// without one that is a `TwoFactor` error.
    pub async fn sign_in(
        &self,
        email: &str,
        password: &str,
        code: Option<&str>,
        entry: EntryBy,
        from: &Origin,
    ) -> Result<Caller> {
        let user = self.by_password(email, password, from).await?;
        let id = user.id;
        let is_first = move |db: &_| store::console_sessions::must_change_password(db, id);
        if entry == EntryBy::OwnPassword && self.store.read(is_first).await? {
            let message = "This password has been on a screen, and is good only for choosing one \
                           of your own: sign in to the console, or run senryu login.";
            return Err(Error::new(Kind::PasswordChange, message));
        }
        match (self.second_factor(&user).await?, code) {
            (None, _) => {}
            (Some(_), Some(code)) => {
                self.check_code(&user, code, from).await?;
            }
            (Some(_), None) => {
                let message = "A second factor is wanted: the code that your app shows now, or a \
                               recovery code.";
                return Err(Error::new(Kind::TwoFactor, message));
            }
        }
        Ok(Caller { user, authorization: None })
    }

    /// The user with this e-mail and password, which may not be enough; 401 if none, as slow as if
    /// there were one. Too many wrong tries for an account, or from one address, are a 429.
    pub async fn by_password(&self, email: &str, password: &str, from: &Origin) -> Result<User> {
        let address = from.address.as_deref().unwrap_or_default();
        if let Err(limited) = self.attempts.begin(Try::Password, email, address) {
            self.failed(email, "limit", from).await;
            return Err(limited);
        }
        let proved = self.proved(email, password).await;
        match &proved {
            Ok(_) => self.attempts.succeeded(Try::Password, email, address),
            Err(error) if error.kind() == Kind::Unauthorized => {
                self.failed(email, "password", from).await;
            }
            Err(_) => {}
        }
        proved
    }

    async fn proved(&self, email: &str, password: &str) -> Result<User> {
        let email = email.trim().to_string();
        let found = self.store.read(move |db| store::users::by_email(db, &email)).await?;
        let password = password.to_string();
        self.in_turn("check a password", move || {
            let Some((user, hash)) = found else {
                secrets::hash_password(&password)?;
                return Err(refused());
            };
            if !secrets::verify_password(&password, &hash) {
                return Err(refused());
            }
            Ok(user)
        })
        .await
    }

    /// Counts a hash when it is its turn. The turn ends with the work: whoever leaves before would
    /// otherwise make room for one hash more than the machine has memory for.
    async fn in_turn<T, F>(&self, what: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let turn = self.hashing.clone().acquire_owned().await.map_err(|_| refused())?;
        tasks::blocking(what, move || {
            let done = work();
            drop(turn);
            done
        })
        .await
    }

    /// Tells the audit of a sign-in that failed, unless it has been told of many. Nobody waits for
    /// it to be written: that would tell which accounts there are.
    pub(super) async fn failed(&self, email: &str, why: &'static str, from: &Origin) {
        let email = email.trim().to_string();
        let found = self.store.read(move |db| store::users::find(db, &email)).await;
        let found = found.ok().flatten();
        let who = found.map_or(UNKNOWN.to_string(), |user| user.email);
        let Some(left_out) = self.failures.tell(&who) else { return };
        let (store, left_out) = (self.store.clone(), left_out.to_string());
        let note = async move {
            let noted = store.write(move |db| {
                let mut details = vec![("user", who.as_str()), ("wrong", why)];
                if left_out != "0" {
                    details.push(("left_out_before", left_out.as_str()));
                }
                store::audit::note(db, "sign-in:fail", None, &details)
            });
            if let Err(error) = noted.await {
                tracing::warn!(error = error.chain(), "a failed sign-in is not in the audit");
            }
        };
        from.clone().sync_scope(|| tasks::spawn("note a failed sign-in", note));
    }

    /// For the browser of somebody whose password was right, to bring back with the code. Only we
    /// can read it, and nobody has to keep it.
    pub async fn half_in(&self, user: &User) -> Result<String> {
        let password = self.password_mark(&user.email).await?.ok_or_else(refused)?;
        let plain = format!("{} {password} {}", Timestamp::now().0, user.email);
        Ok(BASE64.encode(self.secrets.seal(HALF, plain.as_bytes())?))
    }

    /// Who that was, unless it is too long ago or the password is another one now.
    pub async fn half(&self, sealed: &str) -> Result<Option<User>> {
        let plain =
            BASE64.decode(sealed).ok().and_then(|bytes| self.secrets.open(HALF, &bytes).ok());
        let text = plain.and_then(|plain| String::from_utf8(plain).ok()).unwrap_or_default();
        let mut parts = text.splitn(3, ' ');
        let (Some(at), Some(password), Some(email)) = (parts.next(), parts.next(), parts.next())
        else {
            return Ok(None);
        };
        let at = Timestamp(at.parse().unwrap_or_default());
        if Timestamp::now().seconds_since(at) >= limits::SIGN_IN_STEP.as_secs()
            || self.password_mark(email).await?.as_deref() != Some(password)
        {
            return Ok(None);
        }
        let email = email.to_string();
        self.store.read(move |db| store::users::find(db, &email)).await
    }

    /// What tells one password of somebody from the next.
    async fn password_mark(&self, email: &str) -> Result<Option<String>> {
        let email = email.to_string();
        let found = self.store.read(move |db| store::users::by_email(db, &email)).await?;
        Ok(found.map(|(_, hash)| BASE64.encode(secrets::hash_token(&hash))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apps::testing::Stage;
    use crate::origin::Via;
    use futures_util::FutureExt;
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn half_a_sign_in_ends_with_the_password_that_it_began_with() {
        let stage = Stage::new().await;
        let sealed = stage.access.half_in(&stage.user).await.unwrap();
        let found = stage.access.half(&sealed).await.unwrap().unwrap();
        assert_eq!(found.id, stage.user.id);
        for odd in ["", "x", &sealed[..sealed.len() - 4], &format!("{sealed}AAAA")] {
            assert!(stage.access.half(odd).await.unwrap().is_none(), "{odd}");
        }
        let user = stage.user.id;
        let changed = stage.store.write(move |db| {
            store::console_sessions::set_password(db, user, "other", false, Timestamp::now())
        });
        changed.await.unwrap();
        assert!(stage.access.half(&sealed).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn whoever_leaves_before_the_answer_makes_no_room_for_more_hashes() {
        let stage = Stage::new().await;
        let (ends, end) = std::sync::mpsc::channel::<()>();
        let end = Arc::new(Mutex::new(end));
        for _ in 0..limits::PARALLEL_HASHES {
            let end = end.clone();
            let work = stage.access.in_turn("wait", move || {
                // It ends when the test lets go of the other side.
                Ok(end.lock().unwrap().recv().is_ok())
            });
            assert!(work.now_or_never().is_none(), "the client leaves while it is worked at");
        }
        let turns = || stage.access.hashing.available_permits();
        assert_eq!(turns(), 0);
        assert!(stage.sign_in(None).now_or_never().is_none(), "the next one waits");
        drop(ends);
        stage.sign_in(None).await.unwrap();
    }

    #[tokio::test]
    async fn failed_sign_ins_are_in_the_audit_without_what_was_typed() {
        let stage = Stage::new().await;
        let address = Some("192.0.2.1".to_string());
        let from = Origin { via: Via::Api, address, ..Origin::server() };
        for (email, password) in [("ADA@example.com", "wrong"), ("my password", "x")] {
            let entry = EntryBy::OwnPassword;
            stage.access.sign_in(email, password, None, entry, &from).await.unwrap_err();
        }
        let entries = stage.audit("sign-in:fail", 2).await;
        let mut details: Vec<&str> = entries.iter().map(|entry| &*entry.details).collect();
        details.sort_unstable();
        assert_eq!(
            details,
            [
                r#"{"user":"ada@example.com","wrong":"password"}"#,
                r#"{"user":"unknown","wrong":"password"}"#
            ]
        );
        assert!(entries.iter().all(|entry| entry.actor == "nobody" && entry.via == "api"));
        assert!(entries.iter().all(|entry| entry.address.as_deref() == Some("192.0.2.1")));
    }
}
