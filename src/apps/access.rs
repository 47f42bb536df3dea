//! Who is asking, and may they: tokens, and the one table of what each permission on an app allows.
//! API, git and console ask here, and nowhere else.

use super::attempts::Attempts;
use super::failures::Failures;
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::model::Permission::{self, Deploy, Manage, Operate, View};
use crate::model::{App, AppId, Caller, Permissions, User, UserId};
use crate::secrets::Secrets;
use crate::store::app_list::{self, AppPage, Bounds};
use crate::store::{self, Store};
use std::sync::Arc;
use tokio::sync::Semaphore;

macro_rules! rules {
    ($($action:ident: $any_of:expr, $words:literal;)+) => {
        /// What somebody may want to do with an app.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Action { $($action),+ }

        impl Action {
            pub const ALL: &'static [Self] = &[$(Self::$action),+];

            /// The permissions of which any one suffices.
            pub fn takes(self) -> &'static [Permission] {
                match self { $(Self::$action => &$any_of),+ }
            }

            /// The action in words: "to ... it takes".
            pub fn words(self) -> &'static str {
                match self { $(Self::$action => $words),+ }
            }
        }
    };
}

// The table of rules. The owner of an app and the platform's admins may all of it.
rules! {
    See: [View], "see it";
    ReadLogs: [View], "read its logs";
    ReadMetrics: [View], "read its metrics";

    ReadConfig: [Deploy, Operate], "read its config vars";
    WriteConfig: [Deploy], "change its config vars";
    Fetch: [Deploy], "fetch its code";
    Push: [Deploy], "push to it";
    Build: [Deploy], "build it";
    SetBuildpacks: [Deploy], "change its buildpacks";
    RollBack: [Deploy], "roll it back";
    Run: [Deploy], "run commands in it";

    Restart: [Deploy, Operate], "restart or stop its dynos";
    Scale: [Operate], "scale it";
    SetMaintenance: [Operate], "switch its maintenance mode";
    SetStack: [Operate], "change its stack";
    SetDomains: [Operate], "change its domains";
    SetCerts: [Operate], "change its certificates";
    SetHttps: [Operate], "send its requests to HTTPS";
    SetEgress: [Operate], "change where its dynos may connect to";

    Rename: [Manage], "rename it";
    Destroy: [Manage], "destroy it";
    SetAccess: [Manage], "say who may use it";
    ReadAudit: [Manage], "read its audit";
}

impl Action {
    pub fn is_allowed(self, held: Permissions) -> bool {
        self.takes().iter().any(|permission| held.has(*permission))
    }
}

/// An app, for somebody who may see it at least.
#[derive(Debug, Clone)]
pub struct Entry {
    pub app: App,
    pub held: Permissions,
}

impl Entry {
    pub fn may(&self, action: Action) -> bool {
        action.is_allowed(self.held)
    }

    /// Heroku's 403 where the permission is missing.
    pub fn require(&self, action: Action) -> Result<()> {
        if self.may(action) {
            return Ok(());
        }
        let takes: Vec<&str> = action.takes().iter().map(|one| one.as_str()).collect();
        let message = format!(
            "You do not have access to the app {}: to {} takes the permission {}. Whoever manages \
             the app can give it to you.",
            self.app.name,
            action.words(),
            takes.join(" or "),
        );
        Err(Error::new(Kind::Forbidden, message))
    }
}

#[derive(Clone)]
pub struct Access {
    pub(super) store: Store,
    pub(super) secrets: Secrets,
    /// argon2 takes 19 MiB and 70 ms each: few at a time.
    pub(super) hashing: Arc<Semaphore>,
    pub(super) attempts: Attempts,
    pub(super) failures: Failures,
}

pub(super) fn refused() -> Error {
    Error::new(Kind::Unauthorized, "Invalid credentials provided.")
}

impl Access {
    pub fn new(store: Store, secrets: Secrets) -> Self {
        let hashing = Arc::new(Semaphore::new(limits::PARALLEL_HASHES));
        let (attempts, failures) = (Attempts::default(), Failures::default());
        Self { store, secrets, hashing, attempts, failures }
    }

    /// The app, for one who may see it; to anybody else it does not exist.
    pub async fn enter(&self, caller: &Caller, name_or_id: &str) -> Result<Entry> {
        let (user, wanted) = (caller.user.clone(), name_or_id.to_string());
        let found = self
            .store
            .read(move |db| {
                let Some(app) = store::apps::find(db, &wanted)? else { return Ok(None) };
                let given = store::collaborators::held(db, app.id, user.id)?;
                let held = held(&user, app.owner, given);
                Ok((!held.is_none()).then_some(Entry { app, held }))
            })
            .await?;
        found.ok_or_else(|| Error::not_found("app"))
    }

    /// The app, for one who may do this with it.
    pub async fn allow(&self, caller: &Caller, name_or_id: &str, action: Action) -> Result<App> {
        let entry = self.enter(caller, name_or_id).await?;
        entry.require(action)?;
        Ok(entry.app)
    }

    /// Ends when a user is removed, or may no longer do this with an app: for what stays open.
    pub async fn until_revoked(&self, user: UserId, app: AppId, action: Action) {
        loop {
            tokio::time::sleep(limits::LIVE_PING).await;
            let still = self.store.read(move |db| {
                let Some(user) = store::users::find(db, &user.to_string())? else {
                    return Ok(false);
                };
                let Some(app) = store::apps::by_id(db, app)? else { return Ok(false) };
                let given = store::collaborators::held(db, app.id, user.id)?;
                Ok(action.is_allowed(held(&user, app.owner, given)))
            });
            match still.await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::error!(error = error.chain(), "rights could not be read");
                    return;
                }
            }
        }
    }

    /// The apps that the caller may see, by id.
    pub async fn apps(&self, caller: &Caller) -> Result<Vec<App>> {
        match caller.user.admin {
            true => self.store.read(store::apps::all).await,
            false => self.shared_apps(&caller.user).await,
        }
    }

    /// Of the apps that the caller may see and whose name or owner contains a text, a page.
    pub async fn page_of_apps(&self, caller: &Caller, text: &str, page: usize) -> Result<AppPage> {
        let (user, text) = (restricted(caller), text.to_string());
        let size = crate::limits::APPS_PER_PAGE;
        self.store.read(move |db| app_list::page(db, user, &text, page, size)).await
    }

    /// Some of the apps that the caller may see.
    pub async fn apps_within(&self, caller: &Caller, bounds: Bounds) -> Result<Vec<App>> {
        let user = restricted(caller);
        self.store.read(move |db| app_list::within(db, user, &bounds)).await
    }

    /// The apps that a user owns or was given permissions on, by id.
    pub async fn shared_apps(&self, user: &User) -> Result<Vec<App>> {
        let id = user.id;
        self.store.read(move |db| store::apps::of_user(db, id)).await
    }
}

/// Whose apps the caller may see: nobody's in particular, if all.
fn restricted(caller: &Caller) -> Option<UserId> {
    (!caller.user.admin).then_some(caller.user.id)
}

/// What a user may do with an app: what was given, or all for its owner and for admins.
pub(super) fn held(user: &User, owner: UserId, given: Permissions) -> Permissions {
    if user.admin || owner == user.id { Permissions::ALL } else { given }
}
