//! What an app is built of and by: buildpacks, uploaded sources, the stack.

use super::*;

/// A server with a list of buildpacks that can be replaced.
async fn buildpacks(first: &[&str]) -> Stage {
    let list: Vec<Value> = first.iter().map(|name| json!({ "buildpack": name })).collect();
    let list = std::sync::Mutex::new(list);
    Stage::new(move |asked, _| {
        let mut list = list.lock().unwrap();
        match asked.line().as_str() {
            "GET /apps/shop/config-vars" => return ok(json!({})),
            "PUT /apps/shop/buildpack-installations" => {
                *list = asked.body["updates"].as_array().unwrap().clone();
            }
            "GET /apps/shop/buildpack-installations" => {}
            _ => return missing(),
        }
        let item = |(ordinal, update): (usize, &Value)| {
            let name = update["buildpack"].as_str().unwrap();
            let url = match name.starts_with("heroku/") {
                true => format!("urn:buildpack:{name}"),
                false => name.to_string(),
            };
            json!({"ordinal": ordinal, "buildpack": {"name": name, "url": url}})
        };
        ok(list.iter().enumerate().map(item).collect())
    })
    .await
}

#[tokio::test]
async fn buildpacks_are_told_and_changed_in_herokus_words() {
    let stage = buildpacks(&[]).await;
    let run = async |line: &[&str]| {
        let mut words = line.to_vec();
        words.extend(["-a", "shop"]);
        let done = stage.run(&words).await;
        format!("{}{}", done.out, done.err)
    };
    assert_eq!(run(&["buildpacks"]).await, "⬢ shop has no Buildpacks.\n");
    assert_eq!(
        run(&["buildpacks:set", "heroku/nodejs"]).await,
        "Buildpack set. Next release on ⬢ shop will use heroku/nodejs.\n\
         Run git push senryu main to create a new release using this buildpack.\n"
    );
    assert_eq!(run(&["buildpacks"]).await, "=== ⬢ shop Buildpack\n\nheroku/nodejs\n");
    assert_eq!(
        run(&["buildpacks:add", "--index", "1", "https://x.example/apt"]).await,
        "Buildpack added. Next release on ⬢ shop will use:\n  1. https://x.example/apt\n  \
         2. heroku/nodejs\nRun git push senryu main to create a new release using these \
         buildpacks.\n"
    );
    let added = run(&["buildpacks", "add", "./tools", "--json"]).await;
    let added: Value = serde_json::from_str(&added).unwrap();
    assert_eq!(added[1]["buildpack"]["url"], "heroku/nodejs");
    assert_eq!(added[2]["buildpack"]["url"], "./tools");
    run(&["buildpacks:set", "-i", "2", "heroku/python"]).await;
    assert_eq!(
        run(&["buildpacks"]).await,
        "=== ⬢ shop Buildpacks\n\n1. https://x.example/apt\n2. heroku/python\n3. ./tools\n"
    );
    for (line, message) in [
        (
            &["buildpacks:add", "urn:buildpack:heroku/python"][..],
            "The buildpack heroku/python is already set on your app.",
        ),
        (&["buildpacks:add", "-i", "0", "x"], "Invalid index. Must be greater than 0."),
        (&["buildpacks:remove", "-i", "4"], "Invalid index. Please choose a value between 1 and 3"),
        (&["buildpacks:remove", "heroku/go"], "Buildpack not found. Nothing was removed."),
        (&["buildpacks:remove"], "Usage: senryu buildpacks:remove [BUILDPACK_URL]."),
    ] {
        let said = run(line).await;
        assert!(said.contains(message), "{line:?}: {said}");
    }
    run(&["buildpacks:remove", "heroku/python"]).await;
    run(&["buildpacks:remove", "-i", "2"]).await;
    let next = "Next release on shop will detect buildpacks normally.\n";
    let gone = run(&["buildpacks:remove", "https://x.example/apt"]).await;
    assert_eq!(gone, format!("Buildpack removed. {next}"));
    assert_eq!(run(&["buildpacks:clear"]).await, format!("Buildpacks cleared. {next}"));
}

