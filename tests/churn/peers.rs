//! The same load and the same changes before Apex and others, each reloaded as its own manual says: the rows side by side.
//! Of the others nothing is asked but that they serve at all; what they lose is told.

use super::plan::{self, Route};
use super::programs::{Dir, command, command_at, lacks};
use super::support::process::free_addr;
use super::wire::Peer;
use super::{Told, World, play};
use crate::support::{say, size};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// The longest wait for a version to be in force, and for what a program does at its end.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a reload may take before the program is told once more: a signal may be lost within the reload before it.
const AGAIN: Duration = Duration::from_secs(1);

/// How often it is told at most.
const TOLD_MAX: u32 = 5;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Apex,
    Nginx,
    Haproxy,
}

/// A running proxy with all its processes.
struct Proxy {
    program: Program,
    child: Child,
    home: Dir,
}

/// What all processes of a proxy hold.
#[derive(Debug, Clone, Copy)]
struct Held {
    processes: usize,
    /// Memory, what they share counted once.
    kib: u32,
}

impl Proxy {
    fn start(program: Program, world: &World) -> Self {
        let home = Dir::new(&format!("churn-{program:?}").to_lowercase());
        fs::write(home.join("conf"), program.file(0, world, &home)).unwrap();
        let mut command = program.command(&home);
        let log = fs::File::create(home.join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        let proxy = Self { program, child, home };
        assert!(Self::await_version(0, world, Duration::from_secs(20)), "{program:?}: {}", proxy.said());
        proxy
    }

    fn said(&self) -> String {
        let log = if self.program == Program::Nginx { "error.log" } else { "log" };
        fs::read_to_string(self.home.join(log)).unwrap_or_default()
    }

    /// Asks over new connections until that version answers.
    fn await_version(v: usize, world: &World, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            let ask = || -> io::Result<Option<usize>> {
                let mut peer = Peer::connect(world.main)?;
                peer.send(b"GET /w/probe HTTP/1.1\r\nHost: churn\r\nConnection: close\r\n\r\n")?;
                Ok(peer.head()?.and_then(|head| head.number("X-Version")))
            };
            if ask().is_ok_and(|version| version == Some(v)) {
                return true;
            }
            thread::park_timeout(LOOK);
        }
        false
    }

    /// How often it has said that a reload is done.
    fn reloads_told(&self) -> usize {
        match self.program {
            Program::Apex => self.said().matches(": reloaded ").count(),
            Program::Haproxy => self.said().matches("Loading success.").count(),
            // Of both workers of the version before: for a tenth of a second they serve beside the new ones.
            Program::Nginx => self.said().matches(": gracefully shutting down").count() / 2,
        }
    }

    fn reload(&self) {
        let master = Pid::from_child(&self.child);
        match self.program {
            Program::Apex => kill_process(master, Signal::HUP).unwrap(),
            Program::Haproxy => kill_process(master, Signal::USR2).unwrap(),
            Program::Nginx => {
                let mut reload = self.program.command(&self.home);
                let ended = reload.args(["-s", "reload"]).output().unwrap();
                assert!(ended.status.success(), "{ended:?}");
            }
        }
    }

    /// Puts the next version in place, and waits until it says that it is in force, and a new connection is served by it.
    /// Gives how often it had to be told.
    fn change(&self, world: &World) -> u32 {
        let v = world.history.write();
        let next = self.home.join("next");
        fs::write(&next, self.program.file(v, world, &self.home)).unwrap();
        fs::rename(next, self.home.join("conf")).unwrap();
        let mut told = 0;
        loop {
            let before = self.reloads_told();
            self.reload();
            told += 1;
            let limit = Instant::now() + AGAIN;
            while self.reloads_told() == before && Instant::now() < limit {
                thread::park_timeout(LOOK);
            }
            if Self::await_version(v, world, AGAIN) {
                break;
            }
            assert!(told < TOLD_MAX, "{:?}: version {v}: {}", self.program, self.said());
        }
        world.history.told();
        world.backends.retire(|number| plan::last_version_of(number) < v);
        told
    }

