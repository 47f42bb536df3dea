//! Requests that are refused, and bodies that are no push.

use super::*;
use reqwest::StatusCode;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

pub(super) async fn post(test: &TestHost, body: impl Into<reqwest::Body>) -> (StatusCode, String) {
    let url = format!("http://{}/sample.git/git-receive-pack", test.address);
    let response = client()
        .post(url)
        .basic_auth("git", Some("secret"))
        .header("content-type", "application/x-git-receive-pack-request")
        .body(body)
        .send()
        .await
        .unwrap();
    (response.status(), String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned())
}

fn commands(git_ref: &str) -> Vec<u8> {
    let zero = super::super::commands::ZERO;
    let mut bytes = Vec::new();
    let line = format!("{zero} {A} {git_ref}\0 report-status side-band-64k");
    pktline::put(&mut bytes, line.as_bytes());
    bytes.extend_from_slice(b"0000");
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn git_is_told_why_it_is_turned_away() {
    let test = TestHost::new().await;
    let cases = [
        (test.url("wrong", "sample"), "Authentication failed"),
        (format!("http://{}/sample.git", test.address), "could not read Username"),
        (test.url("secret", "nothing"), "There is no app nothing."),
        (test.url("reader", "sample"), "You may not push to sample."),
    ];
    for (url, sentence) in cases {
        let output = test.git("work", &["push", &url, "main"]).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(sentence), "{url}: {said}");
    }
    assert!(test.deployer.calls().is_empty());
    let base = format!("http://{}/sample.git/info/refs", test.address);
    for (url, token, status) in [
        (base.clone(), "secret", 403),
        (format!("{base}?service=git-evil"), "secret", 403),
        (format!("{base}?service=git-upload-pack"), "wrong", 401),
        (format!("{base}?service=git-receive-pack"), "reader", 403),
        (format!("{base}?service=git-receive-pack"), "secret", 200),
    ] {
        let response = client().get(&url).basic_auth("git", Some(token)).send().await.unwrap();
        assert_eq!(response.status(), status, "{url}");
        assert_eq!(response.headers().contains_key("www-authenticate"), status == 401);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_no_push_is_a_400_with_a_sentence() {
    let test = TestHost::new().await;
    for bad in ["hello", "", "0003", "0009hello0000", "fffe", "PACK", "0010aaaa bbbb cc"] {
        let (status, text) = post(&test, bad).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad:?}");
        assert!(text.contains("This is not a git push"), "{bad:?}: {text}");
    }
    let (status, text) = post(&test, "0000").await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, ""), "git's own question");
    let url = format!("http://{}/sample.git/git-receive-pack", test.address);
    let request = client().post(url).basic_auth("git", Some("secret"));
    let plain = request.try_clone().unwrap().body("0000").send().await.unwrap();
    assert_eq!(plain.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let kind = "application/x-git-receive-pack-request";
    let packed = request.header("content-type", kind).header("content-encoding", "gzip");
    let packed = packed.body("no gzip").send().await.unwrap();
    assert_eq!(packed.status(), StatusCode::BAD_REQUEST);
    assert!(packed.text().await.unwrap().contains("not gzip"));
    assert!(test.deployer.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_pack_is_refused_in_gits_words_and_changes_nothing() {
    let test = TestHost::new().await;
    for (git_ref, pack) in [
        ("refs/heads/main", &b"this is no pack at all, only text"[..]),
        ("refs/heads/main", b"PACK\0\0\0\x02\0\0\0\x05rubbish"),
        ("refs/heads/main", b""),
        ("refs/heads/other", b"PACK"),
        ("refs/heads/../../evil", b""),
        ("HEAD", b""),
    ] {
        let (status, text) = post(&test, [commands(git_ref), pack.to_vec()].concat()).await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.contains(&format!("ng {git_ref} ")), "{git_ref} {pack:?}: {text}");
        assert!(text.ends_with("0000"), "{text}");
    }
    assert!(test.deployer.calls().is_empty());
    let git_dir = test.host.repositories().path(test.app.id);
    let objects = std::fs::read_dir(git_dir.join("objects")).unwrap().count();
    assert_eq!(objects, 2, "info and pack, and no quarantine");
    test.host.idle().await;
    assert!(test.push("work", &["main"]).await.1, "the app is not held up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_cut_off_in_the_middle_changes_nothing() {
    use tokio::io::AsyncWriteExt;
    let test = TestHost::new().await;
    let mut stream = tokio::net::TcpStream::connect(test.address).await.unwrap();
    let head = "POST /sample.git/git-receive-pack HTTP/1.1\r\nHost: localhost\r\n\
                Authorization: Bearer secret\r\nContent-Length: 100000\r\n\
                Content-Type: application/x-git-receive-pack-request\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&commands("refs/heads/main")).await.unwrap();
    stream.write_all(b"PACK\0\0\0\x02\0\0\0\x05").await.unwrap();
    wait("the push to begin", || test.host.active() == 1).await;
    drop(stream);
    tokio::time::timeout(DEADLINE, test.host.idle()).await.unwrap();
    assert!(test.deployer.calls().is_empty());
    assert!(test.push("work", &["main"]).await.1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_without_end_are_refused() {
    let test = TestHost::new().await;
    let zero = super::super::commands::ZERO;
    let mut body = Vec::new();
    for number in 0..12_000 {
        pktline::put(&mut body, format!("{zero} {A} refs/tags/{number}").as_bytes());
    }
    let (status, text) = post(&test, body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{text}");
    assert!(text.contains("too many refs"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pack_of_a_push_that_waits_stays_with_its_client() {
    use tokio::io::AsyncWriteExt;
    let test = TestHost::gated().await;
    let mut first = test.command("work", &["push", "senryu", "main"]).spawn().unwrap();
    test.wait_for_calls(1).await;
    let mut stream = tokio::net::TcpStream::connect(test.address).await.unwrap();
    let head = "POST /sample.git/git-receive-pack HTTP/1.1\r\nHost: localhost\r\n\
                Authorization: Bearer secret\r\nContent-Length: 1000000000\r\n\
                Content-Type: application/x-git-receive-pack-request\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&commands("refs/heads/main")).await.unwrap();
    wait("the second to stand in line", || test.host.active() == 2).await;
    let mut taken = 0;
    let chunk = vec![0; 64 * 1024];
    // The sockets' own buffers take some megabytes; the server must not take the rest.
    while taken < 64 * 1024 * 1024 {
        let write = stream.write_all(&chunk);
        match tokio::time::timeout(Duration::from_millis(500), write).await {
            Ok(written) => written.unwrap(),
            Err(_) => break,
        }
        taken += chunk.len();
    }
    assert!(taken < 32 * 1024 * 1024, "{taken} bytes were taken from a push that waits");
    drop(stream);
    test.deployer.gate.add_permits(1);
    assert!(first.wait().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn git_lfs_is_told_that_it_is_not_supported() {
    let test = TestHost::new().await;
    for path in ["locks/verify", "objects/batch"] {
        let url = format!("http://{}/sample.git/info/lfs/{path}", test.address);
        let response = client().post(&url).body("{}").send().await.unwrap();
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()["content-type"], "application/vnd.git-lfs+json");
        let body: serde_json::Value = response.json().await.unwrap();
        assert!(body["message"].as_str().unwrap().contains("Git LFS is not supported"), "{body}");
    }
}
