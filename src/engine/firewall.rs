//! The host's firewall rules for one bridge: what its containers may not reach. They are written
//! in one step, so that nothing is open meanwhile.

use crate::error::{Context, Error, Result};
use crate::limits;
use crate::model::Egress;
use crate::model::egress::Destination;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Where packets of dynos and builds meet our chain.
const HOOKS: [&str; 2] = ["INPUT", "FORWARD"];

/// The host itself, and the link-local addresses where clouds keep their credentials; and more
/// connections than one may have in the host's table, which the router needs as well. Replies to
/// its connections pass.
fn common(bounded: bool) -> Vec<String> {
    let most = limits::TRACKED_CONNECTIONS;
    let bound = format!("-m connlimit --connlimit-above {most} --connlimit-mask 32 -j DROP");
    let mut rules = vec!["-m conntrack --ctstate ESTABLISHED,RELATED -j RETURN".to_string()];
    rules.extend(bounded.then_some(bound));
    rules.push("-d 169.254.0.0/16 -j DROP".to_string());
    rules.push("-m addrtype --dst-type LOCAL -j DROP".to_string());
    rules
}

/// Docker's chains that it puts before all others, and that let nothing pass by themselves.
const HARMLESS: [&str; 2] = ["DOCKER-USER", "DOCKER-ISOLATION-STAGE-1"];

/// Seconds for which iptables waits for its lock.
const WAIT: &str = "5";

pub struct Guard {
    bridge: String,
    /// Dynos that reach a list of destinations only; `None` where all may connect to anything
    /// else.
    lists: Option<Vec<(Ipv4Addr, Egress)>>,
}

/// How the rules in the kernel differ from those that belong there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Whole,
    /// Those of dynos that are no more.
    TooMany,
    Missing,
}

impl Guard {
    pub fn open(bridge: String) -> Self {
        Self { bridge, lists: None }
    }

    pub fn closed(bridge: String, lists: Vec<(Ipv4Addr, Egress)>) -> Self {
        Self { bridge, lists: Some(lists) }
    }

    pub async fn look(&self) -> Result<Found> {
        Ok(self.found(&rules_now().await?))
    }

    /// Writes the rules, and puts them before whatever would let their packets pass.
    /// A kernel that cannot count connections, which Docker does not ask of it, gets the others.
    pub async fn put(&self) -> Result<()> {
        let now = rules_now().await?;
        let Err(error) = write(&self.text(&now, true)).await else { return Ok(()) };
        if write(&self.text(&now, false)).await.is_err() {
            return Err(error);
        }
        tracing::warn!(error = error.chain(), "connections of dynos and builds are not bounded");
        Ok(())
    }

    fn chain(&self) -> String {
        self.bridge.to_uppercase()
    }

    /// The chain that holds each dyno's list.
    fn list(&self) -> String {
        format!("{}-LIST", self.chain())
    }

    /// What is not on a list is dropped in the list's own chain; what is goes on to Docker's.
    fn chain_rules(&self, bounded: bool) -> Vec<String> {
        let chain = self.chain();
        let mut rules: Vec<String> =
            common(bounded).iter().map(|rule| format!("-A {chain} {rule}")).collect();
        rules.extend(self.lists.as_ref().map(|_| format!("-A {chain} -j {}", self.list())));
        rules.push(format!("-A {chain} -j RETURN"));
        rules
    }

    fn list_rules(&self) -> Vec<String> {
        let chain = self.list();
        let mut rules = Vec::new();
        for (from, egress) in self.lists.iter().flatten() {
            let Egress::Only(destinations) = egress else { continue };
            for destination in destinations {
                let (to, port) = match destination {
                    Destination::Dns => ("0.0.0.0/0".to_string(), Some(53)),
                    Destination::Network { address, prefix, port } => {
                        (format!("{address}/{prefix}"), *port)
                    }
                };
                let rule = format!("-A {chain} -s {from} -d {to}");
                match port {
                    None => rules.push(format!("{rule} -j RETURN")),
                    Some(port) => {
                        rules.extend(["tcp", "udp"].map(|protocol| {
                            format!("{rule} -p {protocol} --dport {port} -j RETURN")
                        }))
                    }
                }
            }
        }
        rules.extend(self.lists.as_ref().map(|_| format!("-A {chain} -j DROP")));
        rules
    }

