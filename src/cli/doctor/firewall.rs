//! Our firewall rules, and Docker's, which `iptables -F` takes as well.

use super::{Finding, output_of, program};
use std::path::Path;

pub(super) async fn look(installation: &str, running: bool) -> Vec<Finding> {
    if program("iptables", &["-S"], "").await.level != super::Level::Ok {
        // Not root, or no iptables: that has been said.
        return Vec::new();
    }
    let named = |start: &str| format!("{start}{installation}").chars().take(15).collect::<String>();
    let (open, closed) = (named("snr"), named("snc"));
    let text = output_of("iptables", &["-w", "-S"]).await.unwrap_or_default();
    let nat = output_of("iptables", &["-w", "-t", "nat", "-S"]).await.unwrap_or_default();
    let mut findings = vec![ours(&text, &open, 3, running), dockers(&nat)];
    // Only there once an app has asked for it. Its fourth drop is what no list names.
    if Path::new("/sys/class/net").join(&closed).exists() {
        findings.insert(1, ours(&text, &closed, 4, running));
    }
    findings
}

fn ours(text: &str, bridge: &str, expected: usize, running: bool) -> Finding {
    let chain = bridge.to_uppercase();
    let (what, list) = ("firewall", format!("{chain}-LIST"));
    let hooked = |hook: &str| {
        let start = format!("-A {hook} ");
        let mut rules = text.lines().filter_map(|line| line.strip_prefix(&start));
        let ours = format!("-i {bridge} -j {chain}");
        // Nothing may let packets of the bridge pass before.
        rules.find(|rule| **rule == ours || rule.starts_with(&format!("-i {bridge} ")))
            == Some(&ours)
    };
    let of_chains =
        |line: &&str| [&chain, &list].iter().any(|chain| line.starts_with(&format!("-A {chain} ")));
    let drops = text.lines().filter(of_chains).filter(|line| line.ends_with("-j DROP")).count();
    match hooked("INPUT") && hooked("FORWARD") && drops >= expected {
        true => Finding::ok(what, format!("chain {chain} is in its place")),
        _ if running => Finding::fail(
            what,
            format!("rules of {bridge} are missing: dynos may reach what they must not"),
            "systemctl restart senryu, unless the server puts them back within ten seconds",
        ),
        _ => Finding::warn(
            what,
            format!("rules of {bridge} are missing"),
            "systemctl start senryu, or scripts/up: the server puts them back",
        ),
    }
}

fn dockers(nat: &str) -> Finding {
    match nat.lines().any(|line| line.starts_with("-A POSTROUTING") && line.contains("MASQUERADE"))
    {
        true => Finding::ok("docker's firewall", "dynos and builds reach the internet through it"),
        false => Finding::fail(
            "docker's firewall",
            "its address translation is gone: dynos and builds reach nothing outside",
            "systemctl restart docker (its containers are started again)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Level;

    #[test]
    fn a_chain_counts_only_whole_and_in_its_place() {
        let whole = "-N SNRAB\n-A INPUT -i snrab -j SNRAB\n-A FORWARD -i snrab -j SNRAB\n\
                     -A SNRAB -m connlimit --connlimit-above 20000 -j DROP\n\
                     -A SNRAB -d 169.254.0.0/16 -j DROP\n\
                     -A SNRAB -m addrtype --dst-type LOCAL -j DROP\n";
        let level = |text: &str, running| ours(text, "snrab", 3, running).level;
        assert_eq!(level(whole, true), Level::Ok);
        for line in whole.lines().skip(1) {
            let without = whole.replace(line, "");
            assert_eq!(level(&without, true), Level::Fail, "without {line}");
            assert_eq!(level(&without, false), Level::Warn, "without {line}");
        }
        let late = format!("-A FORWARD -i snrab ! -o snrab -j ACCEPT\n{whole}");
        assert_eq!(level(&late, true), Level::Fail);
    }
}
