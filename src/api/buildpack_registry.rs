//! Heroku's clients look up a buildpack's name in a registry, which they are told the address of by
//! a variable, without a token. This one knows what builds here know by name.

use super::error::Result;
use crate::deploy::bundled_buildpacks;
use crate::error::Error;
use crate::model::Buildpack;
use axum::Json;
use axum::extract::{Path, RawQuery};
use axum::response::IntoResponse;
use serde_json::{Value, json};

pub async fn list(RawQuery(query): RawQuery) -> Result {
    let query = query.unwrap_or_default();
    let asked: Vec<_> = reqwest::Url::parse(&format!("http://localhost/?{query}"))
        .map(|url| url.query_pairs().into_owned().collect())
        .unwrap_or_default();
    let fits = |entry: &Value| {
        asked.iter().all(|(key, text)| match key.as_str() {
            "in[namespace][]" => entry["namespace"] == *text,
            "in[name][]" => entry["name"] == *text,
            "like[description]" => {
                let words = entry["description"].as_str().unwrap_or_default();
                words.to_lowercase().contains(&text.to_lowercase())
            }
            _ => true,
        })
    };
    let found: Vec<Value> = bundled_buildpacks().iter().filter_map(entry).filter(fits).collect();
    Ok(Json(found).into_response())
}

/// Any name of Heroku's own is one: what is not bundled comes from its repository.
pub async fn show(Path(name): Path<String>) -> Result {
    let known = Buildpack::parse(&name).ok();
    let entry = known.as_ref().and_then(entry).ok_or_else(|| Error::not_found("buildpack"))?;
    Ok(Json(entry).into_response())
}

fn entry(buildpack: &Buildpack) -> Option<Value> {
    let Buildpack::Named { namespace, name } = buildpack else { return None };
    let bundled = bundled_buildpacks().contains(buildpack);
    let words = if bundled { "comes with Senryu" } else { "from its own repository" };
    Some(json!({
        "blob_url": format!("urn:buildpack:{buildpack}"),
        "category": "languages",
        "description": format!("{buildpack}, {words}"),
        "id": buildpack.to_string(),
        "name": name,
        "namespace": namespace,
        "source": { "type": "blob" },
        "status": "published",
        "support": { "method": "unsupported" },
    }))
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
            let path = format!("/buildpacks/{name}");
            assert_eq!(get(&path).await.status, StatusCode::NOT_FOUND, "{name}");
        }
        let all = get("/buildpacks").await.body;
        assert!(all.as_array().unwrap().len() >= 4, "{all}");
        let one = get("/buildpacks?in%5Bname%5D%5B%5D=go").await.body;
        assert_eq!((one[0]["name"].as_str(), &one[1]), (Some("go"), &json!(null)));
    }
}
