//! How a command ends when it does not succeed: what is said on stderr, and the exit status.

use std::fmt;

/// Exit status of a command that was refused or failed.
pub const FAILED: u8 = 1;
/// Exit status of a command line that can't be understood.
pub const USAGE: u8 = 2;
/// Exit status of `releases:wait` when the time is up (that of `timeout`).
pub const TIMED_OUT: u8 = 124;
/// Exit status after Ctrl-C, as a shell reports it.
pub const INTERRUPTED: u8 = 130;

#[derive(Debug)]
pub enum Failure {
    /// The message, and what the user can do about it.
    Refused { message: String, hint: Option<String> },
    /// The server does not take the token, or there is none: the message, and what to do.
    LoggedOut { message: String, hint: String },
    /// A command line that can't be understood: exit status 2.
    Usage(String),
    /// The API said no: its message and error id.
    Api { status: u16, id: String, message: String },
    /// The server could not be reached, or went away while it answered.
    Unreachable { message: String },
    /// Whoever read our output has left, as in `senryu logs | head`: a quiet success.
    Pipe,
    /// All has been said; only the status is left.
    Exit(u8),
}

pub type Result<T = ()> = std::result::Result<T, Failure>;

impl Failure {
    pub fn refused(message: impl Into<String>) -> Self {
        Self::Refused { message: message.into(), hint: None }
    }

    pub fn with_hint(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused { message: message.into(), hint: Some(hint.into()) }
    }

    pub fn logged_out(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::LoggedOut { message: message.into(), hint: hint.into() }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    pub fn status(&self) -> u8 {
        match self {
            Self::Refused { .. }
            | Self::LoggedOut { .. }
            | Self::Api { .. }
            | Self::Unreachable { .. } => FAILED,
            Self::Usage(_) => USAGE,
            Self::Pipe => 0,
            Self::Exit(status) => *status,
        }
    }

    /// Whether the API answered with this status.
    pub fn is_api(&self, wanted: u16) -> bool {
        matches!(self, Self::Api { status, .. } if *status == wanted)
    }

    /// Whether the API asks for the code of a second factor.
    pub fn wants_code(&self) -> bool {
        matches!(self, Self::Api { id, .. } if id == "two_factor")
    }

    /// Whether the password has to be changed before it is good for anything.
    pub fn wants_new_password(&self) -> bool {
        matches!(self, Self::Api { id, .. } if id == "password_change_required")
    }

    /// What stderr gets, in the shape that Heroku's CLI gives its errors.
    pub fn page(&self) -> Option<String> {
        let (message, hint) = match self {
            Self::Pipe | Self::Exit(_) => return None,
            Self::Refused { message, hint } => (message, hint.clone()),
            Self::LoggedOut { message, hint } => (message, Some(hint.clone())),
            Self::Usage(message) => (message, Some("See more help with --help".to_string())),
            Self::Api { id, message, .. } if id.is_empty() => (message, None),
            Self::Api { id, message, .. } => (message, Some(format!("Error ID: {id}"))),
            Self::Unreachable { message } => (
                message,
                Some(
                    "Is the server running? `senryu doctor` on its machine says what is missing. \
                     SENRYU_URL chooses another server."
                        .to_string(),
                ),
            ),
        };
        let mut page = String::new();
        for (index, line) in message.lines().enumerate() {
            let head = if index == 0 { " ›   Error: " } else { " ›   " };
            page.push_str(head);
            page.push_str(line);
            page.push('\n');
        }
        if let Some(hint) = hint {
            page.push_str(" ›\n");
            for line in hint.lines() {
                page.push_str(" ›   ");
                page.push_str(line);
                page.push('\n');
            }
        }
        Some(page)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { message, .. }
            | Self::LoggedOut { message, .. }
            | Self::Usage(message)
            | Self::Api { message, .. }
            | Self::Unreachable { message } => f.write_str(message),
            Self::Pipe => f.write_str("the reader of our output has left"),
            Self::Exit(status) => write!(f, "exit status {status}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_error_is_shown_as_heroku_shows_it() {
        let failure = Failure::Api {
            status: 404,
            id: "not_found".into(),
            message: "Couldn't find that app.".into(),
        };
        assert_eq!(
            failure.page().unwrap(),
            " ›   Error: Couldn't find that app.\n ›\n ›   Error ID: not_found\n"
        );
        assert_eq!(failure.status(), 1);
        assert_eq!(Failure::usage("x").status(), 2);
        assert_eq!(Failure::Pipe.status(), 0);
    }
}
