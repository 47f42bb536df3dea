//! The platform's people: made by an admin or by root, listed, and removed. One who was removed
//! keeps a row, since releases and builds say who made them, but has no way in.

use super::access::Access;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::limits;
use crate::model::{User, UserId};
use crate::secrets;
use crate::store;

impl Access {
    /// Makes a user, unless the e-mail is taken: then no password. It is told this once.
    pub async fn create_user(&self, email: &str, admin: bool) -> Result<(User, Option<String>)> {
        let email = plausible(email)?;
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
        let user = User { id: UserId::random(), email, admin, created_at: now, updated_at: now };
        let user = self
            .store
            .write(move |db| {
                if store::users::find(db, &user.email)?.is_some() {
                    let taken = format!("Email {} has just been taken.", user.email);
                    return Err(Error::conflict(taken));
                }
                let role = if admin { "admin" } else { "member" };
                let details = [("user", user.email.as_str()), ("role", role)];
                store::audit::note(db, "user:create", None, &details)?;
                match store::users::restore(db, &user.email, admin, &hash, now)? {
                    Some(back) => Ok(back),
                    None => store::users::insert(db, &user, &hash).map(|()| user),
                }
            })
            .await?;
        Ok((user, Some(password)))
    }

    /// Makes a user an admin, who keeps password and tokens.
    pub async fn promote(&self, user: &User) -> Result<User> {
        let user = user.clone();
        self.store
            .write(move |db| {
                let details = [("user", user.email.as_str()), ("role", "admin")];
                store::audit::note(db, "user:update", None, &details)?;
                let promoted = store::users::promote(db, user.id, Timestamp::now())?;
                promoted.ok_or_else(|| Error::not_found("user"))
            })
            .await
    }

    pub async fn users(&self) -> Result<Vec<User>> {
        self.store.read(store::users::all).await
    }

    /// A user by e-mail or id.
    pub async fn user(&self, email_or_id: &str) -> Result<User> {
        let wanted = email_or_id.trim().to_string();
        let found = self.store.read(move |db| store::users::find(db, &wanted)).await?;
        found.ok_or_else(|| Error::not_found("user"))
    }

    /// Removes a user: tokens and password end now, permissions are gone, and the user's own apps
    /// go to `heir`. Without one, a user who owns apps stays.
    pub async fn remove_user(&self, user: &User, heir: Option<&User>) -> Result<()> {
        if heir.is_some_and(|heir| heir.id == user.id) {
            return Err(Error::invalid("The apps must go to somebody else."));
        }
        let (user, heir) = (user.id, heir.map(|heir| heir.id));
        self.store
            .write(move |db| {
                // As they are now: both may have been removed since somebody looked, or promoted.
                let user = store::users::present(db, user)?;
                let heir = heir.map(|heir| store::users::present(db, heir)).transpose()?;
                let admins = store::users::all(db)?.into_iter().filter(|one| one.admin).count();
                if user.admin && admins < 2 {
                    let message = "The last admin cannot be removed: make another one first.";
                    return Err(Error::invalid(message));
                }
                let now = Timestamp::now();
                let apps = store::apps::of_user(db, user.id)?;
                let own: Vec<&str> = apps
                    .iter()
                    .filter(|app| app.owner == user.id)
                    .map(|app| app.name.as_str())
                    .collect();
                match &heir {
                    Some(heir) => store::apps::transfer_all(db, user.id, heir.id, now)?,
                    None if own.is_empty() => {}
                    None => return Err(owns(&user, &own)),
                }
                let apps_to = heir.as_ref().map_or("", |heir| heir.email.as_str());
                let details = [("user", user.email.as_str()), ("apps_to", apps_to)];
                store::audit::note(db, "user:destroy", None, &details)?;
                store::collaborators::delete_of_user(db, user.id)?;
                store::users::remove(db, user.id, now)
            })
            .await
    }
}

fn plausible(email: &str) -> Result<String> {
    let email = email.trim();
    let halves = email.split_once('@');
    let whole = halves.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
    let odd = email.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/');
    if !whole || odd || email.len() > limits::EMAIL_BYTES {
        return Err(Error::invalid(format!("Email {email:?} is not an e-mail address")));
    }
    Ok(email.to_string())
}

fn owns(user: &User, apps: &[&str]) -> Error {
    let mut names = apps.iter().take(limits::APPS_NAMED).copied().collect::<Vec<_>>().join(", ");
    if apps.len() > limits::APPS_NAMED {
        names.push_str(&format!(" and {} more", apps.len() - limits::APPS_NAMED));
    }
    Error::invalid(format!(
        "{} owns {names}. Say who gets the apps, or destroy them first.",
        user.email
    ))
}
