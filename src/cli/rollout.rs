//! Waiting until traffic has switched to a release, or until it is known that it won't. The API
//! answers a change at once; this is what lets a command return when the change is real.

use super::Cx;
use super::client::{number, segment, text};
use super::failure::{Failure, Result};
use crate::limits;
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// What the server says about an app's dynos on their way to its current release.
#[derive(Debug, PartialEq, Eq)]
pub struct Rollout {
    pub state: State,
    pub message: String,
    /// Version of the current release.
    pub current: Option<i64>,
    /// Version of the release that has the traffic.
    pub serving: Option<i64>,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum State {
    Settled,
    Converging,
    Failing,
}

impl Rollout {
    fn from_json(value: &Value) -> Result<Self> {
        let state = match text(value, "/state") {
            "settled" => State::Settled,
            "converging" => State::Converging,
            "failing" => State::Failing,
            other => {
                return Err(Failure::refused(format!("The server told of a state {other:?}")));
            }
        };
        Ok(Self {
            state,
            message: text(value, "/message").to_string(),
            current: number(value, "/release/version"),
            serving: number(value, "/serving/version"),
        })
    }
}

/// Asks once. The server answers when there is something to tell, at the latest after `wait`. A
/// restart of the server meanwhile is borne; `None` comes from a server that does not know of
/// roll-outs.
pub async fn ask(cx: &Cx, app: &str, wait: Duration) -> Result<Option<Rollout>> {
    let seconds = wait.as_secs().min(limits::ROLLOUT_POLL_SECONDS);
    let path = format!("/apps/{}/rollout?wait={seconds}", segment(app));
    let until = Instant::now() + limits::CLIENT_PATIENCE.max(wait);
    loop {
        match cx.client.get(&path).await {
            Ok(value) => return Rollout::from_json(&value).map(Some),
            Err(failure) if failure.is_api(404) => return Ok(None),
            Err(failure) => match is_passing(&failure) && Instant::now() < until {
                true => tokio::time::sleep(limits::CLIENT_RETRY_PAUSE).await,
                false => return Err(failure),
            },
        }
    }
}

/// Whether the server may be back in a moment.
fn is_passing(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable { .. } => true,
        Failure::Api { status, .. } => matches!(status, 500 | 502 | 503 | 504),
        _ => false,
    }
}

/// Waits until the dynos are as wanted; with a version, until that release (or a newer one) has
/// the traffic.
pub async fn settle(cx: &Cx, app: &str, version: Option<i64>) -> Result {
    let until = Instant::now() + limits::ROLLOUT_PATIENCE;
    loop {
        let wait = Duration::from_secs(limits::ROLLOUT_POLL_SECONDS);
        let Some(rollout) = ask(cx, app, wait).await? else { return Ok(()) };
        match verdict(&rollout, version) {
            Verdict::Done => return Ok(()),
            Verdict::Failed => return Err(failed(app, &rollout)),
            Verdict::Behind(version) => released(cx, app, version).await?,
            Verdict::Wait => {}
        }
        if Instant::now() >= until {
            return Err(Failure::with_hint(
                format!(
                    "Still waiting for the dynos of ⬢ {app} after {} s",
                    limits::ROLLOUT_PATIENCE.as_secs()
                ),
                format!("`senryu releases:wait -a {app}` goes on waiting."),
            ));
        }
        tokio::time::sleep(limits::ROLLOUT_PAUSE).await;
    }
}

enum Verdict {
    Done,
    Failed,
    Wait,
    /// Settled, but on an older release than the one that was asked for.
    Behind(i64),
}

fn verdict(rollout: &Rollout, version: Option<i64>) -> Verdict {
    match (rollout.state, version) {
        (State::Failing, _) => Verdict::Failed,
        (State::Converging, _) => Verdict::Wait,
        (State::Settled, Some(version)) if rollout.current.is_some_and(|now| now < version) => {
            Verdict::Behind(version)
        }
        (State::Settled, _) => Verdict::Done,
    }
}

fn failed(app: &str, rollout: &Rollout) -> Failure {
    let which =
        rollout.current.map_or(String::from("The release"), |version| format!("v{version}"));
    let message = match rollout.message.as_str() {
        "" => format!("{which} of ⬢ {app} does not come up"),
        message => message.to_string(),
    };
    let hint = match rollout.serving {
        Some(version) => format!("v{version} serves on. `senryu logs -a {app}` says more."),
        None => format!("`senryu logs -a {app}` says more."),
    };
    Failure::with_hint(message, hint)
}

/// A release that is not current yet: its release phase runs, or has failed.
async fn released(cx: &Cx, app: &str, version: i64) -> Result {
    let release = cx.client.get(&format!("/apps/{}/releases/{version}", segment(app))).await?;
    match text(&release, "/status") {
        "failed" => Err(Failure::with_hint(
            format!("v{version} of ⬢ {app} failed in its release phase"),
            format!("`senryu releases:output v{version} -a {app}` shows why."),
        )),
        _ => Ok(()),
    }
}

/// The newest release's version; none before the first one.
pub async fn last_version(cx: &Cx, app: &str) -> Result<Option<i64>> {
    let path = format!("/apps/{}/releases", segment(app));
    let releases = cx.client.get_range(&path, "version ..; order=desc,max=1").await?;
    Ok(releases.first().and_then(|release| number(release, "/version")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_rollout_is_read_with_and_without_releases() {
        let full = json!({"state": "failing", "message": "web.1 crashed", "elapsed_ms": 3,
            "release": {"version": 4}, "serving": {"version": 3}});
        let rollout = Rollout::from_json(&full).unwrap();
        assert_eq!((rollout.state, rollout.current), (State::Failing, Some(4)));
        let page = failed("shop", &rollout).page().unwrap();
        assert!(page.contains("web.1 crashed") && page.contains("v3 serves on"), "{page}");

        let bare = json!({"state": "settled", "message": null, "release": null, "serving": null});
        let rollout = Rollout::from_json(&bare).unwrap();
        assert!(matches!(verdict(&rollout, Some(3)), Verdict::Done));
        assert!(Rollout::from_json(&json!({"state": "odd"})).is_err());
    }

    #[test]
    fn settled_on_an_older_release_is_not_the_end() {
        let at = |current| Rollout {
            state: State::Settled,
            message: String::new(),
            current: Some(current),
            serving: Some(current),
        };
        assert!(matches!(verdict(&at(3), Some(4)), Verdict::Behind(4)));
        assert!(matches!(verdict(&at(4), Some(4)), Verdict::Done));
        assert!(matches!(verdict(&at(5), Some(4)), Verdict::Done));
    }
}
