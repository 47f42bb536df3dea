//! Tries from inside a container, in the dynos' network and with the rights that a dyno has, what
//! no dyno may do. The container is a throwaway: Docker removes it as soon as it has ended.

use super::{Finding, docker, host};
use crate::cli::client::segment;
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
timeout 5 getent hosts "$NAME" >/dev/null & names=$!
open 169.254.169.254 80 & metadata=$!
gateway=$(ip route 2>/dev/null | sed -n 's/^default via \([0-9.]*\).*/\1/p')
open "${gateway:-127.0.0.1}" "$PORT" & host=$!
open "${DYNO:-127.0.0.1}" "${DYNO_PORT:-1}" & dyno=$!
! wait $metadata || code=$((code + 1))
! wait $host || code=$((code + 2))
! wait $dyno || code=$((code | 64))
for socket in /run/senryu/*.sock /run/docker.sock /var/run/docker.sock; do
  [ ! -S "$socket" ] || code=$((code | 4))
done
wait $names || code=$((code | 32))
raw='use Socket; exit !socket(my $s, PF_INET, SOCK_RAW, 1)'
if [ "$(id -u)" = 0 ] || perl -e "$raw" 2>/dev/null; then code=$((code | 8)); fi
! mount -t tmpfs none /tmp 2>/dev/null || code=$((code + 16))
exit $code
"#;

/// A name that the whole internet knows.
const NAME: &str = "example.com";

/// The bit of a name that does not resolve, which is no matter of isolation.
const NO_NAMES: i64 = 32;

/// What each bit would mean.
const TRIES: [(i64, &str); 6] = [
    (1, "169.254.169.254 answers: clouds give out credentials there"),
    (2, "a port of this machine answers"),
    (4, "a control socket is there"),
    (8, "it runs as root, or may open raw sockets"),
    (16, "it may mount"),
    (64, "the dyno of an app answers it"),
];

pub(super) async fn probe(settings: &ServerSettings, installation: &str) -> Vec<Finding> {
    let what = "isolation";
    match tried(settings, installation).await {
        Ok(Some(code)) => {
            let found: Vec<&str> =
                TRIES.iter().filter(|(bit, _)| code & bit != 0).map(|(_, text)| *text).collect();
            let names = names(code & NO_NAMES == 0, host::resolved(NAME).await.is_some());
            let isolation = match (found.is_empty(), code > 127) {
                (true, false) => Finding::ok(
                    what,
                    "a container reaches neither metadata, nor this machine's ports, nor a \
                     dyno, nor a control socket, and has no rights",
                ),
                (_, true) => Finding::warn(
                    what,
                    format!("the probe ended with status {code}"),
                    "make the stack again: scripts/stack --force",
                ),
                (false, false) => Finding::fail(
                    what,
                    format!("from inside a container: {}", found.join("; ")),
                    "systemctl restart senryu, which puts its firewall rules back",
                ),
            };
            vec![isolation, names]
        }
        // Without the network, or the image: that has been said.
        Ok(None) => Vec::new(),
        Err(message) => {
            let message = format!("the probe could not run: {message}");
            vec![Finding::warn(what, message, docker::RESTART)]
        }
    }
}

/// Whether builds and dynos find anything by its name.
fn names(in_containers: bool, here: bool) -> Finding {
    let what = "names in containers";
    let message = "names do not resolve in containers: builds and dynos find nothing by its name, \
                   unless a proxy does so for them";
    match (in_containers, here) {
        (true, _) => Finding::ok(what, "resolve"),
        (false, true) => Finding::warn(
            what,
            message,
            "set \"dns\": [\"ADDRESS\"] in /etc/docker/daemon.json, then: systemctl restart docker",
        ),
        (false, false) => Finding::warn(
            what,
            format!("{message}, nor on this machine"),
            "echo 'nameserver ADDRESS' >>/etc/resolv.conf, then: systemctl restart docker",
        ),
    }
}

/// The script's exit status; `None` where there is nothing to try it with.
async fn tried(settings: &ServerSettings, installation: &str) -> Result<Option<i64>, String> {
    let listener = TcpListener::bind("0.0.0.0:0").await.map_err(|error| error.to_string())?;
    let port = listener.local_addr().map_err(|error| error.to_string())?.port();
    let network = format!("senryu-{installation}");
    let engine = &settings.docker_socket;
    let ask = async |path: String, body: Option<&Value>| {
        let asked = socket::send(engine, &path, body).await;
        asked.map_err(|failure| failure.to_string())
    };
    let (status, _) = ask(format!("/networks/{network}"), None).await?;
    if status != 200 {
        return Ok(None);
    }
    let filters = json!({
        "label": [format!("senryu.installation={installation}"), "senryu.kind=dyno"],
        "network": [network],
        "status": ["running"],
    });
    let filters = segment(&filters.to_string());
    let (_, dynos) = ask(format!("/containers/json?filters={filters}"), None).await?;
    // The rights of dynos are what counts, so they are taken from one where there is one.
    let dyno = dynos.get(0).and_then(|dyno| dyno.get("Id")).and_then(Value::as_str);
    let dyno = match dyno {
        Some(id) => ask(format!("/containers/{id}/json"), None).await?.1,
        None => Value::Null,
    };
    let spec = spec(settings, installation, port, &dyno);
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

/// The container, with the rights of this dyno, or with what dynos are known to have.
fn spec(settings: &ServerSettings, installation: &str, port: u16, dyno: &Value) -> Value {
    let network = format!("senryu-{installation}");
    let own = |field: &str, known: Value| match dyno["HostConfig"].get(field) {
        Some(value) if !value.is_null() => value.clone(),
        _ => known,
    };
    let address = dyno["NetworkSettings"]["Networks"][&network]["IPAddress"].as_str();
    let dyno_port = dyno["Config"]["Labels"]["senryu.port"].as_str();
    let mut env = vec![format!("PORT={port}"), format!("NAME={NAME}")];
    if let (Some(address), Some(port)) = (address, dyno_port) {
        env.extend([format!("DYNO={address}"), format!("DYNO_PORT={port}")]);
    }
    json!({
        "Image": settings.run_image,
        "Entrypoint": [],
        "Cmd": ["/bin/bash", "-c", SCRIPT],
        "Env": env,
        "User": "1000:1000",
        "Labels": { "senryu.installation": installation, "senryu.kind": "doctor" },
        "HostConfig": {
            "AutoRemove": true,
            "NetworkMode": network,
            "CapAdd": own("CapAdd", json!([])),
            "CapDrop": own("CapDrop", json!(["ALL"])),
            "Privileged": own("Privileged", json!(false)),
            "SecurityOpt": own("SecurityOpt", json!(["no-new-privileges"])),
            "Sysctls": own("Sysctls", json!({})),
            "Memory": 128 << 20,
            "PidsLimit": 64,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Level;

    #[test]
    fn the_probe_has_a_dynos_rights_and_asks_for_that_dyno() {
        let dyno = json!({
            "HostConfig": { "CapDrop": ["ALL"], "SecurityOpt": ["seccomp={}"], "CapAdd": null },
            "NetworkSettings": { "Networks": { "senryu-1": { "IPAddress": "10.213.0.2" } } },
            "Config": { "Labels": { "senryu.port": "5000" } },
        });
        let settings = ServerSettings::for_tests(&[]);
        let made = spec(&settings, "1", 7, &dyno);
        assert_eq!(made["HostConfig"]["SecurityOpt"], json!(["seccomp={}"]));
        assert_eq!(made["HostConfig"]["CapAdd"], json!([]));
        let env = made["Env"].to_string();
        assert!(env.contains("DYNO=10.213.0.2") && env.contains("DYNO_PORT=5000"), "{env}");
        let alone = spec(&settings, "1", 7, &Value::Null);
        assert_eq!(alone["HostConfig"]["CapDrop"], json!(["ALL"]));
    }

    #[test]
    fn names_that_only_the_machine_resolves_are_dockers_matter() {
        assert_eq!(names(true, true).level, Level::Ok);
        for (here, words) in [(true, "daemon.json"), (false, "/etc/resolv.conf")] {
            let finding = names(false, here);
            assert_eq!(finding.level, Level::Warn);
            assert!(finding.mend.is_some_and(|mend| mend.contains(words)), "{words}");
        }
    }
}
