//! Debian's Chromium, driven over WebDriver by what a person sees: labels, texts, a mouse.

use super::process;
use super::wait::until;
use super::{Connection, Platform};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Well over what a page takes on a machine that compiles something else.
const LIMIT: Duration = Duration::from_secs(60);
/// Keys, as WebDriver names them.
pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";
pub const UP: &str = "\u{e013}";
/// How WebDriver names a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// What things are called: by the name that they show or that is read out.
const NAMES: &str = "const [label] = arguments;
    const said = (label) => {
      const copy = label?.cloneNode(true);
      copy?.querySelectorAll('select').forEach((choices) => choices.remove());
      return copy?.textContent;
    };
    const name = (e) => (e.getAttribute('aria-label') || said(e.labels?.[0]) || e.innerText
      || e.value || '').trim();";
/// What somebody could use by a name.
const FIND: &str = "
    return [...document.querySelectorAll('a, button, summary, input, select, textarea')]
      .find((e) => e.checkVisibility() && name(e) === label) ?? null;";
/// Whether what has the focus has that name.
const IS_THERE: &str = "return name(document.activeElement) === label;";

/// Where pictures go, if somebody wants some.
pub fn pictures() -> Option<PathBuf> {
    let dir = std::env::var_os("SENRYU_SCREENSHOTS").map(PathBuf::from)?;
    std::fs::create_dir_all(&dir).unwrap();
    Some(dir)
}

pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    profile: TempDir,
    base: String,
}

