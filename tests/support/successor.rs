//! Processes that replace an Apex that a test has started: found by its log, and ended with the test.

use super::process::{binary, config, free_addr, spawn, until};
use super::{Apex, SOON};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, set_child_subreaper, waitpid};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Instant;

impl Apex {
    /// Starts it by a link in a directory of its own, so that another program can replace it.
    pub fn linked(env: &[(&str, &str)], server: &str, routes: &str) -> Self {
        adopt_orphans();
        Self::started_by(free_addr, |addr, dir| {
            fs::write(dir.file(), config(addr, server, routes)).unwrap();
            let link = dir.path("apex");
            symlink(binary(), &link).unwrap();
            spawn(&link, env, &dir.file(), Stdio::null())
        })
    }

    /// Starts it with a listener that this process keeps, as in socket activation.
    pub fn activated(listener: TcpListener, server: &str, routes: &str) -> Self {
        adopt_orphans();
        let addr = listener.local_addr().unwrap();
        let apex = Self::given(listener.into(), || addr, |_| server.to_owned(), routes);
        // The kernel accepts connections before the process runs.
        apex.stderr.find(|line| line.contains("serving"));
        apex
    }

    /// Starts it with a listening socket; `server` gets the address of [`Apex::addr`], which is free.
    pub fn given(
        socket: OwnedFd,
        choose: impl FnOnce() -> SocketAddr,
        server: impl Fn(SocketAddr) -> String,
        routes: &str,
    ) -> Self {
        // Descriptor 0 is the one that can be chosen without unsafe code.
        let env = [("LISTEN_FDS", "1"), ("LISTEN_FDS_FIRST_FD", "0")];
        let mut socket = Some(socket);
        Self::started_by(choose, |addr, dir| {
            fs::write(dir.file(), config(addr, &server(addr), routes)).unwrap();
            let input = socket.take().expect("it ended, but not for want of a port");
            spawn(&binary(), &env, &dir.file(), Stdio::from(input))
        })
    }

    /// The path at which its program is started.
    pub fn program(&self) -> PathBuf {
        self.dir.path("apex")
    }

    /// A file next to its own.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path(name)
    }

    /// Replaces it with another program.
    pub fn link_to(&self, program: &Path) {
        let new = self.dir.path("new");
        symlink(program, &new).unwrap();
        fs::rename(new, self.program()).unwrap();
    }

    /// Replaces it with a shell script.
    pub fn script(&self, text: &str) {
        let script = self.dir.path("script");
        let _ = fs::remove_file(&script);
        fs::write(&script, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        self.link_to(&script);
    }

    /// Restores the binary under test.
    pub fn link_back(&self) {
        self.link_to(&binary());
    }

    /// Has another process replace it, and waits for that; returns the old process.
    pub fn upgrade(&mut self) -> Pid {
        let before = self.stderr.all().len();
        self.signal(Signal::USR2);
        self.replaced(before)
    }

    /// Waits until the log, after `before` lines, reports that another process serves, and until the old one
    /// has closed its listeners.
    pub fn replaced(&mut self, before: usize) -> Pid {
        let said = self.stderr.find_behind(before, |line| line.contains(" serves; process "));
        let number = said.split("process ").nth(1).and_then(|words| words.split(' ').next()).unwrap();
        let old = self.serving;
        self.serving = Pid::from_raw(number.parse().unwrap()).unwrap();
        self.successors.push(self.serving);
        until("the old one still listens", || {
            let theirs = self.socket_numbers();
            Self::socket_numbers_of(old).iter().all(|number| !theirs.contains(number)).then_some(())
        });
        old
    }

    /// The exit status of one of its processes, if it has ended.
    pub fn status_of(&mut self, process: Pid) -> Option<ExitStatus> {
        if self.is_child(process) {
            return self.child_status();
        }
        // Until its own parent has ended, it is not a child of this process.
        let ended = waitpid(Some(process), WaitOptions::NOHANG).ok().flatten()?;
        self.successors.retain(|&other| other != process);
        Some(ExitStatus::from_raw(ended.1.as_raw()))
    }

    /// Waits until one of its processes has ended.
    pub fn exit_of(&mut self, process: Pid) -> ExitStatus {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(status) = self.status_of(process) {
                return status;
            }
            assert!(Instant::now() < deadline, "{process:?} does not end: {:#?}", self.stderr.all());
            self.stderr.pause();
        }
    }

    pub(super) fn end_successors(&mut self) {
        for &process in &self.successors {
            let _ = kill_process(process, Signal::KILL);
        }
        for process in std::mem::take(&mut self.successors) {
            let _ = waitpid(Some(process), WaitOptions::empty());
        }
    }
}

/// Makes this process the parent of orphaned descendants, so that their exit status can be collected.
fn adopt_orphans() {
    set_child_subreaper(Some(Pid::INIT)).unwrap();
}

/// The live children of a process.
pub fn children_of(number: u32) -> Vec<u32> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().map_while(Result::ok) {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process that ends meanwhile has no status any more.
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let is_child = status
            .lines()
            .any(|line| line.strip_prefix("PPid:").is_some_and(|parent| parent.trim() == number.to_string()));
        if is_child && !status.contains("State:\tZ") {
            children.push(child);
        }
    }
    children
}
