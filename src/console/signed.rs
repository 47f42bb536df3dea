//! Who looks at a page: the person of the session, and the token that this session's forms carry.

use super::oops::Oops;
use super::{Console, cookie};
use crate::apps::access::{Action, Entry};
use crate::apps::sessions::Session;
use crate::error::{Error, Kind, Result};
use crate::model::{AppId, Caller};
use crate::origin::{Origin, Via};
use crate::{limits, secrets};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use subtle::ConstantTimeEq;

/// Somebody who is signed in.
#[derive(Clone)]
pub struct Signed {
    pub session: Session,
    pub caller: Caller,
    /// Derived from the session's secret, so that nothing has to be stored.
    key: Vec<u8>,
}

/// Whence a request comes, whoever sends it.
pub fn from(headers: &HeaderMap) -> Origin {
    let id = headers.get("x-request-id").and_then(|id| id.to_str().ok());
    Origin { request: id.map(str::to_string), ..Origin::stranger(Via::Console, headers) }
}

impl Signed {
    pub async fn read(parts: &Parts, console: &Console) -> Result<Option<Self>> {
        let Some(secret) = cookie::secret(parts) else { return Ok(None) };
        let Some(session) = console.sessions.find(&secret).await? else { return Ok(None) };
        let caller = Caller { user: session.user.clone(), authorization: None };
        let key = secrets::hash_token(&format!("form {secret}"));
        Ok(Some(Self { session, caller, key }))
    }

    /// Whoever is not signed in is led to where that is done, and back; whoever has a password that
    /// others have seen, to where that is changed.
    pub async fn required(parts: &Parts, console: &Console) -> Result<Self, Oops> {
        let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
        let back = if parts.method == Method::GET { path } else { "" };
        let Some(signed) = Self::read(parts, console).await? else {
            return Err(Oops::sign_in(back));
        };
        let on_its_way = ["/console/password", "/console/sign-out"].contains(&parts.uri.path());
        match signed.session.must_change_password && !on_its_way {
            true => Err(Oops::go("/console/password")),
            false => Ok(signed),
        }
    }

    /// In whose name, and from where, this request changes things.
    pub fn origin(&self, headers: &HeaderMap) -> Origin {
        let user = &self.caller.user;
        Origin { actor: Some((user.id, user.email.clone())), ..from(headers) }
    }

    /// The token for a form. It looks different each time: pages are packed, and how small one
    /// gets must not tell the token.
    pub fn token(&self) -> String {
        let mask: Vec<u8> = self.key.iter().map(|_| rand::random()).collect();
        let masked = self.key.iter().zip(&mask).map(|(key, mask)| key ^ mask);
        mask.iter().copied().chain(masked).map(|byte| format!("{byte:02x}")).collect()
    }

    pub fn is_token(&self, text: &str) -> bool {
        let Some(bytes) = from_hex(text) else { return false };
        if bytes.len() != 2 * self.key.len() {
            return false;
        }
        let (mask, masked) = bytes.split_at(self.key.len());
        let key: Vec<u8> = mask.iter().zip(masked).map(|(mask, byte)| mask ^ byte).collect();
        key.ct_eq(&self.key).into()
    }

    /// Pages of the machine as a whole are the admins'.
    pub fn admin(&self) -> Result<()> {
        match self.caller.user.admin {
            true => Ok(()),
            false => Err(Error::new(Kind::Forbidden, "This page is for admins.")),
        }
    }

    /// Ends when the session does, or the right to do that with the app: for pages that stay open.
    pub async fn until_gone(&self, console: &Console, app: AppId, action: Action) {
        let app = app.to_string();
        loop {
            tokio::time::sleep(limits::LIVE_PING).await;
            let live = console.sessions.still(self.session.id).await.unwrap_or(false);
            if !live || self.enter(console, &app, action).await.is_err() {
                return;
            }
        }
    }

    /// The app that an address names, if this person may do that with it, and what else they may.
    pub async fn enter(&self, console: &Console, name: &str, action: Action) -> Result<Entry> {
        let entry = console.platform.access.enter(&self.caller, name).await?;
        entry.require(action)?;
        Ok(entry)
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
