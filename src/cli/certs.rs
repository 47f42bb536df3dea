//! `certs` and its commands: list, add, update, remove, info.

use super::app::AppArgs;
use super::client::{segment, text};
use super::failure::{Failure, Result};
use super::format::{clean, object, table};
use super::ui::read_text;
use super::{Cx, certs_auto, certs_generate};
use crate::limits;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub enum Certs {
    /// List SSL certificates for an app
    #[command(name = "certs", alias = "certs:list")]
    List(List),
    /// Add an SSL certificate to an app
    #[command(name = "certs:add")]
    Add(Add),
    /// Update an SSL certificate on an app
    #[command(name = "certs:update")]
    Update(Update),
    /// Show certificate information for an SSL certificate
    #[command(name = "certs:info")]
    Info(Info),
    /// Remove an SSL certificate from an app
    #[command(name = "certs:remove")]
    Remove(Remove),
    /// Make a key and a request for a certificate on this machine
    #[command(name = "certs:generate")]
    Generate(certs_generate::Generate),
    #[command(flatten)]
    Auto(certs_auto::Auto),
}

pub async fn run(cx: &Cx, command: Certs) -> Result {
    match command {
        Certs::List(args) => list(cx, args).await,
        Certs::Add(args) => add(cx, args).await,
        Certs::Update(args) => update(cx, args).await,
        Certs::Info(args) => info(cx, args).await,
        Certs::Remove(args) => remove(cx, args).await,
        Certs::Generate(args) => certs_generate::run(cx, args).await,
        Certs::Auto(command) => certs_auto::run(cx, command).await,
    }
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    app: AppArgs,
    /// Output in JSON format
    #[arg(short, long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct Add {
    /// File with the certificate and its chain, in PEM
    #[arg(value_name = "CRT")]
    crt: String,
    /// File with the private key, in PEM
    #[arg(value_name = "KEY")]
    key: String,
    #[command(flatten)]
    app: AppArgs,
}

#[derive(Debug, Args)]
pub struct Which {
    /// Name of the certificate
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Domain that is served with it
    #[arg(long, value_name = "HOSTNAME", conflicts_with = "name")]
    endpoint: Option<String>,
}

#[derive(Debug, Args)]
pub struct Update {
    #[command(flatten)]
    files: Add,
    #[command(flatten)]
    which: Which,
    /// The app's name, to be asked nothing
    #[arg(short, long, value_name = "APP")]
    confirm: Option<String>,
}

#[derive(Debug, Args)]
pub struct Remove {
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    which: Which,
    /// The app's name, to be asked nothing
    #[arg(short, long, value_name = "APP")]
    confirm: Option<String>,
}

#[derive(Debug, Args)]
pub struct Info {
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    which: Which,
    /// Show associated domains
    #[arg(long)]
    show_domains: bool,
}

fn endpoints(app: &str) -> String {
    format!("/apps/{}/sni-endpoints", segment(app))
}

fn endpoint(app: &str, name: &str) -> String {
    format!("{}/{}", endpoints(app), segment(name))
}

