//! Pushes that meet each other, and clients that leave.

use super::*;
use tokio::io::{AsyncBufReadExt, BufReader};

/// A push that runs; its lines are read as they come.
struct Running {
    child: tokio::process::Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStderr>>,
    said: String,
}

impl Running {
    fn start(test: &TestHost, name: &str, arguments: &[&str]) -> Self {
        let arguments = [&["push", "senryu"], arguments].concat();
        let mut child = test.command(name, &arguments).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines, said: String::new() }
    }

    /// Ctrl-C, which git cannot ignore.
    async fn interrupt(mut self) {
        let group = i32::try_from(self.child.id().unwrap()).unwrap();
        let group = nix::unistd::Pid::from_raw(group);
        nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).unwrap();
        self.child.wait().await.unwrap();
    }

    async fn until(&mut self, text: &str) {
        while !self.said.contains(text) {
            let line = tokio::time::timeout(DEADLINE, self.lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("no {text:?} in {}", self.said)).unwrap();
            let line = line.unwrap_or_else(|| panic!("no {text:?} in {}", self.said));
            self.said.push_str(&line);
            self.said.push('\n');
        }
    }

    async fn end(mut self) -> (String, bool) {
        while let Some(line) = self.lines.next_line().await.unwrap() {
            self.said.push_str(&line);
            self.said.push('\n');
        }
        let ok = self.child.wait().await.unwrap().success();
        (self.said, ok)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_push_waits_is_told_so_and_goes_on_as_a_descendant() {
    let test = TestHost::gated().await;
    let mut first = Running::start(&test, "work", &["main"]);
    first.until("remote: -----> Building").await;
    let newest = test.commit("work", "second").await;
    let mut second = Running::start(&test, "work", &["main"]);
    second.until("remote: Waiting for another build of sample to finish...").await;
    assert_eq!(test.host.active(), 2);
    assert_eq!(test.deployer.calls().len(), 1);
    // It is the same app by any name.
    test.access.rename("sample", "renamed");
    test.deployer.gate.add_permits(2);
    let (said, ok) = first.end().await;
    assert!(ok, "{said}");
    let (said, ok) = second.end().await;
    assert!(ok, "{said}");
    assert!(said.contains("remote: -----> Released v3"), "{said}");
    assert_eq!(test.head("refs/heads/main").await.unwrap(), newest);
    assert_eq!(test.deployer.calls().len(), 4);
    let told = [
        format!("waits {}", &newest[..7]),
        "Some(1) Waiting for another build of sample to finish...".to_string(),
        "None It is this push's turn now.".to_string(),
    ];
    assert_eq!(test.deployer.lines(), told);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_that_waits_is_cancelled_and_holds_nobody_up() {
    let test = TestHost::gated().await;
    let mut first = Running::start(&test, "work", &["main"]);
    first.until("remote: -----> Building").await;
    test.commit("work", "second").await;
    let mut second = Running::start(&test, "work", &["main"]);
    second.until("remote: Waiting for another build").await;
    test.deployer.cancel.cancel();
    let (said, ok) = second.end().await;
    assert!(!ok && said.contains(" !     The build was cancelled."), "{said}");
    assert!(said.contains("! [remote rejected] main -> main (build cancelled)"), "{said}");
    assert_eq!(test.deployer.lines().last().unwrap(), "failed The build was cancelled.");
    test.deployer.gate.add_permits(1);
    assert!(first.end().await.1);
    assert_eq!(test.deployer.calls().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_push_that_leads_elsewhere_is_refused_before_it_builds() {
    let test = TestHost::gated().await;
    test.work_tree("other").await;
    test.commit("other", "of another history").await;
    let mut first = Running::start(&test, "work", &["main"]);
    first.until("remote: -----> Building").await;
    let mut second = Running::start(&test, "other", &["--force", "main"]);
    second.until("remote: Waiting for another build").await;
    test.deployer.gate.add_permits(2);
    assert!(first.end().await.1);
    let (said, ok) = second.end().await;
    assert!(!ok);
    assert!(said.contains("! [rejected]        main -> main (fetch first)"), "{said}");
    assert!(said.contains("Push rejected: main has moved to"), "{said}");
    assert_eq!(test.deployer.calls().len(), 2);
    let ended = test.deployer.lines().pop().unwrap();
    assert_eq!(ended, "failed The branch has moved: fetch first.");
    assert!(test.push("other", &["--force", "main"]).await.1, "now it knows what it replaces");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_commit_pushed_twice_at_once_is_built_once() {
    let test = TestHost::gated().await;
    let mut first = Running::start(&test, "work", &["main"]);
    first.until("remote: -----> Building").await;
    let mut second = Running::start(&test, "work", &["main"]);
    second.until("remote: Waiting for another build").await;
    test.deployer.gate.add_permits(2);
    assert!(first.end().await.1);
    let (said, ok) = second.end().await;
    assert!(ok && said.contains("main is at this commit already"), "{said}");
    assert_eq!(test.deployer.calls().len(), 2);
    let ended = test.deployer.lines().pop().unwrap();
    assert!(ended.starts_with("succeeded The branch is at this commit"), "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_branches_do_not_wait() {
    let test = TestHost::gated().await;
    let mut first = Running::start(&test, "work", &["main"]);
    first.until("remote: -----> Building").await;
    let (said, ok) = test.push("work", &["main:feature"]).await;
    assert!(ok, "{said}");
    test.ok("home", &["clone", "-q", &test.url("secret", "sample"), "../copy"]).await;
    test.deployer.gate.add_permits(1);
    assert!(first.end().await.1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_does_not_end_its_build() {
    let test = TestHost::gated().await;
    let new = test.commit("work", "left alone").await;
    let mut first = Running::start(&test, "work", &["main"]);
    first.until("remote: -----> Building").await;
    first.interrupt().await;
    test.deployer.gate.add_permits(1);
    test.wait_for_calls(2).await;
    assert_eq!(test.head("refs/heads/main").await.unwrap(), new);
    test.host.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_the_line_pushes_nothing() {
    let test = TestHost::gated().await;
    let mut first = Running::start(&test, "work", &["main"]);
    first.until("remote: -----> Building").await;
    test.commit("work", "second").await;
    let mut second = Running::start(&test, "work", &["main"]);
    second.until("remote: Waiting for another build").await;
    second.interrupt().await;
    wait("the second to leave", || test.host.active() == 1).await;
    test.deployer.gate.add_permits(2);
    assert!(first.end().await.1);
    test.host.idle().await;
    assert_eq!(test.deployer.calls().len(), 2);
    assert_eq!(test.deployer.lines().pop().unwrap(), "failed Its client left before its turn.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_server_refuses_and_waits() {
    let test = TestHost::gated().await;
    let mut first = Running::start(&test, "work", &["main"]);
    first.until("remote: -----> Building").await;
    test.commit("work", "second").await;
    let mut second = Running::start(&test, "work", &["main"]);
    second.until("remote: Waiting for another build").await;
    test.host.stop();
    let (said, ok) = second.end().await;
    assert!(!ok && said.contains("(server is stopping)"), "{said}");
    let (said, ok) = test.push("work", &["main"]).await;
    assert!(!ok && said.contains("The server is stopping; push again"), "{said}");
    assert_eq!(test.host.active(), 1);
    test.deployer.gate.add_permits(1);
    assert!(first.end().await.1);
    test.host.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_built_for_a_ref_that_cannot_move_is_given_back() {
    let test = TestHost::gated().await;
    let mut first = Running::start(&test, "work", &["main"]);
    first.until("remote: -----> Building").await;
    let git_dir = test.host.repositories().path(test.app.id);
    std::fs::write(git_dir.join("refs/heads/main.lock"), "").unwrap();
    test.deployer.gate.add_permits(1);
    let (said, ok) = first.end().await;
    assert!(!ok && said.contains("! [remote rejected] main -> main"), "{said}");
    test.wait_for_calls(2).await;
    assert!(test.deployer.calls()[1].starts_with("abandoned "), "{:?}", test.deployer.calls());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_that_panics_refuses_the_ref_and_frees_the_turn() {
    let test = TestHost::gated().await;
    test.deployer.gate.close();
    let (said, ok) = test.push("work", &["main"]).await;
    assert!(!ok && said.contains("The server failed in the middle of this push"), "{said}");
    assert_eq!(test.head("refs/heads/main").await, None);
    let (said, ok) = test.push("work", &["main"]).await;
    assert!(!ok && !said.contains("Waiting for"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_with_an_old_view_of_the_ref_goes_on_as_a_descendant() {
    let test = TestHost::new().await;
    assert!(test.push("work", &["main"]).await.1);
    let base = test.ok("work", &["rev-parse", "HEAD"]).await.trim().to_string();
    let middle = test.commit("work", "middle").await;
    let newest = test.commit("work", "newest").await;
    // What a client that read its refs before the other push sends.
    let mut commands = Vec::new();
    let line = format!("{base} {newest} refs/heads/main\0 report-status side-band-64k");
    pktline::put(&mut commands, line.as_bytes());
    commands.extend_from_slice(b"0000");
    let mut pack = test.command("work", &["pack-objects", "--revs", "--stdout", "-q"]);
    let mut pack = pack.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut revs = pack.stdin.take().unwrap();
    let range = format!("{newest}\n^{base}\n");
    tokio::io::AsyncWriteExt::write_all(&mut revs, range.as_bytes()).await.unwrap();
    drop(revs);
    let pack = pack.wait_with_output().await.unwrap().stdout;
    assert!(test.push("work", &[&format!("{middle}:refs/heads/main")]).await.1);
    let (status, text) = bad::post(&test, [commands, pack].concat()).await;
    assert!(status.is_success() && text.contains("ok refs/heads/main"), "{text}");
    assert_eq!(test.head("refs/heads/main").await.unwrap(), newest);
    let last = format!("post refs/heads/main {} {}", &middle[..7], &newest[..7]);
    assert_eq!(test.deployer.calls().last().unwrap(), &last);
}
