//! An app comes to be, changes its name, stack or maintenance mode, and goes.

use super::Platform;
use crate::apps::lifecycle;
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::logs::LogLine;
use crate::model::{App, AppName, Caller};

/// What may be changed of an app; `None` leaves it as it is.
#[derive(Debug, Default)]
pub struct AppChange {
    pub name: Option<AppName>,
    pub maintenance: Option<bool>,
    pub stack: Option<&'static str>,
}

impl Platform {
    /// Without a name it gets one like Heroku's.
    pub async fn create_app(
        &self,
        caller: &Caller,
        name: Option<&str>,
        stack: &str,
    ) -> Result<App> {
        let app = match name {
            Some(name) => {
                let app = lifecycle::new_app(caller, AppName::parse(name)?, stack);
                self.releases.create_app(&app, &caller.user).await?;
                app
            }
            None => self.create_with_generated_name(caller, stack).await?,
        };
        let lines =
            ["Initial release", "Release v1 created", "Enable Logplex", "Release v2 created"];
        let email = &caller.user.email;
        let lines = lines.iter().map(|text| LogLine::api(format!("{text} by user {email}")));
        self.logs.write(app.id, lines.collect()).await;
        self.certs.wake();
        self.dynos.routed(limits::TABLE_MARGIN).await;
        self.app(caller, app.name.as_str()).await
    }

    async fn create_with_generated_name(&self, caller: &Caller, stack: &str) -> Result<App> {
        let mut last = Error::internal("generate an app name", "no try was made");
        for _ in 0..limits::NAME_TRIES {
            let name = AppName::parse(&lifecycle::generated_name())?;
            let app = lifecycle::new_app(caller, name, stack);
            match self.releases.create_app(&app, &caller.user).await {
                Ok(()) => return Ok(app),
                Err(error) if error.kind() == Kind::InvalidParams => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// The app as it is after all of the change.
    pub async fn update_app(&self, caller: &Caller, app: &App, change: AppChange) -> Result<App> {
        if let Some(name) = change.name
            && name != app.name
        {
            lifecycle::rename(&self.store, app.id, name).await?;
            self.certs.wake();
        }
        if let Some(stack) = change.stack
            && stack != app.stack
        {
            lifecycle::set_stack(&self.store, app.id, stack).await?;
            let what = format!("Stack changed from {} to {stack}", app.stack);
            self.note(app.id, caller, &what).await;
        }
        if let Some(on) = change.maintenance {
            lifecycle::set_maintenance(&self.store, app.id, on).await?;
            let word = if on { "enabled" } else { "disabled" };
            self.note(app.id, caller, &format!("Maintenance mode {word}")).await;
        }
        // Whoever is told that it is done may ask the router at once.
        if !self.dynos.routed(limits::TABLE_MARGIN).await {
            tracing::warn!(app = %app.name, "the router has not taken a change over yet");
        }
        self.app(caller, &app.id.to_string()).await
    }

    /// Frees the name at once; what lies outside the database is cleared behind it.
    pub async fn destroy_app(&self, app: &App) -> Result<()> {
        lifecycle::destroy(&self.store, app.id).await?;
        self.deploy.cancel_builds_of(app.id);
        self.dynos.wake();
        if let Err(error) = self.certs.hand_over().await {
            let error = error.chain();
            tracing::error!(error, "can't take a destroyed app's certificates back");
        }
        self.deploy.clean_up_soon();
        Ok(())
    }
}
