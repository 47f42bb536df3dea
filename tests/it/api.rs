//! The Platform API as a stranger meets it: what is refused, how lists are paged, and the
//! conventions that every reply follows.

use crate::support::Platform;
use serde_json::{Value, json};

#[test]
fn wrong_tokens_are_refused() {
    let platform = Platform::shared();
    for value in ["Bearer nonsense", "Bearer ", "Basic !!!", "Digest x", ""] {
        let headers = [("Authorization", value)];
        let reply = platform.api_with("GET", "/apps", &headers, b"").is(401);
        assert_eq!(reply.json()["id"], "unauthorized", "{value}");
        assert!(reply.header("www-authenticate").starts_with("Basic"), "{value}");
    }
    let app = platform.app_with("tiny");
    let url = platform.url().replace("http://", "http://x:wrong@");
    let output = app.git(&["push", &format!("{url}/{}.git", app.name), "main"]);
    assert_ne!(output.status, 0);
    assert!(output.stderr.contains("Authentication failed"), "{}", output.stderr);
}

#[test]
fn bad_app_names_are_refused_by_the_rule_that_they_break() {
    let platform = Platform::shared();
    let long = "a".repeat(31);
    for name in [
        "",
        "ab",
        "1abc",
        "-abc",
        "abc-",
        "Abc",
        "a_b_c",
        "a.b.c",
        "a b c",
        "é-é-é",
        "abc\n",
        "a/../b",
        "api",
        "git",
        "dashboard",
        "registry",
        "www",
        "localhost",
        &long,
    ] {
        let reply = platform.api("POST", "/apps", Some(json!({ "name": name }))).is(422);
        let error = reply.json();
        assert_eq!(error["id"], "invalid_params", "{name:?}");
        assert!(error["message"].as_str().unwrap().starts_with("Name "), "{name:?}: {error}");
    }
    let app = platform.empty_app();
    let taken = platform.api("POST", "/apps", Some(json!({ "name": app.name }))).is(422);
    assert!(taken.json()["message"].as_str().unwrap().contains("already taken"), "{taken:?}");
    for body in [json!({"name": 7}), json!({"name": ["x"]}), json!({"nmae": "abc"})] {
        platform.api("POST", "/apps", Some(body.clone())).is(422);
    }
    for (field, value) in
        [("region", json!("mars")), ("feature_flags", json!(7)), ("stack", json!("heroku-1"))]
    {
        let reply = platform.api("POST", "/apps", Some(json!({ field: value }))).is(422);
        assert!(reply.text().contains(field), "{}", reply.text());
    }
    let scoped = json!({ "scope": ["read"] });
    let refused = platform.api("POST", "/oauth/authorizations", Some(scoped)).is(422);
    assert!(refused.text().contains("scope"), "{}", refused.text());
    assert_eq!(platform.api("GET", "/users/%ff/apps", None).is(400).json()["id"], "bad_request");
    platform.api("POST", "/apps", Some(json!([]))).is(400);
    platform.api_with("POST", "/apps", &[], b"{not json").is(400);
    platform.cli(&["apps:create", "Bad_Name"]).failed(1).says("Name ").says("invalid_params");
}

#[test]
fn what_is_not_there_is_named() {
    let platform = Platform::shared();
    for (method, path) in [
        ("GET", "/apps/nothing-here"),
        ("PATCH", "/apps/nothing-here"),
        ("DELETE", "/apps/nothing-here"),
        ("GET", "/apps/nothing-here/releases"),
        ("PATCH", "/apps/nothing-here/config-vars"),
        ("PATCH", "/apps/nothing-here/formation"),
        ("DELETE", "/apps/nothing-here/dynos"),
        ("POST", "/apps/nothing-here/log-sessions"),
    ] {
        let error = platform.api(method, path, None).is(404).json();
        assert_eq!(error["id"], "not_found", "{method} {path}");
        assert_eq!(error["message"], "Couldn't find that app.", "{method} {path}");
        assert_eq!(error["resource"], "app", "{method} {path}");
    }
    assert_eq!(platform.api("GET", "/no/such/route", None).is(404).json()["id"], "not_found");
    let app = platform.empty_app();
    for path in ["/releases/99", "/releases/x", "/dynos/web.1", "/formation/web", "/builds/x"] {
        app.api("GET", path, None).is(404);
    }
    let git = app.git(&["ls-remote", &format!("{}/nothing-here.git", platform.url())]);
    assert_ne!(git.status, 0);
    platform.cli(&["ps", "--app", "nothing-here"]).failed(1).says("Couldn't find that app.");
}

