//! The Docker Engine, its settings, and the images of the stack.

use super::{Finding, asked, host};
use crate::cli::format::size;
use crate::config::ServerSettings;
use serde_json::Value;
use std::path::PathBuf;

pub(super) const RESTART: &str =
    "systemctl restart docker (dynos are started again), or scripts/up";

pub(super) async fn look(settings: &ServerSettings) -> Vec<Finding> {
    let socket = settings.docker_socket.clone();
    let info = match asked(&socket, "/info").await {
        Ok((200, info)) => info,
        Ok((status, _)) => {
            let message = format!("{} answers HTTP {status}", socket.display());
            return vec![Finding::fail("docker", message, RESTART)];
        }
        Err(message) => {
            let mend = "install it (apt-get install docker.io) and start it (systemctl start \
                        docker), or give root's rights to this command";
            return vec![Finding::fail("docker", message, mend)];
        }
    };
    let fact = |name: &str| info.get(name).and_then(Value::as_str).unwrap_or("?").to_string();
    let mut findings = vec![Finding::ok(
        "docker",
        format!(
            "{} ({}, cgroup v{})",
            fact("ServerVersion"),
            fact("Driver"),
            fact("CgroupVersion")
        ),
    )];
    // Without an overlay each dyno copies its whole slug.
    if !["overlay2", "overlayfs", "btrfs", "zfs"].contains(&fact("Driver").as_str()) {
        findings.push(Finding::warn(
            "storage driver",
            format!("{} copies each image for each dyno", fact("Driver")),
            "set \"storage-driver\": \"overlay2\" in /etc/docker/daemon.json",
        ));
    }
    findings.extend(kernel(&info));
    let root = PathBuf::from(fact("DockerRootDir"));
    let disk = host::disk(&root);
    let mend = "docker image prune, or give Docker another disk: \"data-root\" in \
                /etc/docker/daemon.json, then systemctl restart docker";
    let mend = disk.mend.is_some().then(|| mend.to_string());
    findings.push(Finding { what: "docker's disk", mend, ..disk });
    let init = fact("InitBinary");
    findings.push(match init.as_str() {
        "" | "?" | "N/A" => {
            Finding::fail("init", "the engine has no init binary", "apt-get install tini")
        }
        name => Finding::ok("init", name),
    });
    for (what, image) in
        [("run image", &settings.run_image), ("build image", &settings.build_image)]
    {
        findings.push(match asked(&socket, &format!("/images/{image}/json")).await {
            Ok((200, found)) => {
                let bytes = found.get("Size").and_then(Value::as_i64).unwrap_or(0);
                Finding::ok(what, format!("{image}, {}", size(bytes)))
            }
            Ok(_) if settings.stack_archive.exists() => Finding::warn(
                what,
                format!("the engine has no image {image}; the next build or dyno loads it"),
                "scripts/stack (it loads the archive, or makes the stack anew)",
            ),
            Ok(_) => Finding::fail(
                what,
                format!("the engine has no image {image}"),
                "scripts/up (it makes the stack)",
            ),
            Err(message) => Finding::fail(what, message, RESTART),
        });
    }
    findings
}

/// What the limits and the isolation of dynos rest on.
fn kernel(info: &Value) -> Vec<Finding> {
    let is = |name: &str| info.get(name).and_then(Value::as_bool).unwrap_or(false);
    let options = info.get("SecurityOptions").and_then(Value::as_array).cloned();
    let seccomp = options
        .unwrap_or_default()
        .iter()
        .any(|option| option.as_str().is_some_and(|text| text.contains("name=seccomp")));
    let mut findings = Vec::new();
    for (name, what) in
        [("MemoryLimit", "memory"), ("CPUShares", "CPU"), ("PidsLimit", "processes")]
    {
        if !is(name) {
            let message = format!("Docker cannot limit {what}: one dyno may take all of it");
            let mend = "boot with cgroup_enable=memory swapaccount=1 on the kernel's command line";
            findings.push(Finding::fail("limits", message, mend));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok("limits", "memory, CPU and processes can be limited"));
    }
    findings.push(match seccomp {
        true => Finding::ok("seccomp", "system calls are filtered"),
        false => Finding::fail(
            "seccomp",
            "Docker filters no system calls",
            "remove \"seccomp-profile\": \"unconfined\" from /etc/docker/daemon.json, or install a \
             kernel with seccomp",
        ),
    });
    let forwards = is("IPv4Forwarding");
    findings.push(match (forwards, is("BridgeNfIptables")) {
        (true, true) => Finding::ok("bridges", "packets are forwarded, and filtered on bridges"),
        (false, _) => Finding::fail(
            "bridges",
            "packets are not forwarded: dynos and builds reach nothing",
            "sysctl -w net.ipv4.ip_forward=1",
        ),
        (true, false) => Finding::fail(
            "bridges",
            "packets on bridges are not filtered: dynos reach each other",
            "modprobe br_netfilter && sysctl -w net.bridge.bridge-nf-call-iptables=1",
        ),
    });
    findings
}