#[tokio::test]
async fn what_is_known_of_a_buildpack_is_told() {
    let stage = Stage::new(|asked, _| {
        let url = "https://git.example/ruby";
        let one =
            |id: &str, source: Value| json!({"id": id, "description": "words", "source": source});
        match asked.line().as_str() {
            "GET /buildpacks" => ok(json!([one("heroku/go", json!({}))])),
            "GET /buildpacks?like%5Bdescription%5D=ruby%20x" => ok(json!([])),
            "GET /buildpacks/heroku%2Fgo" => ok(one("heroku/go", json!({}))),
            "GET /buildpacks/heroku%2Fruby" => ok(one("heroku/ruby", json!({"url": url}))),
            "GET /buildpacks/heroku%2Fgo/revisions" => {
                ok(json!([{"release": "1.2", "status": "published"}]))
            }
            "GET /apps/shop/buildpack-installations" => ok(json!([])),
            "PUT /apps/shop/buildpack-installations" => ok(json!([])),
            _ => missing(),
        }
    })
    .await;
    let done = stage.run(&["buildpacks:search"]).await;
    let table = "Buildpack  Description\n─────────  ───────────\nheroku/go  words\n";
    assert_eq!((done.out.as_str(), done.status), (table, 0), "{}", done.err);
    let done = stage.run(&["buildpacks:search", "ruby x"]).await;
    assert!(done.out.starts_with("No buildpacks found. Others: heroku/NAME"), "{}", done.out);
    let done = stage.run(&["buildpacks:info", "heroku/ruby"]).await;
    assert_eq!(
        done.out,
        "=== heroku/ruby\n\nDescription: words\nSource:      https://git.example/ruby\n"
    );
    let done = stage.run(&["buildpacks", "versions", "heroku/go"]).await;
    assert_eq!(done.out, "Version  Status\n───────  ─────────\n1.2      published\n");
    assert_eq!(stage.run(&["buildpacks:info", "nothing"]).await.status, 1);
    for (name, warned) in [("heroku/ruby", true), ("heroku/go", false), ("./here", false)] {
        let done = stage.run(&["buildpacks:add", name, "-a", "shop"]).await;
        let words = "heroku/ruby is not bundled: builds fetch it from https://git.example/ruby";
        assert_eq!((done.status, done.err.contains(words)), (0, warned), "{}", done.err);
    }
}

#[tokio::test]
async fn an_uploaded_source_is_followed_to_its_end() {
    for (status, expected) in [("succeeded", 0), ("failed", 1)] {
        let stage = Stage::new(move |asked, _| {
            let build = json!({"id": "b1", "status": status, "output_stream_url": "/streams/b1"});
            match asked.line().as_str() {
                "POST /sources" => Reply::Json(
                    201,
                    json!({"source_blob": {"put_url": "/sources/x", "get_url": "/sources/x"}}),
                ),
                "PUT /sources/x" => Reply::Raw(200, ("x-x", "x"), String::new()),
                "POST /apps/shop/builds" => Reply::Json(201, build),
                "GET /streams/b1" => Reply::Raw(200, ("x-x", "x"), "-----> Built\n".into()),
                "GET /apps/shop/builds/b1" => ok(build),
                _ => missing(),
            }
        })
        .await;
        let tar = stage.home.path().join("app.tar.gz");
        std::fs::write(&tar, "{}").unwrap();
        let tar = tar.to_str().unwrap();
        let create = ["builds:create", "-a", "shop", "--source-tar", tar, "--checksum", "0a"];
        let done = stage.run(&create).await;
        assert_eq!((done.status, done.out.as_str()), (expected, "-----> Built\n"), "{}", done.err);
        assert_eq!(done.err, "Uploading the source... done\n");
        let put = stage.last("PUT /sources/x");
        assert_eq!((put.header("authorization"), put.header("content-length")), ("", "2"));
        let blob = &stage.last("POST /apps/shop/builds").body["source_blob"];
        assert_eq!((&blob["url"], &blob["checksum"]), (&json!("/sources/x"), &json!("SHA256:0a")));
    }
}

#[tokio::test]
async fn the_build_that_runs_is_the_one_to_cancel() {
    let stage = Stage::new(|asked, _| {
        let build = |id: &str, status: &str, at: &str| json!({"id": id, "status": status, "created_at": at});
        match asked.line().as_str() {
            "GET /apps/shop/builds" => ok(json!([
                build("old", "succeeded", "2026-01-01T00:00:00Z"),
                build("runs", "pending", "2026-01-02T00:00:00Z"),
                build("waits", "pending", "2026-01-03T00:00:00Z"),
            ])),
            "DELETE /apps/shop/builds/runs" => ok(build("runs", "failed", "")),
            _ => missing(),
        }
    })
    .await;
    let done = stage.run(&["builds:cancel", "-a", "shop"]).await;
    assert_eq!(done.status, 0, "{}", done.err);
    assert_eq!(done.err, "Stopping build runs on ⬢ shop... done\n");
}

#[tokio::test]
async fn the_stack_is_shown_and_set_for_the_next_build() {
    let stage = Stage::new(|asked, _| match asked.line().as_str() {
        "GET /stacks" => ok(json!([{"name": "container"}, {"name": "heroku-24"}])),
        "GET /apps/shop" => ok(json!({"build_stack": {"name": "heroku-24"}})),
        "PATCH /apps/shop" => ok(json!({"build_stack": {"name": "container"}})),
        "GET /regions" => ok(json!([{"name": "us", "description": "here"}])),
        _ => missing(),
    })
    .await;
    let done = stage.run(&["stack", "-a", "shop"]).await;
    assert_eq!(done.out, "=== ⬢ shop Available Stacks\n\n  container\n* heroku-24\n");
    let done = stage.run(&["stack:set", "container", "-a", "shop"]).await;
    assert_eq!(done.status, 0, "{}", done.err);
    assert!(
        done.err.starts_with("Setting stack to container... done\nYou will need"),
        "{}",
        done.err
    );
    assert_eq!(stage.last("PATCH /apps/shop").body, json!({"build_stack": "container"}));
    let done = stage.run(&["regions"]).await;
    assert_eq!(done.out, "ID  Location\n──  ────────\nus  here\n");
}
