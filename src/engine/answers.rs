//! What Docker says of containers and images, in our words.

use super::{Bounds, Container, ContainerStatus, Image, Labels};
use crate::clock::Timestamp;
use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummary,
    ContainerSummaryStateEnum, EndpointSettings, HostConfig, ImageSummary,
};
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// Docker's own period of a processor's quota, in microseconds.
const CPU_PERIOD: i64 = 100_000;

/// One container of a list, in which much is missing.
pub fn listed(summary: ContainerSummary) -> Container {
    Container {
        id: summary.id.unwrap_or_default(),
        name: summary
            .names
            .and_then(|names| names.into_iter().next())
            .map(|name| name.trim_start_matches('/').to_string())
            .unwrap_or_default(),
        labels: summary.labels.unwrap_or_default().into_iter().collect(),
        status: match summary.state {
            Some(ContainerSummaryStateEnum::CREATED) => ContainerStatus::Created,
            Some(
                ContainerSummaryStateEnum::EXITED
                | ContainerSummaryStateEnum::DEAD
                | ContainerSummaryStateEnum::REMOVING,
            ) => ContainerStatus::Exited,
            _ => ContainerStatus::Running,
        },
        image: summary.image_id.unwrap_or_default(),
        created_at: Timestamp(summary.created.unwrap_or(0) * 1_000_000),
        started_at: None,
        finished_at: None,
        exit_code: None,
        out_of_memory: false,
        pid: None,
        address: summary.network_settings.and_then(|settings| address(settings.networks)),
        log_path: None,
        written: None,
        bounds: None,
    }
}

pub fn inspected(inspected: ContainerInspectResponse) -> Container {
    let state = inspected.state.unwrap_or_default();
    let running = state.running.unwrap_or(false);
    let removing = state.status == Some(ContainerStateStatusEnum::REMOVING);
    // Docker writes year 1 for what has not happened.
    let time =
        |text: Option<String>| text.and_then(|text| Timestamp::parse(&text)).filter(|at| at.0 > 0);
    let started_at = time(state.started_at);
    let config = inspected.config.unwrap_or_default();
    let address = inspected.network_settings.and_then(|settings| address(settings.networks));
    Container {
        id: inspected.id.unwrap_or_default(),
        name: inspected.name.unwrap_or_default().trim_start_matches('/').to_string(),
        labels: config.labels.unwrap_or_default().into_iter().collect::<Labels>(),
        status: match (running, started_at) {
            (true, _) => ContainerStatus::Running,
            (false, _) if removing => ContainerStatus::Removing,
            (false, None) => ContainerStatus::Created,
            (false, Some(_)) => ContainerStatus::Exited,
        },
        image: inspected.image.unwrap_or_default(),
        created_at: inspected.created.and_then(|text| Timestamp::parse(&text)).unwrap_or_default(),
        started_at,
        finished_at: time(state.finished_at).filter(|_| !running),
        exit_code: state.exit_code.filter(|_| !running),
        out_of_memory: state.oom_killed.unwrap_or(false),
        pid: state.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0),
        address,
        log_path: inspected.log_path.filter(|path| !path.is_empty()).map(Into::into),
        written: inspected
            .graph_driver
            .and_then(|driver| driver.data.get("UpperDir").map(PathBuf::from)),
        bounds: inspected.host_config.map(bounds),
    }
}

/// Docker has -1 for no limit too, and two ways to limit the processor.
fn bounds(host: HostConfig) -> Bounds {
    let figure = |figure: Option<i64>| figure.unwrap_or(0).max(0);
    let period = figure(host.cpu_period).max(1);
    let of_quota = match (figure(host.cpu_quota), host.cpu_period) {
        (0, _) => 0,
        (quota, None | Some(0)) => quota.saturating_mul(1_000_000_000) / CPU_PERIOD,
        (quota, Some(_)) => quota.saturating_mul(1_000_000_000) / period,
    };
    Bounds {
        memory_bytes: figure(host.memory),
        swap_bytes: figure(host.memory_swap),
        cpu_shares: figure(host.cpu_shares),
        nano_cpus: figure(host.nano_cpus).max(of_quota),
        pids: figure(host.pids_limit),
    }
}

/// Where a container is reached, while it is in a network.
fn address(networks: Option<HashMap<String, EndpointSettings>>) -> Option<IpAddr> {
    networks?.into_values().find_map(|network| network.ip_address?.parse().ok())
}

pub fn image(summary: ImageSummary) -> Image {
    Image {
        id: summary.id,
        labels: summary.labels.into_iter().collect(),
        size: summary.size,
        created_at: Timestamp(summary.created * 1_000_000),
    }
}
