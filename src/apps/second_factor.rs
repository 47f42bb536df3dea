//! The second factor of an account: a code that changes with the time, from an app on a phone; and
//! recovery codes, each good for once, for when the phone is gone.

use super::access::Access;
use super::attempts::Try;
use super::sessions::Session;
use super::totp;
use crate::clock::Timestamp;
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::model::{User, UserId};
use crate::origin::Origin;
use crate::secrets;
use crate::store;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use std::collections::BTreeSet;
use uuid::Uuid;

pub use crate::store::second_factors::SecondFactor;

/// A secret on its way to a phone: nothing is stored before the phone has shown a code of it.
pub struct Offer {
    secret: Vec<u8>,
    /// For the form that brings it back; good in this session only.
    pub sealed: String,
}

impl Offer {
    /// To be typed, in groups of four.
    pub fn typed(&self) -> String {
        groups(&totp::base32(&self.secret))
    }

    /// `otpauth:`, which a phone opens its app with.
    pub fn link(&self, issuer: &str, email: &str) -> String {
        totp::link(issuer, email, &self.secret)
    }

    /// What a phone that has learnt it shows now.
    #[cfg(test)]
    pub fn code(&self) -> String {
        totp::code(&self.secret, totp::step_at(Timestamp::now()))
    }

    fn name(session: Uuid) -> String {
        format!("offer of a second factor in session {session}")
    }
}

/// What let somebody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    Code,
    RecoveryCode,
}

impl Proof {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::RecoveryCode => "recovery code",
        }
    }
}

fn seal_name(user: UserId) -> String {
    format!("second factor {user}")
}

/// As people type codes: with blanks and dashes anywhere, in either case.
fn plain(typed: &str) -> String {
    let meant = typed.chars().filter(|c| !c.is_whitespace() && *c != '-');
    meant.take(limits::CODE_CHARS).collect::<String>().to_ascii_lowercase()
}

fn groups(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let all: Vec<String> = letters.chunks(4).map(|four| four.iter().collect()).collect();
    all.join(" ")
}

/// Eighty random bits, so that a hash of them tells nothing.
fn recovery_codes() -> Vec<String> {
    let new = || {
        let mut bytes = [0u8; 10];
        rand::fill(&mut bytes);
        groups(&totp::base32(&bytes).to_ascii_lowercase()).replace(' ', "-")
    };
    std::iter::repeat_with(new).take(limits::RECOVERY_CODES).collect()
}

fn hash(user: UserId, code: &str) -> Vec<u8> {
    secrets::hash_token(&format!("recovery code of {user} {}", plain(code)))
}

fn hashes(user: UserId, codes: &[String]) -> Vec<Vec<u8>> {
    codes.iter().map(|code| hash(user, code)).collect()
}

fn wrong_code() -> Error {
    Error::new(
        Kind::TwoFactor,
        "The code is not right, or it has been used: each is good for once. Wait for the next one.",
    )
}

impl Access {
    pub async fn second_factor(&self, user: &User) -> Result<Option<SecondFactor>> {
        let id = user.id;
        self.store.read(move |db| store::second_factors::of_user(db, id)).await
    }

    /// All who have one.
    pub async fn with_second_factor(&self) -> Result<BTreeSet<UserId>> {
        self.store.read(store::second_factors::users).await
    }

    /// Checks the code of somebody whose password was right, and uses it up. Few may be tried.
    pub(crate) async fn check_code(
        &self,
        user: &User,
        typed: &str,
        from: &Origin,
    ) -> Result<Proof> {
        let address = from.address.as_deref().unwrap_or_default();
        if let Err(limited) = self.attempts.begin(Try::Code, &user.email, address) {
            self.failed(&user.email, "limit", from).await;
            return Err(limited);
        }
        let origin = Origin { actor: Some((user.id, user.email.clone())), ..from.clone() };
        match origin.scope(self.use_code(user.id, plain(typed))).await? {
            Some(proof) => {
                self.attempts.succeeded(Try::Code, &user.email, address);
                Ok(proof)
            }
            None => {
                self.failed(&user.email, "code", from).await;
                Err(wrong_code())
            }
        }
    }