impl Browser {
    /// A new browser without a past, for pages of this platform.
    pub fn start(platform: &Platform) -> Self {
        let profile = tempfile::Builder::new().prefix("senryu-browser-").tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={}", address.port()))
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("chromedriver: scripts/test installs the package chromium-driver");
        let base = platform.url();
        let session = String::new();
        let mut browser = Self { driver, address, session, profile, base };
        until("chromedriver listens", LIMIT, || Connection::open(address).ok());
        let data = format!("--user-data-dir={}", browser.profile.path().join("data").display());
        let arguments = json!([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-proxy-server",
            "--no-first-run",
            "--force-device-scale-factor=1",
            "--window-size=1280,900",
            data,
        ]);
        let chrome = json!({ "binary": "/usr/bin/chromium", "args": arguments });
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": chrome,
        }}});
        let made = browser.send("POST", "/session", wanted).unwrap_or_else(|text| panic!("{text}"));
        browser.session = made["sessionId"].as_str().unwrap().to_string();
        browser
    }

    fn send(&self, method: &str, path: &str, body: Value) -> Result<Value, String> {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let headers = [("Content-Type", "application/json")];
        let reply = Connection::open(self.address)
            .and_then(|mut c| c.request(method, "127.0.0.1", path, &headers, body.as_bytes()))
            .map_err(|error| error.to_string())?;
        let mut answer = reply.json();
        let value = answer["value"].take();
        if reply.status == 200 { Ok(value) } else { Err(value["message"].to_string()) }
    }

    #[track_caller]
    fn call(&self, method: &str, path: &str, body: Value) -> Value {
        let path = format!("/session/{}{path}", self.session);
        self.send(method, &path, body).unwrap_or_else(|text| panic!("{method} {path}: {text}"))
    }

    /// Opens a page of the platform, such as `/console/apps`.
    #[track_caller]
    pub fn goto(&self, path: &str) {
        self.call("POST", "/url", json!({ "url": format!("{}{path}", self.base) }));
    }

    /// The path of the page that is open.
    #[track_caller]
    pub fn path(&self) -> String {
        let url = self.call("GET", "/url", Value::Null);
        url.as_str().unwrap().trim_start_matches(&self.base).to_string()
    }

    #[track_caller]
    pub fn script(&self, script: &str, arguments: Value) -> Value {
        self.call("POST", "/execute/sync", json!({ "script": script, "args": arguments }))
    }

    /// What the page says.
    #[track_caller]
    pub fn text(&self) -> String {
        let text = self.script("return document.body.innerText", json!([]));
        text.as_str().unwrap().to_string()
    }

    /// Waits until the page says these words.
    #[track_caller]
    pub fn sees(&self, words: &str) {
        let mut text = String::new();
        let deadline = std::time::Instant::now() + LIMIT;
        while std::time::Instant::now() < deadline {
            // While the page changes there may be none to read.
            let script = json!({ "script": "return document.body.innerText", "args": [] });
            let path = format!("/session/{}/execute/sync", self.session);
            if let Ok(Value::String(now)) = self.send("POST", &path, script) {
                text = now;
            }
            if text.contains(words) {
                return;
            }
            super::wait::pause();
        }
        panic!("{words:?} does not appear on {}:\n{text}", self.path());
    }

    #[track_caller]
    fn find(&self, label: &str) -> String {
        let what = format!("{label:?} on {}", self.path());
        until(&what, LIMIT, || {
            let found = self.script(&format!("{NAMES}{FIND}"), json!([label]));
            found[ELEMENT].as_str().map(str::to_string)
        })
    }

    /// Clicks with the mouse on what shows this name.
    #[track_caller]
    pub fn click(&self, label: &str) {
        self.on(label, "click", &[("click", json!({}))]);
    }

    /// Types into the field of this name, in place of what is there.
    #[track_caller]
    pub fn fill(&self, label: &str, text: &str) {
        self.on(label, "fill", &[("clear", json!({})), ("value", json!({ "text": text }))]);
    }

    /// Chooses one of the choices of this name.
    #[track_caller]
    pub fn choose(&self, label: &str, choice: &str) {
        self.on(label, "choose", &[("value", json!({ "text": choice }))]);
    }

    /// Presses keys one after the other, whatever has the focus.
    #[track_caller]
    pub fn press(&self, keys: &str) {
        let strokes = keys.chars().flat_map(|key| {
            ["keyDown", "keyUp"].map(|what| json!({ "type": what, "value": key.to_string() }))
        });
        let strokes: Vec<Value> = strokes.collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        self.call("POST", "/actions", json!({ "actions": [keyboard] }));
    }

    /// Goes from one thing to the next by Tab, until what has the focus shows this name.
    #[track_caller]
    pub fn tab_to(&self, label: &str) {
        for _ in 0..100 {
            self.press(TAB);
            if self.script(&format!("{NAMES}{IS_THERE}"), json!([label])) == true {
                return;
            }
        }
        panic!("no Tab leads to {label:?} on {}", self.path());
    }

    /// Another page of the same browser, in sight instead of the one before; which that one was.
    #[track_caller]
    pub fn open_tab(&self) -> String {
        let before = self.call("GET", "/window", Value::Null).as_str().unwrap().to_string();
        let opened = self.call("POST", "/window/new", json!({ "type": "tab" }));
        self.switch_to(opened["handle"].as_str().unwrap());
        before
    }

    #[track_caller]
    pub fn switch_to(&self, tab: &str) {
        self.call("POST", "/window", json!({ "handle": tab }));
    }

    /// A numbered picture of the page as it is, if somebody wants pictures.
    pub fn record(&self, name: &str, number: &mut u32, what: &str) {
        *number += 1;
        if let Some(dir) = pictures() {
            self.screenshot(&dir.join(format!("{name}-{number:02}-{what}.png")));
        }
    }

    /// Does these things to what shows a name; again where the page has just put another in its
    /// place.
    #[track_caller]
    fn on(&self, label: &str, what: &str, steps: &[(&str, Value)]) {
        let deadline = std::time::Instant::now() + LIMIT;
        loop {
            let element = self.find(label);
            let done = steps.iter().try_for_each(|(step, body)| {
                let path = format!("/session/{}/element/{element}/{step}", self.session);
                self.send("POST", &path, body.clone()).map(|_| ())
            });
            let Err(why) = done else { return };
            assert!(std::time::Instant::now() < deadline, "{what} {label:?}: {why}");
            super::wait::pause();
        }
    }

    /// A command of the DevTools, for what WebDriver has no word.
    #[track_caller]
    pub fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.call("POST", "/goog/cdp/execute", body)
    }

    /// Pages that are opened from now on run no script of theirs, as where somebody has switched
    /// that off; what a test asks of them is another matter.
    pub fn without_scripts(&self) {
        self.devtools("Emulation.setScriptExecutionDisabled", json!({ "value": true }));
    }

    /// Whether something on the page can be used by this name.
    #[track_caller]
    pub fn has(&self, label: &str) -> bool {
        self.script(&format!("{NAMES}{FIND}"), json!([label])) != Value::Null
    }

    /// Light or dark, as the person's system is set.
    pub fn scheme(&self, name: &str) {
        let feature = json!([{ "name": "prefers-color-scheme", "value": name }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": feature }));
    }

    /// How large the page is, in its own pixels.
    pub fn size(&self, width: u32, height: u32) {
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false }),
        );
    }

    /// The whole page as a picture.
    pub fn screenshot(&self, file: &Path) {
        use base64::Engine as _;
        let wanted = json!({ "format": "png", "captureBeyondViewport": true });
        let picture = self.devtools("Page.captureScreenshot", wanted);
        let text = picture["data"].as_str().unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        std::fs::write(file, bytes).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = self.send("DELETE", &format!("/session/{}", self.session), Value::Null);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        for pid in process::find(&[self.profile.path().to_str().unwrap()]) {
            process::signal(pid, Signal::SIGKILL);
        }
    }
}
