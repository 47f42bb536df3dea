//! Who somebody is: logged in, found again, logged out, and no secret told to strangers.

use super::*;

#[tokio::test]
async fn a_token_is_saved_given_to_git_and_forgotten() {
    let mut stage = Stage::new(|asked, _| match asked.header("authorization") {
        "Bearer secret" => match asked.line().as_str() {
            "GET /account" => ok(json!({"email": "me@example.com"})),
            "DELETE /oauth/authorizations/~" => ok(json!({})),
            _ => missing(),
        },
        _ => Reply::Json(401, json!({"id": "unauthorized", "message": "Invalid credentials."})),
    })
    .await;
    let done = stage.run_with(&["login", "--token-stdin"], "secret\n").await;
    assert!(done.status == 1 && done.err.contains("SENRYU_API_KEY"), "{}", done.err);
    stage.vars.retain(|(name, _)| *name != "SENRYU_API_KEY");
    let done = stage.run(&["whoami"]).await;
    assert_eq!(done.status, 1);
    assert!(done.err.starts_with(" ›   Error: not logged in\n"), "{}", done.err);
    let done = stage.run_with(&["login", "--token-stdin"], "wrong\n").await;
    assert_eq!(done.status, 1, "{}", done.err);
    let done = stage.run(&["login"]).await;
    assert!(done.status == 1 && done.err.contains("--token-stdin"), "{}", done.err);

    let done = stage.run_with(&["login", "--token-stdin"], "secret\n").await;
    assert_eq!((done.status, done.out.as_str()), (0, "Logged in as me@example.com\n"));
    assert_eq!(stage.run(&["auth:whoami"]).await.out, "me@example.com\n");
    assert_eq!(stage.run(&["auth", "token"]).await.out, "secret\n");
    let helper = std::fs::read_to_string(stage.home.path().join(".gitconfig")).unwrap();
    assert!(helper.contains(&stage.url) && helper.contains("git:credentials"), "{helper}");

    let host = stage.url.strip_prefix("http://").unwrap().to_string();
    let question: &'static str = format!("protocol=http\nhost={host}\n\n").leak();
    let done = stage.run_with(&["git:credentials", "get"], question).await;
    let answer = format!("protocol=http\nhost={host}\nusername=senryu\npassword=secret\n");
    assert_eq!(done.out, answer);
    let other = "protocol=https\nhost=example.com\n\n";
    assert_eq!(stage.run_with(&["git:credentials", "get"], other).await.out, "");
    assert_eq!(stage.run_with(&["git:credentials", "erase"], question).await.status, 0);

    let done = stage.run(&["logout"]).await;
    assert_eq!((done.status, done.err.as_str()), (0, "Logging out... done\n"));
    assert!(stage.lines().contains(&"DELETE /oauth/authorizations/~".to_string()));
    assert_eq!(stage.run(&["auth:token"]).await.status, 1);
    let helper = std::fs::read_to_string(stage.home.path().join(".gitconfig")).unwrap();
    assert!(!helper.contains("git:credentials"), "{helper}");
}

#[tokio::test]
async fn a_password_is_changed_from_two_lines_of_input() {
    let stage = Stage::new(|asked, _| match asked.line().as_str() {
        "PATCH /account" => ok(json!({"email": "me@example.com"})),
        _ => missing(),
    })
    .await;
    let done = stage.run_with(&["auth:password", "--stdin"], "the old\nthe new one\n").await;
    assert_eq!((done.status, done.err.as_str()), (0, "Changing your password... done\n"));
    let body = stage.last("PATCH /account").body;
    assert_eq!(body, json!({"password": "the old", "new_password": "the new one"}));
    for input in ["one line\n", "a\nb\nc\n"] {
        let done = stage.run_with(&["auth:password", "--stdin"], input).await;
        assert!(done.status == 1 && done.err.contains("two lines"), "{}", done.err);
    }
    let done = stage.run(&["auth:password"]).await;
    assert!(done.status == 1 && done.err.contains("auth:password --stdin"), "{}", done.err);
}

#[tokio::test]
async fn a_login_is_found_again_however_the_url_is_written() {
    let mut stage = Stage::new(|asked, _| match asked.header("authorization") {
        "Bearer secret" => ok(json!({"email": "me@example.com"})),
        _ => Reply::Json(401, json!({"id": "unauthorized", "message": "Invalid credentials."})),
    })
    .await;
    let written = stage.url.replace("http", "HTTP") + "/";
    stage.vars = vec![("SENRYU_URL", written)];
    let done = stage.run_with(&["login", "--token-stdin"], "secret\n").await;
    assert_eq!(done.status, 0, "{}", done.err);
    let done = stage.run(&["whoami"]).await;
    assert_eq!((done.status, done.out.as_str()), (0, "me@example.com\n"), "{}", done.err);
}

#[tokio::test]
async fn no_secret_crosses_a_network_in_the_clear() {
    let mut stage = Stage::new(|_, _| missing()).await;
    let url = "http://192.0.2.7:5757";
    stage.vars[0].1 = url.to_string();
    let done = stage.run(&["apps"]).await;
    assert_eq!(done.status, 1);
    for part in ["in the clear to http://192.0.2.7:5757", "https://", "SENRYU_INSECURE=1"] {
        assert!(done.err.contains(part), "{}", done.err);
    }
    // Git would ask for the password in its place and send that.
    let question = "protocol=http\nhost=192.0.2.7:5757\n\n";
    let done = stage.run_with(&["git:credentials", "get"], question).await;
    assert_eq!(done.out, "quit=1\n");
    assert!(done.err.contains("in the clear"), "{}", done.err);

    stage.vars.retain(|(name, _)| *name == "SENRYU_URL");
    let done = stage.run_with(&["login", "--token-stdin"], "secret\n").await;
    assert!(done.status == 1 && done.err.contains("in the clear"), "{}", done.err);
    let client = Client::new(url).unwrap();
    assert!(client.may_log_in().is_err() && client.in_clear(true).may_log_in().is_ok());
    assert!(Client::new("https://192.0.2.7").unwrap().may_log_in().is_ok());
}

#[tokio::test]
async fn a_logout_that_revokes_nothing_says_that_the_token_lives() {
    let mut stage = Stage::new(|_, _| missing()).await;
    stage.vars = vec![("SENRYU_URL", "http://192.0.2.7:5757".to_string())];
    let env = Env::for_tests(stage.home.path(), &[]);
    let mut saved = credentials::Credentials::default();
    let (email, token) = ("me@example.com".to_string(), "secret".to_string());
    let login = credentials::Saved { email, token, authorization: None };
    saved.set("http://192.0.2.7:5757", login);
    saved.save(&env).unwrap();
    let done = stage.run(&["logout"]).await;
    assert!(done.err.contains("The server still knows the token"), "{}", done.err);
}
