//! What a dyno and a build reach beyond themselves: nothing. An app tries, and says what it found.

use crate::support::docker::docker;
use crate::support::{App, Platform, until};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

/// What `probe.pl` tries, by the names that it prints.
const TRIED: [&str; 27] = [
    "tcp-dyno",
    "tcp-control-host",
    "tcp-host-port",
    "tcp-metadata",
    "unix-socket",
    "abstract-sockets",
    "root",
    "capabilities",
    "new-privileges",
    "no-seccomp",
    "raw-socket",
    "packet-socket",
    "vsock",
    "privileged-port",
    "mount",
    "unshare",
    "ptrace",
    "bpf",
    "keyring",
    "io-uring",
    "chroot",
    "su",
    "read-host",
    "write-host",
    "host-processes",
    "tcp-docker",
    "tcp-loopback",
];

/// Every IPv4 address of this machine but loopback and the bridges of other tests' installations:
/// those may be gone when the app tries them, and then belong to whatever the machine's own
/// gateway makes of them.
fn host_addresses(installation: &str) -> Vec<String> {
    let output = Command::new("ip").args(["-4", "-o", "addr", "show", "scope", "global"]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let own = format!("snr{installation}");
    let address = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let interface = fields.next()?;
        let lasts = !interface.starts_with("snr") || interface == own;
        lasts.then(|| fields.nth(1)?.split('/').next().map(str::to_string))?
    };
    text.lines().filter_map(address).collect()
}

/// A line for each address that shall not be reached: `NAME ADDRESS:PORT`.
fn targets(victim: &App, host_port: u16) -> String {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}} \
                  {{index .Config.Labels \"senryu.port\"}}";
    let dyno = docker(&["inspect", "--format", format, &victim.dynos()[0]]).succeeded().stdout;
    let mut targets = format!("dyno {}\n", dyno.trim().replace(' ', ":"));
    let control = victim.platform.address.port();
    for address in host_addresses(&victim.platform.installation) {
        let _ = writeln!(targets, "control-host {address}:{control}");
        let _ = writeln!(targets, "host-port {address}:{host_port}");
        let _ = writeln!(targets, "docker {address}:2375");
    }
    let _ = writeln!(targets, "loopback 127.0.0.1:{control}\nloopback 127.0.0.1:{host_port}");
    targets + "metadata 169.254.169.254:80\nmetadata 169.254.170.2:80\n"
}

#[track_caller]
fn all_refused(output: &str) {
    let reached: Vec<&str> = output.lines().filter(|line| line.contains(" REACHED")).collect();
    assert!(reached.is_empty(), "{reached:#?}");
    let tried: BTreeSet<&str> =
        output.lines().filter_map(|line| line.split("probe ").nth(1)?.split(' ').next()).collect();
    for name in TRIED {
        assert!(tried.contains(name), "{name} was not tried:\n{output}");
    }
}

#[test]
fn a_dyno_and_a_build_reach_nothing_beyond_themselves() {
    let platform = Platform::shared();
    let victim = platform.app_from("tiny");
    // Open to everyone, but for the firewall.
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let app = platform.app_with("rogue");
    app.write("targets", &targets(&victim, listener.local_addr().unwrap().port()));
    // After more output than is taken at once.
    app.write("build.sh", "yes 'a line of the flood' | head -c 6000000\nperl probe.pl\n");
    app.commit("tries");
    let push = app.push().succeeded();
    assert!(push.stderr.contains("probes done"), "{}", push.stderr);
    all_refused(&push.stderr);
    app.log_says("Error S18 (Log limit) -> The build prints more than");

    app.cli(&["ps:scale", "probe=1", "--no-wait"]).succeeded();
    let log = until("the dyno has tried all", Duration::from_secs(40), || {
        let log = app.cli(&["logs", "-n", "1500", "-s", "app", "-p", "probe"]).succeeded().stdout;
        log.contains("probes done").then_some(log)
    });
    all_refused(&log);
    app.cli(&["ps:scale", "probe=0"]).succeeded();
    builds_run_in_the_background(&platform.installation);
    a_flood_is_held_back_and_named(&app);
}

/// Their control group outlives them, in either version. On a busy machine they may be out of the
/// idle class just now.
fn builds_run_in_the_background(installation: &str) {
    let below = format!("senryu-{installation}-builds/cpu.idle");
    let files = [format!("/sys/fs/cgroup/cpu/{below}"), format!("/sys/fs/cgroup/{below}")];
    let idle = files.iter().find_map(|file| std::fs::read_to_string(file).ok());
    assert!(matches!(idle.as_deref(), Some("0\n" | "1\n")), "{idle:?} in {files:?}");
}

/// All of it arrives all the same. Of long lines a busy machine, too, takes more than the limit.
fn a_flood_is_held_back_and_named(app: &App) {
    let line = "$(head -c 1000 /dev/zero | tr '\\0' f)";
    let flood = format!("yes \"{line}\" | head -c 80000000; echo; echo the flood is over");
    app.cli(&["run:detached", &flood]).succeeded();
    let minute = Duration::from_secs(60);
    until("the flood is named", minute, || {
        let log = app.cli(&["logs", "-n", "1500", "-s", "heroku", "-p", "run"]).succeeded().stdout;
        log.contains("Error S18 (Log limit)").then_some(())
    });
    until("the flood is over", minute, || {
        let log = app.cli(&["logs", "-n", "20"]).succeeded().stdout;
        log.contains("the flood is over").then_some(())
    });
}
