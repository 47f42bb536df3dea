//! `domains` and its commands: list, add, update, info, remove, clear, wait.

use super::Cx;
use super::app::AppArgs;
use super::client::{segment, text};
use super::columns::{Columns, Table};
use super::failure::{Failure, Result};
use super::format::{clean, object};
use crate::limits;
use clap::Args;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    app: AppArgs,
    /// Output in CSV format
    #[arg(short, long, conflicts_with = "json")]
    csv: bool,
    /// Output in JSON format
    #[arg(short, long)]
    json: bool,
    /// Show extra columns
    #[arg(short = 'x', long)]
    extended: bool,
    #[command(flatten)]
    columns: Columns,
}

#[derive(Debug, Args)]
pub struct Add {
    /// Full name, as www.example.com or *.example.com
    #[arg(value_name = "HOSTNAME")]
    hostname: String,
    #[command(flatten)]
    app: AppArgs,
    /// Name of the certificate that it is served with
    #[arg(short, long, value_name = "NAME")]
    cert: Option<String>,
    /// Wait until the domain is active
    #[arg(long)]
    wait: bool,
    /// Output in JSON format
    #[arg(short, long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct Update {
    /// Name or id of the domain
    #[arg(value_name = "HOSTNAME")]
    hostname: String,
    /// Name of the certificate that it is served with from now on
    #[arg(long, value_name = "NAME")]
    cert: String,
    #[command(flatten)]
    app: AppArgs,
}

#[derive(Debug, Args)]
pub struct One {
    /// Name or id of the domain
    #[arg(value_name = "HOSTNAME")]
    hostname: String,
    #[command(flatten)]
    app: AppArgs,
}

#[derive(Debug, Args)]
pub struct All {
    #[command(flatten)]
    app: AppArgs,
}

#[derive(Debug, Args)]
pub struct Wait {
    /// Name or id of the domain; without it all that are pending
    #[arg(value_name = "HOSTNAME")]
    hostname: Option<String>,
    #[command(flatten)]
    app: AppArgs,
}

fn domains(app: &str) -> String {
    format!("/apps/{}/domains", segment(app))
}

fn domain(app: &str, hostname: &str) -> String {
    format!("{}/{}", domains(app), segment(hostname))
}

pub async fn list(cx: &Cx, args: List) -> Result {
    let app = cx.app(&args.app)?;
    let all = cx.client.get_all(&format!("{}?dns", domains(&app))).await?;
    if args.json {
        return cx.ui.json(&Value::Array(all));
    }
    let (mut custom, own): (Vec<&Value>, Vec<&Value>) =
        all.iter().partition(|domain| text(domain, "/kind") == "custom");
    custom.sort_by_key(|domain| text(domain, "/hostname"));
    let row = |domain: &&Value| {
        let field = |pointer| text(domain, pointer).to_string();
        let record = record_type(text(domain, "/hostname")).to_string();
        let mut row =
            vec![field("/hostname"), record, field("/cname"), field("/sni_endpoint/name")];
        if args.extended {
            row.extend([field("/acm_status"), field("/acm_status_reason")]);
        }
        row
    };
    let mut head = vec!["Domain Name", "DNS Record Type", "DNS Target", "SNI Endpoint"];
    if args.extended {
        head.extend(["ACM Status", "ACM Reason"]);
    }
    let rows = custom.iter().map(row).collect();
    let shown = args.columns.of(Table { head, rows })?;
    if args.csv {
        cx.ui.line(shown.head.join(","))?;
        return shown.rows.iter().try_for_each(|row| cx.ui.line(clean(&row.join(","))));
    }
    cx.ui.header(&format!("{app} Heroku Domain"))?;
    own.iter().try_for_each(|domain| cx.ui.line(clean(text(domain, "/hostname"))))?;
    if shown.rows.is_empty() {
        return Ok(());
    }
    cx.ui.line("")?;
    cx.ui.header(&format!("{app} Custom Domains"))?;
    args.columns.print(&cx.ui, &shown)?;
    for domain in custom.iter().filter(|domain| !text(domain, "/dns_status_reason").is_empty()) {
        cx.ui.warn(&clean(text(domain, "/dns_status_reason")));
    }
    Ok(())
}

/// A name right below a registry's suffix can have no CNAME record. Which suffixes there are only
/// a long list knows; those of two parts that most countries have are told by their form.
fn record_type(hostname: &str) -> &'static str {
    const SECOND_LEVEL: [&str; 10] =
        ["ac", "co", "com", "edu", "go", "gov", "ne", "net", "or", "org"];
    let labels: Vec<&str> = hostname.split('.').collect();
    let is_apex = match labels.as_slice() {
        ["*", ..] => false,
        [_, _] => true,
        [_, second, country] => country.len() == 2 && SECOND_LEVEL.contains(second),
        _ => false,
    };
    if is_apex { "ALIAS or ANAME" } else { "CNAME" }
}

