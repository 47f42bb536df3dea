//! `ps:type` and `ps:resize`: which size the dynos of each process type have.

use super::app::AppArgs;
use super::client::{Call, number, segment, text};
use super::failure::{Failure, Result};
use super::format::table;
use super::{Cx, rollout};
use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub struct Type {
    /// TYPE=SIZE, or a SIZE for all types; nothing shows the sizes
    #[arg(value_name = "TYPE=SIZE")]
    changes: Vec<String>,
    #[command(flatten)]
    app: AppArgs,
    /// Return at once, without waiting for the dynos
    #[arg(long)]
    no_wait: bool,
}

pub async fn run(cx: &Cx, args: Type) -> Result {
    let app = cx.app(&args.app)?;
    let path = format!("/apps/{}/formation", segment(&app));
    if args.changes.is_empty() {
        let formation = cx.client.get_all(&path).await?;
        return show(cx, &app, formation);
    }
    let known = match args.changes.iter().any(|word| !word.contains('=')) {
        true => cx.client.get_all(&path).await?,
        false => Vec::new(),
    };
    let body = json!({ "updates": updates(&args.changes, &known)? });
    let call = Call { body: Some(&body), repeatable: true, ..Call::new(Method::PATCH, &path) };
    let work = async {
        cx.client.send(&call).await?;
        if !args.no_wait {
            rollout::settle(cx, &app, None).await?;
        }
        cx.client.get_all(&path).await
    };
    let what = format!("Scaling dynos on ⬢ {app}");
    let formation = cx.ui.action(&what, work, |_| "done".to_string()).await?;
    show(cx, &app, formation)
}

/// `web=standard-2x worker=eco`, or one size for all that there is.
fn updates(words: &[String], known: &[Value]) -> Result<Vec<Value>> {
    if let [size] = words
        && !size.contains('=')
    {
        return Ok(known
            .iter()
            .map(|row| json!({ "type": text(row, "/type"), "size": size }))
            .collect());
    }
    let change = |word: &String| match word.split_once('=') {
        Some((process, size)) if !process.is_empty() && !size.is_empty() => {
            Ok(json!({ "type": process, "size": size }))
        }
        _ => Err(Failure::usage(format!(
            "{word} is invalid. Must be in the format TYPE=SIZE, or one SIZE for all types."
        ))),
    };
    words.iter().map(change).collect()
}

fn show(cx: &Cx, app: &str, mut formation: Vec<Value>) -> Result {
    if formation.is_empty() {
        return Err(Failure::with_hint(
            format!("No process types on ⬢ {app}."),
            "Push code with a Procfile to add process types.",
        ));
    }
    formation.sort_by_key(|row| text(row, "/type").to_string());
    cx.ui.header("Process Types")?;
    let rows: Vec<Vec<String>> = formation
        .iter()
        .map(|row| {
            let quantity = number(row, "/quantity").unwrap_or(0);
            vec![
                text(row, "/type").to_string(),
                text(row, "/size").to_string(),
                quantity.to_string(),
            ]
        })
        .collect();
    table(&cx.ui, &["Type", "Size", "Qty"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_size_for_all_or_one_for_each() {
        let known = [json!({"type": "web"}), json!({"type": "worker"})];
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            updates(&words(&["eco"]), &known).unwrap(),
            [json!({"type": "web", "size": "eco"}), json!({"type": "worker", "size": "eco"})]
        );
        assert_eq!(
            updates(&words(&["web=standard-2x", "worker=eco"]), &[]).unwrap()[1],
            json!({"type": "worker", "size": "eco"})
        );
        for wrong in [&["web="][..], &["=eco"], &["eco", "web=eco"]] {
            assert!(updates(&words(wrong), &known).is_err(), "{wrong:?}");
        }
    }
}
