//! The second factor, with a phone that counts as RFC 6238 has it: in a browser, over the API as
//! Heroku's client asks, by the command line, and by git.

use crate::support::axe::{Axe, look, look_at};
use crate::support::browser::Browser;
use crate::support::console::{
    ByHand, FORM, HERE, PASSWORD, admin, choose_password, post, sign_in,
};
use crate::support::terminal::Terminal;
use crate::support::{App, Platform, eventually};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use std::time::{SystemTime, UNIX_EPOCH};

/// An app for codes on a phone, which shows none twice.
pub struct Phone {
    secret: Vec<u8>,
    last: u64,
}

impl Phone {
    /// Learns a secret as somebody types it.
    fn new(typed: &str) -> Self {
        let letters = typed.bytes().filter(u8::is_ascii_alphanumeric);
        let values = letters.map(|letter| match letter {
            b'A'..=b'Z' => letter - b'A',
            _ => letter - b'2' + 26,
        });
        let bits: Vec<u8> = values.flat_map(|v| (0..5).rev().map(move |at| v >> at & 1)).collect();
        let bytes = bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |b, bit| b << 1 | bit));
        Self { secret: bytes.collect(), last: 0 }
    }

    /// The code of now; of the half minute after it where that was shown already, which is taken
    /// as well.
    fn code(&mut self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 30;
        self.last = now.max(self.last + 1);
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.secret);
        let tag = hmac::sign(&key, &self.last.to_be_bytes());
        let at = usize::from(tag.as_ref()[19] & 15);
        let number = u32::from_be_bytes(tag.as_ref()[at..at + 4].try_into().unwrap());
        format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
    }
}

/// Has the sign-in page open before anything else is asked for.
fn sign_out(browser: &Browser) {
    browser.click("Sign out");
    browser.sees("E-mail");
}

/// What stands between these words on a page.
fn between<'a>(page: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = page.split_once(before).unwrap_or_else(|| panic!("no {before} in:\n{page}"));
    rest.split_once(after).unwrap().0
}

/// The recovery codes on the page in sight.
fn codes_shown(browser: &Browser) -> Vec<String> {
    let script = "return document.querySelector('pre').innerText";
    let codes = browser.script(script, serde_json::json!([]));
    codes.as_str().unwrap().lines().map(str::to_string).collect()
}

/// Switches it on without a browser: the phone, and the recovery codes.
pub fn switched_on(me: &ByHand) -> (Phone, Vec<String>) {
    let page = me.act("/console/account/second-factor", "").is(200).text();
    let mut phone = Phone::new(between(&page, "<code class=\"secret\">", "</code>"));
    let offer = between(&page, "name=\"offer\" value=\"", "\"");
    let body = format!("offer={offer}&password={PASSWORD}&code={}", phone.code());
    let page = me.act("/console/account/second-factor/on", &body).is(200).text();
    let codes = between(&page, "aria-label=\"Recovery codes\">", "</pre>");
    (phone, codes.lines().map(str::to_string).collect())
}

#[test]
fn a_phone_is_asked_for_in_the_browser_and_a_recovery_code_does_without() {
    let platform = Platform::shared();
    let (email, first) = admin(&platform);
    let (axe, browser) = (Axe::install(), Browser::start(&platform));
    sign_in(&browser, &email, &first);
    choose_password(&browser, &first);
    browser.sees("Your password is changed.");
    browser.goto("/console/account");
    browser.click("Set up a second factor");
    look(&browser, &axe, "second-factor-off", "/console/account/second-factor");
    browser.click("Set up");
    browser.sees("Or type the secret:");
    look_at(&browser, &axe, "second-factor-set-up");
    let secret = "return document.querySelector('.secret').innerText";
    let secret = browser.script(secret, serde_json::json!([]));
    let mut phone = Phone::new(secret.as_str().unwrap());
    browser.fill("Password", PASSWORD);
    browser.fill("Code", "123");
    browser.click("Switch on");
    browser.sees("The code is not right. Look whether the clock of your phone is");
    browser.fill("Password", PASSWORD);
    browser.fill("Code", &phone.code());
    browser.click("Switch on");
    browser.sees("Your second factor is on.");
    look_at(&browser, &axe, "second-factor-codes");
    let codes = codes_shown(&browser);
    assert_eq!(codes.len(), 10);
    look(&browser, &axe, "second-factor-on", "/console/account/second-factor");
    browser.sees("10 recovery codes are left");

    sign_out(&browser);
    browser.goto("/console/account");
    browser.fill("E-mail", &email);
    browser.fill("Password", PASSWORD);
    browser.click("Sign in");
    browser.sees("The six digits that the app on your phone shows");
    look_at(&browser, &axe, "sign-in-code");
    let code = phone.code();
    browser.fill("Code", &code);
    browser.click("Go on");
    browser.sees("A code from your phone is asked for besides your password.");
    assert_eq!(browser.path(), "/console/account");

    sign_out(&browser);
    sign_in(&browser, &email, PASSWORD);
    browser.fill("Code", &code);
    browser.click("Go on");
    browser.sees("it has been used: each is good for once");
    browser.goto("/console/apps");
    browser.sees("Sign in");
    sign_in(&browser, &email, PASSWORD);
    browser.fill("Code", &codes[3].to_uppercase());
    browser.click("Go on");
    browser.sees("New app");
    renewed_and_switched_off(&browser, &codes);
    sign_out(&browser);
    sign_in(&browser, &email, PASSWORD);
    browser.sees("New app");
}