    fn jump(&self) -> String {
        format!("-i {} -j {}", self.bridge, self.chain())
    }

    /// Whether packets meet our chain before anything may let them pass.
    fn is_hooked(&self, hook: &str, now: &str) -> bool {
        let mut rules = now.lines().filter_map(|line| line.strip_prefix(&format!("-A {hook} ")));
        let first = rules.find(|rule| {
            let target = rule.rsplit(' ').next().unwrap_or_default();
            let elsewhere =
                rule.starts_with("-i ") && !rule.starts_with(&format!("-i {} ", self.bridge));
            !elsewhere && target != "DROP" && !HARMLESS.contains(&target)
        });
        first == Some(self.jump().as_str())
    }

    fn found(&self, now: &str) -> Found {
        let count = |chain: &str| {
            let start = format!("-A {chain} ");
            let rules = now.lines().filter(|line| line.starts_with(&start));
            let drops = rules.clone().filter(|line| line.ends_with("-j DROP")).count();
            (rules.count(), drops)
        };
        let expected = |rules: &[String]| {
            (rules.len(), rules.iter().filter(|rule| rule.ends_with("-j DROP")).count())
        };
        let hooked = HOOKS.iter().all(|hook| self.is_hooked(hook, now));
        let start = format!("-A {} -m connlimit ", self.chain());
        let bounded = now.lines().any(|line| line.starts_with(&start));
        if !hooked || count(&self.chain()) != expected(&self.chain_rules(bounded)) {
            return Found::Missing;
        }
        let (there, wanted) = (count(&self.list()), expected(&self.list_rules()));
        match there.0.cmp(&wanted.0) {
            _ if there.1 != wanted.1 => Found::Missing,
            std::cmp::Ordering::Less => Found::Missing,
            std::cmp::Ordering::Equal => Found::Whole,
            std::cmp::Ordering::Greater => Found::TooMany,
        }
    }

    /// For `iptables-restore`: it empties our chains and fills them in one step.
    fn text(&self, now: &str, bounded: bool) -> String {
        let mut text = format!("*filter\n:{} - [0:0]\n", self.chain());
        if self.lists.is_some() {
            let _ = writeln!(text, ":{} - [0:0]", self.list());
        }
        for rule in self.chain_rules(bounded).iter().chain(&self.list_rules()) {
            let _ = writeln!(text, "{rule}");
        }
        for hook in HOOKS.iter().filter(|hook| !self.is_hooked(hook, now)) {
            let jump = self.jump();
            let old = format!("-A {hook} {jump}");
            for _ in now.lines().filter(|line| **line == old) {
                let _ = writeln!(text, "-D {hook} {jump}");
            }
            let _ = writeln!(text, "-I {hook} 1 {jump}");
        }
        text + "COMMIT\n"
    }
}

/// Whoever else changes rules holds a lock, and may hold it for ever.
async fn in_time<T>(work: impl Future<Output = T>) -> Result<T> {
    let what = "the firewall's rules are held by another program: see who has /run/xtables.lock";
    tokio::time::timeout(limits::FIREWALL_TIMEOUT, work).await.map_err(|_| Error::unavailable(what))
}

/// All rules of the kernel's filter, as `iptables` writes them.
async fn rules_now() -> Result<String> {
    let mut command = Command::new("iptables");
    let output = command.args(["-w", WAIT, "-S"]).kill_on_drop(true).output();
    let output = in_time(output).await?.context("run iptables")?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr).trim().to_string();
    Err(Error::internal("the firewall's rules cannot be read", text))
}

