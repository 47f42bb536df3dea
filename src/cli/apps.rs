//! `apps` and its commands: list, create, info, rename, destroy, open.

use super::app::AppArgs;
use super::client::{number, segment, text};
use super::failure::{Failure, Result};
use super::format::{object, shell_word, size, table};
use super::{Cx, git};
use clap::Args;
use serde_json::{Map, Value, json};

#[derive(Debug, Args)]
pub struct List {
    /// Include apps in all teams
    #[arg(short = 'A', long)]
    all: bool,
    // There are no teams of which one could be the default.
    #[arg(short, long, hide = true)]
    personal: bool,
    /// Output in JSON format
    #[arg(short, long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct Create {
    /// Name of the app to create; without it the server makes one up
    #[arg(value_name = "APP")]
    name: Option<String>,
    #[arg(short, long, hide = true, value_name = "APP", conflicts_with = "name")]
    app: Option<String>,
    /// Do not create a git remote
    #[arg(short, long)]
    no_remote: bool,
    /// The git remote to create
    #[arg(short, long, default_value = "senryu", value_name = "REMOTE")]
    remote: String,
    /// Region for the app to run in
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Stack to create the app on
    #[arg(short, long, value_name = "STACK")]
    stack: Option<String>,
    /// Buildpack to use for this app
    #[arg(short, long, value_name = "BUILDPACK")]
    buildpack: Option<String>,
    /// Output in JSON format
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct Info {
    #[arg(value_name = "APP", hide = true, conflicts_with = "app")]
    name: Option<String>,
    #[command(flatten)]
    app: AppArgs,
    /// Output in JSON format
    #[arg(short, long)]
    json: bool,
    /// Output more shell friendly key/value pairs
    #[arg(short, long)]
    shell: bool,
    // What Heroku's own staff sees more by it is not kept here.
    #[arg(short = 'x', long, hide = true)]
    extended: bool,
}

#[derive(Debug, Args)]
pub struct Rename {
    /// New unique name of the app
    #[arg(value_name = "NEWNAME")]
    new: String,
    #[command(flatten)]
    app: AppArgs,
}

#[derive(Debug, Args)]
pub struct Destroy {
    #[arg(value_name = "APP", hide = true, conflicts_with = "app")]
    name: Option<String>,
    #[command(flatten)]
    app: AppArgs,
    /// The app's name, to be asked nothing
    #[arg(short, long, value_name = "APP")]
    confirm: Option<String>,
}

#[derive(Debug, Args)]
pub struct Open {
    /// Path within the app
    #[arg(value_name = "PATH")]
    path: Option<String>,
    #[command(flatten)]
    app: AppArgs,
}

pub async fn list(cx: &Cx, args: List) -> Result {
    // There are no teams whose apps could be left out.
    let _ = (args.all, args.personal);
    let (apps, account) = tokio::join!(cx.client.get_all("/apps"), cx.client.get("/account"));
    let (mut apps, account) = (apps?, account?);
    apps.sort_by(|a, b| text(a, "/name").cmp(text(b, "/name")));
    if args.json {
        return cx.ui.json(&Value::Array(apps));
    }
    if apps.is_empty() {
        return cx.ui.line("You have no apps.");
    }
    let email = text(&account, "/email");
    let (own, others): (Vec<&Value>, Vec<&Value>) =
        apps.iter().partition(|app| text(app, "/owner/email") == email);
    if !own.is_empty() {
        cx.ui.header(&format!("{email} Apps"))?;
        for app in own {
            cx.ui.line(with_region(app))?;
        }
    }
    if !others.is_empty() {
        cx.ui.line("")?;
        cx.ui.header("Collaborated Apps")?;
        let rows: Vec<Vec<String>> = others
            .iter()
            .map(|app| vec![with_region(app), text(app, "/owner/email").to_string()])
            .collect();
        table(&cx.ui, &["Name", "Email"], &rows)?;
    }
    Ok(())
}

fn with_region(app: &Value) -> String {
    match text(app, "/region/name") {
        "" | "us" => text(app, "/name").to_string(),
        region => format!("{} ({region})", text(app, "/name")),
    }
}

pub async fn create(cx: &Cx, args: Create) -> Result {
    let variable = |name| cx.env.var(name).map(str::to_string);
    let name = args
        .name
        .or(args.app)
        .or_else(|| variable("SENRYU_APP"))
        .or_else(|| variable("HEROKU_APP"));
    let mut body = Map::new();
    for (key, value) in [("name", &name), ("region", &args.region), ("stack", &args.stack)] {
        if let Some(value) = value {
            body.insert(key.to_string(), json!(value));
        }
    }
    let body = Value::Object(body);
    let what = match &name {
        Some(name) => format!("Creating ⬢ {name}"),
        None => "Creating app".to_string(),
    };
    let done = |app: &Value| {
        let mut words = vec!["done".to_string()];
        if name.is_none() {
            words.push(format!("⬢ {}", text(app, "/name")));
        }
        if args.region.is_some() {
            words.push(format!("region is {}", text(app, "/region/name")));
        }
        if args.stack.is_some() {
            words.push(format!("stack is {}", text(app, "/stack/name")));
        }
        words.join(", ")
    };
    let app = cx.ui.action(&what, cx.client.post("/apps", &body), done).await?;
    if let Some(buildpack) = &args.buildpack {
        let what = format!("Setting buildpack to {buildpack}");
        let set = super::buildpacks::put(cx, text(&app, "/name"), std::slice::from_ref(buildpack));
        cx.ui.action(&what, set, |_| "done".to_string()).await?;
    }
    let url = git::url(&cx.client.base(), text(&app, "/name"));
    if !args.no_remote && git::in_work_tree(&cx.env) {
        match git::all_remotes(&cx.env).iter().find(|(name, _)| *name == args.remote) {
            Some((name, other)) if *other != url => cx.ui.warn(&format!(
                "The git remote {name} leads to {other} and stays so. To change it: senryu \
                 git:remote -a {}",
                text(&app, "/name")
            )),
            Some(_) => {}
            None => git::set_remote(&cx.env, &args.remote, &url)?,
        }
    }
    match args.json {
        true => cx.ui.json(&app),
        false => cx.ui.line(format!("{} | {url}", text(&app, "/web_url"))),
    }
}

/// The app as a word or by the ways that all commands have.
fn chosen(cx: &Cx, name: Option<String>, app: &AppArgs) -> Result<String> {
    match name {
        Some(name) => Ok(name),
        None => cx.app(app),
    }
}

/// An app and what belongs to it. A server need not have all of that; the app itself it must.
async fn facts(cx: &Cx, name: &str) -> Result<Value> {
    let path = format!("/apps/{}", segment(name));
    let part = |name: &'static str| {
        let path = format!("{path}/{name}");
        async move { cx.client.get_all(&path).await.unwrap_or_default() }
    };
    let (app, addons, dynos, collaborators) =
        tokio::join!(cx.client.get(&path), part("addons"), part("dynos"), part("collaborators"));
    Ok(json!({
        "addons": addons, "app": app?, "collaborators": collaborators, "dynos": dynos,
    }))
}