/// The fourth code is used, the fifth buys new ones, and the first of these ends it all.
fn renewed_and_switched_off(browser: &Browser, codes: &[String]) {
    browser.goto("/console/account/second-factor");
    browser.sees("9 recovery codes are left");
    browser.fill("Password", PASSWORD);
    browser.fill("Code", &codes[3]);
    browser.click("Switch off");
    browser.sees("it has been used");
    browser.fill("Password", PASSWORD);
    browser.fill("Code", &codes[4]);
    browser.click("New recovery codes");
    browser.sees("These recovery codes are shown this once.");
    let new = codes_shown(browser);
    assert!(new.len() == 10 && !new.iter().any(|code| codes.contains(code)));
    browser.click("I have kept them");
    browser.click("Change second factor");
    browser.fill("Password", PASSWORD);
    browser.fill("Code", &codes[5]);
    browser.click("Switch off");
    browser.sees("The code is not right");
    browser.fill("Password", PASSWORD);
    browser.fill("Code", &new[0]);
    browser.click("Switch off");
    browser.sees("Your second factor is off.");
}

#[test]
fn a_password_alone_gets_no_token_and_tokens_go_on() {
    let platform = Platform::shared();
    let app = platform.empty_app();
    let me = ByHand::admin(&platform);
    let email = me.email.clone();
    let basic = format!("{email}:{PASSWORD}");
    let basic = STANDARD.encode(basic);
    let basic = format!("Basic {basic}");
    let ask = |code: Option<&str>| {
        let mut headers = vec![("Authorization", basic.as_str())];
        headers.extend(code.map(|code| ("Heroku-Two-Factor-Code", code)));
        platform.api_with("POST", "/oauth/authorizations", &headers, b"{}")
    };
    let before = ask(None).is(201).json();
    let token = format!("Bearer {}", before["access_token"]["token"].as_str().unwrap());
    let account = |token: &str| {
        let reply = platform.api_with("GET", "/account", &[("Authorization", token)], b"");
        reply.is(200).json()["two_factor_authentication"].clone()
    };
    assert_eq!(account(&token), false);
    let how = || me.get(&format!("/console/apps/{}", app.name)).is(200).text();
    assert!(how().contains("asks for your e-mail address and password:"), "{}", how());
    let (mut phone, codes) = switched_on(&me);
    assert!(how().contains("because of your second factor, give it a token"), "{}", how());
    assert_eq!(account(&token), true, "and the token goes on");
    for wrong in [None, Some("000"), Some("not a code")] {
        let reply = ask(wrong).is(403).json();
        assert_eq!(reply["id"], "two_factor", "{reply}");
    }
    ask(Some(&phone.code())).is(201);
    ask(Some(&codes[0])).is(201);
    ask(Some(&codes[0])).is(403);

    let host = platform.url().replace("http://", "");
    let with =
        format!("http://{}:{}@{host}", email.replace('@', "%40"), PASSWORD.replace(' ', "%20"));
    let refused = app.git(&["ls-remote", &format!("{with}/{}.git", app.name)]);
    assert_ne!(refused.status, 0);
    let words = refused.says("use an API token in place of the password").text();
    assert!(!words.contains(PASSWORD), "{words}");

    login_in_a_terminal(&platform, &email, &codes[1]);
    eventually("the audit says what was tried", || {
        let audit = platform.api("GET", "/audit?n=200", None).is(200).json();
        let failed = audit.as_array().unwrap().iter().filter(|entry| {
            let (action, details) = (&entry["action"], &entry["details"]);
            action == "sign-in:fail"
                && details["user"] == email.as_str()
                && details["wrong"] == "code"
        });
        failed.count() == 4
    });

    // For somebody who has lost it all: an admin, or root.
    let users = platform.cli(&["users"]).succeeded().stdout;
    let row = users.lines().find(|line| line.contains(&email)).unwrap();
    assert!(row.contains(" on "), "{users}");
    platform.cli(&["users:2fa:disable", &email]).succeeded();
    ask(None).is(201);
    let (_, _) = switched_on(&me);
    ask(None).is(403);
    let socket = platform.run_dir().join("admin.sock");
    let arguments = ["admin:2fa:disable", &email, "--socket", socket.to_str().unwrap()];
    platform.cli(&arguments).succeeded().says("is off: the password suffices now");
    platform.cli(&arguments).failed(1).says("has no second factor");
    ask(None).is(201);
    a_forgotten_password(&platform, &app, &email);
}

