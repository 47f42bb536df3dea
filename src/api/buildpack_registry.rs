//! Heroku's clients look up a buildpack's name in a registry, which they are told the address of by
//! a variable, without a token. This one knows what builds here know by name.

use super::auth::State;
use super::error::Result;
use crate::deploy::{buildpack_repository, bundled_buildpacks, is_bundled_buildpack};
use crate::error::Error;
use crate::model::Buildpack;
use axum::extract::{Path, RawQuery};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Json, extract};
use serde_json::{Value, json};

pub async fn list(extract::State(api): State, RawQuery(query): RawQuery) -> Result {
    let query = query.unwrap_or_default();
    let asked: Vec<_> = reqwest::Url::parse(&format!("http://localhost/?{query}"))
        .map(|url| url.query_pairs().into_owned().collect())
        .unwrap_or_default();
    let of = |key: &'static str| asked.iter().filter(move |(name, _)| name == key);
    let is_one = |key, value: &Value| {
        of(key).next().is_none() || of(key).any(|(_, text)| value == text.as_str())
    };
    let fits = |entry: &Value| {
        let words = format!("{} {}", entry["id"], entry["description"]).to_lowercase();
        is_one("in[namespace][]", &entry["namespace"])
            && is_one("in[name][]", &entry["name"])
            && of("like[description]").all(|(_, text)| words.contains(&text.to_lowercase()))
    };
    let source = &api.settings.buildpack_source;
    let known = bundled_buildpacks();
    let found: Vec<_> = known.iter().filter_map(|one| entry(one, source)).filter(fits).collect();
    Ok(Json(found).into_response())
}

/// Any name of Heroku's own is one: what is not bundled comes from its repository. Heroku's client
/// takes the address even out of the answer that there is no such name, and sends it: with the name
/// itself its user hears of us what there is.
pub async fn show(extract::State(api): State, Path(name): Path<String>) -> Result {
    if let Ok(found) = named(&name, &api.settings.buildpack_source) {
        return Ok(Json(found).into_response());
    }
    let missing = Error::not_found("buildpack");
    let body = json!({
        "blob_url": name,
        "id": "not_found",
        "message": missing.public_message(),
        "resource": missing.resource(),
    });
    Ok((StatusCode::NOT_FOUND, Json(body)).into_response())
}

/// There is one only: what comes with this version of ours, or what a build fetches then.
pub async fn revisions(extract::State(api): State, Path(name): Path<String>) -> Result {
    let entry = named(&name, &api.settings.buildpack_source)?;
    let ours = entry["bundled"] == true;
    let release = if ours { env!("CARGO_PKG_VERSION") } else { "newest" };
    let license = ours.then_some(env!("CARGO_PKG_LICENSE"));
    let revision = json!({
        "created_at": null,
        "id": format!("{name}@{release}"),
        "license": license,
        "release": release,
        "status": "published",
    });
    Ok(Json(json!([revision])).into_response())
}

pub async fn readme(extract::State(api): State, Path(name): Path<String>) -> Result {
    let entry = named(&name, &api.settings.buildpack_source)?;
    let words = entry["description"].as_str().unwrap_or_default();
    let content = format!("{name} {words}.\nUse it: senryu buildpacks:add {name}\n");
    Ok(Json(json!({ "content": content, "encoding": "utf8" })).into_response())
}

fn named(name: &str, source: &str) -> crate::error::Result<Value> {
    let known = Buildpack::parse(name).ok();
    known.and_then(|one| entry(&one, source)).ok_or_else(|| Error::not_found("buildpack"))
}

/// As Heroku's registry has it. `bundled` is ours, and so is the source's address.
fn entry(buildpack: &Buildpack, source: &str) -> Option<Value> {
    let Buildpack::Named { namespace, name } = buildpack else { return None };
    let (bundled, address) = (is_bundled_buildpack(name), buildpack_repository(name, source));
    let words = match &address {
        Some(address) => format!("comes from {address}, where each build fetches it"),
        None if bundled => "comes with Senryu".to_string(),
        None => "is the app's own bin/detect and bin/compile".to_string(),
    };
    Some(json!({
        "blob_url": format!("urn:buildpack:{buildpack}"),
        "bundled": bundled,
        "category": "languages",
        "description": words,
        "id": buildpack.to_string(),
        "name": name,
        "namespace": namespace,
        "source": from(address.as_deref()),
        "status": "published",
        "support": { "method": "unsupported" },
    }))
}

