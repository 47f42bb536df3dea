//! What happens to a host behind the platform's back, as far as it can be done to one
//! installation alone: the declared state comes back, and the log says what was found.
//! `scripts/soak --host-events` does the rest to a Docker of its own.

use crate::support::{App, Platform, docker, eventually, until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Layers that the platform keeps as files.
fn layers(platform: &Platform) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(platform.data_dir().join("slugs")).unwrap().flatten();
    let files = entries.map(|entry| entry.path()).filter(|path| path.is_file());
    files.collect()
}

fn slug_images(app: &App) -> Vec<String> {
    docker::images(&format!("senryu.app={}", app.id))
}

fn serves_again(app: &App, release: &str) -> Duration {
    let began = Instant::now();
    until(&format!("{release} serves"), Duration::from_secs(60), || {
        let reply = app.get("/");
        (reply.status == 200 && reply.header("x-release") == release).then_some(())
    });
    began.elapsed()
}

#[test]
fn a_slug_whose_image_was_pruned_comes_back_from_its_files() {
    let platform = Arc::new(Platform::start());
    let app = platform.app_from("tiny");
    let first = layers(&platform);
    assert!(!first.is_empty());
    app.write("changed.txt", "one more file");
    app.commit("second");
    app.push().succeeded().says("Released v4");
    // Only what has changed is kept again.
    assert_eq!(layers(&platform).len(), first.len() + 1);

    app.cli(&["ps:scale", "web=0"]).succeeded();
    eventually("no dyno is left", || app.dynos().is_empty());
    for image in slug_images(&app) {
        docker::docker(&["rmi", "-f", &image]).succeeded();
    }
    assert!(slug_images(&app).is_empty());
    app.cli(&["ps:scale", "web=1"]).succeeded();
    println!("serves {:?} after ps:scale", serves_again(&app, "v4"));
    app.log_says("The slug's image was missing from Docker: loaded again");
    // The older release was pruned as well.
    app.cli(&["rollback", "v3"]).succeeded();
    serves_again(&app, "v5");

    for image in slug_images(&app) {
        docker::docker(&["rmi", "-f", &image]);
    }
    app.write("changed.txt", "changed once more");
    app.commit("third");
    app.push().succeeded().says("Released v6");
    assert_eq!(app.serving(), "v6");

    a_damaged_file_is_named_and_the_next_push_mends_it(&platform, &app);

    app.cli(&["apps:destroy", "--confirm", &app.name]).succeeded();
    until("no layer is left", Duration::from_secs(60), || {
        layers(&platform).is_empty().then_some(())
    });
}

fn a_damaged_file_is_named_and_the_next_push_mends_it(platform: &Platform, app: &App) {
    app.cli(&["ps:scale", "web=0"]).succeeded();
    eventually("no dyno is left", || app.dynos().is_empty());
    for image in slug_images(app) {
        docker::docker(&["rmi", "-f", &image]).succeeded();
    }
    for layer in layers(platform) {
        let mut bytes = std::fs::read(&layer).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&layer, bytes).unwrap();
    }
    app.cli(&["ps:scale", "web=1", "--no-wait"]).succeeded();
    app.log_says("Error R17 (Checksum error) -> Checksum does match expected value. Expected: SHA");
    app.log_says("one of its files is damaged (R17): push the app again");
    app.write("changed.txt", "and once more");
    app.commit("fourth");
    app.push().succeeded().says("Released v7");
    assert_eq!(app.serving(), "v7");
}