    fn held(&self) -> Held {
        let master = self.child.id();
        let mut held = Held { processes: 0, kib: 0 };
        for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
            let Ok(number) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
            // Behind the name in brackets: the state, then the parent.
            let parent =
                stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse::<u32>().ok());
            if number == master || parent == Some(master) {
                held.processes += 1;
                let rollup = fs::read_to_string(entry.path().join("smaps_rollup")).unwrap_or_default();
                let line = rollup.lines().find(|line| line.starts_with("Pss:"));
                let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u32>().ok());
                held.kib += kib.unwrap_or(0);
            }
        }
        held
    }

    /// What it holds when nothing goes on any more; processes that are left then are left for good.
    fn held_at_rest(&self, processes: usize) -> Held {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let held = self.held();
            if held.processes <= processes || Instant::now() > deadline {
                return held;
            }
            thread::park_timeout(Duration::from_millis(50));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let master = Pid::from_child(&self.child);
        // In order, so that a master takes its workers with it.
        let _ = kill_process(master, Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().is_ok_and(|status| status.is_none()) {
            if Instant::now() > deadline {
                let _ = kill_process_group(master, Signal::KILL);
                let _ = self.child.wait();
                return;
            }
            thread::park_timeout(LOOK);
        }
    }
}

impl Program {
    fn command(self, home: &Dir) -> Command {
        let conf = home.join("conf");
        match self {
            Self::Apex => {
                let built = || PathBuf::from(env!("CARGO_BIN_EXE_apex"));
                let mut apex = command_at(&std::env::var_os("APEX_BIN").map_or_else(built, PathBuf::from));
                apex.arg("--config").arg(conf);
                apex
            }
            Self::Nginx => {
                let mut nginx = command("nginx");
                nginx.arg("-p").arg(home.path()).arg("-e").arg(home.join("error.log")).arg("-c").arg(conf);
                nginx
            }
            Self::Haproxy => {
                let mut haproxy = command("haproxy");
                haproxy.args(["-W", "-db", "-f"]).arg(conf);
                haproxy
            }
        }
    }

    /// The file of version `v`.
    fn file(self, v: usize, world: &World, home: &Dir) -> String {
        match self {
            Self::Apex => world.file(v),
            Self::Nginx => nginx_file(v, world, home),
            Self::Haproxy => haproxy_file(v, world, home),
        }
    }
}

/// Its servers, each with its own words around the address and the weight.
fn servers(route: &Route, world: &World, line: impl Fn(usize, SocketAddr, usize) -> String) -> String {
    route.backends.iter().map(|&(number, weight)| line(number, world.backends.addr(number), weight)).collect()
}

fn nginx_file(v: usize, world: &World, home: &Dir) -> String {
    let home = home.path().display();
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let mut text = format!(
        "{user}daemon off;\nworker_processes 2;\npid {home}/pid;\nerror_log {home}/error.log notice;\n\
         events {{ worker_connections 4096; }}\nhttp {{\naccess_log off;\nclient_max_body_size 0;\n\
         keepalive_requests 10000000;\nmap $http_upgrade $way {{ default upgrade; '' ''; }}\n\
         proxy_http_version 1.1;\nproxy_set_header Via \"1.1 v{v}\";\nproxy_set_header Upgrade $http_upgrade;\n\
         proxy_set_header Connection $way;\n"
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(text, "{kind}_temp_path {home}/{kind};");
    }
    let mut locations = String::new();
    for route in plan::routes(v) {
        let balancing = match route.balancing {
            "least_connections" => "least_conn;",
            "random" => "random;",
            _ => "",
        };
        let servers = servers(&route, world, |_, addr, weight| format!("server {addr} weight={weight}; "));
        let name = &route.name;
        let _ = writeln!(text, "upstream {name} {{ {balancing} {servers} keepalive 64; }}");
        let rest = if route.strips { "/" } else { "" };
        let _ = writeln!(locations, "location {}/ {{ proxy_pass http://{name}{rest}; }}", route.prefix);
    }
    text.push_str("server {\n");
    for addr in world.listen(v) {
        let _ = writeln!(text, "listen {addr} backlog=4096;");
    }
    let _ = writeln!(text, "{locations}location / {{ return 404; }}\n}}\n}}");
    text
}

