//! A custom domain and the rule for its name.

use super::{AppId, AutoState, DomainId, SniEndpointId};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::limits;
use std::fmt;
use std::str::FromStr;

/// A host name below which or for which requests are routed: `www.example.com`, or
/// `*.example.com` for every name below `example.com`. In lower case, without a final dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hostname(String);

impl Hostname {
    /// Checks a name; the error is Heroku's 422 `invalid_params` and says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self> {
        let shown: String = text.chars().take(limits::HOSTNAME_BYTES).collect();
        let wrong = |why: &str| Error::invalid(format!("Domain {shown:?} is not valid: {why}"));
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if name.len() > limits::HOSTNAME_BYTES {
            return Err(wrong("it is longer than 253 characters."));
        }
        let base = name.strip_prefix("*.").unwrap_or(&name);
        if base.contains('*') {
            return Err(wrong("only its whole first part may be *, as in *.example.com."));
        }
        if !base.is_ascii() {
            return Err(wrong(&beyond_ascii(&name, base)));
        }
        let labels: Vec<&str> = base.split('.').collect();
        if labels.iter().any(|label| !is_label(label)) {
            return Err(wrong(
                "between its dots there must be 1 to 63 letters, digits and dashes, no dash at \
                 either end. It has no scheme, port or path.",
            ));
        }
        if labels.len() < 2 {
            return Err(wrong("it must be fully qualified, as www.example.com or *.example.com."));
        }
        if labels.last().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit())) {
            return Err(wrong("it looks like an IP address."));
        }
        if labels.iter().any(|label| label.starts_with("xn--")) && punycode(base).is_none() {
            return Err(wrong("a part that begins with xn-- is no punycode."));
        }
        Ok(Self(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a wildcard stands above: `example.com` of `*.example.com`.
    pub fn wildcard_base(&self) -> Option<&str> {
        self.0.strip_prefix("*.")
    }

    /// The wildcards that would cover this name, nearest first.
    pub fn wildcards_above(&self) -> Vec<String> {
        let base = self.wildcard_base().unwrap_or(&self.0);
        let parents = base.match_indices('.').map(|(at, _)| &base[at + 1..]);
        parents.map(|parent| format!("*.{parent}")).collect()
    }

    /// Is it `base` itself, or below it?
    pub fn is_within(&self, base: &str) -> bool {
        let name = self.wildcard_base().unwrap_or(&self.0);
        name.strip_suffix(base).is_some_and(|head| head.is_empty() || head.ends_with('.'))
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Hostname {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// The name as DNS has it; `None` where there is no such form.
fn punycode(name: &str) -> Option<String> {
    let url = reqwest::Url::parse(&format!("http://{name}/")).ok()?;
    url.domain().map(str::to_string)
}

fn beyond_ascii(name: &str, base: &str) -> String {
    let star = if name.starts_with("*.") { "*." } else { "" };
    match punycode(base).filter(|found| found.split('.').all(is_label)) {
        Some(found) => {
            format!("DNS knows no letters beyond ASCII. Add it in punycode: {star}{found}")
        }
        None => "DNS knows no letters beyond ASCII, and it has no form in punycode.".to_string(),
    }
}

/// A name that leads to an app beside its own one.
#[derive(Debug, Clone)]
pub struct Domain {
    pub id: DomainId,
    pub app: AppId,
    pub hostname: Hostname,
    /// The certificate that it is served with, and its name.
    pub sni_endpoint: Option<(SniEndpointId, String)>,
    /// How far its automatic certificate is, and why it failed.
    pub acm: Option<(AutoState, Option<String>)>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_are_kept_in_lower_case() {
        for (text, kept) in [
            ("www.example.com", "www.example.com"),
            ("example.com.", "example.com"),
            ("WWW.Example.COM", "www.example.com"),
            ("*.example.com", "*.example.com"),
            ("a.b.c.d.example.co.uk", "a.b.c.d.example.co.uk"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("1.example.com", "1.example.com"),
        ] {
            assert_eq!(Hostname::parse(text).unwrap().as_str(), kept);
        }
    }

    #[test]
    fn what_is_wrong_with_a_name_is_said() {
        let label = "a".repeat(64);
        let long = format!("{}com", "abcdefg.".repeat(32));
        for (text, why) in [
            ("", "between its dots"),
            ("example", "fully qualified"),
            ("*", "whole first part"),
            ("*.com", "fully qualified"),
            ("a.*.example.com", "whole first part"),
            ("w*.example.com", "whole first part"),
            ("*.*.example.com", "whole first part"),
            ("-a.example.com", "no dash"),
            ("a-.example.com", "no dash"),
            ("a..example.com", "between its dots"),
            ("a_b.example.com", "between its dots"),
            ("http://example.com", "no scheme"),
            ("example.com:80", "port"),
            ("example.com/x", "path"),
            (" example.com", "between its dots"),
            ("example.com\n", "between its dots"),
            ("192.168.0.1", "IP address"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("*.bücher.example", "*.xn--bcher-kva.example"),
            ("xn--0.example", "no punycode"),
            (&format!("{label}.example.com"), "1 to 63"),
            (&long, "longer than 253"),
        ] {
            let error = Hostname::parse(text).unwrap_err().to_string();
            assert!(error.starts_with("Domain ") && error.contains(why), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_name_knows_what_covers_it() {
        let name = |text| Hostname::parse(text).unwrap();
        assert_eq!(
            name("a.b.example.com").wildcards_above(),
            ["*.b.example.com", "*.example.com", "*.com"]
        );
        assert_eq!(name("*.example.com").wildcards_above(), ["*.com"]);
        assert!(name("a.example.com").is_within("example.com"));
        assert!(name("example.com").is_within("example.com"));
        assert!(name("*.example.com").is_within("example.com"));
        assert!(!name("badexample.com").is_within("example.com"));
        assert!(!name("*.com.de").is_within("example.com"));
    }
}
