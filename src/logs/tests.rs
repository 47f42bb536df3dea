//! The log as a whole, over files written as Docker writes them.

use super::json_file::docker_record;
use super::*;
use std::fs::{File, OpenOptions};
use std::io::Write;
use tempfile::TempDir;

/// Docker's json-file driver: appends records, and rotates once a file has reached its size.
struct Docker {
    path: PathBuf,
    file: File,
    size: u64,
    capacity: u64,
    nanos: u64,
    written: u64,
}

impl Docker {
    fn new(dir: &TempDir, capacity: u64) -> Self {
        let path = dir.path().join("c1-json.log");
        let file = File::create(&path).unwrap();
        Self { path, file, size: 0, capacity, nanos: 0, written: 0 }
    }

    fn record(&mut self, log: &str, stream: &str) {
        if self.size >= self.capacity {
            let mut rotated = self.path.clone().into_os_string();
            rotated.push(".1");
            std::fs::rename(&self.path, rotated).unwrap();
            self.file = File::create(&self.path).unwrap();
            self.size = 0;
        }
        self.nanos += 1_000_000;
        let record = docker_record(log, stream, self.nanos);
        self.file.write_all(record.as_bytes()).unwrap();
        self.size += record.len() as u64;
    }

    /// The next so many numbered lines.
    fn lines(&mut self, count: u64) {
        for _ in 0..count {
            self.record(&format!("{}\n", self.written), "stdout");
            self.written += 1;
        }
    }
}

struct Bench {
    dir: TempDir,
    app: AppId,
    max_bytes: u64,
    file_bytes: u64,
}

impl Bench {
    fn new() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
            app: AppId::random(),
            max_bytes: 64 << 20,
            file_bytes: LOG_FILE_BYTES,
        }
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("logs")
    }

    fn open(&self) -> Logs {
        Logs::open_with(&self.store(), self.max_bytes, self.file_bytes).unwrap()
    }

    fn follow(&self, docker: &Docker) -> Follow {
        let (process, container) = ("web.1".to_string(), "c1".to_string());
        let path = docker.path.clone();
        Follow { app: self.app, process, container, path, freezer: None }
    }

    /// Everything that is stored.
    fn stored(&self, logs: &Logs) -> Vec<LogLine> {
        let dir = self.store().join(self.app.to_string());
        history::last(&dir, logs.hub.end(self.app), &Filter::default(), usize::MAX).unwrap()
    }

    fn messages(&self, logs: &Logs) -> Vec<String> {
        self.stored(logs).into_iter().map(|line| line.message).collect()
    }
}

