//! Apex as a process: started on a free port with a configuration file of its own, watched, and ended with
//! its test.
//!
//! `APEX_BIN` names another binary than the one that cargo built, `APEX_WRAP` a command that runs it (`chroot
//! DIR`), `APEX_ROOT` a directory that is removed from the front of the file's path (for such a chroot;
//! `TMPDIR` must then be inside it).

use super::{SOON, Wire};
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// The time between two looks at a state that is not reported.
const LOOK: Duration = Duration::from_millis(5);

/// A running Apex.
pub struct Apex {
    child: Child,
    /// The serving process: the child, or its successor.
    pub(super) serving: Pid,
    /// Processes that replaced an earlier one.
    pub(super) successors: Vec<Pid>,
    addr: SocketAddr,
    pub(super) dir: Dir,
    pub stdout: Lines,
    pub stderr: Lines,
}

impl Apex {
    /// Starts it with these routes and a minimal `[server]`.
    pub fn start(routes: &str) -> Self {
        Self::with("", routes)
    }

    /// Starts it with more keys of `[server]`. By default it has one worker, so that turns can be counted,
    /// and listens at [`Apex::addr`].
    pub fn with(server: &str, routes: &str) -> Self {
        Self::with_env(&[], server, routes)
    }

    /// Starts it with environment variables, too.
    pub fn with_env(env: &[(&str, &str)], server: &str, routes: &str) -> Self {
        Self::started_by(free_addr, |addr, dir| {
            fs::write(dir.file(), config(addr, server, routes)).unwrap();
            spawn(&binary(), env, &dir.file(), Stdio::null())
        })
    }

    /// Starts the command that `start` makes of an address and a directory with a file.
    pub(super) fn started_by(
        choose: impl FnOnce() -> SocketAddr,
        start: impl FnOnce(SocketAddr, &Dir) -> Child,
    ) -> Self {
        let (dir, addr) = (Dir::new(), choose());
        let mut child = start(addr, &dir);
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        let (serving, successors) = (Pid::from_child(&child), Vec::new());
        let mut apex = Self { child, serving, successors, addr, dir, stdout, stderr };
        if let Err(status) = apex.await_listening() {
            panic!("Apex ended with {status}: {:#?}", apex.stderr.all());
        }
        apex
    }

    /// Rewrites the file.
    pub fn rewrite(&self, server: &str, routes: &str) {
        fs::write(self.dir.file(), config(self.addr, server, routes)).unwrap();
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The path of its file.
    pub fn file(&self) -> PathBuf {
        self.dir.file()
    }

    /// A new client connection.
    pub fn client(&self) -> Wire {
        Wire::connect(self.addr)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Stops all its threads, so that everything before [`Apex::resume`] happens in one turn of a worker.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.number());
        until("Apex does not stop", || {
            let mut threads = fs::read_dir(&tasks).unwrap();
            let is_stopped = |path: PathBuf| {
                // A thread that has just ended has no state any more.
                fs::read_to_string(path.join("status")).is_ok_and(|status| status.contains("State:\tT"))
            };
            threads.all(|thread| thread.is_ok_and(|thread| is_stopped(thread.path()))).then_some(())
        });
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits until the serving process has ended.
    pub fn exit(&mut self) -> ExitStatus {
        self.exit_of(self.serving)
    }

    /// Whether the serving process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.status_of(self.serving).is_some()
    }

    /// Waits until connections are refused.
    pub fn await_refusing(&self) {
        until("Apex still accepts connections", || {
            self.stderr.pause();
            TcpStream::connect_timeout(&self.addr, SOON).is_err().then_some(())
        });
    }

    /// Resident memory, octets.
    pub fn resident_bytes(&self) -> usize {
        self.memory("VmRSS:")
    }