    async fn use_code(&self, user: UserId, typed: String) -> Result<Option<Proof>> {
        let secrets = self.secrets.clone();
        let now = totp::step_at(Timestamp::now());
        let used = self.store.write(move |db| {
            let Some(row) = store::second_factors::of_user(db, user)? else { return Ok(None) };
            let secret = secrets.open(&seal_name(user), &row.sealed)?;
            if let Some(step) = totp::matching_step(&secret, &typed, now, row.last_step)
                && store::second_factors::use_step(db, user, step)?
            {
                return Ok(Some(Proof::Code));
            }
            if !store::second_factors::use_recovery_code(db, user, &hash(user, &typed))? {
                return Ok(None);
            }
            let left = row.recovery_codes.saturating_sub(1).to_string();
            store::audit::note(db, "recovery-code:destroy", None, &[("left", &left)])?;
            Ok(Some(Proof::RecoveryCode))
        });
        used.await
    }

    /// A new secret for whoever wants a second factor.
    pub fn offer(&self, session: &Session) -> Result<Offer> {
        let mut secret = vec![0u8; totp::SECRET_BYTES];
        rand::fill(&mut secret[..]);
        let sealed = self.secrets.seal(&Offer::name(session.id), &secret)?;
        Ok(Offer { secret, sealed: BASE64.encode(sealed) })
    }

    /// The offer that a form brings back.
    pub fn offered(&self, session: &Session, sealed: &str) -> Result<Offer> {
        let name = Offer::name(session.id);
        let opened =
            BASE64.decode(sealed).ok().and_then(|bytes| self.secrets.open(&name, &bytes).ok());
        match opened {
            Some(secret) => Ok(Offer { secret, sealed: sealed.to_string() }),
            None => Err(Error::invalid("This page is too old. Begin again: nothing has changed.")),
        }
    }

    /// Switches it on for whoever knows the password and has the secret in an app. Other sessions,
    /// which began without it, end. The recovery codes are told this once.
    pub async fn switch_on(
        &self,
        session: &Session,
        offer: &Offer,
        [password, code]: [&str; 2],
        from: &Origin,
    ) -> Result<Vec<String>> {
        let user = &session.user;
        self.own_password(user, password, from).await?;
        let now = Timestamp::now();
        let step = totp::matching_step(&offer.secret, &plain(code), totp::step_at(now), i64::MIN);
        let step = step.ok_or_else(|| {
            Error::invalid(
                "The code is not right. Look whether the clock of your phone is, and type the code \
                 that its app shows now.",
            )
        })?;
        let sealed = self.secrets.seal(&seal_name(user.id), &offer.secret)?;
        let codes = recovery_codes();
        let (hashes, id, keep) = (hashes(user.id, &codes), user.id, session.id);
        self.store
            .write(move |db| {
                if store::second_factors::of_user(db, id)?.is_some() {
                    return Err(Error::conflict("Your account has a second factor already."));
                }
                store::audit::note(db, "second-factor:create", None, &[])?;
                store::second_factors::insert(db, id, &sealed, step, now)?;
                store::second_factors::set_recovery_codes(db, id, &hashes)?;
                store::console_sessions::delete_others(db, id, Some(keep))
            })
            .await?;
        Ok(codes)
    }

    /// New recovery codes in place of the old ones, told this once.
    pub async fn renew_recovery_codes(
        &self,
        user: &User,
        [password, code]: [&str; 2],
        from: &Origin,
    ) -> Result<Vec<String>> {
        self.own_password(user, password, from).await?;
        self.check_code(user, code, from).await?;
        let codes = recovery_codes();
        let (hashes, id) = (hashes(user.id, &codes), user.id);
        self.store
            .write(move |db| {
                store::audit::note(
                    db,
                    "second-factor:update",
                    None,
                    &[("changed", "recovery codes")],
                )?;
                store::second_factors::set_recovery_codes(db, id, &hashes)
            })
            .await?;
        Ok(codes)
    }

