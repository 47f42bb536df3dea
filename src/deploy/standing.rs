//! Where builds stand, for whoever shows it: at work, or waiting for a turn.

use super::Deploy;
use crate::model::BuildId;

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
}
