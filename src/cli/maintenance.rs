//! `maintenance`, `maintenance:on`, `maintenance:off`.

use super::Cx;
use super::app::AppArgs;
use super::client::segment;
use super::failure::Result;
use clap::Args;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub struct Maintenance {
    #[command(flatten)]
    app: AppArgs,
}

pub async fn show(cx: &Cx, args: Maintenance) -> Result {
    let name = cx.app(&args.app)?;
    let app = cx.client.get(&format!("/apps/{}", segment(&name))).await?;
    let on = app.get("maintenance").and_then(Value::as_bool).unwrap_or(false);
    cx.ui.line(if on { "on" } else { "off" })
}

pub async fn switch(cx: &Cx, args: Maintenance, on: bool) -> Result {
    let name = cx.app(&args.app)?;
    let verb = if on { "Enabling" } else { "Disabling" };
    let what = format!("{verb} maintenance mode for ⬢ {name}");
    let body = json!({ "maintenance": on });
    let path = format!("/apps/{}", segment(&name));
    cx.ui.action(&what, cx.client.patch(&path, &body), |_| "done".to_string()).await.map(|_| ())
}