    fn memory(&self, kind: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.number())).unwrap();
        let line = status.lines().find(|line| line.starts_with(kind)).unwrap();
        let kibibytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kibibytes * 1024
    }

    /// Lets it map `octets` of memory more from now on (`RLIMIT_AS`); memory that is mapped already stays
    /// usable.
    pub fn leave_memory(&self, octets: usize) {
        let limit = (self.memory("VmSize:") + octets) as u64;
        let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
        prlimit(Some(self.pid()), Resource::As, limit).unwrap();
    }

    /// Open TCP and Unix sockets, listeners included, each once: a listener has two descriptors, a worker's
    /// and the one that is kept for a successor.
    pub fn sockets(&self) -> usize {
        self.socket_numbers().into_iter().collect::<HashSet<_>>().len()
    }

    /// Their inode numbers, once for each descriptor.
    pub fn socket_numbers(&self) -> Vec<String> {
        Self::socket_numbers_of(self.serving)
    }

    /// Those of one of its processes; empty if it has ended.
    pub(super) fn socket_numbers_of(process: Pid) -> Vec<String> {
        // The signal thread has sockets of its own, which the kernel lists elsewhere.
        let local = fs::read_to_string("/proc/net/unix").unwrap();
        let local: HashSet<&str> = local.lines().filter_map(|line| line.split_whitespace().nth(6)).collect();
        let links = links_of(process);
        let numbers = links.iter().filter_map(|link| link.strip_prefix("socket:[")?.strip_suffix(']'));
        numbers.filter(|number| !local.contains(number)).map(str::to_owned).collect()
    }

    /// The number of sockets that listen at [`Apex::addr`].
    pub fn listening(&self) -> usize {
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let port = format!(":{:04X}", self.addr.port());
        // The fields are a number, the two addresses and the state; 0A is LISTEN.
        let fields = table.lines().map(|line| line.split_whitespace().skip(1).take(3).collect::<Vec<_>>());
        fields.filter(|fields| fields[0].ends_with(&port) && fields[2] == "0A").count()
    }

    /// Open descriptors of every kind.
    pub fn descriptors(&self) -> usize {
        links_of(self.serving).len()
    }

    /// Descriptors of pipes.
    pub fn pipes(&self) -> usize {
        links_of(self.serving).iter().filter(|link| link.starts_with("pipe:")).count()
    }

    /// Waits until exactly `count` sockets are open.
    pub fn await_sockets(&self, count: usize, case: &str) {
        let deadline = Instant::now() + SOON;
        while self.sockets() != count {
            let open = self.sockets();
            assert!(Instant::now() < deadline, "{case}: {open} sockets are open, not {count}");
            self.stderr.pause();
        }
    }

    /// Waits until at most `count` sockets are open.
    pub fn await_sockets_at_most(&self, count: usize, case: &str) {
        until(case, || {
            self.stderr.pause();
            (self.sockets() <= count).then_some(())
        });
    }

    /// Lets it open `count` more descriptors from now on.
    pub fn leave_descriptors(&self, count: usize) {
        let folder = fs::read_dir(format!("/proc/{}/fd", self.number())).unwrap();
        let open: HashSet<usize> =
            folder.filter_map(|entry| entry.unwrap().file_name().to_string_lossy().parse().ok()).collect();
        // The limit applies to descriptor numbers, not to their count: gaps below it are free.
        let last = (0..).filter(|number| !open.contains(number)).nth(count).unwrap();
        let limit = Rlimit { current: Some(last as u64), maximum: Some(last as u64) };
        prlimit(Some(self.pid()), Resource::Nofile, limit).unwrap();
    }

    /// The process id of the serving process.
    pub fn number(&self) -> u32 {
        self.serving.as_raw_nonzero().get().unsigned_abs()
    }

    fn pid(&self) -> Pid {
        self.serving
    }

    /// The exit status of the child, if it has ended.
    pub(super) fn child_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Whether it is the child.
    pub(super) fn is_child(&self, process: Pid) -> bool {
        process == Pid::from_child(&self.child)
    }

    fn await_listening(&mut self) -> Result<(), ExitStatus> {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Err(status);
            }
            if TcpStream::connect_timeout(&self.addr, SOON).is_ok() {
                return Ok(());
            }
            assert!(Instant::now() < deadline, "Apex does not listen: {:#?}", self.stderr.all());
            self.stderr.pause();
        }
    }
}

impl Drop for Apex {
    fn drop(&mut self) {
        // It may have exited by itself; its status is collected here in either case.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.end_successors();
    }
}

/// The targets of a process's descriptors.
fn links_of(process: Pid) -> Vec<String> {
    let Ok(folder) = fs::read_dir(format!("/proc/{}/fd", process.as_raw_nonzero())) else {
        return Vec::new();
    };
    // A descriptor that is closed meanwhile has no link any more.
    let links = folder.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.map(|link| link.to_string_lossy().into_owned()).collect()
}

