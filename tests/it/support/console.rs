//! People at the console: admins who have just been made, in a browser or by hand.

use super::browser::Browser;
use super::{Connection, Platform, Reply};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

pub const PASSWORD: &str = "four random words here";

/// A new admin of the platform: e-mail address and first password.
pub fn admin(platform: &Platform) -> (String, String) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let email = format!("admin-{}@example.com", NUMBER.fetch_add(1, Ordering::Relaxed));
    let socket = platform.run_dir().join("admin.sock");
    let made = platform.cli(&["admin:create", &email, "--socket", socket.to_str().unwrap()]);
    (email, made.succeeded().stdout.trim().to_string())
}

pub fn sign_in(browser: &Browser, email: &str, password: &str) {
    browser.goto("/");
    browser.fill("E-mail", email);
    browser.fill("Password", password);
    browser.click("Sign in");
}

/// Signs a new admin in, who has chosen a password.
pub fn signed_in(platform: &Platform) -> Browser {
    let browser = Browser::start(platform);
    let (email, first) = admin(platform);
    sign_in(&browser, &email, &first);
    choose_password(&browser, &first);
    browser.sees("Your password is changed.");
    browser
}

pub fn choose_password(browser: &Browser, first: &str) {
    browser.fill("Current password", first);
    browser.fill("New password", PASSWORD);
    browser.fill("New password, once more", PASSWORD);
    browser.click("Change password");
}

/// Somebody at the console without a browser: a cookie, and the token of its forms.
pub struct ByHand {
    platform: Arc<Platform>,
    pub email: String,
    pub cookie: String,
    pub token: String,
}

pub const HERE: (&str, &str) = ("Sec-Fetch-Site", "same-origin");
pub const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

impl ByHand {
    pub fn admin(platform: &Arc<Platform>) -> Self {
        let (email, first) = admin(platform);
        Self::sign_in(platform, &email, &first)
    }

    pub fn sign_in(platform: &Arc<Platform>, email: &str, first: &str) -> Self {
        let body = format!("email={email}&password={first}");
        let reply = post(platform, "/console/sign-in", &[HERE, FORM], &body).is(303);
        let cookie = reply.header("set-cookie").split(';').next().unwrap().to_string();
        let mut me = Self {
            platform: platform.clone(),
            email: email.to_string(),
            cookie,
            token: String::new(),
        };
        me.token = me.token_of("/console/password");
        let body = format!("current={first}&new={PASSWORD}&again={PASSWORD}");
        me.act("/console/password", &body).is(303);
        me
    }

    pub fn get(&self, path: &str) -> Reply {
        let headers = [("Cookie", self.cookie.as_str())];
        self.platform.connection().request("GET", "localhost", path, &headers, b"").unwrap()
    }

    pub fn token_of(&self, path: &str) -> String {
        let text = self.get(path).is(200).text();
        let (_, rest) = text.split_once("name=\"token\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_string()
    }

    /// Sends a form as a page would.
    pub fn act(&self, path: &str, body: &str) -> Reply {
        self.send(path, &[HERE], &format!("token={}&{body}", self.token))
    }

    pub fn send(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut all = vec![FORM, ("Cookie", self.cookie.as_str())];
        all.extend(headers);
        post(&self.platform, path, &all, body)
    }
}

pub fn post(platform: &Platform, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut connection: Connection = platform.connection();
    connection.request("POST", "localhost", path, headers, body.as_bytes()).unwrap()
}
