//! Tries from inside a container, in the dynos' network, what no dyno may do. The container is a
//! throwaway: Docker removes it as soon as it has ended.

use super::Finding;
use crate::cli::socket;
use crate::config::ServerSettings;
use crate::limits;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;

/// Each try sets one bit of the exit status. `PORT` is one where doctor itself listens, on every
/// address of this machine.
const SCRIPT: &str = r#"
code=0
open() { timeout 2 bash -c "exec 3<>/dev/tcp/$1/$2" 2>/dev/null; }
open 169.254.169.254 80 & metadata=$!
gateway=$(ip route 2>/dev/null | sed -n 's/^default via \([0-9.]*\).*/\1/p')
open "${gateway:-127.0.0.1}" "$PORT" & host=$!
! wait $metadata || code=$((code + 1))
! wait $host || code=$((code + 2))
for socket in /run/senryu/*.sock /run/docker.sock /var/run/docker.sock; do
  [ ! -S "$socket" ] || code=$((code | 4))
done
[ "$(id -u)" != 0 ] || code=$((code + 8))
! mount -t tmpfs none /tmp 2>/dev/null || code=$((code + 16))
exit $code
"#;

/// What each bit would mean.
const TRIES: [(i64, &str); 5] = [
    (1, "169.254.169.254 answers: clouds give out credentials there"),
    (2, "a port of this machine answers"),
    (4, "a control socket is there"),
    (8, "it runs as root"),
    (16, "it may mount"),
];

pub(super) async fn probe(settings: &ServerSettings, installation: &str) -> Vec<Finding> {
    let what = "isolation";
    match tried(settings, installation).await {
        Ok(Some(code)) => {
            let found: Vec<&str> =
                TRIES.iter().filter(|(bit, _)| code & bit != 0).map(|(_, text)| *text).collect();
            vec![match (found.is_empty(), code > 31) {
                (true, false) => Finding::ok(
                    what,
                    "a container reaches neither metadata, nor this machine's ports, nor a \
                     control socket, and has no rights",
                ),
                (_, true) => Finding::warn(
                    what,
                    format!("the probe ended with status {code}"),
                    "make the stack again: scripts/stack --force",
                ),
                (false, false) => Finding::fail(
                    what,
                    format!("from inside a container: {}", found.join("; ")),
                    "restart the server, which puts its firewall rules back; then ask again",
                ),
            }]
        }
        // Without the network, or the image: that has been said.
        Ok(None) => Vec::new(),
        Err(message) => {
            let mend = "restart the Docker engine; then ask again";
            vec![Finding::warn(what, format!("the probe could not run: {message}"), mend)]
        }
    }
}

/// The script's exit status; `None` where there is nothing to try it with.
async fn tried(settings: &ServerSettings, installation: &str) -> Result<Option<i64>, String> {
    let listener = TcpListener::bind("0.0.0.0:0").await.map_err(|error| error.to_string())?;
    let port = listener.local_addr().map_err(|error| error.to_string())?.port();
    let network = format!("senryu-{installation}");
    let spec = json!({
        "Image": settings.run_image,
        "Entrypoint": [],
        "Cmd": ["/bin/bash", "-c", SCRIPT],
        "Env": [format!("PORT={port}")],
        "User": "1000:1000",
        "Labels": { "senryu.installation": installation, "senryu.kind": "doctor" },
        "HostConfig": {
            "AutoRemove": true,
            "NetworkMode": network,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "Memory": 128 << 20,
            "PidsLimit": 64,
        },
    });
    let engine = &settings.docker_socket;
    let ask = async |path: String, body: Option<&Value>| {
        let asked = socket::send(engine, &path, body).await;
        asked.map_err(|failure| failure.to_string())
    };
    let (status, _) = ask(format!("/networks/{network}"), None).await?;
    if status != 200 {
        return Ok(None);
    }
    let (status, made) = ask("/containers/create".to_string(), Some(&spec)).await?;
    if status == 404 {
        return Ok(None);
    }
    let Some(id) = made.get("Id").and_then(Value::as_str).filter(|_| status == 201) else {
        return Err(format!("Docker answers HTTP {status}"));
    };
    let nothing = json!({});
    let ended = ask(format!("/containers/{id}/wait?condition=removed"), Some(&nothing));
    let started = ask(format!("/containers/{id}/start"), Some(&nothing));
    let both = async { tokio::join!(ended, started) };
    match timeout(limits::DOCTOR_PROBE, both).await {
        Ok((Ok((200, ended)), Ok((204, _)))) => Ok(ended.get("StatusCode").and_then(Value::as_i64)),
        Ok((_, Ok((status, answer)))) if status != 204 => {
            let said = answer.get("message").and_then(Value::as_str).unwrap_or_default();
            Err(format!("Docker answers HTTP {status}: {said}"))
        }
        Ok((ended, started)) => {
            let told = [ended.err(), started.err()].into_iter().flatten().next();
            Err(told.unwrap_or_else(|| "Docker does not say how it ended".to_string()))
        }
        Err(_) => Err("it does not end".to_string()),
    }
}