#[test]
fn resources_have_the_fields_of_herokus_schema() {
    let app = Platform::shared().app_from("tiny");
    let fields = |value: &Value, names: &[&str]| {
        for name in names {
            assert!(value.get(name).is_some(), "{name} is not in {value}");
        }
        let id = value["id"].as_str().unwrap();
        assert_eq!((id.len(), id.matches('-').count()), (36, 4), "{id}");
        for name in ["created_at", "updated_at"] {
            let time = value[name].as_str().unwrap();
            assert!(time.len() == 20 && time.ends_with('Z'), "{name} {time}");
        }
    };
    let shown = app.api("GET", "", None).is(200).json();
    fields(
        &shown,
        &[
            "acm",
            "archived_at",
            "buildpack_provided_description",
            "build_stack",
            "git_url",
            "maintenance",
            "name",
            "owner",
            "region",
            "released_at",
            "repo_size",
            "slug_size",
            "space",
            "stack",
            "team",
            "web_url",
        ],
    );
    assert_eq!(shown["stack"]["name"], "heroku-24");
    assert_eq!(shown["buildpack_provided_description"], "Node.js");
    fields(
        app.releases().last().unwrap(),
        &["addon_plan_names", "app", "current", "description", "slug", "status", "user", "version"],
    );
    let formation = app.api("GET", "/formation/web", None).is(200).json();
    fields(&formation, &["app", "command", "quantity", "size", "type"]);
    let dyno = app.api("GET", "/dynos/web.1", None).is(200).json();
    fields(&dyno, &["app", "attach_url", "command", "name", "release", "size", "state", "type"]);
    let build = app.api("GET", "/builds", None).is(200).json()[0].clone();
    fields(
        &build,
        &["app", "buildpacks", "output_stream_url", "release", "slug", "source_blob", "status"],
    );
    let slug = format!("/slugs/{}", build["slug"]["id"].as_str().unwrap());
    fields(
        &app.api("GET", &slug, None).is(200).json(),
        &["blob", "checksum", "commit", "process_types", "size", "stack"],
    );
}

#[test]
fn lists_are_paged_by_range() {
    let app = Platform::shared().empty_app();
    for number in 0..4 {
        app.api("PATCH", "/config-vars", Some(json!({ "N": number.to_string() }))).is(200);
    }
    let path = format!("/apps/{}/releases", app.name);
    let range = |text: &str| app.platform.api_with("GET", &path, &[("Range", text)], b"");
    let versions = |reply: &crate::support::Reply| -> Vec<i64> {
        reply.json().as_array().unwrap().iter().map(|r| r["version"].as_i64().unwrap()).collect()
    };
    let page = range("version ..; max=2, order=desc").is(206);
    assert_eq!(versions(&page), [6, 5]);
    let next = page.header("next-range").to_string();
    let page = range(&next).is(206);
    assert_eq!(versions(&page), [4, 3]);
    assert_eq!(versions(&range("version 2..3").is(200)), [2, 3]);
    for nonsense in ["colour ..", "version ..; max=0", "version ..; max=x", "bytes=0-5"] {
        let error = range(nonsense).is(416).json();
        assert_eq!(error["id"], "requested_range_not_satisfiable", "{nonsense}");
    }
}

#[test]
fn every_reply_has_a_request_id_and_an_etag_that_works() {
    let app = Platform::shared().empty_app();
    let path = format!("/apps/{}", app.name);
    let first = app.api("GET", "", None).is(200);
    assert_eq!(first.header("request-id").len(), 36);
    let tag = first.header("etag").to_string();
    assert!(tag.starts_with('"'), "{tag}");
    let same = app.platform.api_with("GET", &path, &[("If-None-Match", &tag)], b"");
    assert_eq!((same.status, same.body.len()), (304, 0));
    app.cli(&["maintenance:on"]).succeeded();
    app.platform.api_with("GET", &path, &[("If-None-Match", &tag)], b"").is(200);
    let given = app.platform.api_with("GET", &path, &[("Request-Id", "mine-7")], b"").is(200);
    assert!(given.header("request-id").starts_with("mine-7,"), "{:?}", given.headers);
    let bearer = format!("Bearer {}", app.platform.token);
    let old =
        [("Authorization", bearer.as_str()), ("Accept", "application/vnd.heroku+json; version=2")];
    let reply = app.platform.connection().request("GET", "localhost", &path, &old, b"").unwrap();
    assert_eq!(reply.is(406).json()["id"], "not_acceptable");
}

#[test]
fn what_is_no_git_pack_is_refused_in_gits_words() {
    let app = Platform::shared().empty_app();
    let platform = &app.platform;
    let basic = "Basic ".to_string() + &base64(format!("x:{}", platform.token).as_bytes());
    let path = format!("/{}.git/git-receive-pack", app.name);
    let kind = ("Content-Type", "application/x-git-receive-pack-request");
    let post = |body: &[u8], more: &[(&str, &str)]| {
        let mut headers = vec![("Authorization", basic.as_str()), kind];
        headers.extend(more);
        let mut connection = platform.connection();
        let first = connection.request("POST", "localhost", &path, &headers, body).unwrap();
        if more.is_empty() {
            return first;
        }
        first.is(100);
        connection.reply("POST").unwrap()
    };
    for body in [&b"this is no pack"[..], b"zzzz", b"00a0 cut short", &[0; 4096]] {
        let text = post(body, &[]).is(400).text();
        assert!(text.contains("This is not a git push"), "{body:?}: {text}");
    }
    // What begins as a push does is answered as git answers it.
    let (zero, some) = ("0".repeat(40), "a".repeat(40));
    let command = format!("{zero} {some} refs/heads/main\0 report-status");
    let command = format!("{:04x}{command}0000this is no pack", command.len() + 4);
    for more in [&[][..], &[("Expect", "100-continue")]] {
        let text = post(command.as_bytes(), more).is(200).text();
        assert!(text.contains("unpack ") && text.contains("ng refs/heads/main"), "{text}");
    }
    platform.api("GET", "/apps", None).is(200);
    assert_eq!(app.pushed_commit("main"), None);
    assert_eq!(app.releases().len(), 2);
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            (0..3).fold(0u32, |bits, at| bits << 8 | u32::from(*chunk.get(at).unwrap_or(&0)));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}