/// Repeats `look` until it finds something; `missing` names it for the failure message.
pub fn until<T>(missing: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{missing}");
    }
}

pub(super) fn config(addr: SocketAddr, server: &str, routes: &str) -> String {
    let listen = if server.contains("listen = ") { String::new() } else { format!("listen = \"{addr}\"\n") };
    let workers = if server.contains("workers") { "" } else { "workers = 1" };
    format!("[server]\n{listen}{workers}\n{server}\n{routes}")
}

/// The line of the file at which the routes begin, if `server` is empty.
pub const FIRST_ROUTE_LINE: usize = 5;

/// The binary under test.
pub(super) fn binary() -> PathBuf {
    env::var_os("APEX_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_apex")), PathBuf::from)
}

/// The path of a file as the process under test sees it.
fn inside(path: &Path) -> PathBuf {
    let root = env::var("APEX_ROOT").unwrap_or_default();
    let path = path.to_path_buf();
    if root.is_empty() {
        path
    } else {
        path.strip_prefix(&root).map_or(path.clone(), |path| Path::new("/").join(path))
    }
}

pub(super) fn spawn(program: &Path, variables: &[(&str, &str)], file: &Path, input: Stdio) -> Child {
    let wrap = env::var("APEX_WRAP").unwrap_or_default();
    let program = inside(program);
    let mut words = wrap.split_whitespace().map(OsStr::new).chain([program.as_os_str()]);
    Command::new(words.next().unwrap())
        .args(words)
        .arg("--config")
        .arg(inside(file))
        .envs(variables.iter().copied())
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// An address that stays reserved for the program under test while this process lives. A socket is bound to
/// it and never listens: with `SO_REUSEADDR` on both (socket(7)), the program can listen there, and the
/// kernel gives the port to no other program.
pub fn free_addr() -> SocketAddr {
    static RESERVED: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).unwrap();
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let addr = SocketAddr::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap();
    RESERVED.lock().unwrap().push(socket);
    addr
}

/// A listener of this process.
pub fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

/// A directory that is removed with its test.
pub(super) struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("apex-test-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn file(&self) -> PathBuf {
        self.path("apex.toml")
    }

    /// The path of a file in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The lines that a process writes, as they arrive.
#[derive(Clone)]
pub struct Lines(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Lines {
    fn of(source: impl Read + Send + 'static) -> Self {
        let lines = Self(Arc::default());
        let shared = Arc::clone(&lines.0);
        thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
                shared.0.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
                shared.1.notify_all();
            }
        });
        lines
    }

    /// The number of lines so far.
    pub fn count(&self) -> usize {
        self.0.0.lock().unwrap().len()
    }

    /// All lines so far.
    pub fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap().clone()
    }

    /// The first matching line; waits for it if necessary.
    pub fn find(&self, is_it: impl Fn(&str) -> bool) -> String {
        self.find_behind(0, is_it)
    }

    /// As [`Lines::find`], without the first `count` lines.
    pub fn find_behind(&self, count: usize, is_it: impl Fn(&str) -> bool) -> String {
        let (lines, changed) = &*self.0;
        let guard = lines.lock().unwrap();
        let is_missing = |lines: &mut Vec<String>| !lines.iter().skip(count).any(|line| is_it(line));
        let (guard, _) = changed.wait_timeout_while(guard, SOON, is_missing).unwrap();
        let found = guard.iter().skip(count).find(|line| is_it(line)).cloned();
        found.unwrap_or_else(|| panic!("no such line among {guard:#?}"))
    }

    /// The first `count` lines; waits for them.
    pub fn first(&self, count: usize) -> Vec<String> {
        let (lines, changed) = &*self.0;
        let mut guard = lines.lock().unwrap();
        while guard.len() < count {
            let (next, waited) = changed.wait_timeout(guard, SOON).unwrap();
            guard = next;
            assert!(!waited.timed_out(), "{} lines of {count}", guard.len());
        }
        guard[..count].to_vec()
    }

    /// Waits for a line, but only for a moment.
    pub(super) fn pause(&self) {
        let (lines, changed) = &*self.0;
        drop(changed.wait_timeout(lines.lock().unwrap(), LOOK).unwrap());
    }
}
