//! `certs:auto` and its commands: certificates that come and renew by themselves.

use super::app::AppArgs;
use super::client::{segment, text};
use super::failure::{Failure, Result};
use super::format::{clean, table};
use super::{Cx, certs};
use crate::limits;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[derive(Debug, Subcommand)]
pub enum Auto {
    /// Show automatic certificates of an app
    #[command(name = "certs:auto")]
    Show(Watch),
    /// Let certificates for an app's domains come and renew by themselves
    #[command(name = "certs:auto:enable")]
    Enable(Watch),
    /// Remove an app's automatic certificates and let none come
    #[command(name = "certs:auto:disable")]
    Disable(Disable),
    /// Try again at once for the domains whose certificates failed
    #[command(name = "certs:auto:refresh")]
    Refresh(Refresh),
}

#[derive(Debug, Args)]
pub struct Watch {
    #[command(flatten)]
    app: AppArgs,
    /// Wait until each domain has its certificate or has failed
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, Args)]
pub struct Disable {
    #[command(flatten)]
    app: AppArgs,
    /// The app's name, to be asked nothing
    #[arg(short, long, value_name = "APP")]
    confirm: Option<String>,
}

#[derive(Debug, Args)]
pub struct Refresh {
    #[command(flatten)]
    app: AppArgs,
}

pub async fn run(cx: &Cx, command: Auto) -> Result {
    match command {
        Auto::Show(args) => show(cx, args).await,
        Auto::Enable(args) => enable(cx, args).await,
        Auto::Disable(args) => disable(cx, args).await,
        Auto::Refresh(args) => refresh(cx, args).await,
    }
}

fn acm(app: &str) -> String {
    format!("/apps/{}/acm", segment(app))
}

async fn show(cx: &Cx, args: Watch) -> Result {
    let name = cx.app(&args.app)?;
    let app = cx.client.get(&format!("/apps/{}", segment(&name))).await?;
    let is_on = app.get("acm") == Some(&Value::Bool(true));
    let word = if is_on { "enabled" } else { "disabled" };
    cx.ui.header(&format!("Automatic Certificate Management is {word} on ⬢ {name}"))?;
    if !is_on {
        return Ok(());
    }
    let waited = if args.wait { wait(cx, &name).await } else { Ok(()) };
    let path = format!("/apps/{}/sni-endpoints", segment(&name));
    let endpoints = cx.client.get_all(&path).await?;
    if let [only] = endpoints.as_slice()
        && only.pointer("/ssl_cert/acm") == Some(&Value::Bool(true))
    {
        certs::details(cx, only, "Certificate details:", &[])?;
        cx.ui.line("")?;
    }
    let domains = custom(cx, &name).await?;
    list(cx, &domains)?;
    waited
}

async fn custom(cx: &Cx, app: &str) -> Result<Vec<Value>> {
    let mut domains = cx.client.get_all(&format!("/apps/{}/domains", segment(app))).await?;
    domains.retain(|domain| text(domain, "/kind") == "custom");
    Ok(domains)
}

fn list(cx: &Cx, domains: &[Value]) -> Result {
    if domains.is_empty() {
        return cx.ui.line("Add a custom domain to your app by running: senryu domains:add NAME");
    }
    let has_reason = domains.iter().any(|domain| !text(domain, "/acm_status_reason").is_empty());
    let mut head = vec!["Domain", "Status"];
    if has_reason {
        head.push("Reason");
    }
    head.push("Last Updated");
    let row = |domain: &Value| {
        let mut row = vec![
            clean(text(domain, "/hostname")),
            humanized(text(domain, "/acm_status"), text(domain, "/sni_endpoint/name")),
        ];
        if has_reason {
            row.push(clean(text(domain, "/acm_status_reason")));
        }
        row.push(clean(text(domain, "/updated_at")));
        row
    };
    let rows: Vec<Vec<String>> = domains.iter().map(row).collect();
    table(&cx.ui, &head, &rows)?;
    let some = |status| domains.iter().any(|domain| text(domain, "/acm_status") == status);
    if some("failed") {
        cx.ui.line(
            "\nSome domains failed validation after multiple attempts, retry by running: senryu \
             certs:auto:refresh",
        )?;
    } else if some("failing") {
        cx.ui.line(
            "\nSome domains are failing validation, please verify that your DNS matches: senryu \
             domains",
        )?;
    }
    Ok(())
}