/// Where it comes from, in the words that Heroku's registry has for that.
fn from(address: Option<&str>) -> Value {
    let Some(address) = address else { return json!({ "type": "blob" }) };
    let path =
        address.strip_prefix("https://github.com/").map(|path| path.trim_end_matches(".git"));
    match path.and_then(|path| path.split_once('/')) {
        Some((owner, repo)) => {
            json!({ "type": "github", "owner": owner, "repo": repo, "url": address })
        }
        None => json!({ "type": "git", "url": address }),
    }
}

#[cfg(test)]
mod tests {
    use crate::api::testing::Stage;
    use axum::http::{Method, StatusCode};
    use serde_json::json;

    #[tokio::test]
    async fn names_are_found_as_the_official_client_asks_for_them() {
        let stage = Stage::new().await;
        let get = async |path: &str| stage.ask(None, &Method::GET, path, None).await;
        for name in ["heroku/python", "heroku/ruby", "heroku-community/apt"] {
            let found = get(&format!("/buildpacks/{}", name.replace('/', "%2F"))).await;
            assert_eq!(found.status, StatusCode::OK, "{name}");
            let ada = stage.person(&format!("{}@x.org", name.replace('/', "-")), true).await;
            let app = stage.app(&ada, &name.replace('/', "-")).await;
            let path = format!("/apps/{}/buildpack-installations", app.name);
            let body = json!({ "updates": [{ "buildpack": found.body["blob_url"] }] });
            let put = stage.ask(Some(&ada), &Method::PUT, &path, Some(body)).await;
            assert_eq!(put.body[0]["buildpack"]["name"], name);
        }
        for name in ["mars%2Fcreate-react-app", "heroku%2F..%2Fx", "nothing"] {
            for rest in ["", "/revisions", "/readme"] {
                let path = format!("/buildpacks/{name}{rest}");
                assert_eq!(get(&path).await.status, StatusCode::NOT_FOUND, "{path}");
            }
        }
        // What the official client sends then.
        let name = get("/buildpacks/mars%2Fstatic").await.body["blob_url"].clone();
        let ada = stage.person("ada@x.org", true).await;
        stage.app(&ada, "shop").await;
        let body = Some(json!({ "updates": [{ "buildpack": name }] }));
        let path = "/apps/shop/buildpack-installations";
        let refused = stage.ask(Some(&ada), &Method::PUT, path, body).await;
        let message = refused.body["message"].as_str().unwrap();
        assert!(message.contains("did you mean heroku-community/static?"), "{message}");
        let names = async |query: &str| {
            let found = get(&format!("/buildpacks{query}")).await.body;
            let names = found.as_array().unwrap().iter().map(|one| one["name"].clone());
            serde_json::Value::from_iter(names)
        };
        assert_eq!(names("").await, json!(["nodejs", "python", "go", "static"]));
        assert_eq!(names("?in%5Bname%5D%5B%5D=go").await, json!(["go"]));
        let two = "?in[namespace][]=heroku&in[name][]=go&in[name][]=python&in[name][]=static";
        assert_eq!(names(two).await, json!(["python", "go"]));
        assert_eq!(names("?like[description]=SENRYU").await.as_array().unwrap().len(), 4);
        assert_eq!(names("?like[description]=node").await, json!(["nodejs"]));
        assert_eq!(names("?like[description]=nothing").await, json!([]));
    }

    #[tokio::test]
    async fn what_is_known_of_a_name_says_where_it_comes_from() {
        let stage = Stage::with(&["--buildpack-source", "https://github.com/us/pack-{name}"]).await;
        let get = async |path: &str| stage.ask(None, &Method::GET, path, None).await.body;
        let go = get("/buildpacks/heroku%2Fgo").await;
        assert_eq!((&go["bundled"], &go["source"]), (&json!(true), &json!({ "type": "blob" })));
        let jvm = get("/buildpacks/heroku%2Fjvm").await;
        let url = "https://github.com/us/pack-jvm-common";
        let source =
            json!({ "type": "github", "owner": "us", "repo": "pack-jvm-common", "url": url });
        assert_eq!((&jvm["bundled"], &jvm["source"]), (&json!(false), &source));
        let inline = get("/buildpacks/heroku-community%2Finline").await;
        assert_eq!((&inline["bundled"], &inline["source"]["url"]), (&json!(false), &json!(null)));
        // All that the official client's buildpacks:info and :versions read.
        for (name, release) in
            [("heroku%2Fgo", env!("CARGO_PKG_VERSION")), ("heroku%2Fjvm", "newest")]
        {
            let revisions = get(&format!("/buildpacks/{name}/revisions")).await;
            assert_eq!(revisions[0]["release"], release);
            assert_eq!(revisions[0]["license"].is_string(), name.ends_with("go"));
            let readme = get(&format!("/buildpacks/{name}/readme")).await;
            assert!(readme["content"].as_str().unwrap().contains("senryu buildpacks:add heroku/"));
        }
    }
}
