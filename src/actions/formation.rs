//! Scale, resize, restart and stop dynos.

use super::Platform;
use crate::dynos::formation::{self, Update};
use crate::error::Result;
use crate::model::{App, Caller, DynoName, Formation};

/// Which dynos of an app.
#[derive(Debug)]
pub enum Dynos<'a> {
    All,
    Type(&'a str),
    /// By name or id; older clients of the API give a process type here as well.
    One(&'a str),
}

impl Platform {
    /// Applies all updates or none; the rows that were named, as they are now.
    pub async fn scale(
        &self,
        caller: &Caller,
        app: &App,
        updates: Vec<Update>,
    ) -> Result<Vec<Formation>> {
        let promised = self.dynos.promised();
        let rows = formation::scale(&self.store, &self.settings, promised, app.id, updates).await?;
        self.dynos.wake();
        if !rows.is_empty() {
            let what = format!("Scaled to {}", formation::describe(&rows));
            self.note(app.id, caller, &what).await;
        }
        Ok(rows)
    }

    /// Restarts dynos of the formation. To stop one of them is the same, for it is replaced
    /// (Heroku's rule); a one-off that is named by itself ends.
    pub async fn restart(&self, caller: &Caller, app: &App, which: Dynos<'_>) -> Result<()> {
        let what = match which {
            Dynos::All => {
                formation::restart(&self.store, app.id, None).await?;
                "dynos".to_string()
            }
            Dynos::Type(process) => {
                formation::restart(&self.store, app.id, Some(process.to_string())).await?;
                format!("{process} dynos")
            }
            Dynos::One(dyno) if self.dynos.stop_one_off(app.id, dyno) => {
                self.note(app.id, caller, &format!("Stop of {dyno}")).await;
                self.record("dyno:stop", app.id, ("dynos", dyno)).await?;
                return Ok(());
            }
            Dynos::One(dyno) => {
                let dynos = self.dynos.of_app(app.id);
                let by_id = dynos.into_iter().find(|found| found.id.to_string() == dyno);
                match by_id.map(|found| found.name).or_else(|| DynoName::parse(dyno)) {
                    Some(name) => formation::restart_one(&self.store, app.id, name).await?,
                    None => {
                        formation::restart(&self.store, app.id, Some(dyno.to_string())).await?;
                    }
                }
                dyno.to_string()
            }
        };
        self.dynos.wake();
        self.note(app.id, caller, &format!("Restart of {what}")).await;
        Ok(())
    }

    /// Stops the one-offs of a type, or restarts the dynos that the formation has of it.
    pub async fn stop_type(&self, caller: &Caller, app: &App, process: &str) -> Result<()> {
        if self.dynos.stop_one_offs(app.id, Some(process)) > 0 {
            self.note(app.id, caller, &format!("Stop of {process} dynos")).await;
            return self.record("dyno:stop", app.id, ("dynos", process)).await;
        }
        self.restart(caller, app, Dynos::Type(process)).await
    }
}
