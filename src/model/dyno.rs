//! Process types, their desired formation, and dynos by name and state.

use super::AppId;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use std::fmt;
use uuid::Uuid;

/// A process type: `^[-\w]{1,128}$` (Heroku's pattern).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessType(String);

impl ProcessType {
    pub fn parse(text: &str) -> Result<Self> {
        let fits = (1..=128).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !fits {
            return Err(Error::invalid(format!("Type {text:?} is not a process type")));
        }
        Ok(Self(text.to_string()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Only `web` gets HTTP traffic.
    pub fn is_web(&self) -> bool {
        self.0 == "web"
    }

    /// `release` is the release phase: it has a formation row, but no dynos of its own.
    pub fn is_release(&self) -> bool {
        self.0 == "release"
    }
}

impl fmt::Display for ProcessType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `web.1`, `run.4242`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DynoName {
    pub process: ProcessType,
    pub number: u32,
}

impl DynoName {
    pub fn parse(text: &str) -> Option<Self> {
        let (process, digits) = text.rsplit_once('.')?;
        let number: u32 = digits.parse().ok()?;
        // `web.+1` and `web.01` are no names.
        let is_plain = number.to_string() == digits;
        is_plain.then_some(Self { process: ProcessType::parse(process).ok()?, number })
    }
}

impl fmt::Display for DynoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.process, self.number)
    }
}

/// `dyno.state` of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DynoState {
    Starting,
    Up,
    Crashed,
    Down,
}

impl DynoState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Crashed => "crashed",
            Self::Down => "down",
        }
    }
}

/// How large a terminal is, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSize {
    pub columns: u16,
    pub rows: u16,
}

/// What is wanted of one process type of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Formation {
    pub id: Uuid,
    pub app: AppId,
    pub process: ProcessType,
    pub quantity: u32,
    pub size: String,
    /// Goes up with every restart of the whole type; dynos of an older epoch are replaced.
    pub epoch: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
