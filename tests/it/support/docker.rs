//! Docker as the tests see it: only what carries the label of one installation.

use super::command::run;
use std::process::Command;

pub fn docker(arguments: &[&str]) -> super::Output {
    run(Command::new("docker").args(arguments), b"")
}

fn lines(text: &str) -> Vec<String> {
    text.lines().filter(|line| !line.is_empty()).map(str::to_string).collect()
}

/// Ids of containers that carry all of these labels, ended ones too.
pub fn containers(labels: &[String]) -> Vec<String> {
    let filters = labels.iter().map(|label| format!("--filter=label={label}"));
    let mut arguments = vec!["ps".to_string(), "-aq".to_string(), "--no-trunc".to_string()];
    arguments.extend(filters);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    lines(&docker(&arguments).succeeded().stdout)
}

pub fn images(label: &str) -> Vec<String> {
    let filter = format!("--filter=label={label}");
    lines(&docker(&["images", "-aq", "--no-trunc", &filter]).succeeded().stdout)
}

/// Everything of an installation, by force. What Docker refuses is told by the next look.
pub fn remove_installation(installation: &str) {
    let label = format!("senryu.installation={installation}");
    let force = |verb: &[&str], ids: Vec<String>| {
        if !ids.is_empty() {
            let mut arguments = verb.to_vec();
            arguments.extend(ids.iter().map(String::as_str));
            docker(&arguments);
        }
    };
    force(&["rm", "-f"], containers(std::slice::from_ref(&label)));
    force(&["rmi", "-f"], images(&label));
    let name = format!("senryu-{installation}");
    for (network, bridge) in [
        (name.clone(), format!("snr{installation}")),
        (format!("{name}-closed"), format!("snc{installation}")),
    ] {
        docker(&["network", "rm", &network]);
        let chain = bridge.to_uppercase();
        for hook in ["INPUT", "FORWARD"] {
            iptables(&["-D", hook, "-i", &bridge, "-j", &chain]);
        }
        for chain in [chain.clone(), format!("{chain}-LIST")] {
            iptables(&["-F", &chain]);
            iptables(&["-X", &chain]);
        }
    }
}

pub fn iptables(arguments: &[&str]) -> super::Output {
    run(Command::new("iptables").arg("-w").args(arguments), b"")
}

/// What is left of an installation: container, image and network names.
pub fn leftovers(installation: &str) -> Vec<String> {
    let label = format!("senryu.installation={installation}");
    let mut left = containers(std::slice::from_ref(&label));
    left.extend(images(&label));
    let filter = format!("--filter=label={label}");
    left.extend(lines(&docker(&["network", "ls", "-q", &filter]).stdout));
    left
}
