//! One-off dynos: `run.1234` for a user's command, `release.1234` for a release's. They belong to
//! no formation, are never restarted, and are gone when their command has ended.

mod attached;
mod life;
mod make;
mod recover;
mod register;
mod release;

pub use attached::{Input, Said, Session};
pub use life::{EndedBy, Outcome};
pub use make::{Run, RunRequest};
pub use recover::is_one_off;
pub use register::Register;
pub use release::ReleaseCommand;

use super::reconciler::Dynos;
use crate::model::AppId;

impl Dynos {
    /// Ends a one-off by its name or id; `false` if there is none.
    pub fn stop_one_off(&self, app: AppId, name_or_id: &str) -> bool {
        let found = self.one_offs.of_app(app).into_iter().find(|one_off| {
            one_off.name.to_string() == name_or_id || one_off.id.to_string() == name_or_id
        });
        found.is_some_and(|one_off| {
            one_off.stop();
            true
        })
    }

    /// Ends an app's one-offs, all or those of one type. How many there were.
    pub fn stop_one_offs(&self, app: AppId, process: Option<&str>) -> usize {
        let mut one_offs = self.one_offs.of_app(app);
        one_offs
            .retain(|one_off| process.is_none_or(|wanted| one_off.name.process.as_str() == wanted));
        for one_off in &one_offs {
            one_off.stop();
        }
        one_offs.len()
    }
}

#[cfg(test)]
mod tests;