async fn write(rules: &str) -> Result<()> {
    let mut child = Command::new("iptables-restore")
        .args(["--noflush", "-w", WAIT])
        .kill_on_drop(true)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("run iptables-restore")?;
    if let Some(mut input) = child.stdin.take() {
        let write = input.write_all(rules.as_bytes());
        in_time(write).await?.context("write firewall rules")?;
    }
    let output = in_time(child.wait_with_output()).await?.context("wait for iptables-restore")?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).trim().to_string();
    Err(Error::internal("the firewall's rules could not be set", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed() -> Guard {
        let list = Egress::only(["10.1.0.0/16:5432", "10.2.3.4", "dns"]).unwrap();
        let dynos = vec![
            (Ipv4Addr::new(10, 213, 0, 2), list),
            (Ipv4Addr::new(10, 213, 0, 3), Egress::Only(Vec::new())),
        ];
        Guard::closed("snc1".to_string(), dynos)
    }

    /// What the kernel has once the rules were written.
    fn written(guard: &Guard) -> String {
        let mut text = "-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n".to_string();
        for hook in HOOKS {
            let _ = writeln!(text, "-A {hook} {}", guard.jump());
        }
        for rule in guard.chain_rules(true).iter().chain(&guard.list_rules()) {
            let _ = writeln!(text, "{rule}");
        }
        text
    }

    #[test]
    fn each_dyno_has_its_own_list_and_all_else_is_dropped() {
        let rule = |rest: &str| format!("-A SNC1-LIST -s 10.213.0.2 -d {rest} -j RETURN");
        let expected = [
            rule("10.1.0.0/16 -p tcp --dport 5432"),
            rule("10.1.0.0/16 -p udp --dport 5432"),
            rule("10.2.3.4/32"),
            rule("0.0.0.0/0 -p tcp --dport 53"),
            rule("0.0.0.0/0 -p udp --dport 53"),
            "-A SNC1-LIST -j DROP".to_string(),
        ];
        assert_eq!(closed().list_rules(), expected);
    }

    #[test]
    fn one_dyno_does_not_fill_the_hosts_table_of_connections() {
        for guard in [closed(), Guard::open("snr1".to_string())] {
            let rules = guard.chain_rules(true);
            // After the packets of those that are there, which are not counted again.
            assert!(rules[1].contains("--connlimit-above 20000 --connlimit-mask 32"), "{rules:?}");
            // A kernel that can't count them has all the others, and needs them.
            let without = |what: &str| {
                let whole = written(&guard);
                let lines = whole.lines().filter(|line| !line.contains(what));
                guard.found(&lines.collect::<Vec<_>>().join("\n"))
            };
            assert_eq!(without("connlimit"), Found::Whole);
            assert_eq!(without("-d 169.254.0.0/16"), Found::Missing);
        }
    }

    #[test]
    fn rules_count_only_whole_and_before_what_lets_packets_pass() {
        for guard in [closed(), Guard::open("snr1".to_string())] {
            let whole = written(&guard);
            assert_eq!(guard.found(&whole), Found::Whole);
            let ours = whole.lines().filter(|line| line.contains("sn") || line.contains("SN"));
            for line in ours.filter(|line| !line.contains("connlimit")) {
                assert_eq!(guard.found(&whole.replace(line, "")), Found::Missing, "{line}");
            }
            let first = "-A FORWARD -i snr0 -j SNR0\n-A INPUT -i lo -j ACCEPT\n";
            assert_eq!(guard.found(&format!("{first}{whole}")), Found::Whole);
            for rule in
                [format!("-i {} ! -o {0} -j ACCEPT", guard.bridge), "-j DOCKER-FORWARD".to_string()]
            {
                let now = format!("-A FORWARD {rule}\n{whole}");
                assert_eq!(guard.found(&now), Found::Missing, "{rule}");
                let hook = format!("-D FORWARD {0}\n-I FORWARD 1 {0}\nCOMMIT\n", guard.jump());
                assert!(guard.text(&now, true).ends_with(&hook), "{}", guard.text(&now, true));
            }
            assert!(!guard.text(&whole, true).contains("-I "));
        }
        let more = written(&closed()) + "-A SNC1-LIST -s 10.213.0.9 -d 10.2.3.4/32 -j RETURN\n";
        assert_eq!(closed().found(&more), Found::TooMany);
    }
}
