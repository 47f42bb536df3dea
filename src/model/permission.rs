//! Heroku's permissions on an app. Each stands for itself, but that `view` comes with any other;
//! what they allow is one table in `apps::access`.

use crate::error::{Error, Result};
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    View,
    Deploy,
    Operate,
    Manage,
}

impl Permission {
    pub const ALL: [Self; 4] = [Self::View, Self::Deploy, Self::Operate, Self::Manage];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Deploy => "deploy",
            Self::Operate => "operate",
            Self::Manage => "manage",
        }
    }

    /// What it allows, in a sentence.
    pub fn description(self) -> &'static str {
        match self {
            Self::View => "Can see the app, its dynos, releases, domains, metrics and logs.",
            Self::Deploy => {
                "Can manage config, deploy, roll back, run commands and restart the app."
            }
            Self::Operate => {
                "Can scale and restart dynos, and manage maintenance mode, domains, certificates \
                 and egress."
            }
            Self::Manage => {
                "Can rename and destroy the app, say who may use it, and read its audit."
            }
        }
    }

    pub fn parse(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == text.trim()).ok_or_else(|| {
            let shown: String = text.chars().take(60).collect();
            Error::invalid(format!(
                "{shown:?} is not a permission; there are: view, deploy, operate, manage"
            ))
        })
    }
}

/// A set of permissions. Whoever has any has `view`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions(u8);

impl Permissions {
    pub const NONE: Self = Self(0);
    /// What owners and admins have.
    pub const ALL: Self = Self(0b1111);
    /// What collaborators get when nothing is said: everything but what is the owner's business,
    /// as collaborators of personal apps have it on Heroku.
    pub const USUAL: Self = Self(0b0111);

    pub fn of(list: &[Permission]) -> Self {
        let bits = list.iter().fold(0, |bits, permission| bits | 1 << *permission as u8);
        Self(if bits == 0 { 0 } else { bits | 1 })
    }

    /// `deploy,operate`; without any it is not a set that can be given.
    pub fn parse(text: &str) -> Result<Self> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let list: Vec<Permission> = parts.map(Permission::parse).collect::<Result<_>>()?;
        Ok(Self::of(&list))
    }

    pub fn has(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u8) != 0
    }

    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.into_iter().filter(move |permission| self.has(*permission))
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Permission::as_str).collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_permission_brings_view_with_it() {
        let set = Permissions::parse("operate, deploy").unwrap();
        assert_eq!(set.to_string(), "view,deploy,operate");
        assert_eq!(set, Permissions::USUAL);
        assert!(!set.has(Permission::Manage));
        assert_eq!(Permissions::parse("manage").unwrap().to_string(), "view,manage");
        assert!(Permissions::parse("").unwrap().is_none());
        assert_eq!(Permissions::of(&Permission::ALL), Permissions::ALL);
        let error = Permissions::parse("view,admin").unwrap_err().to_string();
        assert!(error.contains("\"admin\" is not a permission"), "{error}");
    }
}