#[test]
fn containers_that_somebody_removed_are_replaced_at_once() {
    let platform = Arc::new(Platform::start());
    let app = platform.app_from("tiny");
    app.cli(&["ps:scale", "web=2"]).succeeded();
    // A second time within ten minutes: a dyno that had crashed would wait.
    for round in 1..=3 {
        let before = app.dynos();
        assert_eq!(before.len(), 2, "round {round}");
        for container in &before {
            docker::docker(&["rm", "-f", container]);
        }
        let began = Instant::now();
        until("two other dynos", Duration::from_secs(20), || {
            let now = app.dynos();
            let others = now.len() == 2 && now.iter().all(|id| !before.contains(id));
            (others && app.ps().iter().all(|(_, state)| state == "up")).then_some(())
        });
        println!("two dynos were replaced after {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        assert_eq!(app.serving(), "v3");
    }
    app.log_says("Its container was removed from Docker, not by Senryu");
    app.log_says("all dynos run again");
    assert!(!app.log().contains("crashed"), "{}", app.log());
}

#[test]
fn a_network_and_firewall_rules_that_somebody_removed_are_put_back() {
    let platform = Arc::new(Platform::start());
    let app = platform.app_from("tiny");
    let chain = format!("SNR{}", platform.installation.to_uppercase());
    let rules = || docker::iptables(&["-S"]).succeeded().stdout.matches(&chain).count();
    let all = rules();
    assert!(all >= 6, "{all}");
    let limit = Duration::from_secs(30);
    docker::iptables(&["-F", &chain]).succeeded();
    until("the chain is whole", limit, || (rules() == all).then_some(()));
    docker::iptables(&["-D", "INPUT", "-i", &chain.to_lowercase(), "-j", &chain]).succeeded();
    until("the chain is in its place", limit, || (rules() == all).then_some(()));
    assert!(platform.server_log().contains("firewall rules of"));
    app.log_says("Missing on the host, and put back: firewall rules of snr");

    let network = format!("senryu-{}", platform.installation);
    for container in app.dynos() {
        docker::docker(&["network", "disconnect", "-f", &network, &container]).succeeded();
    }
    docker::docker(&["network", "rm", &network]).succeeded();
    let began = Instant::now();
    until("the app answers", Duration::from_secs(60), || {
        (app.get("/").status == 200).then_some(())
    });
    println!("served again {:?} after the network was removed", began.elapsed());
    app.log_says("Its network is gone: it is replaced");
}

#[test]
fn drift_and_doctor_tell_what_is_not_as_it_should_be() {
    let platform = Arc::new(Platform::start());
    let app = platform.app_from("tiny");
    platform.cli(&["drift"]).succeeded().says("All runs as declared: 1 apps");
    let doctor = || {
        let mut command = platform.server_command();
        let arguments: Vec<_> = command.get_args().skip(1).map(ToOwned::to_owned).collect();
        command = platform.cli_command();
        command.arg("doctor").arg("--json").args(arguments);
        let output = crate::support::command::run(&mut command, b"");
        let found: Value = serde_json::from_str(&output.stdout).expect("JSON");
        (output.status, found)
    };
    let level = |found: &Value, what: &str| {
        let list = found.as_array().unwrap();
        let one = list.iter().find(|one| one["what"] == what).expect("a finding");
        one["level"].as_str().unwrap().to_string()
    };
    let (status, found) = doctor();
    assert_eq!(status, 0, "{found:#}");
    for what in ["docker", "limits", "bridges", "firewall", "isolation", "server", "port"] {
        assert_eq!(level(&found, what), "ok", "{found:#}");
    }

    let update = ["update", "--memory", "2g", "--memory-swap", "2g", &app.dynos()[0]];
    docker::docker(&update).succeeded();
    platform.cli(&["drift"]).failed(1).says("memory 2048M instead of 1024M").says("ps:restart");
    app.cli(&["ps:scale", "web=0"]).succeeded();
    eventually("no dyno is left", || app.dynos().is_empty());
    for image in slug_images(&app) {
        docker::docker(&["rmi", "-f", &image]).succeeded();
    }
    let drift = platform.cli(&["drift", "--json"]).failed(1).stdout;
    let drift: Value = serde_json::from_str(&drift).expect("JSON");
    assert_eq!(drift["drift"][0]["what"], "slug of v3", "{drift:#}");
    assert_eq!(drift["drift"][0]["app"]["name"], app.name.as_str());

    platform.end_server(Signal::SIGKILL);
    let chain = format!("SNR{}", platform.installation.to_uppercase());
    docker::iptables(&["-F", &chain]).succeeded();
    let (_, found) = doctor();
    assert_eq!(level(&found, "firewall"), "warn", "{found:#}");
    // Its probe of a host port is what the rules are for.
    assert_eq!(level(&found, "isolation"), "fail", "{found:#}");
    platform.start_server();
    assert_eq!(level(&doctor().1, "isolation"), "ok");
}
