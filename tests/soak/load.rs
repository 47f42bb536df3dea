//! Clients of every kind at a bounded rate. Each request is recorded with its times, status,
//! release, dyno and error.

use crate::http::{Conn, Reply, Request};
use anyhow::{Context as _, Result, ensure};
use rand::RngExt;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::{self, Runtime};
use tokio::task::JoinSet;

/// A client that waits longer counts the request as failed.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub struct Record {
    pub kind: &'static str,
    pub begun: Duration,
    pub ended: Duration,
    pub status: u16,
    pub release: u64,
    pub dyno: String,
    pub instance: String,
    pub error: Option<String>,
}

/// How many clients of each kind, and how often each sends.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    /// Requests a second, all kinds together.
    pub rate: f64,
    pub keep_alive: usize,
    pub sockets: usize,
}

pub struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
    machine: Option<Runtime>,
}

/// Clients stand for other machines: what takes the processor here does not make them slow.
const CLIENT_NICE: i32 = -15;

struct Shared {
    port: u16,
    host: String,
    zero: Instant,
    stop: AtomicBool,
    records: Mutex<Vec<Record>>,
}

impl Load {
    /// Starts the clients: half of the rate on connections that stay, a quarter on new ones, the
    /// rest on bodies, slow and streaming replies.
    pub fn start(port: u16, app: &str, zero: Instant, mix: Mix) -> Result<Self> {
        let shared = Arc::new(Shared {
            port,
            host: format!("{app}.localhost:{port}"),
            zero,
            stop: AtomicBool::new(false),
            records: Mutex::default(),
        });
        let machine = runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .on_thread_start(|| {
                let _ = rustix::process::setpriority_process(None, CLIENT_NICE);
            })
            .enable_all()
            .build()
            .context("threads for the clients")?;
        let mut clients = JoinSet::new();
        let on_it = machine.enter();
        let each = |share: f64, count: usize| {
            let rate = (mix.rate * share).max(0.1);
            Duration::from_secs_f64(1.0 / rate) * u32::try_from(count).unwrap_or(1)
        };
        for _ in 0..mix.keep_alive {
            let pause = each(0.5, mix.keep_alive);
            clients.spawn(shared.clone().keep_alive(pause, "keep-alive", |_| Shape::Plain));
        }
        for _ in 0..2 {
            let post = |random: u32| Shape::Post(1 + random as usize % 100_000);
            clients.spawn(shared.clone().keep_alive(each(0.1, 2), "post", post));
            clients.spawn(shared.clone().anew(each(0.05, 2), "post-new", post));
        }
        for _ in 0..8 {
            clients.spawn(shared.clone().anew(each(0.25, 8), "new", |_| Shape::Plain));
        }
        for _ in 0..6 {
            let slow = |random: u32| Shape::Slow(50 + random % 1450);
            clients.spawn(shared.clone().anew(each(0.05, 6), "slow", slow));
            let stream = |random: u32| Shape::Stream(2 + random % 10);
            clients.spawn(shared.clone().anew(each(0.05, 6), "stream", stream));
        }
        for _ in 0..mix.sockets {
            clients.spawn(shared.clone().web_socket());
        }
        drop(on_it);
        Ok(Self { shared, clients, machine: Some(machine) })
    }

    /// Sends nothing new, lets all that has begun end, and returns every record by time of begin.
    pub async fn stop(mut self) -> Vec<Record> {
        self.shared.stop.store(true, Ordering::Relaxed);
        while self.clients.join_next().await.is_some() {}
        let mut records = std::mem::take(&mut *self.shared.lock());
        records.sort_by_key(|record| record.begun);
        records
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(machine) = self.machine.take() {
            machine.shutdown_background();
        }
    }
}

/// What is asked for, and what the reply must be.
#[derive(Clone, Copy)]
enum Shape {
    Plain,
    Post(usize),
    Slow(u32),
    Stream(u32),
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Requests on one connection for ever. That it is closed is a failure.
    async fn keep_alive(
        self: Arc<Self>,
        pause: Duration,
        kind: &'static str,
        shape: fn(u32) -> Shape,
    ) {
        tokio::time::sleep(pause.mul_f64(rand::random())).await;
        let mut conn = None;
        while !self.stopped() {
            let begun = self.zero.elapsed();
            let result = self.ask(&mut conn, shape(rand::random())).await;
            let result = result.and_then(|reply| {
                ensure!(!reply.closes, "Connection: close");
                Ok(reply)
            });
            if result.is_err() {
                conn = None;
            }
            self.record(kind, begun, result);
            self.pace(begun, pause).await;
        }
    }

    /// Each request on a connection of its own.
    async fn anew(self: Arc<Self>, pause: Duration, kind: &'static str, shape: fn(u32) -> Shape) {
        tokio::time::sleep(pause.mul_f64(rand::random())).await;
        while !self.stopped() {
            let begun = self.zero.elapsed();
            let result = self.ask(&mut None, shape(rand::random())).await;
            self.record(kind, begun, result);
            self.pace(begun, pause).await;
        }
    }

