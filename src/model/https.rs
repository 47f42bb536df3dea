//! What an app wants of HTTPS. Heroku leaves both to the app itself, so both are off at first.

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Https {
    /// A request without TLS is sent to the same address with it.
    pub redirect: bool,
    /// Browsers are told to come by HTTPS only from now on.
    pub hsts: bool,
}
