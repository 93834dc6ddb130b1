//! The static binary alone in a directory: no library, no resolver, no `/proc`, only its configuration.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::peers::{any_route, naming_nginx, server_table};
use crate::support::{Dir, Job, Server, command, free_port, lacks, say};

#[test]
fn static_binary_runs_in_an_empty_directory() {
    if lacks(&["nginx", "curl", "chroot"]) {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        say("SKIPPED: only root may chroot");
        return;
    }
    let Some(binary) = std::env::var_os("APEX_STATIC_BIN").map(PathBuf::from) else {
        say("SKIPPED: APEX_STATIC_BIN does not name the static binary");
        return;
    };
    let dir = Dir::new("chroot");
    let backend = naming_nginx(&dir, "origin");
    let (root, port) = (dir.join("root"), free_port());
    fs::create_dir(&root).expect("make an empty directory");
    fs::copy(&binary, root.join("apex")).unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
    let config = server_table(port, "") + &any_route(&[backend.port()]);
    fs::write(root.join("apex.toml"), config).expect("write the configuration");

    let mut chroot = command("chroot");
    chroot.arg(&root).args(["/apex", "--config", "/apex.toml"]);
    let apex = Server::start(chroot, dir.join("apex.log"), port);
    let mut curl = command("curl");
    curl.args(["--silent", "--show-error", "--fail", &apex.url("/x")]);
    assert_eq!(Job::start(curl).finish(Duration::from_secs(10)), "origin /x\n");
    let mut names: Vec<_> = fs::read_dir(&root)
        .expect("list the directory")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["apex", "apex.toml"], "the proxy left files");
    say("chroot: served from a directory with two files");
}