    /// Switches it off for its owner.
    pub async fn switch_off(
        &self,
        user: &User,
        [password, code]: [&str; 2],
        from: &Origin,
    ) -> Result<()> {
        self.own_password(user, password, from).await?;
        self.check_code(user, code, from).await?;
        self.remove_second_factor(user).await
    }

    /// Removes somebody's second factor: for an admin, or root, who is asked to. The password then
    /// suffices again.
    pub async fn remove_second_factor(&self, user: &User) -> Result<()> {
        let (id, email) = (user.id, user.email.clone());
        let removed = self.store.write(move |db| {
            let is_there = store::second_factors::delete(db, id)?;
            if is_there {
                let details = [("user", email.as_str())];
                store::audit::note(db, "second-factor:destroy", None, &details)?;
            }
            Ok(is_there)
        });
        match removed.await? {
            true => Ok(()),
            false => Err(Error::invalid(format!("{} has no second factor.", user.email))),
        }
    }

    /// A session that somebody left open is no way around the password, nor to guess it.
    async fn own_password(&self, user: &User, password: &str, from: &Origin) -> Result<()> {
        let proved = self.by_password(&user.email, password, from).await;
        proved.map(drop).map_err(|error| match error.kind() {
            Kind::Unauthorized => Error::invalid("The password is not right."),
            _ => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apps::testing::{PASSWORD, Stage};

    /// The code that the person's phone shows so many steps from now.
    fn shown(offer: &Offer, steps: i64) -> String {
        totp::code(&offer.secret, totp::step_at(Timestamp::now()) + steps)
    }

    /// With the code before the one that is shown now, so that this one is not used yet.
    async fn switched_on(stage: &Stage) -> (Offer, Vec<String>) {
        let (session, from) = (stage.session().await, stage.from());
        let offer = stage.access.offer(&session).unwrap();
        loop {
            let code = shown(&offer, -1);
            let proof = [PASSWORD, &*code];
            match stage.access.switch_on(&session, &offer, proof, &from).await {
                Ok(codes) => return (offer, codes),
                // The next code has come meanwhile.
                Err(error) => assert_ne!(code, shown(&offer, -1), "{error}"),
            }
        }
    }

    #[tokio::test]
    async fn it_is_on_only_once_a_phone_has_shown_a_code_of_it() {
        let stage = Stage::new().await;
        let (here, there) = (stage.session().await, stage.session().await);
        let offer = stage.access.offer(&here).unwrap();
        assert!(stage.access.offered(&there, &offer.sealed).is_err(), "another session's");
        let code = shown(&offer, 0);
        for wrong in [["wrong", &*code], [PASSWORD, "000000x"], [PASSWORD, &shown(&offer, 5)]] {
            stage.access.switch_on(&here, &offer, wrong, &stage.from()).await.unwrap_err();
        }
        assert!(stage.access.second_factor(&stage.user).await.unwrap().is_none());
        let code = shown(&offer, 0);
        let spaced = format!("{} {}", &code[..3], &code[3..]);
        let right = [PASSWORD, &*spaced];
        let codes = stage.access.switch_on(&here, &offer, right, &stage.from()).await.unwrap();
        assert_eq!(codes.len(), limits::RECOVERY_CODES);
        assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len());
        let row = stage.access.second_factor(&stage.user).await.unwrap().unwrap();
        assert!(!row.sealed.windows(20).any(|window| window == offer.secret), "sealed");
        assert_eq!(row.recovery_codes, codes.len());
        let again = stage.access.switch_on(&here, &offer, right, &stage.from()).await;
        assert_eq!(again.unwrap_err().kind(), Kind::Conflict);
        let sessions = stage.sessions.of(&stage.user).await.unwrap();
        assert_eq!(sessions.len(), 1, "the other one began without it");
        // What was shown then does not let anybody in now.
        let replayed = stage.sign_in(Some(&code)).await;
        assert_eq!(replayed.unwrap_err().kind(), Kind::TwoFactor);
    }

    #[tokio::test]
    async fn whoever_began_with_the_password_alone_does_not_end_without_a_code() {
        let stage = Stage::new().await;
        let from = stage.from();
        let began = stage.access.by_password("ada@example.com", PASSWORD, &from).await.unwrap();
        assert!(stage.access.second_factor(&began).await.unwrap().is_none());
        switched_on(&stage).await;
        let session = stage.sessions.open(&began, None, &from, "").await.unwrap_err();
        let token = stage.access.authorize(&began, "", None).await.unwrap_err();
        assert_eq!([session.kind(), token.kind()], [Kind::Unauthorized; 2]);
    }

    #[tokio::test]
    async fn no_code_is_good_twice_not_even_at_the_same_time() {
        let stage = Stage::new().await;
        let (offer, _) = switched_on(&stage).await;
        let missing = stage.sign_in(None).await.unwrap_err();
        assert_eq!(missing.kind(), Kind::TwoFactor);
        let code = shown(&offer, 0);
        let (one, two) = tokio::join!(stage.sign_in(Some(&code)), stage.sign_in(Some(&code)));
        assert_eq!([&one, &two].iter().filter(|tried| tried.is_ok()).count(), 1);
        stage.sign_in(Some(&shown(&offer, -1))).await.unwrap_err();
        stage.sign_in(Some(&shown(&offer, 1))).await.unwrap();
    }

    #[tokio::test]
    async fn each_recovery_code_is_good_once_and_none_after_new_ones() {
        let stage = Stage::new().await;
        let (offer, codes) = switched_on(&stage).await;
        stage.sign_in(Some(&codes[0].to_ascii_uppercase().replace('-', " "))).await.unwrap();
        stage.sign_in(Some(&codes[0])).await.unwrap_err();
        let row = stage.access.second_factor(&stage.user).await.unwrap().unwrap();
        assert_eq!(row.recovery_codes, limits::RECOVERY_CODES - 1);
        assert_eq!(stage.audit("recovery-code:destroy", 1).await[0].details, r#"{"left":"9"}"#);
        let (user, from) = (&stage.user, stage.from());
        let proof = [PASSWORD, &*shown(&offer, 0)];
        let new = stage.access.renew_recovery_codes(user, proof, &from).await.unwrap();
        stage.sign_in(Some(&codes[1])).await.unwrap_err();
        stage.sign_in(Some(&new[1])).await.unwrap();
        for proof in [["wrong", &*new[2]], [PASSWORD, "123456"]] {
            stage.access.switch_off(user, proof, &from).await.unwrap_err();
        }
        stage.access.switch_off(user, [PASSWORD, &new[2]], &from).await.unwrap();
        stage.sign_in(None).await.unwrap();
        assert!(stage.access.remove_second_factor(user).await.is_err(), "it is off");
    }

    #[tokio::test]
    async fn few_codes_may_be_tried_and_the_audit_says_so() {
        let stage = Stage::new().await;
        let (_, codes) = switched_on(&stage).await;
        for _ in 0..limits::SIGN_IN_TRIES_CODE {
            let wrong = stage.sign_in(Some("not a code")).await.unwrap_err();
            assert_eq!(wrong.kind(), Kind::TwoFactor);
        }
        let limited = stage.sign_in(Some(&codes[0])).await.unwrap_err();
        assert_eq!(limited.kind(), Kind::RateLimit);
        let count = limits::SIGN_IN_TRIES_CODE as usize + 1;
        let entries = stage.audit("sign-in:fail", count).await;
        let of = |why: &str| entries.iter().filter(|entry| entry.details.contains(why)).count();
        assert_eq!((of(r#""wrong":"code""#), of(r#""wrong":"limit""#)), (count - 1, 1));
    }
}
