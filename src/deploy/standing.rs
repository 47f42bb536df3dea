//! Where builds stand, for whoever shows it: at work, or waiting for a turn.

use super::Deploy;
use crate::model::{AppId, BuildId};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Built or released.
    AtWork,
    /// Behind other builds, at this place.
    Waits(usize),
    /// Another server began it, and this one has not looked at it yet.
    Left,
}

impl Deploy {
    /// Where a pending build stands.
    pub fn standing(&self, build: BuildId) -> Standing {
        match self.0.active.place(build) {
            Some(place) => Standing::Waits(place),
            None if self.0.active.has(build) => Standing::AtWork,
            None => Standing::Left,
        }
    }

    /// Apps whose pushes wait behind a build, and how many of each: such a push is no build yet.
    pub fn waiting_pushes(&self) -> Vec<(AppId, usize)> {
        let known = |app, in_line: usize| in_line - self.0.active.count_of(app).clamp(1, in_line);
        let all = self.0.lines.counts().into_iter();
        all.map(|(app, in_line)| (app, known(app, in_line))).filter(|(_, more)| *more > 0).collect()
    }
}
