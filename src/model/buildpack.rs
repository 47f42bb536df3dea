//! A buildpack as a user names it: by a shorthand, a git repository's or a tarball's address, or a
//! directory of the app's own source.

use crate::error::{Error, Result};
use crate::limits;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Component, Path};

/// The namespaces whose shorthands are known; Heroku has a registry of many more.
const NAMESPACES: [&str; 2] = ["heroku", "heroku-community"];
/// Those that come with Senryu, for whoever names one that there is not.
pub const BUNDLED: [&str; 4] =
    ["heroku/nodejs", "heroku/python", "heroku/go", "heroku-community/static"];
/// The stores of Heroku's registry, now and formerly, by the first label of their hosts.
const REGISTRY: [&str; 2] = ["buildpack-registry", "codon-buildpacks"];
/// Ends of the addresses of archives that tar understands.
const ARCHIVES: [&str; 6] = [".tgz", ".tar.gz", ".tar.xz", ".tar.bz2", ".tar.zst", ".tar"];

/// `Display` is the form in which it is stored and shown; it reads back as the same buildpack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Buildpack {
    /// `heroku/nodejs`
    Named { namespace: String, name: String },
    /// `https://host/repository.git#ref`; without a ref it is what the repository's HEAD is.
    Git { url: String, reference: Option<String> },
    /// `https://host/buildpack.tgz`
    Tarball { url: String },
    /// `./tools/buildpack`; empty for the root of the source, `./`.
    Inline { path: String },
}

impl Buildpack {
    /// Reads what a user or a client of Heroku's calls a buildpack. The error is Heroku's 422, and
    /// says what can be used.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let text = text.strip_prefix("urn:buildpack:").unwrap_or(text);
        let plain = |c: char| !c.is_control() && !c.is_whitespace();
        if text.is_empty() || text.len() > limits::BUILDPACK_BYTES || !text.chars().all(plain) {
            let message = "A buildpack is a name such as heroku/nodejs or an https:// address, \
                           without spaces";
            return Err(Error::invalid(message));
        }
        if text == "." || text.starts_with("./") {
            return inline(text);
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return match scheme.eq_ignore_ascii_case("https") {
                true => remote(rest),
                false => Err(refused(text, "buildpacks are fetched by https:// only")),
            };
        }
        if text.contains([':', '@', '#']) {
            return Err(refused(text, "give the https:// address of its git repository"));
        }
        named(text)
    }
}

impl fmt::Display for Buildpack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named { namespace, name } => write!(f, "{namespace}/{name}"),
            Self::Git { url, reference: Some(reference) } => write!(f, "{url}#{reference}"),
            Self::Git { url, reference: None } | Self::Tarball { url } => f.write_str(url),
            Self::Inline { path } => write!(f, "./{path}"),
        }
    }
}

fn refused(text: &str, why: &str) -> Error {
    let shown: String = text.chars().take(100).collect();
    Error::invalid(format!("Can't use the buildpack {shown}: {why}"))
}

fn inline(text: &str) -> Result<Buildpack> {
    let parts = Path::new(text).components().filter(|part| !matches!(part, Component::CurDir));
    let mut path = Vec::new();
    for part in parts {
        match part {
            Component::Normal(part) => path.extend(part.to_str()),
            _ => return Err(refused(text, "it must be a directory of the app's source")),
        }
    }
    Ok(Buildpack::Inline { path: path.join("/") })
}

fn named(text: &str) -> Result<Buildpack> {
    let plain = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    match text.split_once('/') {
        Some((namespace, name))
            if plain(namespace) && plain(name) && NAMESPACES.contains(&namespace) =>
        {
            Ok(Buildpack::Named { namespace: namespace.to_string(), name: name.to_string() })
        }
        _ => Err(unknown(text)),
    }
}

