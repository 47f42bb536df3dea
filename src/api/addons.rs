//! Add-ons and whatever else there is none of: Heroku's clients ask for an app's add-ons before
//! they show the app, and for teams and pipelines before they complete a word.

use axum::Json;
use serde_json::{Value, json};

pub async fn none() -> Json<Value> {
    Json(json!([]))
}

#[cfg(test)]
mod tests {
    use crate::api::testing::Stage;
    use axum::http::{Method, StatusCode};
    use serde_json::json;

    #[tokio::test]
    async fn what_the_official_client_asks_of_an_app_has_an_answer() {
        let stage = Stage::new().await;
        let ada = stage.person("ada@x.org", true).await;
        stage.app(&ada, "shop").await;
        let get = async |path: &str| stage.ask(Some(&ada), &Method::GET, path, None).await;
        for path in [
            "/apps/shop/addons",
            "/apps/shop/addon-attachments",
            "/addon-attachments",
            "/apps/shop/features",
            "/account/features",
            "/apps/shop/log-drains?extended=true",
            "/teams",
            "/spaces",
            "/pipelines",
        ] {
            assert_eq!(get(path).await.body, json!([]), "{path}");
        }
        let regions = get("/regions").await.body;
        let app = get("/apps/shop").await.body;
        assert_eq!((&regions[0]["id"], &regions[1]), (&app["region"]["id"], &json!(null)));
        assert_eq!(get("/regions/us").await.body, regions[0]);
        for (path, words) in [
            ("/regions/eu", "Couldn't find that region."),
            ("/account/features/x", "there is none to switch on"),
            ("/apps/shop/features/x", "there is none to switch on"),
        ] {
            let missing = get(path).await;
            assert_eq!(missing.status, StatusCode::NOT_FOUND);
            assert!(missing.body["message"].as_str().unwrap().contains(words), "{path}");
        }
        let drain = Some(json!({ "url": "syslog://logs.example:514" }));
        let path = "/apps/shop/log-drains";
        let refused = stage.ask(Some(&ada), &Method::POST, path, drain).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        let message = refused.body["message"].as_str().unwrap();
        assert!(message.contains("senryu logs --tail --app shop"), "{message}");
        assert_eq!(get("/apps/shop?extended=true").await.body["name"], "shop");
        assert_eq!(get("/apps/nowhere/addons").await.status, StatusCode::NOT_FOUND);
    }
}
