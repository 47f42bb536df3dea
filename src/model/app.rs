//! An app and the rule for its name.

use super::{AppId, Egress, Https, UserId};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use std::fmt;

/// Names that the platform's own hosts use.
const RESERVED: [&str; 6] = ["api", "git", "dashboard", "registry", "www", "localhost"];

/// A valid app name: `^[a-z][a-z0-9-]{1,28}[a-z0-9]$` (Heroku's pattern) and not one of the
/// platform's own host names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppName(String);

impl AppName {
    /// Checks a name; the error is Heroku's 422 `invalid_params` and names the rule that it breaks.
    pub fn parse(text: &str) -> Result<Self> {
        let bytes = text.as_bytes();
        let starts = bytes.first().is_some_and(u8::is_ascii_lowercase);
        let ends = bytes.last().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        if text.len() < 3 {
            return Err(Error::invalid("Name is too short (minimum is 3 characters)"));
        }
        if text.len() > 30 {
            return Err(Error::invalid("Name is too long (maximum is 30 characters)"));
        }
        if !starts || !ends || !bytes.iter().all(inner) {
            return Err(Error::invalid(
                "Name must start with a letter, end with a letter or digit and can only contain \
                 lowercase letters, digits, and dashes.",
            ));
        }
        if RESERVED.contains(&text) {
            return Err(Error::invalid(format!("Name {text} is reserved by the platform")));
        }
        Ok(Self(text.to_string()))
    }

    /// One that was checked when it was given: it stays, whatever is reserved since.
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone)]
pub struct App {
    pub id: AppId,
    pub name: AppName,
    pub owner: UserId,
    pub owner_email: String,
    pub stack: String,
    pub maintenance: bool,
    /// Where its dynos may connect to.
    pub egress: Egress,
    pub https: Https,
    /// Its custom domains get certificates by themselves.
    pub acm: bool,
    /// What `bin/detect` of the last build's buildpack printed, such as `Node.js`.
    pub buildpack_provided_description: Option<String>,
    /// Bytes.
    pub repo_size: Option<i64>,
    /// Bytes.
    pub slug_size: Option<i64>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub released_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_names_follow_herokus_pattern() {
        for good in ["abc", "a1b", "my-app-1", "a2345678901234567890123456789z"] {
            assert!(AppName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ab",
            "1ab",
            "-ab",
            "ab-",
            "Abc",
            "a_b",
            "a.b",
            "a b",
            "é-é",
            "api",
            "www",
            "localhost",
            "a234567890123456789012345678901",
            "a/../b",
            "abc\n",
        ] {
            assert!(AppName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