/// Root sets another, with which its owner chooses one, without a browser.
fn a_forgotten_password(platform: &Platform, app: &App, email: &str) {
    let login = |password: &str| {
        let basic = format!("Basic {}", STANDARD.encode(format!("{email}:{password}")));
        platform.api_with("POST", "/oauth/authorizations", &[("Authorization", &basic)], b"{}")
    };
    let socket = platform.run_dir().join("admin.sock");
    let arguments = ["admin:password", email, "--socket", socket.to_str().unwrap()];
    let made = platform.cli(&arguments).succeeded().says("shown this once").stdout;
    login(PASSWORD).is(401);
    assert_eq!(login(made.trim()).is(403).json()["id"], "password_change_required");
    let host = platform.url().replace("http://", "");
    let with = format!("http://{}:{}@{host}", email.replace('@', "%40"), made.trim());
    let refused = app.git(&["ls-remote", &format!("{with}/{}.git", app.name)]);
    assert_ne!(refused.status, 0);
    refused.says("good only for choosing one of your own");

    let new = "another that is long";
    let home = tempfile::tempdir().unwrap();
    let mut command = platform.cli_command();
    command.arg("login").env("HOME", home.path()).current_dir(home.path());
    let mut terminal = Terminal::start(&command, 100, 30);
    for (question, answer) in [
        ("Email: ", email),
        ("Password: ", made.trim()),
        ("New password: ", new),
        ("New password, again: ", new),
    ] {
        terminal.shows(question);
        terminal.types(&format!("{answer}\n"));
    }
    terminal.shows(&format!("Logged in as {email}"));
    assert_eq!(terminal.ended(), 0);
    login(made.trim()).is(401);
    login(new).is(201);
}

/// As somebody does who has no browser.
fn login_in_a_terminal(platform: &Platform, email: &str, code: &str) {
    let home = tempfile::tempdir().unwrap();
    let mut command = platform.cli_command();
    command.arg("login").env("HOME", home.path()).current_dir(home.path());
    let mut terminal = Terminal::start(&command, 100, 30);
    terminal.shows("Email: ");
    terminal.types(&format!("{email}\n"));
    terminal.shows("Password: ");
    terminal.types(&format!("{PASSWORD}\n"));
    terminal.shows("Two-factor code: ");
    terminal.types("000000\n");
    terminal.shows("The code is not right");
    terminal.shows("Two-factor code: ");
    terminal.types(&format!("{code}\n"));
    terminal.shows(&format!("Logged in as {email}"));
    assert_eq!(terminal.ended(), 0);
}

#[test]
fn few_codes_may_be_tried_after_the_password() {
    let platform = Platform::shared();
    let me = ByHand::admin(&platform);
    let (mut phone, _) = switched_on(&me);
    let body = format!("email={}&password={PASSWORD}", me.email);
    let reply = post(&platform, "/console/sign-in", &[HERE, FORM], &body).is(303);
    assert_eq!(reply.header("location"), "/console/sign-in/code?to=%2Fconsole%2Fapps");
    let half = reply.header("set-cookie").to_string();
    assert!(
        half.starts_with("senryu_half=") && half.contains("; HttpOnly; SameSite=Lax"),
        "{half}"
    );
    let half = half.split(';').next().unwrap();
    let with = |cookie: &str, code: &str| {
        let headers = [HERE, FORM, ("Cookie", cookie)];
        post(&platform, "/console/sign-in/code", &headers, &format!("code={code}"))
    };
    // Half a sign-in is none, under whatever name it comes, and neither is a session's cookie half.
    for cookie in [half.to_string(), half.replace("senryu_half", "senryu_session")] {
        let mut connection = platform.connection();
        let headers = [("Cookie", cookie.as_str())];
        connection.request("GET", "localhost", "/console/account", &headers, b"").unwrap().is(303);
    }
    for odd in ["", "senryu_half=", &me.cookie, &me.cookie.replace("senryu_session", "senryu_half")]
    {
        assert_eq!(with(odd, &phone.code()).is(303).header("location"), "/console/sign-in");
    }
    for _ in 0..5 {
        with(half, "000000").is(422);
    }
    let page = with(half, &phone.code()).is(429).text();
    assert!(page.contains("Too many attempts. Try again in"), "{page}");

    // Somebody else, who is an admin, switches it off; one's own takes password and code.
    let boss = ByHand::admin(&platform);
    let users = platform.api("GET", "/users", None).is(200).json();
    let id = |email: &str| {
        let found = users.as_array().unwrap().iter().find(|user| user["email"] == email);
        format!("user={}", found.unwrap()["id"].as_str().unwrap())
    };
    let reset = "/console/people/second-factor";
    let own = me.act(reset, &id(&me.email)).is(422).text();
    assert!(own.contains("Your own second factor is on your account"), "{own}");
    assert!(boss.get("/console/people").text().contains(&format!("Change {}", me.email)));
    boss.act(reset, &id(&me.email)).is(303);
    boss.act(reset, &id(&me.email)).is(422);
    let reply = post(&platform, "/console/sign-in", &[HERE, FORM], &body).is(303);
    assert_eq!(reply.header("location"), "/console/apps");
}
