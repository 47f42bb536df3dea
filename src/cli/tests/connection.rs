//! A server that moves, restarts or is not there, and what goes on after that.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};

#[tokio::test]
async fn logs_go_on_where_they_broke_off() {
    let url = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let known = url.clone();
    let reads = AtomicUsize::new(0);
    let sse = ("content-type", "text/event-stream");
    let stage = Stage::new(move |asked, _| match asked.line().as_str() {
        "POST /apps/shop/log-sessions" if reads.load(Ordering::SeqCst) < 3 => {
            Reply::Json(201, json!({"logplex_url": format!("{}/l", known.get().unwrap())}))
        }
        "GET /l" => match reads.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::Raw(200, sse, ": hi\n\nid: 1\ndata: 2026 app[web.1]: one\n\n".into()),
            1 => Reply::Raw(200, sse, "id: 2\ndata: 2026 app[web.1]: two\n\n".into()),
            _ => Reply::Raw(404, sse, String::new()),
        },
        _ => missing(),
    })
    .await;
    url.set(stage.url.clone()).unwrap();
    let done = stage.run(&["logs", "-n", "5", "-s", "app", "-d", "web.1", "-a", "shop"]).await;
    assert_eq!((done.status, done.out.as_str()), (0, "2026 app[web.1]: one\n"));
    assert_eq!(
        stage.last("POST /apps/shop/log-sessions").body,
        json!({"lines": 5, "tail": false, "source": "app", "dyno": "web.1"})
    );
    // Read on with the id, then find the session gone and the app, too.
    let done = stage.run(&["logs", "--tail", "--ps", "web", "-a", "shop"]).await;
    assert_eq!(done.out, "2026 app[web.1]: two\n");
    assert_eq!(done.status, 1);
    assert_eq!(stage.last("GET /l").header("last-event-id"), "2");
}

#[tokio::test]
async fn a_redirection_names_the_address_to_use() {
    let stage = Stage::new(|_, _| {
        let place = ("location", "https://api.example.com/apps");
        Reply::Raw(308, place, String::new())
    })
    .await;
    let done = stage.run(&["apps"]).await;
    assert_eq!(done.status, 1);
    assert!(done.err.contains("Set SENRYU_URL to the server: https://api.example.com\n"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_to_be_so() {
    let mut stage = Stage::new(|_, _| missing()).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    stage.vars[0].1 = format!("http://127.0.0.1:{port}");
    let done = stage.run(&["apps"]).await;
    assert_eq!(done.status, 1);
    assert!(done.err.contains("Can't reach http://127.0.0.1"), "{}", done.err);
    assert!(done.err.contains("senryu doctor"), "{}", done.err);
    stage.vars[0].1 = "ftp://x".to_string();
    let done = stage.run(&["apps"]).await;
    assert!(done.status == 2 && done.err.contains("SENRYU_URL"), "{}", done.err);
}

#[tokio::test]
async fn a_restart_of_the_server_repeats_only_what_may_be_repeated() {
    let cut = std::sync::Arc::new(AtomicUsize::new(0));
    let cuts = cut.clone();
    let stage = Stage::new(move |asked, _| match asked.line().as_str() {
        "GET /apps/shop" => ok(json!({"name": "shop"})),
        // The first answer of each kind is lost, though the server has done what was asked.
        "PATCH /apps/shop" | "DELETE /apps/shop" | "PATCH /apps/shop/formation" | "POST /apps"
            if cuts.fetch_add(1, Ordering::SeqCst) == 0 =>
        {
            Reply::Cut
        }
        "PATCH /apps/shop" => ok(json!({"name": "shop"})),
        _ => missing(),
    })
    .await;
    let done = stage.run(&["maintenance:on", "-a", "shop"]).await;
    assert_eq!((done.status, cut.swap(0, Ordering::SeqCst)), (0, 2), "{}", done.err);
    let done = stage.run(&["apps:destroy", "shop", "--confirm", "shop"]).await;
    assert_eq!((done.status, cut.swap(0, Ordering::SeqCst)), (0, 2), "{}", done.err);
    for line in [&["create", "new"][..], &["ps:scale", "web+1", "-a", "shop"]] {
        let done = stage.run(line).await;
        assert_eq!((done.status, cut.swap(0, Ordering::SeqCst)), (1, 1), "{}", done.err);
        assert!(done.err.contains("not known whether"), "{}", done.err);
    }
}
