//! `egress`: an app's dynos connect to anything outside, to a list, or to nothing.

use crate::support::{App, Platform, docker, until};
use std::process::{Child, Command};
use std::time::Duration;

/// A host beside this one: a network namespace with two listeners in it.
struct Outside {
    name: String,
    address: String,
    listeners: Vec<Child>,
}

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status().unwrap();
    assert!(status.success(), "ip {arguments:?}");
}

impl Outside {
    fn new() -> Self {
        let number = std::process::id() % 250;
        let name = format!("snt{}", std::process::id());
        let (here, there) = (format!("{name}a"), format!("{name}b"));
        let address = format!("198.18.{number}.2");
        ip(&["netns", "add", &name]);
        let mut outside = Self { name, address, listeners: Vec::new() };
        let name = &outside.name;
        ip(&["link", "add", &here, "type", "veth", "peer", "name", &there, "netns", name]);
        ip(&["addr", "add", &format!("198.18.{number}.1/30"), "dev", &here]);
        ip(&["link", "set", &here, "up"]);
        let inside = ["-n", name.as_str()];
        let cidr = format!("{}/30", outside.address);
        ip(&[&inside[..], &["addr", "add", &cidr, "dev", &there]].concat());
        ip(&[&inside[..], &["link", "set", &there, "up"]].concat());
        let gateway = format!("198.18.{number}.1");
        ip(&[&inside[..], &["route", "add", "default", "via", &gateway]].concat());
        for port in ["8001", "8002"] {
            let script = "use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalPort => \
                          shift, Listen => 9, ReuseAddr => 1) or die; 1 while $s->accept;";
            let listener = Command::new("nsenter")
                .arg(format!("--net=/run/netns/{}", outside.name))
                .args(["perl", "-e", script, port])
                .spawn();
            outside.listeners.push(listener.unwrap());
        }
        outside
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        for listener in &mut self.listeners {
            let _ = listener.kill();
            let _ = listener.wait();
        }
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
        let _ = Command::new("ip").args(["link", "del", &format!("{}a", self.name)]).status();
    }
}

/// What the newest dyno reaches, once it has told that of the mode it was started in.
#[track_caller]
fn reaches(app: &App, expected: &str) {
    until(expected, Duration::from_secs(30), || {
        let log = app.cli(&["logs", "-n", "20", "-s", "app", "-p", "reach"]).succeeded().stdout;
        let last = log.lines().rfind(|line| line.contains("reached: "))?.to_string();
        last.ends_with(expected).then_some(())
    });
}

/// Neither a new dyno nor one that runs is open for longer than it takes to notice.
fn rules_that_somebody_flushes_are_put_back(app: &App) {
    let chain = format!("SNC{}", app.platform.installation.to_uppercase());
    let rules = || docker::iptables(&["-S"]).succeeded().stdout.matches(&chain).count();
    let all = rules();
    for flush in [
        vec!["-F".to_string(), format!("{chain}-LIST")],
        vec!["-F".to_string(), chain.clone()],
        ["-D", "FORWARD", "-i", &chain.to_lowercase(), "-j", &chain].map(String::from).to_vec(),
    ] {
        let flush: Vec<&str> = flush.iter().map(String::as_str).collect();
        docker::iptables(&flush).succeeded();
        until("the rules are back", Duration::from_secs(60), || (rules() == all).then_some(()));
    }
    reaches(app, "reached: .");
    let log = app.platform.server_log();
    assert!(log.contains(&format!("firewall rules of {}", chain.to_lowercase())), "{log}");
}

#[test]
fn dynos_connect_to_anything_to_a_list_or_to_nothing() {
    let outside = Outside::new();
    let platform = Platform::shared();
    let victim = platform.app_from("tiny");
    let app = platform.app_with("tiny");
    let script = format!(
        "use IO::Socket::INET; $| = 1; while (1) {{ my @open = grep {{ IO::Socket::INET->new(\
         PeerAddr => '{}', PeerPort => $_, Timeout => 1) }} (8001, 8002); \
         print \"reached: @open.\\n\"; sleep 1; }}\n",
        outside.address
    );
    app.write("reach.pl", &script);
    let once = format!(
        "use IO::Socket::INET; my $open = IO::Socket::INET->new(PeerAddr => '{}', PeerPort => \
         8001, Timeout => 2); my $named = gethostbyname('example.com'); \
         print $open ? 'open ' : 'shut ', $named ? 'named' : 'unnamed';",
        outside.address
    );
    app.write("once.pl", &once);
    app.write("Procfile", "web: node server.js\nreach: exec perl reach.pl\n");
    app.commit("connects");
    app.push().succeeded();
    app.cli(&["ps:scale", "reach=1"]).succeeded();
    assert_eq!(app.cli(&["egress"]).succeeded().stdout, "on\n");
    reaches(&app, "reached: 8001 8002.");

    app.cli(&["egress:off"]).succeeded().says("done, off");
    reaches(&app, "reached: .");
    assert_eq!(app.serving(), "v3", "the router still reaches it");
    let run = app.cli(&["run", "--no-tty", "perl once.pl"]).succeeded();
    assert_eq!(run.stdout, "shut unnamed");
    rules_that_somebody_flushes_are_put_back(&app);

    let one = format!("{}:8001", outside.address);
    app.cli(&["egress:allow", &one, "10.213.0.0/16", "dns"]).succeeded();
    reaches(&app, "reached: 8001.");
    assert_eq!(app.cli(&["egress"]).succeeded().stdout, format!("{one} 10.213.0.0/16 dns\n"));
    app.cli(&["egress:allow", "example.com"]).failed(1).says("is no destination");

    // A list does not open the way to other apps' dynos.
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}} \
                  {{index .Config.Labels \"senryu.port\"}}";
    let inspect = ["inspect", "--format", format, &victim.dynos()[0]];
    let target = docker::docker(&inspect).succeeded().stdout;
    let (address, port) = target.trim().split_once(' ').unwrap();
    let script = script.replace(&outside.address, address).replace("8001", port);
    app.write("reach.pl", &script);
    app.commit("connects to another app");
    app.push().succeeded();
    reaches(&app, "reached: .");

    app.cli(&["egress:on"]).succeeded();
    app.log_says("Egress set to on by user");
}
