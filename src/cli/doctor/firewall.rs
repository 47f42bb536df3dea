//! Our firewall rules, and Docker's, which `iptables -F` takes as well.

use super::{Finding, output_of, program};

pub(super) async fn look(installation: &str, running: bool) -> Vec<Finding> {
    if program("iptables", &["-S"], "").await.level != super::Level::Ok {
        // Not root, or no iptables: that has been said.
        return Vec::new();
    }
    let bridge: String = format!("snr{installation}").chars().take(15).collect();
    let chain = bridge.to_uppercase();
    let text = output_of("iptables", &["-w", "-S"]).await.unwrap_or_default();
    let nat = output_of("iptables", &["-w", "-t", "nat", "-S"]).await.unwrap_or_default();
    vec![ours(&text, &bridge, &chain, running), dockers(&nat)]
}

fn ours(text: &str, bridge: &str, chain: &str, running: bool) -> Finding {
    let what = "firewall";
    let hooked = |hook: &str| {
        let start = format!("-A {hook} -i {bridge} ");
        text.lines().any(|line| line.starts_with(&start) && line.ends_with(&format!("-j {chain}")))
    };
    let drops = text.lines().filter(|line| line.starts_with(&format!("-A {chain} ")));
    let drops = drops.filter(|line| line.ends_with("-j DROP")).count();
    match (hooked("INPUT") && hooked("FORWARD"), drops) {
        (true, 2..) => Finding::ok(what, format!("chain {chain} is in its place")),
        _ if running => Finding::fail(
            what,
            format!("rules of {bridge} are missing: dynos may reach this machine"),
            "wait ten seconds: the server puts them back. If not, read its log",
        ),
        _ => Finding::warn(
            what,
            format!("rules of {bridge} are missing"),
            "start the server: it puts them back",
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
                     -A SNRAB -d 169.254.0.0/16 -j DROP\n\
                     -A SNRAB -m addrtype --dst-type LOCAL -j DROP\n";
        let level = |text: &str, running| ours(text, "snrab", "SNRAB", running).level;
        assert_eq!(level(whole, true), Level::Ok);
        for line in whole.lines().skip(1) {
            let without = whole.replace(line, "");
            assert_eq!(level(&without, true), Level::Fail, "without {line}");
            assert_eq!(level(&without, false), Level::Warn, "without {line}");
        }
    }
}
