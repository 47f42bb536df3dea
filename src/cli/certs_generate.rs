//! `certs:generate`: a key with a request for a certificate, or with a certificate that signs
//! itself, made on this machine, so that the key has been nowhere else.

use super::Cx;
use super::app::AppArgs;
use super::client::{segment, text};
use super::failure::{Failure, Result};
use crate::limits;
use chrono::{Datelike, Duration, Utc};
use clap::Args;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::Value;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, fchown};

#[derive(Debug, Args)]
#[command(
    after_help = "The key is an elliptic curve's (P-256), which all authorities sign. What is \
                        asked for on Heroku comes by flags; without them the domain alone is named."
)]
pub struct Generate {
    /// Domain that the certificate is for, as www.example.com or *.example.com
    #[arg(value_name = "DOMAIN")]
    domain: String,
    /// A certificate that signs itself, for tests, in place of a request
    #[arg(long)]
    selfsigned: bool,
    /// Name of the organisation
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// Country, as two letters
    #[arg(long, value_name = "CODE")]
    country: Option<String>,
    /// Province or state
    #[arg(long, value_name = "NAME")]
    area: Option<String>,
    /// City
    #[arg(long, value_name = "NAME")]
    city: Option<String>,
    /// Ask nothing (nothing is asked in any case; kept for Heroku's scripts)
    #[arg(long, hide = true)]
    now: bool,
    #[command(flatten)]
    app: AppArgs,
}

pub async fn run(cx: &Cx, args: Generate) -> Result {
    let app = cx.app(&args.app)?;
    let name = &hostname(&args.domain)?;
    let made = made(&args, name)
        .map_err(|error| Failure::refused(format!("No key could be made for {name}: {error}")))?;
    let certs = cx.client.get_all(&format!("/apps/{}/sni-endpoints", segment(&app))).await?;
    let is_for = |cert: &&Value| {
        let names = cert.pointer("/ssl_cert/cert_domains").and_then(Value::as_array);
        let is_own = cert.pointer("/ssl_cert/acm") != Some(&Value::Bool(true));
        is_own && names.is_some_and(|names| names.iter().any(|known| known == name))
    };
    let command = match certs.iter().find(is_for) {
        Some(cert) => format!("certs:update --name {}", text(cert, "/name")),
        None => "certs:add".to_string(),
    };
    // An asterisk is no name for a file.
    let stem = name.replace('*', "wildcard");
    let (key, other) = (format!("{stem}.key"), format!("{stem}.{}", made.kind));
    keep(cx, &key, &made.key, 0o600)?;
    keep(cx, &other, &made.other, 0o644)?;
    if args.selfsigned {
        return cx.ui.line(format!(
            "Your key and self-signed certificate have been generated.\nNext, run:\n\
             $ senryu {command} {other} {key} -a {app}"
        ));
    }
    cx.ui.line(format!(
        "Your key and certificate signing request have been generated.\nSubmit the CSR in \
         '{other}' to your preferred certificate authority.\nWhen you've received your \
         certificate, run:\n\
         $ senryu {command} CERTFILE {key} -a {app}"
    ))
}

/// What a domain's name is made of; whether the app may have it, the server knows.
fn hostname(text: &str) -> Result<String> {
    let name = text.to_ascii_lowercase();
    let base = name.strip_prefix("*.").unwrap_or(&name);
    let is_plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    match base.contains('.') && base.split('.').all(is_plain) {
        true => Ok(name),
        false => Err(Failure::refused(format!(
            "{text:?} is no domain, such as www.example.com or *.example.com"
        ))),
    }
}

struct Made {
    key: String,
    /// The request, or the certificate.
    other: String,
    kind: &'static str,
}

