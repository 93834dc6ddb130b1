//! What the cases share: programs found and started, each ended by its own id; ports, directories, deadlines.
//!
//! Everything started here leads its own process group, and a guard kills that group when it goes out of scope, so a
//! failing case leaves nothing running. No wait is without a deadline.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How long a program may take to open its port: generous, for a loaded machine.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Says a line past libtest's capture: a skipped case or a figure is of no use where nobody sees it.
pub(crate) fn say(line: &str) {
    // Nothing is lost but the line if stderr is closed.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Where a program lies: `PATH`, then the directories of system programs that a user's `PATH` often leaves out.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Whether one of these programs is missing; says loudly which, so that a skipped case is not taken for a passed one.
pub(crate) fn lacks(names: &[&str]) -> bool {
    let missing = names.iter().find(|name| program(name).is_none());
    missing.inspect(|name| say(&format!("SKIPPED: {name} is missing"))).is_some()
}

/// A command that finds its program as [`program`] does and knows no web proxy but the one under test.
pub(crate) fn command(name: &str) -> Command {
    command_at(&program(name).unwrap_or_else(|| PathBuf::from(name)))
}

/// The same for a program whose place is known.
pub(crate) fn command_at(file: &Path) -> Command {
    let mut command = Command::new(file);
    for variable in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(variable);
    }
    command.process_group(0).stdin(Stdio::null());
    command
}

/// The command line without the environment, for messages.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// A command that runs one of the scripts beside this file.
pub(crate) fn script(name: &str) -> Command {
    let mut command = command("python3");
    command.arg("-u").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real").join(name));
    command
}

/// A number from the environment, or `default`.
pub(crate) fn size(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
        Err(_) => default,
    }
}

/// How long load runs: `APEX_REAL_SECS`, or 2.
pub(crate) fn load_secs() -> u64 {
    size("APEX_REAL_SECS", 2)
}

/// Tries `attempt` until it gives something; panics with `what` when `limit` has passed.
pub(crate) fn poll<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// A port that nobody listens on now. Taken from below the range that the kernel gives to outgoing connections, so
/// that none of the thousands opened here takes it in the meantime.
pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 18_000;
    static TRIED: AtomicU32 = AtomicU32::new(0);
    for _ in 0..COUNT {
        // The process id spreads runs that share the machine.
        let step = std::process::id().wrapping_mul(61).wrapping_add(TRIED.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + step % COUNT).expect("below 30,000");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port on loopback");
}

/// A loopback address.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// A directory of one case, gone with its value.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("real-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("make a directory for the case");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A program that runs until its guard is dropped, with what it says kept in a file.
pub(crate) struct Server {
    child: Child,
    pid: Pid,
    log: PathBuf,
    port: u16,
    killed: bool,
}

impl Server {
    /// Starts it and waits until it accepts connections on `port`.
    pub(crate) fn start(mut command: Command, log: PathBuf, port: u16) -> Self {
        let output = File::create(&log).expect("make a log file");
        command.stdout(output.try_clone().expect("share the log file")).stderr(output);
        let what = shown(&command);
        let child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
        let pid = Pid::from_child(&child);
        let mut server = Self { child, pid, log, port, killed: false };
        poll("the port to open", START_LIMIT, || {
            if let Some(status) = server.child.try_wait().expect("ask for the child") {
                panic!("{what} ended at once: {status}\n{}", server.said());
            }
            TcpStream::connect(local(port)).ok()
        });
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `http://127.0.0.1:port` and a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Signals the program itself, not its children.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).expect("signal the program");
    }

    /// `kill -9` to the program and all its children at one moment, so that no parent can replace a child.
    pub(crate) fn kill(&mut self) {
        // Once it is waited for, its id may be another program's.
        if !self.killed {
            let _ = kill_process_group(self.pid, Signal::KILL);
            let _ = self.child.wait();
            self.killed = true;
        }
    }

    /// A line of `/proc/PID/status` that counts kB, in bytes: `VmRSS` (now) or `VmHWM` (the highest so far).
    pub(crate) fn memory_bytes(&self, key: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid.as_raw_nonzero());
        let status = fs::read_to_string(path).expect("the program is still running");
        let line = status.lines().find(|line| line.starts_with(key)).expect("the line is there");
        let kib = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
        kib.expect("a number of kB") * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let said = self.said();
            let tail: Vec<&str> = said.lines().rev().take(20).collect();
            say(&format!("--- last lines of {}:", self.log.display()));
            tail.iter().rev().for_each(|line| say(line));
        }
    }
}

/// A program that ends by itself, with its output; its whole process group is killed if it is dropped before.
pub(crate) struct Job {
    pid: Pid,
    what: String,
    output: Receiver<Output>,
    ended: bool,
}

impl Job {
    pub(crate) fn start(command: Command) -> Self {
        let (mut job, child) = Self::launch(command);
        job.watch(child);
        job
    }

    /// Also gives its standard output, for another program to read.
    pub(crate) fn start_piped(command: Command) -> (Self, ChildStdout) {
        let (mut job, mut child) = Self::launch(command);
        let stdout = child.stdout.take().expect("standard output is piped");
        job.watch(child);
        (job, stdout)
    }

    fn launch(mut command: Command) -> (Self, Child) {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let what = shown(&command);
        let child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
        (Self { pid: Pid::from_child(&child), what, output: mpsc::channel().1, ended: false }, child)
    }

    fn watch(&mut self, child: Child) {
        let (sender, receiver) = mpsc::channel();
        self.output = receiver;
        thread::spawn(move || sender.send(child.wait_with_output().expect("wait for a child")));
    }

    /// Its output, if it ends within `limit`.
    pub(crate) fn ended_within(&mut self, limit: Duration) -> Option<Output> {
        match self.output.recv_timeout(limit) {
            Ok(output) => {
                self.ended = true;
                Some(output)
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("{}: nobody waits for it", self.what),
        }
    }

    /// Its standard output; panics if it fails or does not end within `limit`.
    pub(crate) fn finish(mut self, limit: Duration) -> String {
        let output = self.ended_within(limit);
        let output = output.unwrap_or_else(|| panic!("{}: not ended within {limit:?}", self.what));
        self.judge(output)
    }

    /// The same for an output that [`Job::ended_within`] gave.
    pub(crate) fn judge(&self, output: Output) -> String {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let stdout = String::from_utf8(output.stdout).expect("its output is text");
        assert!(output.status.success(), "{}: {}\n{stdout}{stderr}", self.what, output.status);
        stdout
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !self.ended {
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }
}
