//! A server that ends in the middle, and the next one.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_ends_processes_and_removes_litter_of_the_last_server() {
    let test = TestHost::new().await;
    assert!(test.push("work", &["main"]).await.1);
    let mark = format!("{}={}", process::HOOK_SOCKET, test.host.socket().display());
    // It ignores the end of its input, as a receive-pack that is about to move a ref would.
    let mut outlived = test.host.git(false);
    let alias = "alias.linger=!sleep 600";
    let mut outlived = outlived.args(["-c", alias, "linger"]).spawn().unwrap();
    let git_dir = test.host.repositories().path(test.app.id);
    for litter in ["refs/heads/main.lock", "packed-refs.lock", "objects/pack/tmp_pack_x"] {
        std::fs::write(git_dir.join(litter), "").unwrap();
    }
    std::fs::create_dir_all(git_dir.join("objects/tmp_objdir-incoming-x/aa")).unwrap();
    let half_made = test.host.repositories().dir().join("new-1");
    std::fs::create_dir(&half_made).unwrap();

    test.host.recover().await.unwrap();
    let status = tokio::time::timeout(DEADLINE, outlived.wait()).await.unwrap().unwrap();
    assert!(!status.success(), "{mark}");
    assert!(!half_made.exists());
    assert!(!git_dir.join("objects/tmp_objdir-incoming-x").exists());
    test.commit("work", "second").await;
    let (said, ok) = test.push("work", &["main"]).await;
    assert!(ok, "no lock is left: {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_without_its_server_refuses_the_push() {
    let test = TestHost::new().await;
    let git_dir = test.host.create_repo(test.app.id).await;
    assert!(git_dir.is_ok());
    std::fs::remove_file(test.host.socket()).unwrap();
    let (said, ok) = test.push("work", &["main"]).await;
    assert!(!ok && said.contains("The server stopped; push again."), "{said}");
    assert!(said.contains("(pre-receive hook declined)"), "{said}");
    assert_eq!(test.head("refs/heads/main").await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_the_server_does_not_expect_refuses_the_push() {
    let test = TestHost::gated().await;
    // The next server takes over the socket; the push belongs to the one before it.
    let (next, _) = serve(&test.settings, &test.access, &test.deployer).await;
    let (said, ok) = test.push("work", &["main"]).await;
    assert!(!ok && said.contains("has started anew since this push began"), "{said}");
    assert_eq!(next.active(), 0);
    assert!(test.deployer.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repositories_come_and_go() {
    let test = TestHost::new().await;
    test.host.create_repo(test.app.id).await.unwrap();
    test.host.create_repo(test.app.id).await.unwrap();
    assert_eq!(test.head("refs/heads/main").await, None);
    assert!(test.push("work", &["main"]).await.1);
    test.host.delete_repo(test.app.id).await.unwrap();
    test.host.delete_repo(test.app.id).await.unwrap();
    assert_eq!(test.head("refs/heads/main").await, None);
    assert_eq!(std::fs::read_dir(test.host.repositories().dir()).unwrap().count(), 0);
    assert!(test.push("work", &["main"]).await.1, "made on demand");
}