fn made(args: &Generate, name: &str) -> std::result::Result<Made, rcgen::Error> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(vec![name.to_string()])?;
    params.distinguished_name = DistinguishedName::new();
    for (kind, given) in [
        (DnType::CountryName, args.country.as_deref()),
        (DnType::StateOrProvinceName, args.area.as_deref()),
        (DnType::LocalityName, args.city.as_deref()),
        (DnType::OrganizationName, args.owner.as_deref()),
        (DnType::CommonName, Some(name)),
    ] {
        if let Some(given) = given {
            params.distinguished_name.push(kind, given);
        }
    }
    let pem = key.serialize_pem();
    if !args.selfsigned {
        let other = params.serialize_request(&key)?.pem()?;
        return Ok(Made { key: pem, other, kind: "csr" });
    }
    let day = |days: i64| {
        let day = (Utc::now() + Duration::days(days)).date_naive();
        let part = |number: u32| u8::try_from(number).unwrap_or(1);
        rcgen::date_time_ymd(day.year(), part(day.month()), part(day.day()))
    };
    params.not_before = day(0);
    params.not_after = day(limits::SELF_SIGNED_DAYS);
    let other = params.self_signed(&key)?.pem();
    Ok(Made { key: pem, other, kind: "crt" })
}

/// A file in the working folder; none is written over, since a key that is gone is gone.
fn keep(cx: &Cx, file: &str, text: &str, mode: u32) -> Result {
    let path = cx.env.dir.join(file);
    let created = File::options().write(true).create_new(true).mode(mode).open(&path);
    let written = created.and_then(|mut created| {
        if let Some(owner) = cx.env.owner {
            fchown(&created, Some(owner.uid), Some(owner.gid))?;
        }
        created.write_all(text.as_bytes())
    });
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::refused(format!("{file} exists already: move it away first"))
        }
        _ => Failure::refused(format!("Can't write {file}: {error}")),
    })
}

#[cfg(test)]
mod tests {
    use crate::certs::chain;
    use crate::cli::testing::{Reply, Stage};
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn a_key_comes_with_a_request_or_with_a_certificate_that_fits_it() {
        let stage = Stage::new(|asked, _| match asked.line().as_str() {
            "GET /apps/shop/sni-endpoints" => Reply::Json(
                200,
                json!([{ "name": "old", "ssl_cert": { "cert_domains": ["*.example.com"] } }]),
            ),
            _ => Reply::Json(404, json!({ "id": "not_found", "message": "no" })),
        })
        .await;
        let file = |name: &str| stage.home.path().join(name);
        let words = ["certs:generate", "www.example.com", "-a", "shop", "--owner", "Ada Ltd"];
        let done = stage.run(&words).await;
        assert_eq!(done.status, 0, "{}", done.err);
        let next = "$ senryu certs:add CERTFILE www.example.com.key -a shop\n";
        assert!(done.out.ends_with(next), "{}", done.out);
        let key = file("www.example.com.key");
        assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let request = std::fs::read_to_string(file("www.example.com.csr")).unwrap();
        assert!(request.starts_with("-----BEGIN CERTIFICATE REQUEST-----"), "{request}");

        let kept = std::fs::read(&key).unwrap();
        let done = stage.run(&words).await;
        assert!(done.status == 1 && done.err.contains("key exists already"), "{}", done.err);
        assert_eq!(std::fs::read(&key).unwrap(), kept);

        let done = stage.run(&["certs:generate", "*.example.com", "-a", "shop", "--selfsigned"]);
        let done = done.await;
        assert!(done.out.contains("$ senryu certs:update --name old wildcard"), "{}", done.out);
        let read = |name: &str| std::fs::read_to_string(file(name)).unwrap();
        let (crt, key) = (read("wildcard.example.com.crt"), read("wildcard.example.com.key"));
        let facts = chain::check(&crt, &key, crate::clock::Timestamp::now()).unwrap();
        assert_eq!(facts.cert_domains, ["*.example.com"]);
        assert_eq!(facts.expires_at.seconds_since(facts.starts_at), 365 * 86_400);
        let done = stage.run(&["certs:generate", "../x", "-a", "shop"]).await;
        assert_eq!(done.status, 1, "{}", done.out);
    }
}