pub async fn add(cx: &Cx, args: Add) -> Result {
    let app = cx.app(&args.app)?;
    let what = format!("Adding {} to ⬢ {app}", args.hostname);
    let body = json!({ "hostname": args.hostname, "sni_endpoint": args.cert });
    let path = domains(&app);
    let added = cx.ui.action(&what, cx.client.post(&path, &body), |_| "done".into()).await?;
    if args.wait {
        wait_for(cx, &app, &added).await?;
    }
    if args.json {
        return cx.ui.json(&added);
    }
    let record = record_type(text(&added, "/hostname"));
    cx.ui.line(format!(
        "Configure your app's DNS provider to point to the DNS Target {}.\nThe record for {} is of \
         type {record}.",
        text(&added, "/cname"),
        text(&added, "/hostname"),
    ))
}

pub async fn update(cx: &Cx, args: Update) -> Result {
    let app = cx.app(&args.app)?;
    let what = format!("Updating {} to use {} certificate", args.hostname, args.cert);
    let path = domain(&app, &args.hostname);
    let body = json!({ "sni_endpoint": args.cert });
    cx.ui.action(&what, cx.client.patch(&path, &body), |_| "done".to_string()).await.map(|_| ())
}

pub async fn info(cx: &Cx, args: One) -> Result {
    let app = cx.app(&args.app)?;
    let found = cx.client.get(&format!("{}?dns", domain(&app, &args.hostname))).await?;
    let shown = |value: &Value| match value {
        Value::Null => Vec::new(),
        Value::String(text) => vec![clean(text)],
        Value::Object(fields) => {
            let name = fields.get("name").and_then(Value::as_str);
            name.map(clean).into_iter().collect()
        }
        other => vec![other.to_string()],
    };
    let fields = found.as_object().into_iter().flatten();
    let pairs: Vec<(&str, Vec<String>)> =
        fields.map(|(key, value)| (key.as_str(), shown(value))).collect();
    object(&cx.ui, &pairs)
}

pub async fn remove(cx: &Cx, args: One) -> Result {
    let app = cx.app(&args.app)?;
    let what = format!("Removing {} from ⬢ {app}", args.hostname);
    let path = domain(&app, &args.hostname);
    cx.ui.action(&what, cx.client.delete(&path), |_| "done".to_string()).await.map(|_| ())
}

pub async fn clear(cx: &Cx, args: All) -> Result {
    let app = cx.app(&args.app)?;
    let what = format!("Removing all domains from ⬢ {app}");
    let work = async {
        let all = cx.client.get_all(&domains(&app)).await?;
        for custom in all.iter().filter(|domain| text(domain, "/kind") == "custom") {
            cx.client.delete(&domain(&app, text(custom, "/hostname"))).await?;
        }
        Ok(())
    };
    cx.ui.action(&what, work, |()| "done".to_string()).await
}

pub async fn wait(cx: &Cx, args: Wait) -> Result {
    let app = cx.app(&args.app)?;
    if let Some(hostname) = &args.hostname {
        let found = cx.client.get(&domain(&app, hostname)).await?;
        return wait_for(cx, &app, &found).await;
    }
    for found in cx.client.get_all(&domains(&app)).await? {
        if text(&found, "/status") == "pending" {
            wait_for(cx, &app, &found).await?;
        }
    }
    Ok(())
}

async fn wait_for(cx: &Cx, app: &str, found: &Value) -> Result {
    let path = domain(app, text(found, "/id"));
    let what = format!("Waiting for {}", text(found, "/hostname"));
    let work = async {
        let mut status = text(found, "/status").to_string();
        while status == "pending" {
            tokio::time::sleep(limits::DOMAIN_POLL).await;
            status = text(&cx.client.get(&path).await?, "/status").to_string();
        }
        match status.as_str() {
            "succeeded" | "none" => Ok(()),
            other => {
                let message = format!("The domain creation finished with status {other}");
                Err(Failure::refused(message))
            }
        }
    };
    cx.ui.action(&what, work, |()| "done".to_string()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_right_below_a_suffix_need_an_alias() {
        for (name, record) in [
            ("example.com", "ALIAS or ANAME"),
            ("example.co.uk", "ALIAS or ANAME"),
            ("www.example.com", "CNAME"),
            ("www.example.co.uk", "CNAME"),
            ("shop.example.de", "CNAME"),
            ("*.example.com", "CNAME"),
            ("*.com", "CNAME"),
        ] {
            assert_eq!(record_type(name), record, "{name}");
        }
    }
}