async fn list(cx: &Cx, args: List) -> Result {
    let app = cx.app(&args.app)?;
    let certs = cx.client.get_all(&endpoints(&app)).await?;
    if args.json {
        return cx.ui.json(&Value::Array(certs));
    }
    if certs.is_empty() {
        return cx.ui.line(format!(
            "⬢ {app} has no SSL certificates.\nUse senryu certs:add CRT KEY to add one."
        ));
    }
    let row = |cert: &Value| {
        let is_trusted = cert.pointer("/ssl_cert/ca_signed?") == Some(&Value::Bool(true));
        let is_auto = cert.pointer("/ssl_cert/acm") == Some(&Value::Bool(true));
        vec![
            text(cert, "/name").to_string(),
            names(cert).join(", "),
            minute(text(cert, "/ssl_cert/expires_at")),
            if is_trusted { "True" } else { "False" }.to_string(),
            if is_auto { "ACM" } else { "SNI" }.to_string(),
            domain_ids(cert).len().to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = certs.iter().map(row).collect();
    table(&cx.ui, &["Name", "Common Name(s)", "Expires", "Trusted", "Type", "Domains"], &rows)
}

async fn add(cx: &Cx, args: Add) -> Result {
    let app = cx.app(&args.app)?;
    let body = body(cx, &args)?;
    let what = format!("Adding SSL certificate to ⬢ {app}");
    let path = endpoints(&app);
    let post = cx.client.post(&path, &body);
    let added = cx.ui.action(&what, post, |_| "done".to_string()).await?;
    details(cx, &added, "Certificate details:", &[])?;
    let served = hostnames(cx, &app, &added).await?;
    if served.is_empty() {
        return cx.ui.line(
            "No domain of the app is served with it yet: add one that it covers with senryu \
             domains:add.",
        );
    }
    cx.ui.line(format!("It is served for {}.", served.join(", ")))
}

async fn update(cx: &Cx, args: Update) -> Result {
    let app = cx.app(&args.files.app)?;
    let name = chosen(cx, &app, &args.which).await?;
    let body = body(cx, &args.files)?;
    confirm(cx, &app, args.confirm, &format!("This changes the certificate {name} of ⬢ {app}."))?;
    let what = format!("Updating SSL certificate {name} for ⬢ {app}");
    let path = endpoint(&app, &name);
    let patch = cx.client.patch(&path, &body);
    let updated = cx.ui.action(&what, patch, |_| "done".to_string()).await?;
    details(cx, &updated, "Updated certificate details:", &[])
}

async fn remove(cx: &Cx, args: Remove) -> Result {
    let app = cx.app(&args.app)?;
    let name = chosen(cx, &app, &args.which).await?;
    let warning =
        format!("This removes the certificate {name} of ⬢ {app}; its key is kept nowhere.");
    confirm(cx, &app, args.confirm, &warning)?;
    let what = format!("Removing SSL certificate {name} from ⬢ {app}");
    let path = endpoint(&app, &name);
    cx.ui.action(&what, cx.client.delete(&path), |_| "done".to_string()).await.map(|_| ())
}

async fn info(cx: &Cx, args: Info) -> Result {
    let app = cx.app(&args.app)?;
    let name = chosen(cx, &app, &args.which).await?;
    let cert = cx.client.get(&endpoint(&app, &name)).await?;
    let served = match args.show_domains {
        true => hostnames(cx, &app, &cert).await?,
        false => Vec::new(),
    };
    details(cx, &cert, "Certificate details:", &served)
}

fn body(cx: &Cx, args: &Add) -> Result<Value> {
    let read = |file: &str| {
        let opened = std::fs::File::open(cx.env.dir.join(file))
            .map_err(|error| Failure::refused(format!("Can't read {file}: {error}")))?;
        read_text(opened, limits::CERTIFICATE_FILE_BYTES, file)
    };
    Ok(json!({ "certificate_chain": read(&args.crt)?, "private_key": read(&args.key)? }))
}

fn confirm(cx: &Cx, app: &str, confirm: Option<String>, warning: &str) -> Result {
    if confirm.is_none() {
        cx.ui.warn(warning);
    }
    super::apps::confirmed(cx, app, confirm)
}

/// The certificate that is meant: the only one there is, or the one that was named.
async fn chosen(cx: &Cx, app: &str, which: &Which) -> Result<String> {
    let mut certs = cx.client.get_all(&endpoints(app)).await?;
    if certs.is_empty() {
        return Err(Failure::refused(format!("{app} has no SSL certificates")));
    }
    if let Some(name) = &which.name {
        certs.retain(|cert| text(cert, "/name") == name);
    }
    if let Some(hostname) = &which.endpoint {
        let path = format!("/apps/{}/domains/{}", segment(app), segment(hostname));
        let domain = cx.client.get(&path).await?;
        certs.retain(|cert| text(cert, "/name") == text(&domain, "/sni_endpoint/name"));
    }
    match certs.as_slice() {
        [cert] => Ok(text(cert, "/name").to_string()),
        [] => Err(Failure::refused("Record not found.")),
        _ => Err(Failure::usage("Must pass --name when more than one endpoint")),
    }
}

fn names(cert: &Value) -> Vec<String> {
    let names = cert.pointer("/ssl_cert/cert_domains").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).map(clean).collect()
}

fn domain_ids(cert: &Value) -> Vec<&str> {
    let ids = cert.get("domains").and_then(Value::as_array);
    ids.into_iter().flatten().filter_map(Value::as_str).collect()
}

async fn hostnames(cx: &Cx, app: &str, cert: &Value) -> Result<Vec<String>> {
    let ids = domain_ids(cert);
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let domains = cx.client.get_all(&format!("/apps/{}/domains", segment(app))).await?;
    let served = domains.iter().filter(|domain| ids.contains(&text(domain, "/id")));
    Ok(served.map(|domain| clean(text(domain, "/hostname"))).collect())
}

pub fn details(cx: &Cx, cert: &Value, head: &str, served: &[String]) -> Result {
    let fact = |name: &str| text(cert, &format!("/ssl_cert/{name}")).to_string();
    let flag = |name: &str| cert.pointer(&format!("/ssl_cert/{name}")) == Some(&Value::Bool(true));
    cx.ui.line(head)?;
    object(
        &cx.ui,
        &[
            ("Common Name(s)", names(cert)),
            ("Domain(s)", served.to_vec()),
            ("Expires At", vec![minute(&fact("expires_at"))]),
            ("Issuer", vec![clean(&fact("issuer"))]),
            ("Starts At", vec![minute(&fact("starts_at"))]),
            ("Subject", vec![clean(&fact("subject"))]),
        ],
    )?;
    cx.ui.line(match (flag("ca_signed?"), flag("self_signed?")) {
        (true, _) => "SSL certificate is verified by a root authority.",
        (_, true) => "SSL certificate is self signed.",
        _ => "SSL certificate is not trusted.",
    })
}

/// `2026-11-21 09:40 UTC`, as Heroku writes the times of certificates.
fn minute(rfc3339: &str) -> String {
    match chrono::DateTime::parse_from_rfc3339(rfc3339) {
        Ok(at) => at.to_utc().format("%Y-%m-%d %H:%M UTC").to_string(),
        Err(_) => clean(rfc3339),
    }
}
