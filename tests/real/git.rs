//! git over smart HTTP through Apex: clone, push, and the same history at both ends.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::bodies::random_file;
use crate::peers::{any_route, apex};
use crate::support::{Dir, Job, Server, command, free_port, lacks, say, script};

const LIMIT: Duration = Duration::from_secs(120);

/// git in `at`, blind to the configuration and the credentials of whoever runs the test.
fn git_command(at: &Path, arguments: &[&str]) -> Command {
    let mut git = command("git");
    git.current_dir(at).args(arguments);
    for (name, value) in [
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", ""),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_AUTHOR_NAME", "Test"),
        ("GIT_AUTHOR_EMAIL", "test@example.com"),
        ("GIT_COMMITTER_NAME", "Test"),
        ("GIT_COMMITTER_EMAIL", "test@example.com"),
    ] {
        git.env(name, value);
    }
    // Set where the tests are started from a git hook; they would point at another repository.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        git.env_remove(name);
    }
    git
}

fn git(at: &Path, arguments: &[&str]) -> String {
    Job::start(git_command(at, arguments)).finish(LIMIT).trim().to_owned()
}

/// Commits `count` files of 1 MB that no compression makes smaller.
fn commit(at: &Path, name: &str, count: u64) {
    for number in 0..count {
        random_file(
            &at.join(format!("{name}-{number}")),
            1_000_000,
            0x6177 + number * 2 + name.len() as u64 * 1000,
        );
    }
    git(at, &["add", "--all"]);
    git(at, &["commit", "--quiet", "--message", name]);
}

#[test]
fn clone_and_push_over_smart_http() {
    if lacks(&["git", "python3"]) {
        return;
    }
    let dir = Dir::new("git");
    let at = dir.path();
    let programs = git(at, &["--exec-path"]);
    if !Path::new(&programs).join("git-http-backend").is_file() {
        say("SKIPPED: git-http-backend is missing");
        return;
    }
    git(at, &["init", "--quiet", "--initial-branch=main", "source"]);
    commit(&dir.join("source"), "first", 6);
    fs::create_dir_all(dir.join("served")).expect("make the served directory");
    git(at, &["clone", "--quiet", "--bare", "source", "served/repo.git"]);
    git(&dir.join("served/repo.git"), &["config", "http.receivepack", "true"]);

    let port = free_port();
    let mut origin = script("git_server.py");
    origin.arg("--port").arg(port.to_string()).arg("--root").arg(dir.join("served"));
    let origin = Server::start(origin, dir.join("git_server.log"), port);
    let apex = apex(&dir, "", &any_route(&[origin.port()]));

    git(at, &["clone", "--quiet", &apex.url("/repo.git"), "copy"]);
    let copy = dir.join("copy");
    git(&copy, &["fsck", "--full", "--strict"]);
    assert_eq!(git(&copy, &["rev-parse", "HEAD"]), git(&dir.join("source"), &["rev-parse", "HEAD"]));

    // More than http.postBuffer (1 MiB), so git sends it chunked.
    commit(&copy, "second", 4);
    git(&copy, &["push", "--quiet", "origin", "main"]);
    let served = dir.join("served/repo.git");
    git(&served, &["fsck", "--full", "--strict"]);
    assert_eq!(git(&served, &["rev-parse", "main"]), git(&copy, &["rev-parse", "HEAD"]));
    let said = origin.said();
    assert!(said.contains("git-receive-pack chunked 200"), "the push was not chunked:\n{said}");

    // The other direction once more: a fetch of what was pushed, with negotiation of what is there already.
    git(at, &["clone", "--quiet", &apex.url("/repo.git"), "third"]);
    git(&dir.join("third"), &["fsck", "--full", "--strict"]);
    commit(&copy, "fourth", 1);
    git(&copy, &["push", "--quiet", "origin", "main"]);
    git(&dir.join("third"), &["pull", "--quiet", "--ff-only"]);
    assert_eq!(git(&dir.join("third"), &["rev-parse", "HEAD"]), git(&copy, &["rev-parse", "HEAD"]));
}