/// Heroku's words for its states.
fn humanized(status: &str, endpoint: &str) -> String {
    match status {
        "" if !endpoint.is_empty() => "Own certificate".to_string(),
        "" => "Waiting".to_string(),
        "ok" => "OK".to_string(),
        "failed" => "Failed".to_string(),
        "verified" => "In Progress".to_string(),
        "dns-verified" => "DNS Verified".to_string(),
        other => {
            let word = |word: &str| {
                let mut letters = word.chars();
                let first = letters.next().map(|letter| letter.to_ascii_uppercase());
                first.into_iter().chain(letters).collect::<String>()
            };
            clean(&other.split('-').map(word).collect::<Vec<_>>().join(" "))
        }
    }
}

async fn enable(cx: &Cx, args: Watch) -> Result {
    let app = cx.app(&args.app)?;
    let path = acm(&app);
    let body = json!({});
    let post = cx.client.post(&path, &body);
    let what = "Enabling Automatic Certificate Management";
    cx.ui.action(what, post, |_| "starting".to_string()).await?;
    if args.wait {
        wait(cx, &app).await?;
    }
    cx.ui.line(
        "Your certificates will now be managed by Senryu. Check the status by running senryu \
         certs:auto.",
    )
}

/// Ends well once each domain has its certificate, and badly once one has failed. What fails and
/// is tried again is told, and waited for.
async fn wait(cx: &Cx, app: &str) -> Result {
    let work = async {
        let mut told = BTreeSet::new();
        loop {
            let domains = custom(cx, app).await?;
            let has = |domain: &Value| {
                let status = text(domain, "/acm_status");
                let own = status.is_empty() && !text(domain, "/sni_endpoint/name").is_empty();
                own || ["ok", "cert issued"].contains(&status)
            };
            let is_failing = |domain: &&Value| text(domain, "/acm_status") == "failing";
            for failing in domains.iter().filter(is_failing) {
                let host = clean(text(failing, "/hostname"));
                let reason = clean(text(failing, "/acm_status_reason"));
                let news = format!("{host} has none yet, and it is tried again: {reason}");
                if told.insert(news.clone()) {
                    cx.ui.say("\n");
                    cx.ui.warn(&news);
                }
            }
            let failed = |domain: &&Value| text(domain, "/acm_status") == "failed";
            if let Some(failed) = domains.iter().find(failed) {
                return Err(Failure::refused(format!(
                    "There is no certificate for {}: {}",
                    text(failed, "/hostname"),
                    text(failed, "/acm_status_reason")
                )));
            }
            if domains.iter().all(has) {
                return Ok(());
            }
            tokio::time::sleep(limits::ACM_POLL).await;
        }
    };
    cx.ui.action("Waiting until the certificates are issued", work, |()| "done".into()).await
}

async fn disable(cx: &Cx, args: Disable) -> Result {
    let app = cx.app(&args.app)?;
    if args.confirm.is_none() {
        cx.ui.warn(&format!(
            "This removes the automatic certificates of ⬢ {app}: its domains have no HTTPS then. \
             To have no gap, add certificates of your own first: senryu certs:add CRT KEY"
        ));
    }
    super::apps::confirmed(cx, &app, args.confirm)?;
    let path = acm(&app);
    let work = cx.client.delete(&path);
    let what = "Disabling Automatic Certificate Management";
    cx.ui.action(what, work, |_| "done".to_string()).await.map(|_| ())
}

async fn refresh(cx: &Cx, args: Refresh) -> Result {
    let app = cx.app(&args.app)?;
    let path = acm(&app);
    let body = json!({ "acm_refresh": true });
    let work = cx.client.patch(&path, &body);
    let what = "Refreshing Automatic Certificate Management";
    cx.ui.action(what, work, |_| "done".to_string()).await.map(|_| ())
}
