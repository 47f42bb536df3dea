//! What a killed server may not leave behind: lost writes, halves of a release, containers,
//! images, mounts and directories that belong to nothing.

use crate::platform::Platform;
use anyhow::Result;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What clients were told, and what is wanted to run.
#[derive(Default)]
pub struct Known {
    pub app: String,
    /// Version and commit of each push that ended well.
    pub released: Vec<(u64, String)>,
    pub config: BTreeMap<String, String>,
    /// Dynos of all apps, such as `soak web.1`.
    pub dynos: BTreeSet<String>,
    /// Names of the installation's apps.
    pub apps: Vec<String>,
}

/// Everything that is wrong now; empty if nothing is.
pub async fn check(platform: &Platform, known: &Known) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let releases = platform.releases(&known.app).await?;
    writes(platform, known, &releases, &mut wrong).await?;
    half_done(platform, known, &releases, &mut wrong).await?;
    containers(platform, known, &mut wrong).await?;
    images(platform, known, &mut wrong).await?;
    layer_files(platform, &mut wrong)?;
    Ok(wrong)
}

async fn writes(
    platform: &Platform,
    known: &Known,
    releases: &[Value],
    wrong: &mut Vec<String>,
) -> Result<()> {
    for (version, commit) in &known.released {
        let found = releases.iter().find(|release| release["version"] == *version);
        let description = format!("Deploy {}", &commit[..8]);
        match found {
            Some(release) if release["description"] == *description => {}
            Some(release) => {
                wrong.push(format!("v{version} is {}, not {description}", release["description"]));
            }
            None => wrong.push(format!("v{version} ({description}) was told and is lost")),
        }
    }
    let config = platform.json(&["config", "-a", &known.app, "--json"]).await?;
    for (key, value) in &known.config {
        if config[key] != *value {
            wrong.push(format!("{key}={value} was acknowledged and is {}", config[key]));
        }
    }
    Ok(())
}

async fn half_done(
    platform: &Platform,
    known: &Known,
    releases: &[Value],
    wrong: &mut Vec<String>,
) -> Result<()> {
    for release in releases.iter().filter(|release| release["status"] == "pending") {
        wrong.push(format!("v{} is pending", release["version"]));
    }
    let builds = platform.json(&["builds", "-a", &known.app, "--json", "-n", "1000"]).await?;
    for build in builds.as_array().into_iter().flatten() {
        if build["status"] == "pending" {
            wrong.push(format!("build {} is pending", build["id"]));
        }
        if build["status"] == "succeeded" && build["release"].is_null() {
            wrong.push(format!("build {} succeeded without a release", build["id"]));
        }
    }
    let remote = platform.git(&known.app, &["ls-remote", "senryu", "refs/heads/main"]).await?;
    let head = remote.text.split_whitespace().next().unwrap_or_default();
    let deploy = releases
        .iter()
        .filter_map(|release| release["description"].as_str()?.strip_prefix("Deploy "))
        .next();
    if !remote.ok || !deploy.is_some_and(|short| head.starts_with(short)) {
        wrong.push(format!("main is {head:?}, the newest deploy {deploy:?}"));
    }
    let with_two: Vec<&str> =
        releases.iter().filter_map(|release| release["description"].as_str()).collect();
    for (index, description) in with_two.iter().enumerate() {
        if description.starts_with("Deploy ") && with_two[index + 1..].contains(description) {
            wrong.push(format!("{description} was released twice"));
        }
    }
    Ok(())
}

