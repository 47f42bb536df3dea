//! Every timer of the router in one value, so that a test can shorten any of them.

use crate::limits;
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Timers {
    pub first_byte: Duration,
    pub idle: Duration,
    pub connect: Duration,
    pub start_wait: Duration,
    pub backlog_wait: Duration,
    pub quarantine: Duration,
    pub client_idle: Duration,
    pub client_head: Duration,
    pub dyno_idle: Duration,
    pub control_wait: Duration,
    pub control_idle: Duration,
    pub snapshot_wait: Duration,
    pub stop_grace: Duration,
    pub stop_idle: Duration,
    pub linger: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            first_byte: limits::FIRST_BYTE_TIMEOUT,
            idle: limits::IDLE_TIMEOUT,
            connect: limits::CONNECT_TIMEOUT,
            start_wait: limits::START_WAIT,
            backlog_wait: limits::BACKLOG_WAIT,
            quarantine: limits::QUARANTINE,
            client_idle: limits::CLIENT_IDLE,
            client_head: limits::CLIENT_HEAD_TIMEOUT,
            dyno_idle: limits::DYNO_IDLE,
            control_wait: limits::CONTROL_WAIT,
            control_idle: limits::CONTROL_IDLE,
            snapshot_wait: limits::SNAPSHOT_WAIT,
            stop_grace: limits::ROUTER_STOP_GRACE,
            stop_idle: limits::ROUTER_STOP_IDLE,
            linger: limits::LINGER,
        }
    }
}
