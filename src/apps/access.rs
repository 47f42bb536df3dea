//! Who is asking, and may they: tokens, passwords, and the rule that an app is its owner's and
//! the admins'.

use crate::clock::Timestamp;
use crate::error::{Error, Kind, Result};
use crate::model::{App, Caller, User, UserId};
use crate::secrets;
use crate::store::users::Authorization;
use crate::store::{self, Store};
use std::sync::Arc;
use tokio::sync::Semaphore;
use uuid::Uuid;

#[derive(Clone)]
pub struct Access {
    store: Store,
    /// argon2 takes 19 MiB and 70 ms each: few at a time.
    hashing: Arc<Semaphore>,
}

fn refused() -> Error {
    Error::new(Kind::Unauthorized, "Invalid credentials provided.")
}

impl Access {
    pub fn new(store: Store) -> Self {
        Self { store, hashing: Arc::new(Semaphore::new(crate::limits::PARALLEL_HASHES)) }
    }

    /// The caller that a token stands for; 401 if none.
    pub async fn by_token(&self, token: &str) -> Result<Caller> {
        let hash = secrets::hash_token(token);
        let found = self
            .store
            .read(move |db| store::users::by_token(db, &hash, Timestamp::now()))
            .await?
            .ok_or_else(refused)?;
        Ok(Caller { user: found.user, authorization: Some(found.id) })
    }

    /// The caller with this e-mail and password; 401 if none, as slow as if there were one.
    pub async fn by_password(&self, email: &str, password: &str) -> Result<Caller> {
        let email = email.trim().to_string();
        let found = self.store.read(move |db| store::users::by_email(db, &email)).await?;
        let _permit = self.hashing.acquire().await.map_err(|_| refused())?;
        let password = password.to_string();
        crate::tasks::blocking("check a password", move || {
            let Some((user, hash)) = found else {
                secrets::hash_password(&password)?;
                return Err(refused());
            };
            if !secrets::verify_password(&password, &hash) {
                return Err(refused());
            }
            Ok(Caller { user, authorization: None })
        })
        .await
    }

    /// Makes an admin, unless the e-mail is taken: then `None`. The password is told once.
    pub async fn create_admin(&self, email: &str) -> Result<(User, Option<String>)> {
        let email = email.trim().to_string();
        let plausible = email
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && email.len() <= 254);
        if !plausible || email.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Error::invalid(format!("Email {email:?} is not an e-mail address")));
        }
        let lookup = email.clone();
        if let Some((user, _)) =
            self.store.read(move |db| store::users::by_email(db, &lookup)).await?
        {
            return Ok((user, None));
        }
        let password = secrets::random_hex::<12>();
        let plain = password.clone();
        let hash =
            crate::tasks::blocking("hash a password", move || secrets::hash_password(&plain))
                .await?;
        let now = Timestamp::now();
        let user =
            User { id: UserId::random(), email, admin: true, created_at: now, updated_at: now };
        let row = user.clone();
        self.store.write(move |db| store::users::insert(db, &row, &hash)).await?;
        Ok((user, Some(password)))
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
            description: description.chars().take(crate::limits::DESCRIPTION_CHARS).collect(),
            expires_at: expires_in.map(|seconds| {
                Timestamp(now.0.saturating_add(seconds.max(0).saturating_mul(1_000_000)))
            }),
            created_at: now,
        };
        let row = authorization.clone();
        self.store.write(move |db| store::users::insert_authorization(db, &row, &hash)).await?;
        Ok((authorization, token))
    }

    /// The app, if the caller may use it; one that is somebody else's does not exist for them.
    pub async fn app(&self, caller: &Caller, name_or_id: &str) -> Result<App> {
        let wanted = name_or_id.to_string();
        self.store
            .read(move |db| store::apps::find(db, &wanted))
            .await?
            .filter(|app| may_use(&caller.user, app.owner))
            .ok_or_else(|| Error::not_found("app"))
    }

    /// The apps that the caller may use, by id.
    pub async fn apps(&self, caller: &Caller) -> Result<Vec<App>> {
        let mut apps = self.store.read(store::apps::all).await?;
        apps.retain(|app| may_use(&caller.user, app.owner));
        Ok(apps)
    }
}

pub(super) fn may_use(user: &User, owner: UserId) -> bool {
    user.admin || owner == user.id
}