/// What there is instead.
fn unknown(text: &str) -> Error {
    let short = |bundled: &&&str| bundled.rsplit('/').next() == text.rsplit('/').next();
    let meant = BUNDLED.iter().find(short).map(|name| format!(" (did you mean {name}?)"));
    let why = format!(
        "no buildpack of that name is bundled{}. There are {}. Others are given by the https:// \
         address of a git repository or a tarball, by heroku/NAME or heroku-community/NAME if \
         Heroku has a repository of it, or by ./PATH in the app's source",
        meant.unwrap_or_default(),
        BUNDLED.join(", "),
    );
    refused(text, &why)
}

/// What follows `https://`.
fn remote(rest: &str) -> Result<Buildpack> {
    let whole = format!("https://{rest}");
    let (address, reference) = match rest.split_once('#') {
        Some((address, reference)) => (address, Some(reference).filter(|text| !text.is_empty())),
        None => (rest, None),
    };
    let (authority, path) = address.split_once('/').unwrap_or((address, ""));
    if authority.contains('@') {
        // The list of buildpacks is no place for secrets: it is shown to all who see the app.
        let why = "its address must not hold a user or a password";
        return Err(Error::invalid(format!("Can't use that buildpack: {why}")));
    }
    check_host(&whole, authority)?;
    if path.trim_matches('/').is_empty() {
        return Err(refused(&whole, "its address has no path"));
    }
    let file = path.split('?').next().unwrap_or(path);
    if let Some(named) = of_registry(authority, file) {
        return Ok(named);
    }
    let url = format!("https://{address}");
    let archive = ARCHIVES.iter().any(|end| file.ends_with(end)) || file.contains("/tarball/");
    match (archive, reference) {
        (true, None) => Ok(Buildpack::Tarball { url }),
        (true, Some(_)) => Err(refused(&whole, "a tarball has no #ref")),
        (false, Some(reference)) if !is_reference(reference) => {
            Err(refused(&whole, "what follows # must be a branch, a tag or a commit"))
        }
        (false, reference) => Ok(Buildpack::Git { url, reference: reference.map(str::to_string) }),
    }
}

/// Heroku's clients send the address under which its registry keeps a named buildpack. Elsewhere a
/// file of such a name is whatever its owner put there.
fn of_registry(host: &str, file: &str) -> Option<Buildpack> {
    let host = host.to_ascii_lowercase();
    let bucket = REGISTRY.iter().any(|bucket| {
        let below = host.strip_prefix(bucket).and_then(|rest| rest.strip_prefix(".s3"));
        below.is_some_and(|rest| rest.ends_with(".amazonaws.com"))
    });
    let name = file.strip_prefix("buildpacks/")?.strip_suffix(".tgz")?;
    bucket.then(|| named(name).ok()).flatten()
}

fn is_reference(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._/-+@".contains(&b);
    text.bytes().all(plain) && !text.starts_with(['-', '/', '.']) && !text.contains("..")
}

/// The firewall is what keeps a build from the host; this says it in time and in words.
fn check_host(whole: &str, authority: &str) -> Result<()> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').unwrap_or((rest, "")),
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    let host = host.to_ascii_lowercase();
    let host = host.trim_end_matches('.');
    let letters = |b: u8| b.is_ascii_alphanumeric() || b".-_:".contains(&b);
    let port = port.trim_start_matches(':');
    if host.is_empty() || !host.bytes().all(letters) || !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(refused(whole, "its host is not understood"));
    }
    let private = match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => is_private(address),
        Ok(IpAddr::V6(address)) => is_private_v6(address),
        // Digits alone are an address in a form that only some programs read.
        Err(_) => {
            host == "localhost"
                || host.ends_with(".localhost")
                || host.rsplit('.').next().is_some_and(is_number)
        }
    };
    match private {
        true => Err(refused(whole, "builds can't reach private addresses")),
        false => Ok(()),
    }
}

fn is_number(label: &str) -> bool {
    label.starts_with("0x") || label.bytes().all(|b| b.is_ascii_digit())
}