/// The values at a pointer inside each item of a list, sorted.
fn column(facts: &Value, list: &str, pointer: &str) -> Vec<String> {
    let items = facts.get(list).and_then(Value::as_array);
    let mut values: Vec<String> =
        items.into_iter().flatten().map(|item| text(item, pointer).to_string()).collect();
    values.sort();
    values
}

pub async fn info(cx: &Cx, args: Info) -> Result {
    let name = chosen(cx, args.name, &args.app)?;
    let _ = args.extended;
    let facts = facts(cx, &name).await?;
    if args.json {
        return cx.ui.json(&facts);
    }
    let fact = |pointer: &str| text(&facts["app"], pointer).to_string();
    let bytes = |pointer: &str| size(number(&facts["app"], pointer).unwrap_or(0));
    let flag = |name: &str| facts["app"].get(name).and_then(Value::as_bool).unwrap_or(false);
    let owner = fact("/owner/email");
    let mut people = column(&facts, "collaborators", "/user/email");
    people.retain(|email| *email != owner);
    let addons = column(&facts, "addons", "/plan/name");
    let types = column(&facts, "dynos", "/type");
    let dynos: Vec<String> =
        types.chunk_by(|a, b| a == b).map(|same| format!("{}: {}", same[0], same.len())).collect();
    let mut stack = fact("/stack/name");
    let next = fact("/build_stack/name");
    if args.shell {
        for (key, value) in [
            ("auto_cert_mgmt", flag("acm").to_string()),
            ("addons", addons.join(",")),
            ("collaborators", people.join(",")),
            ("git_url", fact("/git_url")),
            ("web_url", fact("/web_url")),
            ("repo_size", bytes("/repo_size")),
            ("slug_size", bytes("/slug_size")),
            ("owner", owner),
            ("region", fact("/region/name")),
            ("dynos", dynos.join(",")),
            ("stack", stack),
        ] {
            cx.ui.line(format!("{key}={}", shell_word(&value)))?;
        }
        return Ok(());
    }
    cx.ui.header(&fact("/name"))?;
    if !next.is_empty() && next != stack {
        stack.push_str(&format!(" (next build will use {next})"));
    }
    let maintenance = if flag("maintenance") { vec!["on".to_string()] } else { vec![] };
    object(
        &cx.ui,
        &[
            ("Addons", addons),
            ("Collaborators", people),
            ("Maintenance", maintenance),
            ("HTTPS", super::https::words(&facts["app"]["https"])),
            ("Auto Cert Mgmt", vec![flag("acm").to_string()]),
            ("Git URL", vec![fact("/git_url")]),
            ("Web URL", vec![fact("/web_url")]),
            ("Repo Size", vec![bytes("/repo_size")]),
            ("Slug Size", vec![bytes("/slug_size")]),
            ("Owner", vec![owner]),
            ("Region", vec![fact("/region/name")]),
            ("Dynos", vec![dynos.join(", ")]),
            ("Stack", vec![stack]),
        ],
    )
}

