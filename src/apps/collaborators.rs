//! Who else may use an app: added, changed and removed by whoever manages it. The owner stands
//! among them, as on Heroku, and cannot be removed.

use super::access::Access;
use crate::clock::Timestamp;
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::model::{App, Collaborator, CollaboratorId, Permissions, User};
use crate::store;

impl Access {
    /// The owner and all collaborators.
    pub async fn collaborators(&self, app: &App) -> Result<Vec<Collaborator>> {
        let id = app.id;
        let rows = self.store.read(move |db| store::collaborators::of_app(db, id)).await?;
        Ok(std::iter::once(owner(app)).chain(rows).collect())
    }

    /// One of them, by e-mail or id.
    pub async fn collaborator(&self, app: &App, wanted: &str) -> Result<Collaborator> {
        let is_it = |one: &Collaborator| {
            one.email.eq_ignore_ascii_case(wanted.trim())
                || one.id.to_string() == wanted
                || one.user.to_string() == wanted
        };
        let all = self.collaborators(app).await?;
        all.into_iter().find(is_it).ok_or_else(|| Error::not_found("collaborator"))
    }

    /// Lets a user of the platform use an app.
    pub async fn add_collaborator(
        &self,
        app: &App,
        email_or_id: &str,
        permissions: Permissions,
    ) -> Result<Collaborator> {
        let user = self.user(email_or_id).await.map_err(|error| match error.kind() {
            Kind::NotFound => Error::invalid(format!(
                "There is no user {}: an admin makes one with senryu users:create.",
                shown(email_or_id)
            )),
            _ => error,
        })?;
        self.put_collaborator(app, user, permissions, true).await
    }

    /// Changes what a collaborator may do, to exactly this.
    pub async fn update_collaborator(
        &self,
        app: &App,
        wanted: &str,
        permissions: Permissions,
    ) -> Result<Collaborator> {
        let found = self.collaborator(app, wanted).await?;
        if found.is_owner {
            return Err(Error::invalid("The owner of an app may do everything with it."));
        }
        let user = self.user(&found.user.to_string()).await?;
        self.put_collaborator(app, user, permissions, false).await
    }

    async fn put_collaborator(
        &self,
        app: &App,
        user: User,
        permissions: Permissions,
        is_new: bool,
    ) -> Result<Collaborator> {
        if permissions.is_none() {
            let message = "A collaborator needs a permission; there are: view, deploy, operate, \
                           manage";
            return Err(Error::invalid(message));
        }
        let (id, email) = (app.id, user.email.clone());
        if user.id == app.owner {
            return Err(Error::invalid(format!("{email} owns the app.")));
        }
        self.store
            .write(move |db| {
                let rows = store::collaborators::of_app(db, id)?;
                let is_there = rows.iter().any(|row| row.user == user.id);
                if is_new && is_there {
                    let message = format!("{} is a collaborator already.", user.email);
                    return Err(Error::invalid(message));
                }
                // Whoever was removed meanwhile is not given anything.
                if (!is_new && !is_there) || store::users::find(db, &user.id.to_string())?.is_none()
                {
                    return Err(Error::not_found("collaborator"));
                }
                if is_new && rows.len() >= limits::COLLABORATORS_PER_APP {
                    let most = limits::COLLABORATORS_PER_APP;
                    let message = format!("An app can have at most {most} collaborators.");
                    return Err(Error::invalid(message));
                }
                let action = if is_new { "collaborator:create" } else { "collaborator:update" };
                let given = permissions.to_string();
                let details = [("user", user.email.as_str()), ("permissions", given.as_str())];
                store::audit::note(db, action, Some(id), &details)?;
                store::collaborators::put(db, id, user.id, permissions, Timestamp::now())
            })
            .await?;
        self.collaborator(app, &email).await
    }

    pub async fn remove_collaborator(&self, app: &App, wanted: &str) -> Result<Collaborator> {
        let found = self.collaborator(app, wanted).await?;
        if found.is_owner {
            return Err(Error::invalid("The owner of an app cannot be removed from it."));
        }
        let gone = found.clone();
        self.store
            .write(move |db| {
                let rows = store::collaborators::of_app(db, gone.app)?;
                if !rows.iter().any(|row| row.user == gone.user) {
                    return Err(Error::not_found("collaborator"));
                }
                let details = [("user", gone.email.as_str())];
                store::audit::note(db, "collaborator:destroy", Some(gone.app), &details)?;
                store::collaborators::delete(db, gone.app, gone.user)
            })
            .await?;
        Ok(found)
    }
}

fn owner(app: &App) -> Collaborator {
    Collaborator {
        // The owner has no row of an own: the app's id is as good, and stays.
        id: CollaboratorId(app.id.0),
        app: app.id,
        user: app.owner,
        email: app.owner_email.clone(),
        permissions: Permissions::ALL,
        is_owner: true,
        created_at: app.created_at,
        updated_at: app.created_at,
    }
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(limits::EMAIL_BYTES).collect()
}
