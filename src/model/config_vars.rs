//! An app's config vars: what keys may be called and how large all of them may be.

use crate::error::{Error, Result};
use crate::limits;
use std::collections::BTreeMap;
use std::fmt;

/// Keys and values in the order of their keys. `Debug` shows the keys only.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ConfigVars(BTreeMap<String, String>);

/// What one request changes: a value sets the key, `None` removes it.
pub type ConfigChanges = Vec<(String, Option<String>)>;

impl ConfigVars {
    pub fn from_map(map: BTreeMap<String, String>) -> Self {
        Self(map)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Applies one request's changes. Errors name the key and leave nothing half changed.
    pub fn changed(&self, changes: &ConfigChanges) -> Result<Self> {
        let mut next = self.0.clone();
        for (key, value) in changes {
            match value {
                Some(value) => {
                    check_key(key)?;
                    if value.contains('\0') {
                        return Err(Error::invalid(format!(
                            "Config var {key} contains a NUL byte, which no environment can hold"
                        )));
                    }
                    next.insert(key.clone(), value.clone());
                }
                None => {
                    next.remove(key);
                }
            }
        }
        let bytes: usize = next.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > limits::CONFIG_VARS_BYTES {
            let largest = next.iter().max_by_key(|(_, value)| value.len());
            let largest = largest.map_or(String::new(), |(key, value)| {
                format!(", and {key} alone has {}", value.len())
            });
            return Err(Error::invalid(format!(
                "Config vars would take {bytes} bytes in all{largest}; the limit is {} bytes",
                limits::CONFIG_VARS_BYTES
            )));
        }
        Ok(Self(next))
    }
}

impl fmt::Debug for ConfigVars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Heroku's rule: letters, digits and underscore, no digit first, no reserved prefix.
fn check_key(key: &str) -> Result<()> {
    let first = key.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    let rest = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !first || !rest || key.len() > limits::CONFIG_KEY_BYTES {
        return Err(Error::invalid(format!(
            "Config var key {:?} is not valid: use letters, digits and underscores, and no digit \
             first",
            key.chars().take(60).collect::<String>()
        )));
    }
    if key.starts_with("__") || key.starts_with("HEROKU_") {
        return Err(Error::invalid(format!("Config var key {key} is reserved by the platform")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(key: &str, value: &str) -> Result<ConfigVars> {
        ConfigVars::default().changed(&vec![(key.into(), Some(value.into()))])
    }

    #[test]
    fn a_bad_key_or_value_is_named() {
        for key in ["", "1A", "A-B", "A B", "Ä", "A=B", "__X", "HEROKU_X", "A\0"] {
            assert!(set(key, "v").is_err(), "{key:?}");
        }
        assert!(set("A", "x\0y").unwrap_err().to_string().contains("Config var A"));
        assert!(set("A", &"x".repeat(70_000)).unwrap_err().to_string().contains("65536"));
    }

    #[test]
    fn null_removes_and_empty_stays() {
        let vars = set("A", "").unwrap();
        assert_eq!(vars.get("A"), Some(""));
        assert!(vars.changed(&vec![("A".into(), None)]).unwrap().is_empty());
    }
}
