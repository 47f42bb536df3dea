//! The address of a server. It is written in many ways, so addresses are compared and kept as the
//! URL library writes them: with the host in lower case and without the port that goes unsaid.

use reqwest::Url;
use std::net::IpAddr;

/// An address as everything about its server is kept under; `None` where it is none.
pub fn kept(address: &str) -> Option<String> {
    let url = Url::parse(address).ok()?;
    let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
    is_http.then(|| of(&url))
}

/// The same of one that was parsed: without a slash at its end.
pub fn of(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_string()
}

/// The app that an address leads to, when it is one of the server at `base`.
pub fn app(address: &str, base: &str) -> Option<String> {
    let (url, base) = (Url::parse(address).ok()?, Url::parse(base).ok()?);
    let is_ours = url.scheme() == base.scheme()
        && url.host_str() == base.host_str()
        && url.port_or_known_default() == base.port_or_known_default();
    let below = url.path().strip_prefix(base.path().trim_end_matches('/'))?;
    let name = below.strip_prefix('/')?.trim_end_matches('/');
    let app = name.strip_suffix(".git").unwrap_or(name);
    (is_ours && !app.is_empty() && !app.contains('/')).then(|| app.to_string())
}

/// Whether nobody but this machine sees what is sent there in the clear.
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_the_same_however_its_address_is_written() {
        for (written, expected) in [
            ("http://localhost:80", "http://localhost"),
            ("http://localhost:80/", "http://localhost"),
            ("https://API.x.org:443", "https://api.x.org"),
            ("HTTP://localhost:5757", "http://localhost:5757"),
        ] {
            assert_eq!(kept(written).as_deref(), Some(expected), "{written}");
        }
        assert!(kept("localhost:5757").is_none() && kept("").is_none());
    }

    #[test]
    fn a_remote_leads_to_an_app_of_this_server_only() {
        let base = "http://localhost:5757";
        for ours in [
            "http://localhost:5757/shop.git",
            "http://me@localhost:5757/shop.git",
            "http://LOCALHOST:5757/shop/",
        ] {
            assert_eq!(app(ours, base).as_deref(), Some("shop"), "{ours}");
        }
        let usual = app("http://localhost:80/shop.git", "http://localhost");
        assert_eq!(usual.as_deref(), Some("shop"));
        for other in [
            "https://localhost:5757/shop.git",
            "http://localhost:57570/shop.git",
            "http://localhost/shop.git",
            "http://localhost:5757/a/b.git",
            "http://localhost:5757/",
            "git@localhost:shop.git",
            "/srv/shop.git",
        ] {
            assert_eq!(app(other, base), None, "{other}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        let is = |address: &str| is_loopback(&Url::parse(address).unwrap());
        for here in ["localhost:5757", "api.localhost", "127.0.0.1", "127.9.9.9:1", "[::1]:5757"] {
            assert!(is(&format!("http://{here}")), "{here}");
        }
        for there in ["api.paas.example.com", "10.0.0.1", "localhost.example.com", "[2001:db8::1]"]
        {
            assert!(!is(&format!("http://{there}")), "{there}");
        }
    }
}