pub async fn rename(cx: &Cx, args: Rename) -> Result {
    let old = cx.app(&args.app)?;
    let what = format!("Renaming ⬢ {old} to {}", args.new);
    let path = format!("/apps/{}", segment(&old));
    let body = json!({ "name": args.new });
    let app = cx.ui.action(&what, cx.client.patch(&path, &body), |_| "done".to_string()).await?;
    let base = cx.client.base();
    let url = git::url(&base, text(&app, "/name"));
    cx.ui.line(format!("{} | {url}", text(&app, "/web_url")))?;
    for remote in git::remotes(&cx.env, &base).iter().filter(|remote| remote.app == old) {
        git::set_remote(&cx.env, &remote.name, &url)?;
        cx.ui.line(format!("Git remote {} updated", remote.name))?;
    }
    cx.ui.warn("Don't forget to update git remotes for all other local checkouts of the app.");
    Ok(())
}

/// Goes on only if the app's name was given or is typed now.
pub fn confirmed(cx: &Cx, name: &str, confirm: Option<String>) -> Result {
    match confirm {
        Some(confirm) if confirm == name => Ok(()),
        Some(confirm) => Err(Failure::refused(format!(
            "Confirmation {confirm} did not match ⬢ {name}. Aborted."
        ))),
        None => {
            let question =
                format!("\nTo proceed, type {name} or re-run this command with --confirm {name}: ");
            match cx.ui.answer(&question)?.as_deref().map(str::trim) == Some(name) {
                true => Ok(()),
                false => {
                    Err(Failure::refused(format!("Confirmation did not match ⬢ {name}. Aborted.")))
                }
            }
        }
    }
}

pub async fn destroy(cx: &Cx, args: Destroy) -> Result {
    let name = chosen(cx, args.name, &args.app)?;
    let path = format!("/apps/{}", segment(&name));
    // An app that is not there is told before anyone is asked.
    cx.client.get(&path).await?;
    if args.confirm.is_none() {
        cx.ui.warn(&format!("This will delete ⬢ {name} including all add-ons."));
    }
    confirmed(cx, &name, args.confirm)?;
    let what = format!("Destroying ⬢ {name} (including all add-ons)");
    cx.ui.action(&what, cx.client.delete(&path), |_| "done".to_string()).await?;
    for remote in git::remotes(&cx.env, &cx.client.base()) {
        if remote.app == name {
            git::remove_remote(&cx.env, &remote.name)?;
        }
    }
    Ok(())
}

pub async fn open(cx: &Cx, args: Open) -> Result {
    // `apps:open /path` and `apps:open https://…` are both Heroku's.
    let name = cx.app(&args.app)?;
    let app = cx.client.get(&format!("/apps/{}", segment(&name))).await?;
    let web = text(&app, "/web_url").trim_end_matches('/');
    let path = args.path.unwrap_or_default();
    let url = format!("{web}/{}", path.trim_start_matches('/'));
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let desktop = cfg!(target_os = "macos")
        || ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| cx.env.var(name).is_some());
    let started = desktop
        && std::process::Command::new(opener)
            .arg(&url)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .is_ok();
    match started {
        true => {
            cx.ui.say(&format!("Opening {url}... done\n"));
            Ok(())
        }
        // Without a browser to open, whoever called can take the address from here.
        false => cx.ui.line(url),
    }
}
