//! Automatic certificates of an app's domains: on, off, again.

use super::Platform;
use crate::error::Result;
use crate::model::{App, Caller};

impl Platform {
    pub async fn enable_acm(&self, caller: &Caller, app: &App) -> Result<()> {
        self.certs.enable_auto(app).await?;
        self.note(app.id, caller, "Automatic certificates enabled").await;
        Ok(())
    }

    pub async fn disable_acm(&self, caller: &Caller, app: &App) -> Result<()> {
        self.certs.disable_auto(app).await?;
        self.note(app.id, caller, "Automatic certificates disabled").await;
        Ok(())
    }

    pub async fn refresh_acm(&self, caller: &Caller, app: &App) -> Result<()> {
        self.certs.refresh_auto(app).await?;
        self.note(app.id, caller, "Automatic certificates tried again").await;
        Ok(())
    }
}
