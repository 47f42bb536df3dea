//! What can go wrong, without HTTP: a kind that a program reacts to, a message for the user and,
//! apart from it, the context for the log. `api::error` turns it into a reply.

use std::fmt;

/// The kinds follow Heroku's error ids (`id` in an API error body).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 400 `bad_request`: the request itself cannot be read.
    BadRequest,
    /// 401 `unauthorized`.
    Unauthorized,
    /// 403 `forbidden`.
    Forbidden,
    /// 403 `two_factor`: the password is right, and a code is wanted as well.
    TwoFactor,
    /// 403 `password_change_required`: the password is right, and good for choosing another only.
    PasswordChange,
    /// 404 `not_found`.
    NotFound,
    /// 409 `conflict`: may be tried again.
    Conflict,
    /// 413 `payload_too_large`.
    TooLarge,
    /// 416 `requested_range_not_satisfiable`.
    Range,
    /// 422 `invalid_params`.
    InvalidParams,
    /// 423 `confirmation_required`.
    ConfirmationRequired,
    /// 429 `rate_limit`.
    RateLimit,
    /// 503 `service_unavailable`: the server is stopping, or what it needs is away.
    Unavailable,
    /// 500 `internal_server_error`.
    Internal,
}

/// An error with a public message and a private cause.
///
/// `Display` gives the public message only; [`Error::chain`] adds the private part for the log.
pub struct Error {
    kind: Kind,
    message: String,
    resource: Option<&'static str>,
    context: Option<Box<dyn std::error::Error + Send + Sync>>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), resource: None, context: None }
    }

    /// 422 `invalid_params`; the message names the field.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidParams, message)
    }

    /// 400 `bad_request`.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Kind::BadRequest, message)
    }

    /// 404 `not_found` in Heroku's words: `Couldn't find that app.`
    pub fn not_found(resource: &'static str) -> Self {
        let message = format!("Couldn't find that {resource}.");
        Self { resource: Some(resource), ..Self::new(Kind::NotFound, message) }
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, message)
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message)
    }

    /// A fault of ours: the user gets a plain sentence, `what` and the cause go to the log.
    pub fn internal(
        what: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { context: Some(cause.into()), ..Self::new(Kind::Internal, what) }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn resource(&self) -> Option<&'static str> {
        self.resource
    }

    /// What the caller may see. Faults of ours are not described.
    pub fn public_message(&self) -> &str {
        match self.kind {
            Kind::Internal => "Internal server error. The server's log says more.",
            _ => &self.message,
        }
    }

    /// Everything, for the log: the message and every cause below it, once.
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut cause: Option<&dyn std::error::Error> =
            self.context.as_deref().map(|cause| cause as &dyn std::error::Error);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.chain())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.context.as_deref().map(|cause| cause as &(dyn std::error::Error + 'static))
    }
}

/// Gives an error from below the sentence that says what could not be done.
pub trait Context<T> {
    fn context(self, what: impl Into<String>) -> Result<T>;
}

impl<T, E> Context<T> for std::result::Result<T, E>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn context(self, what: impl Into<String>) -> Result<T> {
        self.map_err(|cause| Error::internal(what, cause))
    }
}
