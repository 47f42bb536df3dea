//! Config vars: changed by key, one release for each change.

use super::Platform;
use crate::error::Result;
use crate::model::config_vars::ConfigChanges;
use crate::model::{App, Caller, ConfigVars};

impl Platform {
    /// All changes in one release; without any there is no release.
    pub async fn change_config(
        &self,
        caller: &Caller,
        app: &App,
        changes: ConfigChanges,
    ) -> Result<ConfigVars> {
        self.deploy.change_config(app, &caller.user, changes).await
    }
}
