//! Builds of uploaded sources: the line in which they stand, and what a restart makes of it.

use crate::api::testing::Stage;
use crate::deploy::{Deploy, NewBuild};
use crate::model::{BuildId, BuildStatus, UserId};
use crate::store;
use axum::http::Method;
use std::time::Duration;

fn uploaded(deploy: &Deploy, user: UserId) -> String {
    let secret = deploy.sources().create(user).unwrap();
    let mut upload = deploy.sources().upload(&secret).unwrap();
    upload.write(b"a tar").unwrap();
    upload.finish().unwrap();
    format!("http://localhost:5757/sources/{secret}")
}

async fn stand(deploy: &Deploy, places: &[(BuildId, usize)]) {
    let there = async {
        while places.iter().any(|(build, place)| deploy.place_in_line(*build) != Some(*place)) {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), there).await;
    waited.unwrap_or_else(|_| panic!("not at these places: {places:?}"));
}

#[tokio::test]
async fn builds_that_wait_when_the_server_ends_are_begun_by_the_next_in_their_order() {
    let stage = Stage::new().await;
    let ada = stage.person("ada@x.org", true).await;
    let app = stage.app(&ada, "shop").await;
    let first = stage.api.deploy.clone();
    let _runs = first.lines().join(app.id).unwrap();
    let elsewhere = "https://git.example/a.tgz?signature=secret".to_string();
    let mut builds = Vec::new();
    for url in [uploaded(&first, ada.user.id), elsewhere, uploaded(&first, ada.user.id)] {
        let new = NewBuild {
            app: app.clone(),
            user: ada.user.clone(),
            url,
            buildpacks: Vec::new(),
            checksum: None,
            version: None,
            version_description: None,
        };
        builds.push(first.start_build(new).await.unwrap().id);
    }
    let places: Vec<_> = builds.iter().copied().zip(1..).collect();
    stand(&first, &places).await;
    let listed = stage.ask(Some(&ada), &Method::GET, "/apps/shop/builds", None).await.body;
    assert_eq!(listed[2]["place_in_line"], 3);
    assert!(!listed.to_string().contains("secret"), "{listed}");
    first.stop();
    first.idle().await;

    let second = first.restarted().unwrap();
    let _runs = second.lines().join(app.id).unwrap();
    second.take_up_builds().await.unwrap();
    stand(&second, &places).await;
    let data = &stage.api.settings.data_dir;
    let sources = || std::fs::read_dir(data.join("sources")).unwrap().count();
    assert_eq!(sources(), 2);
    second.cancel_build(builds[0]).await.unwrap();
    stand(&second, &[(builds[1], 1), (builds[2], 2)]).await;
    let output = data.join(format!("outputs/{}.log", builds[2].0));
    let output = std::fs::read_to_string(output).unwrap();
    let mut rest = output.as_str();
    for words in [
        "Waiting for 3 other builds of shop to finish...",
        "The server stops: this build waits on",
        "The server was restarted: this build is begun again.",
        "Waiting for 3 other builds of shop to finish...",
        "Waiting for 2 other builds of shop to finish...",
    ] {
        let (_, after) = rest.split_once(words).unwrap_or_else(|| panic!("{words}: {output}"));
        rest = after;
    }
    for build in &builds[1..] {
        second.cancel_build(*build).await.unwrap();
    }
    assert_eq!(sources(), 0);
    let rows = stage.api.store.read(move |db| store::releases::builds_of(db, app.id)).await;
    assert!(rows.unwrap().iter().all(|row| row.status == BuildStatus::Failed));
}