    async fn pace(&self, begun: Duration, pause: Duration) {
        let next = begun + pause;
        tokio::time::sleep(next.saturating_sub(self.zero.elapsed())).await;
    }

    async fn ask(&self, conn: &mut Option<Conn>, shape: Shape) -> Result<Reply> {
        match tokio::time::timeout(PATIENCE, self.exchange(conn, shape)).await {
            Ok(result) => result,
            Err(_) => anyhow::bail!("no reply in {PATIENCE:?}"),
        }
    }

    async fn exchange(&self, conn: &mut Option<Conn>, shape: Shape) -> Result<Reply> {
        if conn.is_none() {
            *conn = Some(Conn::tcp(self.port).await?);
        }
        let Some(conn) = conn else { anyhow::bail!("no connection") };
        let mut body = Vec::new();
        let path = match shape {
            Shape::Plain => "/".to_string(),
            Shape::Post(bytes) => {
                body = vec![0; bytes];
                rand::rng().fill(&mut body[..]);
                "/echo".to_string()
            }
            Shape::Slow(ms) => format!("/slow?ms={ms}"),
            Shape::Stream(chunks) => format!("/stream?chunks={chunks}&ms=50"),
        };
        let method = if body.is_empty() { "GET" } else { "POST" };
        let request = Request { method, host: &self.host, path: &path, headers: "", body: &body };
        let reply = conn.send(&request).await?;
        ensure!(reply.status == 200, "status {}", reply.status);
        let said = format!("v{} {}", reply.release, reply.dyno);
        match shape {
            Shape::Plain | Shape::Slow(_) => {
                let wanted = format!("{said}\n");
                ensure!(reply.body == wanted.as_bytes(), "body is not {wanted:?}");
            }
            Shape::Post(_) => ensure!(reply.body == body, "the echo differs"),
            Shape::Stream(chunks) => {
                let wanted: String = (1..=chunks).map(|n| format!("{said} {n}\n")).collect();
                ensure!(reply.body == wanted.as_bytes(), "the stream differs");
            }
        }
        Ok(reply)
    }

    /// Messages over a WebSocket. A session ends with its dyno, which is counted and no failure;
    /// that a new one cannot begin is.
    async fn web_socket(self: Arc<Self>) {
        while !self.stopped() {
            let begun = self.zero.elapsed();
            let opened = tokio::time::timeout(PATIENCE, async {
                let mut conn = Conn::tcp(self.port).await?;
                let reply = conn.upgrade(&self.host).await?;
                anyhow::Ok((conn, reply))
            });
            let (mut conn, reply) = match opened.await {
                Ok(Ok(opened)) => opened,
                Ok(Err(error)) => {
                    self.record("ws-open", begun, Err(error));
                    continue;
                }
                Err(_) => {
                    self.record("ws-open", begun, Err(anyhow::anyhow!("no reply")));
                    continue;
                }
            };
            let (release, dyno) = (reply.release, reply.dyno.clone());
            self.record("ws-open", begun, Ok(reply));
            let of = || Reply { status: 101, release, dyno: dyno.clone(), ..Reply::default() };
            while !self.stopped() {
                let begun = self.zero.elapsed();
                let message = format!("{begun:?}");
                match tokio::time::timeout(PATIENCE, conn.echo(message.as_bytes())).await {
                    Ok(Ok(Some(back))) if back == message.as_bytes() => {
                        self.record("ws-message", begun, Ok(of()));
                    }
                    Ok(Ok(None)) => {
                        self.record("ws-end", begun, Ok(of()));
                        break;
                    }
                    _ => {
                        let wrong = anyhow::anyhow!("the message did not come back");
                        self.record("ws-message", begun, Err(wrong));
                        break;
                    }
                }
                self.pace(begun, Duration::from_millis(200)).await;
            }
        }
    }

    fn record(&self, kind: &'static str, begun: Duration, result: Result<Reply>) {
        let ended = self.zero.elapsed();
        let (reply, error) = match result {
            Ok(reply) => (reply, None),
            Err(error) => (Reply::default(), Some(format!("{error:#}"))),
        };
        if let Some(error) = &error {
            // At once: whoever watches can look at what goes on just then.
            println!("FAILED {kind} {begun:.3?}-{ended:.3?}: {error}");
        }
        self.lock().push(Record {
            kind,
            begun,
            ended,
            status: reply.status,
            release: reply.release,
            dyno: reply.dyno,
            instance: reply.instance,
            error,
        });
    }
}

/// One line for each request: kind, begin, end, status, release, dyno, error.
pub fn write(path: &Path, records: &[Record]) -> Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    writeln!(file, "kind\tbegun_s\tended_s\tstatus\trelease\tdyno\tinstance\terror")?;
    for record in records {
        writeln!(
            file,
            "{}\t{:.4}\t{:.4}\t{}\tv{}\t{}\t{}\t{}",
            record.kind,
            record.begun.as_secs_f64(),
            record.ended.as_secs_f64(),
            record.status,
            record.release,
            record.dyno,
            record.instance,
            record.error.as_deref().unwrap_or("")
        )?;
    }
    Ok(())
}