async fn containers(platform: &Platform, known: &Known, wrong: &mut Vec<String>) -> Result<()> {
    let mut names = BTreeMap::new();
    let mut current = BTreeMap::new();
    for app in &known.apps {
        let info = platform.json(&["apps:info", "-a", app, "--json"]).await?;
        let id = info["app"]["id"].as_str().or(info["id"].as_str()).unwrap_or_default();
        names.insert(id.to_string(), app.clone());
        let releases = platform.releases(app).await?;
        let newest = releases.iter().find(|release| release["status"] == "succeeded");
        current.insert(app.clone(), newest.map_or(0, |one| one["version"].as_u64().unwrap_or(0)));
    }
    let mut seen = BTreeSet::new();
    let found = platform.labelled("containers").await?;
    for container in &found {
        let label = |key: &str| container["Labels"][key].as_str().unwrap_or_default();
        let app = names.get(label("senryu.app")).cloned().unwrap_or_default();
        let what = format!(
            "{} {} {} v{} {}",
            label("senryu.kind"),
            app,
            label("senryu.dyno"),
            label("senryu.version"),
            container["State"]
        );
        let dyno = format!("{app} {}", label("senryu.dyno"));
        let is_current =
            current.get(&app).is_some_and(|version| label("senryu.version") == version.to_string());
        let fine = label("senryu.kind") == "dyno"
            && container["State"] == "running"
            && is_current
            && known.dynos.contains(&dyno);
        if !fine {
            wrong.push(format!("container: {what} (current {current:?})"));
        } else if !seen.insert(dyno) {
            wrong.push(format!("container twice: {what}"));
        }
    }
    for missing in known.dynos.difference(&seen) {
        wrong.push(format!("no container of {missing}"));
    }
    let directories = std::fs::read_dir(platform.dir.join("run/dynos"))?.count();
    if directories != found.len() {
        wrong.push(format!("{directories} dyno directories, {} containers", found.len()));
    }
    Ok(())
}

async fn images(platform: &Platform, known: &Known, wrong: &mut Vec<String>) -> Result<()> {
    let mut slugs = BTreeSet::new();
    for app in &known.apps {
        for release in platform.releases(app).await? {
            slugs.extend(release["slug"]["id"].as_str().map(str::to_string));
        }
    }
    for image in platform.labelled("images").await? {
        let tags: Vec<&str> =
            image["RepoTags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let known =
            tags.iter().any(|tag| tag.rsplit(':').next().is_some_and(|slug| slugs.contains(slug)));
        if !known {
            wrong.push(format!("image without a release: {} {tags:?}", image["Id"]));
        }
    }
    Ok(())
}

/// The files below `slugs` are exactly the layers of the slugs that are kept.
fn layer_files(platform: &Platform, wrong: &mut Vec<String>) -> Result<()> {
    let database = rusqlite::Connection::open(platform.data_dir().join("state.db"))?;
    let mut query = database.prepare("SELECT layers FROM slugs WHERE deleted_at IS NULL")?;
    let rows: Vec<String> =
        query.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let wanted: BTreeSet<String> =
        rows.iter().flat_map(|row| row.split(' ')).map(|layer| layer.replace(':', "-")).collect();
    let slugs = platform.data_dir().join("slugs");
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(&slugs)? {
        found.insert(entry?.file_name().to_string_lossy().into_owned());
    }
    found.remove("incoming");
    for name in wanted.symmetric_difference(&found) {
        wrong.push(format!("layer {name}: a file without a slug, or a slug without its file"));
    }
    let half = std::fs::read_dir(slugs.join("incoming"))?.count();
    if half > 0 {
        wrong.push(format!("{half} layers were left half written"));
    }
    Ok(())
}

/// Bytes of all layers in Docker, and how many images and containers there are that are not ours:
/// while those change, the bytes say nothing.
pub async fn layers(platform: &Platform) -> Result<(u64, usize)> {
    let id = platform.installation().await?;
    let usage = platform.docker("/system/df").await?;
    let strangers = |list: &str| {
        let all = usage[list].as_array().into_iter().flatten();
        all.filter(|one| one["Labels"]["senryu.installation"] != *id).count()
    };
    let count = strangers("Images") + strangers("Containers");
    Ok((usage["LayersSize"].as_u64().unwrap_or(0), count))
}
