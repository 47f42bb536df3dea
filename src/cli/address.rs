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

/// What the names of a server with a domain begin with: all three lead to the same one.
const NAMES: [&str; 3] = ["api.", "git.", "dashboard."];

/// The server by its first name: `https://api.D` for `https://git.D`. What a host with a name of
/// another kind is called stays.
pub fn server(address: &str) -> Option<String> {
    let mut url = Url::parse(&kept(address)?).ok()?;
    let domain = NAMES.iter().find_map(|name| url.host_str()?.strip_prefix(name));
    if let Some(domain) = domain.map(str::to_string) {
        url.set_host(Some(&format!("api.{domain}"))).ok()?;
    }
    Some(of(&url))
}

/// Where git may find the server at `base` as well.
pub fn of_git(base: &str) -> Option<String> {
    let mut url = Url::parse(base).ok()?;
    let domain = url.host_str()?.strip_prefix("api.")?.to_string();
    url.set_host(Some(&format!("git.{domain}"))).ok()?;
    Some(of(&url))
}

/// The app that an address leads to, when it is one of the server at `base`.
pub fn app(address: &str, base: &str) -> Option<String> {
    let (url, base) = (Url::parse(address).ok()?, Url::parse(base).ok()?);
    let root = |url: &Url| server(&url.origin().ascii_serialization());
    let is_ours = root(&url).is_some_and(|ours| Some(ours) == root(&base));
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
        for ours in ["https://git.x.org/shop.git", "https://api.x.org:443/shop.git"] {
            assert_eq!(app(ours, "https://api.x.org").as_deref(), Some("shop"), "{ours}");
        }
        assert_eq!(app("https://git.y.org/shop.git", "https://api.x.org"), None);
        assert_eq!(of_git("https://api.x.org").as_deref(), Some("https://git.x.org"));
        assert_eq!(of_git("http://localhost:5757"), None);
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