fn is_private(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_multicast()
        || first == 0
        // Shared between a provider and its customers.
        || (first == 100 && (64..128).contains(&second))
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    address.is_loopback()
        || address.is_unspecified()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || address.is_multicast()
        || address.to_ipv4_mapped().is_some_and(is_private)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_read_and_written_back() {
        let git = |url: &str, reference: Option<&str>| Buildpack::Git {
            url: url.to_string(),
            reference: reference.map(str::to_string),
        };
        let named = Buildpack::Named { namespace: "heroku".into(), name: "nodejs".into() };
        let repository = "https://git.example/u/heroku-buildpack-x.git";
        let file = "buildpacks/heroku/nodejs.tgz";
        let registry = format!("https://{}.s3.{}/{file}", REGISTRY[1], "amazonaws.com");
        let mirror = "https://buildpack-registry.s3.example/buildpacks/heroku/nodejs.tgz";
        for (text, buildpack, shown) in [
            ("heroku/nodejs", named.clone(), "heroku/nodejs"),
            ("urn:buildpack:heroku/nodejs", named.clone(), "heroku/nodejs"),
            (&registry, named, "heroku/nodejs"),
            (mirror, Buildpack::Tarball { url: mirror.into() }, ""),
            (repository, git(repository, None), repository),
            ("https://g.example/u/x#v1.2", git("https://g.example/u/x", Some("v1.2")), ""),
            ("HTTPS://g.example/u/x#", git("https://g.example/u/x", None), "https://g.example/u/x"),
            (
                "https://h.example/buildpacks/other/x.tgz",
                Buildpack::Tarball { url: "https://h.example/buildpacks/other/x.tgz".into() },
                "",
            ),
            (
                "https://h.example:8443/u/x/tarball/main?a=b",
                Buildpack::Tarball { url: "https://h.example:8443/u/x/tarball/main?a=b".into() },
                "",
            ),
            ("./tools//pack/", Buildpack::Inline { path: "tools/pack".into() }, "./tools/pack"),
            (".", Buildpack::Inline { path: String::new() }, "./"),
        ] {
            let parsed = Buildpack::parse(text).unwrap();
            assert_eq!(parsed, buildpack, "{text}");
            let expected = if shown.is_empty() { text } else { shown };
            assert_eq!(parsed.to_string(), expected);
            assert_eq!(Buildpack::parse(&parsed.to_string()).unwrap(), parsed);
        }
    }

    #[test]
    fn what_no_build_may_fetch_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "A buildpack is a name"),
            ("heroku/node js", "A buildpack is a name"),
            ("http://git.example/x.git", "by https:// only"),
            ("file:///etc", "by https:// only"),
            ("ext::sh -c x", "A buildpack is a name"),
            ("ext::id", "give the https:// address"),
            ("git@git.example:u/x.git", "give the https:// address"),
            ("/etc", "no buildpack of that name is bundled. There are heroku/nodejs, heroku/p"),
            ("nodejs", "bundled (did you mean heroku/nodejs?). There are"),
            ("mars/static", "(did you mean heroku-community/static?)"),
            ("heroku/../x", "given by the https:// address of a git repository"),
            ("mars/create-react-app", "no buildpack of that name is bundled. There are"),
            ("./../x", "a directory of the app's source"),
            ("https://u:secret@git.example/x", "user or a password"),
            ("https://git.example/x#--upload-pack=y", "must be a branch"),
            ("https://git.example/x.tgz#v1", "a tarball has no #ref"),
            ("https://git.example", "no path"),
            ("https:///x", "not understood"),
            ("https://git.example:x/y", "not understood"),
            ("https://localhost/x.git", "private"),
            ("https://api.localhost:5757/x.git", "private"),
            ("https://127.0.0.1/x.git", "private"),
            ("https://10.1.2.3/x.git", "private"),
            ("https://169.254.169.254/x.git", "private"),
            ("https://100.64.0.1/x.git", "private"),
            ("https://2130706433/x.git", "private"),
            ("https://0x7f.1/x.git", "private"),
            ("https://[::1]/x.git", "private"),
            ("https://[::ffff:10.0.0.1]/x.git", "private"),
        ] {
            let message = Buildpack::parse(text).unwrap_err().public_message().to_string();
            assert!(message.contains(reason), "{text}: {message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
