//! Large bodies by curl, down from nginx and chunked up to it: the same bytes at both ends, in little memory.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use crate::peers::{any_route, apex, nginx};
use crate::support::{Dir, Job, Server, command, lacks, say, size};

/// The memory that the proxy may hold at any moment of the transfer.
const MEMORY_BYTES_MAX: u64 = 20_000_000;

/// Bytes of a body: `APEX_REAL_BYTES`, or 128 MiB.
fn body_bytes() -> u64 {
    size("APEX_REAL_BYTES", 128 << 20)
}

/// A transfer slower than 5 MB a second is taken for a stall.
fn limit(bytes: u64) -> Duration {
    Duration::from_secs(60 + bytes / 5_000_000)
}

/// Fills a file with bytes that do not repeat (xorshift): a piece lost, doubled or moved changes the sum.
pub(crate) fn random_file(file: &Path, bytes: u64, seed: u64) {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(file).expect("make the random file"));
    let mut state = seed | 1;
    let mut word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    for _ in 0..bytes / 8 {
        out.write_all(&word()).expect("write the random file");
    }
    let rest = usize::try_from(bytes % 8).expect("below 8");
    out.write_all(&word()[..rest]).and_then(|()| out.flush()).expect("write the random file");
}

fn sha256_of_file(file: &Path, bytes: u64) -> String {
    let mut command = command("sha256sum");
    command.stdin(File::open(file).unwrap_or_else(|error| panic!("{}: {error}", file.display())));
    Job::start(command).finish(limit(bytes))
}

/// Waits for `job` while it looks at the proxy's memory; gives the highest figure seen.
fn watched(mut job: Job, apex: &Server, bytes: u64) -> (Job, Output) {
    let deadline = Instant::now() + limit(bytes);
    loop {
        if let Some(output) = job.ended_within(Duration::from_millis(20)) {
            return (job, output);
        }
        let now_bytes = apex.memory_bytes("VmRSS");
        assert!(now_bytes < MEMORY_BYTES_MAX, "the proxy holds {now_bytes} bytes of memory");
        assert!(Instant::now() < deadline, "the transfer did not end within {:?}", limit(bytes));
    }
}

/// The kernel's own high-water mark, for what came and went between two looks.
fn judge_memory(apex: &Server, what: &str, bytes: u64, took: Duration) {
    let peak_bytes = apex.memory_bytes("VmHWM");
    say(&format!(
        "{what} of {bytes} bytes in {took:.1?}: the proxy held at most {peak_bytes} bytes of memory"
    ));
    assert!(peak_bytes < MEMORY_BYTES_MAX, "the proxy held {peak_bytes} bytes of memory");
}

#[test]
fn large_download_is_whole_and_takes_little_memory() {
    if lacks(&["nginx", "curl", "sha256sum"]) {
        return;
    }
    let (dir, bytes) = (Dir::new("download"), body_bytes());
    let body = dir.join("body");
    random_file(&body, bytes, 0x0D0E_5EED);
    let backend = nginx(&dir, "origin", &format!("location / {{ root {}; }}", dir.path().display()));
    let apex = apex(&dir, "", &any_route(&[backend.port()]));

    let started = Instant::now();
    let mut curl = command("curl");
    curl.args(["--silent", "--show-error", "--fail", &apex.url("/body")]);
    let (curl, stdout) = Job::start_piped(curl);
    let mut sum = command("sha256sum");
    sum.stdin(stdout);
    let (sum, output) = watched(Job::start(sum), &apex, bytes);
    // A body cut short ends curl with an error, whatever the sum is.
    curl.finish(Duration::from_secs(10));
    let took = started.elapsed();
    assert_eq!(sum.judge(output), sha256_of_file(&body, bytes));
    judge_memory(&apex, "download", bytes, took);
}

#[test]
fn large_chunked_upload_is_whole_and_takes_little_memory() {
    if lacks(&["nginx", "curl", "sha256sum"]) {
        return;
    }
    let (dir, bytes) = (Dir::new("upload"), body_bytes());
    let (body, store) = (dir.join("body"), dir.join("store"));
    random_file(&body, bytes, 0x0B0E_5EED);
    fs::create_dir_all(&store).expect("make the store");
    // WebDAV's PUT writes the decoded body to a file. The field says how it came.
    let directives = format!(
        "location / {{ root {}; dav_methods PUT; add_header X-Coding $http_transfer_encoding always; }}",
        store.display()
    );
    let backend = nginx(&dir, "origin", &directives);
    let apex = apex(&dir, "", &any_route(&[backend.port()]));

    let started = Instant::now();
    let mut curl = command("curl");
    curl.args(["--silent", "--show-error", "--fail", "--include", "--upload-file", "-"])
        .args(["--header", "Transfer-Encoding: chunked", &apex.url("/body")])
        .stdin(File::open(&body).expect("open the random file"));
    let (curl, output) = watched(Job::start(curl), &apex, bytes);
    let (head, took) = (curl.judge(output).to_ascii_lowercase(), started.elapsed());
    assert!(head.contains("x-coding: chunked"), "the body did not reach the backend chunked:\n{head}");
    assert_eq!(sha256_of_file(&store.join("body"), bytes), sha256_of_file(&body, bytes));
    judge_memory(&apex, "chunked upload", bytes, took);
}
