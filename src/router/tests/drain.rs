//! Deploys as the router sees them: targets come and go, and no request is lost.

use super::support::*;
use crate::link::ToRouter;
use crate::router::timers::Timers;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A dyno that answers after it is told to.
async fn slow_dyno() -> (Dyno, tokio::sync::broadcast::Sender<()>) {
    let (release, _) = tokio::sync::broadcast::channel::<()>(1);
    let waiting = release.clone();
    let dyno = Dyno::start(move |mut client| {
        let mut released = waiting.subscribe();
        async move {
            while client.head().await.is_some() {
                let _ = released.recv().await;
                client.write(&ok("slow")).await;
            }
        }
    })
    .await;
    (dyno, release)
}

#[tokio::test]
async fn a_begun_request_ends_on_its_dyno_and_then_it_is_drained() {
    let (old, release) = slow_dyno().await;
    let new = Dyno::saying("new").await;
    let mut router = TestRouter::with_dynos(short_timers(), &[&old]).await;
    let mut begun = router.client().await;
    begun.write(&get("/")).await;
    eventually("begun", || (old.connection_count() == 1).then_some(())).await;
    router.set_app(app("sample", &[&new])).await;
    for _ in 0..10 {
        assert_eq!(router.get("/").await.body, "new");
    }
    router.send(&ToRouter::Query { targets: vec![old.id.clone(), new.id.clone()] }).await;
    router.publish().await;
    assert!(router.drained().is_empty(), "a request is in flight");
    release.send(()).unwrap();
    assert_eq!(begun.response().await.body, "slow");
    eventually("drained", || (router.drained() == [old.id.clone()]).then_some(())).await;
    assert_eq!(begun.request(&get("/")).await.body, "new", "the connection is kept");
}

#[tokio::test]
async fn a_router_that_is_told_to_stop_finishes_what_has_begun() {
    let (dyno, release) = slow_dyno().await;
    let timers = Timers { stop_grace: std::time::Duration::from_secs(30), ..short_timers() };
    let mut router = TestRouter::with_dynos(timers, &[&dyno]).await;
    let mut idle = router.client().await;
    idle.request("GET / HTTP/1.1\r\nHost: nowhere.localhost\r\n\r\n").await;
    let mut begun = router.client().await;
    begun.write(&get("/")).await;
    eventually("begun", || (dyno.connection_count() == 1).then_some(())).await;
    // Connections are accepted in their order: when the late one was answered, so was the new one.
    let mut new = router.client().await;
    let mut late = router.client().await;
    late.request("GET / HTTP/1.1\r\nHost: nowhere.localhost\r\n\r\n").await;
    router.stop();
    late.write(&get("/")).await;
    new.write(&get("/")).await;
    eventually("all begun", || (dyno.connection_count() == 3).then_some(())).await;
    assert_eq!(idle.rest().await, "", "an idle connection is closed");
    release.send(()).unwrap();
    for client in [&mut begun, &mut late, &mut new] {
        let response = client.response().await;
        assert_eq!(response.body, "slow");
        assert_eq!(response.header("connection"), Some("close"));
    }
}

#[tokio::test]
async fn an_idle_dyno_is_drained_with_the_snapshot_and_again_when_asked() {
    let (old, new) = (Dyno::saying("old").await, Dyno::saying("new").await);
    let mut router = TestRouter::with_dynos(short_timers(), &[&old]).await;
    assert_eq!(router.get("/").await.body, "old");
    router.set_app(app("sample", &[&new])).await;
    eventually("drained", || (router.drained() == [old.id.clone()]).then_some(())).await;
    router.send(&ToRouter::Query { targets: vec![old.id.clone(), new.id.clone()] }).await;
    let both = [old.id.clone(), old.id.clone()];
    eventually("drained again", || (router.drained() == both).then_some(())).await;
}

