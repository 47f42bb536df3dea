//! Builds of uploaded sources and pushes that wait: the line in which they stand, and what a restart
//! makes of it.

use crate::api::testing::Stage;
use crate::deploy::{Deploy, NewBuild, Repos};
use crate::error::Result;
use crate::git::{Deployer, Push};
use crate::model::{AppId, BuildId, BuildStatus, UserId};
use crate::store;
use async_trait::async_trait;
use axum::http::Method;
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

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

#[tokio::test]
async fn a_build_that_waited_is_of_the_stack_that_its_app_has_by_then() {
    // No disk has so much free, so it ends as soon as it has its turn.
    let stage = Stage::with(&["--disk-reserve", "1000000000"]).await;
    let ada = stage.person("ada@x.org", true).await;
    let app = stage.app(&ada, "shop").await;
    let runs = stage.api.deploy.lines().join(app.id).unwrap();
    let builds = "/apps/shop/builds";
    let body = json!({ "source_blob": { "url": "https://git.example/a.tgz" } });
    let build = stage.ask(Some(&ada), &Method::POST, builds, Some(body)).await.body;
    assert_eq!(build["stack"], "heroku-24");
    let stack = json!({ "build_stack": "container" });
    stage.ask(Some(&ada), &Method::PATCH, "/apps/shop", Some(stack)).await;
    drop(runs);
    let ended = async {
        loop {
            let list = stage.ask(Some(&ada), &Method::GET, builds, None).await.body;
            match list[0]["status"] == "failed" {
                true => return list[0]["stack"].clone(),
                false => tokio::task::yield_now().await,
            }
        }
    };
    let stack = tokio::time::timeout(Duration::from_secs(60), ended).await;
    assert_eq!(stack.expect("it has ended"), "container");
    let output = format!("outputs/{}.log", build["id"].as_str().unwrap());
    let output = std::fs::read_to_string(stage.api.settings.data_dir.join(output)).unwrap();
    assert!(output.contains("and builds leave 1000000000M: free some"), "{output}");
}

struct NoRepos;

#[async_trait]
impl Repos for NoRepos {
    async fn head(&self, _: AppId, _: &str) -> Result<Option<String>> {
        Ok(None)
    }

    async fn delete(&self, _: AppId) -> Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_push_that_waits_is_listed_and_cancelled_and_fails_when_its_server_ends() {
    let stage = Stage::new().await;
    let ada = stage.person("ada@x.org", true).await;
    let app = stage.app(&ada, "shop").await;
    let deploy = stage.api.deploy.clone();
    let push = |new: &str| Push {
        id: Uuid::new_v4(),
        app: app.clone(),
        user: ada.user.clone(),
        git_dir: "/nowhere".into(),
        object_env: Vec::new(),
        git_ref: "refs/heads/main".to_string(),
        old: "0".repeat(40),
        new: new.repeat(40),
        started: tokio::time::Instant::now(),
    };
    let (cancelled, killed, same) = (push("a"), push("b"), push("c"));
    let token = deploy.waits(&cancelled).await.unwrap();
    for push in [&killed, &same] {
        deploy.waits(push).await.unwrap();
    }
    deploy.stands(killed.id, Some(2), "Waiting for 2 other builds of shop to finish...");
    let listed = stage.ask(Some(&ada), &Method::GET, "/apps/shop/builds", None).await.body;
    assert_eq!((&listed[1]["status"], &listed[1]["place_in_line"]), (&"pending".into(), &2.into()));
    assert_eq!(listed[1]["source_blob"]["version"], "b".repeat(40));

    // Whoever cancels is answered when the push has left the line.
    let path = format!("/apps/shop/builds/{}", cancelled.id);
    let leaves = async {
        token.cancelled().await;
        deploy.unbuilt(&cancelled, BuildStatus::Failed, "The build was cancelled.").await;
    };
    let (ended, ()) = tokio::join!(stage.ask(Some(&ada), &Method::DELETE, &path, None), leaves);
    assert_eq!(ended.body["status"], "failed", "{}", ended.body);
    deploy.unbuilt(&same, BuildStatus::Succeeded, "Nothing to build.").await;
    deploy.unbuilt(&same, BuildStatus::Failed, "It has ended already.").await;

    deploy.stop();
    deploy.restarted().unwrap().finish_pending(&NoRepos).await;
    let rows = stage.api.store.read(move |db| store::releases::builds_of(db, app.id)).await;
    let ends: Vec<_> = rows.unwrap().iter().map(|row| row.status).collect();
    assert_eq!(ends, [BuildStatus::Failed, BuildStatus::Failed, BuildStatus::Succeeded]);
    let output = |push: &Push| {
        let path = stage.api.settings.data_dir.join(format!("outputs/{}.log", push.id));
        std::fs::read_to_string(path).unwrap()
    };
    assert_eq!(output(&cancelled), " !     The build was cancelled.\n");
    assert_eq!(output(&same), "Nothing to build.\n");
    let said = output(&killed);
    assert!(
        said.starts_with("Waiting for 2 other builds") && said.contains("do it again"),
        "{said}"
    );
}