fn haproxy_file(v: usize, world: &World, home: &Dir) -> String {
    let mut text = format!(
        "global\n stats socket {}/sock mode 600 level admin expose-fd listeners\n nbthread 2\n maxconn 4096\n\
         defaults\n mode http\n timeout connect 3s\n timeout client 75s\n timeout server 30s\n timeout tunnel 1h\n\
         backend none\n http-request return status 404\n",
        home.path().display()
    );
    let mut front = String::new();
    for route in plan::routes(v) {
        let balancing = match route.balancing {
            "least_connections" => "leastconn",
            "random" => "random",
            _ => "roundrobin",
        };
        let (name, prefix) = (&route.name, &route.prefix);
        let _ = writeln!(text, "backend {name}\n balance {balancing}");
        if route.strips {
            let _ = writeln!(text, " http-request replace-path {prefix}(/.*) \\1");
        }
        text.push_str(&servers(&route, world, |number, addr, weight| {
            format!(" server s{number} {addr} weight {weight}\n")
        }));
        let _ = writeln!(front, " use_backend {name} if {{ path_beg {prefix}/ }}");
    }
    text.push_str("frontend all\n");
    for addr in world.listen(v) {
        let _ = writeln!(text, " bind {addr} backlog 4096");
    }
    let _ = writeln!(text, " http-request set-header Via \"1.1 v{v}\"\n{front} default_backend none");
    text
}

/// One program under the load, and what is to be told of it.
fn row(program: Program, length: Duration) -> String {
    let world = Arc::new(World::new(free_addr(), Told::BySignal.keys()));
    assert_eq!(world.history.write(), 0);
    let proxy = Proxy::start(program, &world);
    let processes = proxy.held().processes;
    play(&world, Duration::from_millis(500), || {});
    let before = proxy.held_at_rest(processes);
    let (mut most, mut told, began) = (before, 0, Instant::now());
    let versions = play(&world, length, || {
        told += proxy.change(&world);
        // Not each time, for to look takes long.
        if world.history.last().is_multiple_of(8) {
            let held = proxy.held();
            most = Held { processes: most.processes.max(held.processes), kib: most.kib.max(held.kib) };
        }
    });
    let took = began.elapsed();
    let behind = proxy.held_at_rest(processes);
    let tally = &world.tally;
    let [failed, misrouted, closed] =
        [&tally.failed, &tally.misrouted, &tally.closed].map(|count| count.load(Ordering::Relaxed));
    assert!(tally.total() > 100, "{program:?} hardly served anything: {}", tally.words());
    if program == Program::Apex {
        assert_eq!([failed, misrouted, closed], [0; 3], "{}", tally.words());
        assert_eq!((most.processes, behind.processes), (1, 1));
    }
    // Failures of a peer are what it is measured for: they are marked, so that nobody takes them for ours.
    let owner = if program == Program::Apex { String::from("Apex") } else { format!("peer {program:?}") };
    say(&format!("{owner}: {}", tally.words().replace("\n    ", &format!("\n    {owner}: "))));
    format!(
        "| {program:?} | {:.1} | {} | {} | {failed} | {misrouted} | {:.1} | {closed} | {} | {} | {:.1} | {:.1} | {:.1} |",
        f64::from(versions) / took.as_secs_f64(),
        told - versions,
        tally.total(),
        tally.stalest().as_secs_f64() * 1e3,
        most.processes,
        behind.processes,
        f64::from(before.kib) / 1024.0,
        f64::from(most.kib) / 1024.0,
        f64::from(behind.kib) / 1024.0,
    )
}

#[test]
fn apex_beside_nginx_and_haproxy() {
    let length = Duration::from_secs(size("APEX_CHURN_SECS", 4) as u64);
    let programs =
        [(Program::Apex, None), (Program::Nginx, Some("nginx")), (Program::Haproxy, Some("haproxy"))];
    let there = programs.into_iter().filter(|(_, name)| !name.is_some_and(|name| lacks(&[name])));
    let rows: Vec<String> = there.map(|(program, _)| row(program, length)).collect();
    say(&format!(
        "| | reloads a second | signals lost | requests | failed | by a version that was gone | gone for up to, ms | \
         connections closed at rest | processes at most | left | MiB before | at most | behind |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n{}",
        rows.join("\n")
    ));
}
