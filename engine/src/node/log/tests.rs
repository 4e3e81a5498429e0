//! What a program writes is what is read, whole or in part, now or as it comes.

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt, TryStreamExt};
use tokio::io::AsyncWriteExt;

use super::{Log, collect, last_words, stream};
use crate::kubelet::{LogRequest, LogStream};

struct Bench {
    _directory: tempfile::TempDir,
    log: Arc<Log>,
}

impl Bench {
    fn new(limit: u64) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let log = Log::create(directory.path().join("c/0.log"), limit).unwrap();
        Bench { _directory: directory, log }
    }

    async fn written(stdout: &str) -> Bench {
        let bench = Bench::new(1 << 20);
        collect(bench.log.clone(), stdout.as_bytes(), &b""[..]).await.unwrap();
        bench
    }

    async fn read(&self, request: LogRequest) -> String {
        all(stream(self.log.clone(), request)).await
    }
}

async fn all(stream: LogStream) -> String {
    let chunks: Vec<_> = stream.try_collect().await.unwrap();
    String::from_utf8(chunks.concat()).unwrap()
}

#[tokio::test]
async fn lines_come_back_as_they_were_written() {
    let long = "x".repeat(40_000);
    for text in ["", "one\ntwo\n", "one\n\n  two", &format!("{long}\nend\n")] {
        assert_eq!(Bench::written(text).await.read(LogRequest::default()).await, text);
    }
}

#[tokio::test]
async fn a_request_takes_a_part() {
    let bench = Bench::written("one\ntwo\nthree").await;
    let tail = |tail| LogRequest { tail_lines: Some(tail), ..LogRequest::default() };
    for (request, expected) in [
        (tail(0), ""),
        (tail(1), "three"),
        (tail(2), "two\nthree"),
        (tail(9), "one\ntwo\nthree"),
        (LogRequest { limit_bytes: Some(5), ..LogRequest::default() }, "one\nt"),
        (LogRequest { since: Some(jiff::Timestamp::MAX), ..LogRequest::default() }, ""),
    ] {
        assert_eq!(bench.read(request).await, expected);
    }
    let stamped = bench.read(LogRequest { timestamps: true, ..tail(1) }).await;
    let (time, text) = stamped.split_once(' ').unwrap();
    assert_eq!((text, time.len()), ("three", "2026-01-01T00:00:00.000000000Z".len()));
}

#[tokio::test]
async fn following_ends_when_the_program_does() {
    let bench = Bench::new(1 << 20);
    let (mut program, output) = tokio::io::duplex(64);
    let collecting = tokio::spawn(collect(bench.log.clone(), output, &b""[..]));
    program.write_all(b"first\n").await.unwrap();
    let mut follower = stream(bench.log.clone(), LogRequest { follow: true, ..LogRequest::default() });
    assert_eq!(follower.next().await.unwrap().unwrap(), "first\n");
    assert!(follower.next().now_or_never().is_none());
    program.write_all(b"second\n").await.unwrap();
    assert_eq!(follower.next().await.unwrap().unwrap(), "second\n");
    drop(program);
    collecting.await.unwrap().unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(5), follower.next()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_log_that_grew_too_large_keeps_its_newer_part_and_its_followers() {
    let bench = Bench::new(100);
    let (mut program, output) = tokio::io::duplex(16);
    let collecting = tokio::spawn(collect(bench.log.clone(), output, &b""[..]));
    let mut follower = stream(bench.log.clone(), LogRequest { follow: true, ..LogRequest::default() });
    let mut followed = String::new();
    for number in 0..20 {
        program.write_all(format!("line {number}\n").as_bytes()).await.unwrap();
        followed.push_str(std::str::from_utf8(&follower.next().await.unwrap().unwrap()).unwrap());
    }
    drop(program);
    collecting.await.unwrap().unwrap();
    let expected: String = (0..20).map(|number| format!("line {number}\n")).collect();
    assert_eq!(followed, expected);
    let kept = bench.read(LogRequest::default()).await;
    assert!(kept.ends_with("line 18\nline 19\n") && !kept.contains("line 1\n"), "{kept}");
}

#[tokio::test]
async fn last_words_are_the_end_of_the_log() {
    let many: String = (0..500).map(|number| format!("line {number}\n")).collect();
    let words = last_words(&Bench::written(&many).await.log);
    assert!(words.starts_with("line 420\n") && words.ends_with("line 499\n"), "{words}");
    let wide = last_words(&Bench::written(&format!("{}end\n", "x".repeat(5000))).await.log);
    assert_eq!((wide.len(), wide.ends_with("end\n")), (2048, true));
}