fn numbers(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// Drops the handle and waits until its thread has ended.
fn close(logs: Logs) {
    let hub = Arc::downgrade(&logs.hub);
    drop(logs);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while hub.upgrade().is_some() {
        assert!(std::time::Instant::now() < deadline, "the log thread goes on");
        std::thread::yield_now();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_written_is_read_back_newest_last() {
    let bench = Bench::new();
    let logs = bench.open();
    assert_eq!(logs.last(bench.app, &Filter::default(), 10).await.unwrap(), []);
    for n in 0..20 {
        let lines = vec![
            LogLine::heroku("router", format!("request {n}")),
            LogLine::heroku("web.1", format!("state {n}\nsecond {n}")),
        ];
        logs.write(bench.app, lines).await;
    }
    let dyno = |name: &str| Filter { dyno: Some(name.into()), ..Filter::default() };
    let last = logs.last(bench.app, &dyno("router"), 3).await.unwrap();
    let messages: Vec<_> = last.into_iter().map(|line| line.message).collect();
    assert_eq!(messages, ["request 17", "request 18", "request 19"]);
    let last = logs.last(bench.app, &dyno("web"), 2).await.unwrap();
    assert_eq!(last[0].message, "state 19");
    assert_eq!(last[1].message, "second 19");
    let all = bench.stored(&logs);
    assert_eq!(all.len(), 60);
    close(logs);
    assert_eq!(bench.stored(&bench.open()), all);
}

#[tokio::test]
async fn history_is_clamped_to_what_heroku_gives() {
    let bench = Bench::new();
    let logs = bench.open();
    let lines = (0..2000).map(|n| LogLine::heroku("web.1", n.to_string())).collect();
    logs.write(bench.app, lines).await;
    let last = logs.last(bench.app, &Filter::default(), 100_000).await.unwrap();
    assert_eq!(last.len(), LOG_HISTORY_LINES);
    assert_eq!(last[0].message, "500");
}

#[tokio::test]
async fn history_and_tail_meet_without_a_seam() {
    let bench = Bench::new();
    let logs = bench.open();
    let writer = logs.clone();
    let app = bench.app;
    let writing = async move {
        for n in 0..500 {
            writer.write(app, vec![LogLine::heroku("web.1", n.to_string())]).await;
        }
    };
    let reading = async {
        let mut seen = Vec::new();
        while seen.len() < 100 {
            tokio::task::yield_now().await;
            seen = bench.messages(&logs);
        }
        let (history, mut tail) = logs.last_and_tail(app, Filter::default(), 1500).await.unwrap();
        let mut messages: Vec<String> = history.into_iter().map(|line| line.message).collect();
        while messages.len() < 500 {
            messages.push(tail.next().await.unwrap().message);
        }
        messages
    };
    let ((), messages) = tokio::join!(writing, reading);
    assert_eq!(messages, numbers(0..500));
}

#[tokio::test]
async fn a_dynos_output_is_followed_through_rotations() {
    let bench = Bench::new();
    let mut docker = Docker::new(&bench.dir, 2_000);
    let logs = bench.open();
    let mut tail = logs.tail(bench.app, Filter::default());
    docker.lines(10);
    logs.follow(bench.follow(&docker));
    for _ in 0..10 {
        let before = docker.written;
        docker.lines(20);
        logs.follow(bench.follow(&docker));
        while tail.next().await.unwrap().message != (before + 19).to_string() {}
    }
    docker.lines(5);
    logs.finish("c1").await;
    assert_eq!(bench.messages(&logs), numbers(0..215));
    let line = &bench.stored(&logs)[0];
    assert_eq!(line.to_string(), "2026-11-20T09:15:00.001000+00:00 app[web.1]: 0");
}

#[tokio::test]
async fn a_finished_container_that_is_found_again_is_not_stored_again() {
    let bench = Bench::new();
    let mut docker = Docker::new(&bench.dir, 1_000_000);
    docker.lines(10);
    docker.record("unended", "stderr");
    let logs = bench.open();
    logs.follow(bench.follow(&docker));
    logs.finish("c1").await;
    logs.finish("c1").await;
    let expected: Vec<String> = numbers(0..10).into_iter().chain(["unended".into()]).collect();
    assert_eq!(bench.messages(&logs), expected);
    close(logs);
    let logs = bench.open();
    logs.follow(bench.follow(&docker));
    logs.finish("c1").await;
    assert_eq!(bench.messages(&logs), expected);
    // Once the container is gone so is its checkpoint, for good.
    logs.keep_only_containers(vec!["c1".into()]).await;
    close(logs);
    let logs = bench.open();
    logs.keep_only_containers(Vec::new()).await;
    close(logs);
    let log = AppLog::open(bench.store().join(bench.app.to_string()), 64 << 20).unwrap();
    assert!(log.checkpoints.is_empty());
}

/// A kill leaves the newest segment cut anywhere within its last write; here, within any.
#[tokio::test]
async fn a_restart_at_every_byte_neither_loses_nor_repeats_a_line() {
    let bench = Bench::new();
    let mut docker = Docker::new(&bench.dir, 700);
    let logs = bench.open();
    let mut tail = logs.tail(bench.app, Filter::default());
    logs.follow(bench.follow(&docker));
    for _ in 0..4 {
        let before = docker.written;
        docker.lines(3);
        while tail.next().await.unwrap().message != (before + 2).to_string() {}
    }
    close(logs);
    // The next batch is there when the server comes back.
    docker.lines(1);
    let segment = segment::path(&bench.store().join(bench.app.to_string()), 1);
    let whole = std::fs::read(&segment).unwrap();
    for end in 0..=whole.len() {
        let again = Bench {
            dir: TempDir::new().unwrap(),
            app: bench.app,
            max_bytes: 64 << 20,
            file_bytes: LOG_FILE_BYTES,
        };
        copy(&bench.store(), &again.store());
        let segment = segment::path(&again.store().join(again.app.to_string()), 1);
        OpenOptions::new().write(true).open(segment).unwrap().set_len(end as u64).unwrap();
        let logs = again.open();
        logs.follow(bench.follow(&docker));
        logs.finish("c1").await;
        assert_eq!(again.messages(&logs), numbers(0..13), "cut at {end}");
    }
}

#[tokio::test]
async fn restarts_in_the_middle_of_anything_keep_every_number_once() {
    let bench = Bench { max_bytes: 8 << 20, file_bytes: 60_000, ..Bench::new() };
    let mut docker = Docker::new(&bench.dir, 60_000);
    let long = "x".repeat(9_000);
    for round in 0..40 {
        docker.lines(round * 13 % 300);
        // A line in parts, which may be cut by a rotation and by a restart.
        docker.record(&long, "stderr");
        docker.lines(1);
        let logs = bench.open();
        logs.follow(bench.follow(&docker));
        // The first look has been taken when the write has an answer.
        logs.write(bench.app, vec![LogLine::heroku("web.1", "restart")]).await;
        docker.record(&long, "stderr");
        docker.record("end\n", "stderr");
        docker.lines(round * 7 % 100);
        if round % 3 == 0 {
            logs.finish("c1").await;
        }
        close(logs);
    }
    let logs = bench.open();
    logs.follow(bench.follow(&docker));
    logs.finish("c1").await;
    let stored = bench.stored(&logs);
    let own = stored.iter().filter(|line| line.source == Source::App);
    let (long, short): (Vec<_>, Vec<_>) = own.partition(|line| line.message.len() > 100);
    let gaps = stored.iter().filter(|line| line.process == "log-shuttle").count();
    assert_eq!(gaps, 0);
    let count = |end: &str| short.iter().filter(|line| line.message.ends_with(end)).count();
    assert_eq!(count("xend"), 0);
    let ends: usize = stored.iter().filter(|line| line.message.ends_with("xend")).count();
    assert_eq!((long.len(), ends), (80, 40), "each long line came as two messages");
    let numbered: Vec<String> = short.into_iter().map(|line| line.message.clone()).collect();
    assert_eq!(numbered, numbers(0..docker.written));
}

#[tokio::test]
async fn what_rotated_away_meanwhile_is_a_counted_gap() {
    let bench = Bench { file_bytes: 10_000, ..Bench::new() };
    let mut docker = Docker::new(&bench.dir, 10_000);
    docker.written = 1000;
    docker.lines(50);
    let logs = bench.open();
    logs.follow(bench.follow(&docker));
    logs.finish("c1").await;
    close(logs);
    docker.lines(1000);
    let logs = bench.open();
    logs.follow(bench.follow(&docker));
    logs.finish("c1").await;
    let stored = bench.stored(&logs);
    let is_gap = |line: &LogLine| line.process == "log-shuttle";
    let at = stored.iter().position(is_gap).unwrap();
    assert_eq!(stored.iter().filter(|line| is_gap(line)).count(), 1);
    assert_eq!(at, 50);
    let first: u64 = stored[at + 1].message.parse().unwrap();
    let lost = first - 1050;
    let words: Vec<&str> = stored[at].message.split(' ').collect();
    assert_eq!(words[..2], ["Error", "L12:"]);
    let told: u64 = words[2].parse().unwrap();
    assert!(told.abs_diff(lost) * 50 <= lost, "{told} told, {lost} lost");
    assert!(stored[at].message.contains(&format!("dropped since {}", stored[49].at.log())));
    let rest: Vec<String> = stored[at + 1..].iter().map(|line| line.message.clone()).collect();
    assert_eq!(rest, numbers(first..docker.written));
}

#[test]
fn the_engine_rotates_where_the_log_expects_it() {
    let millions = crate::limits::ENGINE_LOG_SIZE.strip_suffix('m').unwrap();
    assert_eq!(millions.parse::<u64>().unwrap() * 1_000_000, LOG_FILE_BYTES);
}

#[tokio::test]
async fn an_apps_share_of_disk_is_kept_and_the_oldest_lines_go() {
    let bench = Bench { max_bytes: 200_000, ..Bench::new() };
    let mut docker = Docker::new(&bench.dir, 1 << 20);
    let logs = bench.open();
    let mut tail = logs.tail(bench.app, Filter::default());
    logs.follow(bench.follow(&docker));
    docker.lines(1);
    tail.next().await.unwrap();
    for n in 0..2000 {
        logs.write(bench.app, vec![LogLine::heroku("web.1", format!("{n:0500}"))]).await;
    }
    let dir = bench.store().join(bench.app.to_string());
    let files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap()).collect();
    let bytes: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!((150_000..=200_000).contains(&bytes), "{bytes}");
    assert!(files.len() >= 8);
    let stored = bench.messages(&logs);
    assert_eq!(stored.last().unwrap(), &format!("{:0500}", 1999));
    assert!(stored.len() > 250);
    // The checkpoint has moved on with the newest segment: line 0 is not stored again.
    close(logs);
    let logs = bench.open();
    logs.follow(bench.follow(&docker));
    logs.finish("c1").await;
    assert_eq!(bench.messages(&logs), stored);
}

#[tokio::test]
async fn a_forgotten_app_leaves_nothing_behind() {
    let bench = Bench::new();
    let other = AppId::random();
    let mut docker = Docker::new(&bench.dir, 1 << 20);
    let logs = bench.open();
    let mut tail = logs.tail(bench.app, Filter::default());
    docker.lines(1);
    logs.follow(bench.follow(&docker));
    tail.next().await.unwrap();
    logs.write(other, vec![LogLine::api("stays")]).await;
    logs.forget(bench.app).await;
    assert!(tail.next().await.is_none());
    // Late lines do not bring it back.
    logs.write(bench.app, vec![LogLine::api("late")]).await;
    logs.follow(bench.follow(&docker));
    logs.finish("c1").await;
    assert!(!bench.store().join(bench.app.to_string()).exists());
    assert_eq!(logs.last(bench.app, &Filter::default(), 10).await.unwrap(), []);
    assert_eq!(logs.last(other, &Filter::default(), 10).await.unwrap().len(), 1);
    logs.keep_only_apps(vec![]).await;
    assert!(!bench.store().join(other.to_string()).exists());
}

#[tokio::test]
async fn a_truncated_log_is_followed_from_its_start() {
    let bench = Bench::new();
    let mut docker = Docker::new(&bench.dir, 1 << 20);
    let logs = bench.open();
    let mut tail = logs.tail(bench.app, Filter::default());
    docker.lines(10);
    logs.follow(bench.follow(&docker));
    while tail.next().await.unwrap().message != "9" {}
    docker.file = File::create(&docker.path).unwrap();
    docker.lines(3);
    while tail.next().await.unwrap().message != "12" {}
    assert_eq!(bench.messages(&logs), numbers(0..13));
}

/// After a power cut Docker's file may end before what was stored of it.
#[tokio::test]
async fn a_log_shorter_than_its_checkpoint_is_not_stored_again() {
    let bench = Bench::new();
    let mut docker = Docker::new(&bench.dir, 1 << 20);
    docker.lines(10);
    let logs = bench.open();
    logs.follow(bench.follow(&docker));
    logs.finish("c1").await;
    close(logs);
    let content = std::fs::read_to_string(&docker.path).unwrap();
    let half: String = content.split_inclusive('\n').take(5).collect();
    std::fs::write(&docker.path, half).unwrap();
    docker.file = OpenOptions::new().append(true).open(&docker.path).unwrap();
    docker.lines(5);
    let logs = bench.open();
    logs.follow(bench.follow(&docker));
    logs.finish("c1").await;
    assert_eq!(bench.messages(&logs), numbers(0..15));
}

#[tokio::test]
async fn a_segment_deleted_by_hand_is_replaced() {
    let bench = Bench::new();
    let logs = bench.open();
    logs.write(bench.app, vec![LogLine::api("before")]).await;
    close(logs);
    let logs = bench.open();
    let dir = bench.store().join(bench.app.to_string());
    std::fs::remove_dir_all(dir).unwrap();
    logs.write(bench.app, vec![LogLine::api("after")]).await;
    assert_eq!(bench.messages(&logs), ["after"]);
}

#[tokio::test]
async fn a_record_larger_than_a_read_is_skipped() {
    let bench = Bench::new();
    let mut docker = Docker::new(&bench.dir, 1 << 30);
    docker.lines(1);
    docker.file.write_all(&vec![b'x'; 1_000_000]).unwrap();
    docker.file.write_all(b"\n").unwrap();
    docker.lines(1);
    let logs = bench.open();
    logs.follow(bench.follow(&docker));
    logs.finish("c1").await;
    assert_eq!(bench.messages(&logs), numbers(0..2));
}
