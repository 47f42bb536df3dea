//! Add-ons, of which there are none: Heroku's clients ask for an app's before they show the app.

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
        for path in ["/apps/shop/addons", "/apps/shop/addon-attachments", "/addon-attachments"] {
            assert_eq!(get(path).await.body, json!([]), "{path}");
        }
        assert_eq!(get("/apps/shop?extended=true").await.body["name"], "shop");
        assert_eq!(get("/apps/nowhere/addons").await.status, StatusCode::NOT_FOUND);
    }
}
