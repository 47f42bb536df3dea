//! `https`, `https:redirect`, `https:hsts`: whether an app's requests are sent to HTTPS, and
//! whether browsers are told to stay there.

use super::Cx;
use super::app::AppArgs;
use super::client::segment;
use super::failure::Result;
use super::format::object;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub enum Https {
    /// Show whether requests are sent to HTTPS and kept there
    #[command(name = "https")]
    Show(Show),
    /// Send requests that come without HTTPS to the same address with it
    #[command(name = "https:redirect")]
    Redirect(Switch),
    /// Tell browsers to come by HTTPS only, for a year from each visit (HSTS)
    #[command(name = "https:hsts")]
    Hsts(Switch),
}

#[derive(Debug, Args)]
pub struct Show {
    #[command(flatten)]
    app: AppArgs,
}

#[derive(Debug, Args)]
pub struct Switch {
    #[arg(value_name = "on|off")]
    to: To,
    #[command(flatten)]
    app: AppArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum To {
    On,
    Off,
}

pub async fn run(cx: &Cx, command: Https) -> Result {
    match command {
        Https::Show(args) => show(cx, args).await,
        Https::Redirect(args) => switch(cx, args, "redirect", "the redirect to HTTPS").await,
        Https::Hsts(args) => switch(cx, args, "hsts", "HSTS").await,
    }
}

async fn show(cx: &Cx, args: Show) -> Result {
    let app = cx.app(&args.app)?;
    let https = cx.client.get(&format!("/apps/{}/https", segment(&app))).await?;
    let word = |field: &str| vec![if is_on(&https, field) { "on" } else { "off" }.to_string()];
    object(&cx.ui, &[("Redirect", word("redirect")), ("HSTS", word("hsts"))])
}

async fn switch(cx: &Cx, args: Switch, field: &str, words: &str) -> Result {
    let app = cx.app(&args.app)?;
    let on = matches!(args.to, To::On);
    let verb = if on { "Enabling" } else { "Disabling" };
    let what = format!("{verb} {words} for ⬢ {app}");
    let path = format!("/apps/{}/https", segment(&app));
    let body = json!({ (field): on });
    cx.ui.action(&what, cx.client.patch(&path, &body), |_| "done".to_string()).await.map(|_| ())
}

fn is_on(https: &Value, field: &str) -> bool {
    https.get(field).and_then(Value::as_bool).unwrap_or(false)
}

/// For `apps:info`: nothing where both are off, as with Heroku's apps.
pub fn words(https: &Value) -> Vec<String> {
    let both = [("redirect", "redirect"), ("hsts", "HSTS")];
    let on: Vec<&str> =
        both.into_iter().filter(|(field, _)| is_on(https, field)).map(|(_, word)| word).collect();
    if on.is_empty() { vec![] } else { vec![on.join(", ")] }
}
