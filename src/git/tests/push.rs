//! One push at a time: what moves, what is built, what the user reads.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_is_built_then_moved_then_released() {
    let test = TestHost::new().await;
    let first = test.ok("work", &["rev-parse", "HEAD"]).await.trim().to_string();
    let (said, ok) = test.push("work", &["main"]).await;
    assert!(ok, "{said}");
    for line in ["-----> Building", "-----> Built", "-----> Released v3"] {
        assert!(said.contains(&format!("remote: {line}")), "{said}");
    }
    assert!(said.contains("* [new branch]      main -> main"), "{said}");
    assert_eq!(test.head("refs/heads/main").await.unwrap(), first);
    let second = test.commit("work", "second").await;
    let (said, ok) = test.push("work", &["HEAD:refs/heads/main"]).await;
    assert!(ok, "{said}");
    let (first, second) = (&first[..7], &second[..7]);
    assert_eq!(
        test.deployer.calls(),
        [
            format!("pre refs/heads/main 0000000 {first}"),
            format!("post refs/heads/main 0000000 {first}"),
            format!("pre refs/heads/main {first} {second}"),
            format!("post refs/heads/main {first} {second}"),
        ]
    );
    assert!(test.deployer.saw_commit.load(Ordering::SeqCst));
    let (said, ok) = test.push("work", &["main"]).await;
    assert!(ok && said.contains("Everything up-to-date"), "{said}");
    assert_eq!(test.deployer.calls().len(), 4);
    test.host.idle().await;
    assert_eq!(test.host.active(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clone_and_fetch_in_both_protocols() {
    let test = TestHost::new().await;
    assert!(test.push("work", &["main"]).await.1);
    let url = test.url("reader", "sample");
    for version in ["0", "1", "2"] {
        let name = format!("clone-{version}");
        let protocol = format!("protocol.version={version}");
        test.ok("home", &["-c", &protocol, "clone", "-q", &url, &format!("../{name}")]).await;
        assert!(test.dir.path().join(&name).join("file").exists());
        // So many commits to tell of that git sends them as gzip. It tells of the newest first and
        // stops at one that both sides have: were all made within one second, that came early.
        for _ in 0..100 {
            let mut commit = test.command(&name, &["commit", "-q", "--allow-empty", "-m", "mine"]);
            commit.env("GIT_COMMITTER_DATE", "@4102444800 +0000");
            assert!(commit.status().await.unwrap().success());
        }
        let newest = test.commit("work", &format!("after {version}")).await;
        assert!(test.push("work", &["main"]).await.1);
        let mut fetch = test.command(&name, &["-c", &protocol, "fetch", "-q"]);
        let output = fetch.env("GIT_TRACE_CURL", "1").output().await.unwrap();
        let trace = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{trace}");
        assert!(trace.to_lowercase().contains("content-encoding: gzip"), "no gzip, {version}");
        assert_eq!(test.ok(&name, &["rev-parse", "origin/main"]).await.trim(), newest);
    }
    test.ok("home", &["clone", "-q", "--depth=1", "--filter=blob:none", &url, "../thin"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_push_and_clone_arrive_whole() {
    let test = TestHost::new().await;
    let mut state = 1u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    };
    let large: Vec<u8> = (0..30 * 1024 * 1024).map(|_| noise()).collect();
    std::fs::write(test.dir.path().join("work/large"), &large).unwrap();
    test.commit("work", "large").await;
    let (said, ok) = test.push("work", &["main"]).await;
    assert!(ok, "{said}");
    test.ok("home", &["clone", "-q", &test.url("secret", "sample"), "../copy"]).await;
    assert!(std::fs::read(test.dir.path().join("copy/large")).unwrap() == large);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_branches_and_tags_are_stored_and_not_built() {
    let test = TestHost::new().await;
    let (said, ok) = test.push("work", &["main:feature"]).await;
    assert!(ok, "{said}");
    let sentence = "remote: Pushed to branch other than [main, master], skipping build.";
    assert!(said.contains(sentence), "{said}");
    test.ok("work", &["tag", "v1"]).await;
    let (said, ok) = test.push("work", &["v1"]).await;
    assert!(ok && !said.contains("remote:"), "{said}");
    let (said, ok) = test.push("work", &[":feature"]).await;
    assert!(ok && !said.contains("remote:"), "{said}");
    assert_eq!(test.head("refs/heads/feature").await, None);
    assert!(test.head("refs/tags/v1").await.is_some());
    assert!(test.deployer.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn main_cannot_be_deleted() {
    let test = TestHost::new().await;
    test.push("work", &["main"]).await;
    let (said, ok) = test.push("work", &[":main"]).await;
    assert!(!ok);
    assert!(said.contains("Push rejected, cannot delete main branch"), "{said}");
    assert!(said.contains("! [remote rejected] main (pre-receive hook declined)"), "{said}");
    assert!(test.head("refs/heads/main").await.is_some());
    assert_eq!(test.deployer.calls().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forced_push_builds() {
    let test = TestHost::new().await;
    test.commit("work", "wrong").await;
    test.push("work", &["main"]).await;
    test.ok("work", &["reset", "-q", "--hard", "HEAD~1"]).await;
    let right = test.commit("work", "right").await;
    let (said, ok) = test.push("work", &["main"]).await;
    assert!(!ok && said.contains("! [rejected]"), "git itself refuses: {said}");
    let (said, ok) = test.push("work", &["--force", "main"]).await;
    assert!(ok && said.contains("(forced update)"), "{said}");
    assert_eq!(test.head("refs/heads/main").await.unwrap(), right);
    assert_eq!(test.deployer.calls().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_build_refuses_the_ref() {
    let test = TestHost::new().await;
    test.deployer.fails.store(true, Ordering::SeqCst);
    let (said, ok) = test.push("work", &["main", "main:other"]).await;
    assert!(!ok);
    assert!(said.contains("remote: -----> Built"), "{said}");
    assert!(
        said.contains("! [remote rejected] main -> main (pre-receive hook declined)"),
        "{said}"
    );
    assert_eq!(test.head("refs/heads/main").await, None);
    assert_eq!(test.deployer.calls().len(), 1);
    test.deployer.fails.store(false, Ordering::SeqCst);
    assert!(test.push("work", &["main"]).await.1, "the next one is not held up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn main_and_master_at_once_are_built_once() {
    let test = TestHost::new().await;
    let (said, ok) = test.push("work", &["main", "main:master"]).await;
    assert!(ok, "{said}");
    assert!(said.contains("Both main and master are pushed: only main is built."), "{said}");
    assert_eq!(test.deployer.calls().len(), 2);
    assert!(test.head("refs/heads/master").await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clone_of_an_app_with_only_master_checks_it_out() {
    let test = TestHost::new().await;
    assert!(test.push("work", &["main:master"]).await.1);
    test.ok("home", &["clone", "-q", &test.url("secret", "sample"), "../copy"]).await;
    assert!(test.dir.path().join("copy/file").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shallow_clone_is_refused_in_herokus_words() {
    let test = TestHost::new().await;
    test.commit("work", "second").await;
    let source = format!("file://{}", test.dir.path().join("work").display());
    test.ok("home", &["clone", "-q", "--depth=1", &source, "../shallow"]).await;
    test.ok("shallow", &["remote", "add", "senryu", &test.url("secret", "sample")]).await;
    let (said, ok) = test.push("shallow", &["main"]).await;
    assert!(!ok);
    assert!(said.contains("source repository is a shallow clone"), "{said}");
    let verdict = "! [remote rejected] main -> main (shallow update not allowed)";
    assert!(said.contains(verdict), "{said}");
    assert!(test.deployer.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hosts_own_git_configuration_takes_no_part() {
    let test = TestHost::new().await;
    assert!(test.push("work", &["main"]).await.1);
    let mut output = test.host.git(true);
    let output = output.args(["config", "--list", "--show-origin"]);
    let output = output.current_dir("/").output();
    let list = String::from_utf8(output.await.unwrap().stdout).unwrap();
    assert!(list.lines().all(|line| line.starts_with("command line:")), "{list}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_of_push_that_few_use() {
    let test = TestHost::new().await;
    test.ok("work", &["config", "protocol.version", "1"]).await;
    let (said, ok) = test.push("work", &["--atomic", "main", "main:feature"]).await;
    assert!(ok, "{said}");
    let (said, ok) = test.push("work", &["-o", "x=y", "main:second"]).await;
    assert!(!ok && said.contains("does not support push options"), "{said}");
    let (said, ok) = test.push("work", &["--signed=true", "main:second"]).await;
    assert!(!ok && said.contains("does not support --signed push"), "{said}");
    let (said, ok) = test.push("work", &["--porcelain", "--dry-run", "main:second"]).await;
    assert!(ok, "{said}");
    assert_eq!(test.head("refs/heads/second").await, None);
    let (said, ok) = test.push("work", &["main:refs/heads/main/below"]).await;
    assert!(!ok && said.contains("[remote rejected]"), "{said}");
    assert_eq!(test.deployer.calls().len(), 2);
}
