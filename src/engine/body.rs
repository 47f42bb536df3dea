//! What Docker is told of a container. All of ours share: no capabilities, no new privileges, an
//! init, no restart policy, one of our networks, our label.

use super::egress::Address;
use super::{ContainerSpec, Input, LABEL_EGRESS, LABEL_EGRESS_ADDRESS, LABEL_INSTALLATION};
use crate::limits;
use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, HostConfigLogConfig,
    NetworkingConfig, ResourcesUlimits,
};
use std::collections::HashMap;

/// `closed` is where a dyno is that may connect to a list of destinations only.
pub fn body(
    spec: &ContainerSpec,
    installation: &str,
    network: &str,
    closed: Option<&Address>,
) -> ContainerCreateBody {
    let mut env: Vec<String> =
        spec.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
    // Without this SIGTERM reaches the shell and not its child.
    env.push("TINI_KILL_PROCESS_GROUP=1".to_string());
    let mut labels: HashMap<String, String> = spec.labels.clone().into_iter().collect();
    labels.insert(LABEL_INSTALLATION.to_string(), installation.to_string());
    labels.extend(closed.map(|own| (LABEL_EGRESS_ADDRESS.to_string(), own.address.to_string())));
    let nobody = closed.is_some() && !may_ask_names(spec);
    let host_config = HostConfig {
        network_mode: Some(closed.map_or(network, |own| &own.network).to_string()),
        dns: nobody.then(|| vec!["127.0.0.1".to_string()]),
        dns_options: nobody.then(|| ["timeout:1", "attempts:1"].map(str::to_string).to_vec()),
        ..host_config(spec)
    };
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        entrypoint: Some(Vec::new()),
        cmd: Some(spec.command.clone()),
        user: Some(spec.user.clone()),
        working_dir: Some(spec.working_dir.clone()),
        hostname: Some(hostname(&spec.name)),
        env: Some(env),
        labels: Some(labels),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        open_stdin: Some(spec.input != Input::Nowhere),
        stdin_once: Some(spec.input != Input::Nowhere),
        tty: Some(spec.input == Input::Terminal),
        host_config: Some(host_config),
        networking_config: closed.map(networking),
        ..ContainerCreateBody::default()
    }
}

/// Docker's resolver may ask the host's own, which no firewall rule of ours sees. A dyno that
/// shall not look up names is told to ask itself. Docker answers nothing then, so that each try
/// costs the time until it is given up.
fn may_ask_names(spec: &ContainerSpec) -> bool {
    let list = spec.labels.get(LABEL_EGRESS).map_or("", String::as_str);
    list.split_ascii_whitespace().any(|destination| destination == "dns")
}

fn networking(own: &Address) -> NetworkingConfig {
    let ipam = EndpointIpamConfig {
        ipv4_address: Some(own.address.to_string()),
        ..EndpointIpamConfig::default()
    };
    let endpoint = EndpointSettings { ipam_config: Some(ipam), ..EndpointSettings::default() };
    NetworkingConfig { endpoints_config: Some(HashMap::from([(own.network.clone(), endpoint)])) }
}

fn host_config(spec: &ContainerSpec) -> HostConfig {
    let binds = spec.mounts.iter().map(|mount| {
        let mode = if mount.read_only { "ro" } else { "rw" };
        format!("{}:{}:{mode}", mount.source.display(), mount.target)
    });
    let limit = |name: &str, value: i64| ResourcesUlimits {
        name: Some(name.to_string()),
        soft: Some(value),
        hard: Some(value),
    };
    HostConfig {
        binds: Some(binds.collect()),
        memory: Some(spec.memory_bytes),
        // No swap: the limit is the limit.
        memory_swap: Some(spec.memory_bytes),
        cpu_shares: Some(spec.cpu_shares),
        pids_limit: Some(spec.pids),
        ulimits: Some(vec![limit("nofile", spec.open_files), limit("core", 0)]),
        init: Some(true),
        cap_drop: Some(vec!["ALL".to_string()]),
        security_opt: Some(vec![
            "no-new-privileges".to_string(),
            format!("seccomp={}", super::seccomp::profile()),
        ]),
        sysctls: Some(HashMap::from([(
            // Docker lets every container bind ports below 1024.
            "net.ipv4.ip_unprivileged_port_start".to_string(),
            "1024".to_string(),
        )])),
        oom_score_adj: Some(match spec.background {
            true => limits::OOM_SCORE_BUILD,
            false => limits::OOM_SCORE,
        }),
        readonly_rootfs: Some(spec.read_only_root),
        log_config: Some(log_config(spec.keep_log)),
        ..HostConfig::default()
    }
}

/// Docker's own log file is read by us; without a size limit it would grow for ever.
fn log_config(keep: bool) -> HostConfigLogConfig {
    if !keep {
        return HostConfigLogConfig { typ: Some("none".to_string()), config: None };
    }
    let config = HashMap::from([
        ("max-size".to_string(), limits::ENGINE_LOG_SIZE.to_string()),
        ("max-file".to_string(), limits::ENGINE_LOG_FILES.to_string()),
    ]);
    HostConfigLogConfig { typ: Some("json-file".to_string()), config: Some(config) }
}

/// A container's name as a host name: 63 bytes at most.
fn hostname(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(63)
        .collect::<String>()
        .trim_matches('-')
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_out_of_memory_takes_builds_before_dynos() {
        let score = |background| {
            let spec = ContainerSpec { background, ..ContainerSpec::default() };
            body(&spec, "1", "net", None).host_config.unwrap().oom_score_adj
        };
        assert!(score(true) > score(false) && score(false) > Some(0));
    }
}