#[tokio::test]
async fn idle_connections_to_a_dyno_that_left_are_closed() {
    let closed = Arc::new(AtomicBool::new(false));
    let seen = closed.clone();
    let old = Dyno::start(move |mut client| {
        let seen = seen.clone();
        async move {
            while client.head().await.is_some() {
                client.write(&ok("old")).await;
            }
            seen.store(true, Ordering::Relaxed);
        }
    })
    .await;
    let new = Dyno::saying("new").await;
    let timers = Timers { dyno_idle: std::time::Duration::from_secs(3600), ..short_timers() };
    let mut router = TestRouter::with_dynos(timers, &[&old]).await;
    assert_eq!(router.get("/").await.body, "old");
    assert!(!closed.load(Ordering::Relaxed));
    router.set_app(app("sample", &[&new])).await;
    eventually("closed", || closed.load(Ordering::Relaxed).then_some(())).await;
}

#[tokio::test]
async fn a_switch_is_atomic_for_clients_that_keep_asking() {
    let mut dynos = vec![Dyno::saying("0").await];
    let mut router = TestRouter::with_dynos(short_timers(), &[&dynos[0]]).await;
    let version = Arc::new(Mutex::new(0));
    let mut asking = Vec::new();
    let stop = Arc::new(AtomicBool::new(false));
    for _ in 0..8 {
        let mut client = router.client().await;
        let (version, stop) = (version.clone(), stop.clone());
        asking.push(spawn(async move {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                let at_least: usize = *version.lock().unwrap();
                let response = client.request(&get("/")).await;
                assert_eq!(response.status, 200);
                assert!(response.body.parse::<usize>().unwrap() >= at_least, "an old dyno");
                count += 1;
            }
            count
        }));
    }
    for number in 1..=30 {
        let dyno = Dyno::saying(&number.to_string()).await;
        router.set_app(app("sample", &[&dyno])).await;
        // From here on nothing begins on the dyno before.
        *version.lock().unwrap() = number;
        dynos.push(dyno);
    }
    stop.store(true, Ordering::Relaxed);
    for client in asking {
        assert!(client.await.unwrap() > 0);
    }
}

#[tokio::test]
async fn a_kept_connection_that_the_dyno_closed_costs_no_request() {
    // Closes every connection after its second request without an answer.
    let dyno = Dyno::start(|mut client| async move {
        client.head().await;
        client.write(&ok("first")).await;
        client.head().await;
    })
    .await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    let mut client = router.client().await;
    for _ in 0..5 {
        assert_eq!(client.request(&get("/")).await.body, "first");
    }
    assert_eq!(dyno.connection_count(), 5);
}

#[tokio::test]
async fn what_a_dyno_says_unasked_answers_nobody() {
    // Some servers end an idle connection with a 408 that no request asked for.
    let unasked = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n";
    let dyno = Dyno::start(move |mut client| async move {
        client.head().await;
        client.write(&ok("asked")).await;
        client.write(unasked).await;
        client.head().await;
    })
    .await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    let mut client = router.client().await;
    for _ in 0..5 {
        assert_eq!(client.request(&get("/")).await.status, 200);
    }
}

#[tokio::test]
async fn a_post_is_not_sent_twice() {
    let dyno = Dyno::start(|mut client| async move {
        client.head().await;
        client.write(&ok("first")).await;
        client.head().await;
    })
    .await;
    let router = TestRouter::with_dynos(short_timers(), &[&dyno]).await;
    let mut client = router.client().await;
    assert_eq!(client.request(&get("/")).await.body, "first");
    let post = "POST / HTTP/1.1\r\nHost: sample.localhost\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(client.request(post).await.status, 503);
    router.log_line("code=H13").await;
    assert_eq!(dyno.connection_count(), 1);
}

/// A task whose result the test wants.
#[allow(clippy::disallowed_methods, reason = "a panic is seen where the result is awaited")]
fn spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    tokio::spawn(future)
}
