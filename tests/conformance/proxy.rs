//! The proxies that a case can be played against, each a process in front of one backend: Apex, and what the machine has of
//! nginx and `HAProxy`, with the configuration that their users would write.

use super::support::{Apex, all};
use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Limits of the message head and of content that the cases about limits stand on, for Apex.
pub const TARGET_BYTES_MAX: usize = 8_000;
pub const HEAD_BYTES_MAX: usize = 16_000;
pub const FIELDS_MAX: usize = 100;
pub const BODY_BYTES_MAX: usize = 100_000;

/// How long a program may take to listen.
const LISTENS_WITHIN: Duration = Duration::from_secs(10);

/// Between two looks whether it listens.
const LOOK: Duration = Duration::from_millis(5);

/// Which program it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Apex,
    Nginx,
    Haproxy,
}

impl Kind {
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "apex" => Some(Self::Apex),
            "nginx" => Some(Self::Nginx),
            "haproxy" => Some(Self::Haproxy),
            _ => None,
        }
    }
}

/// A proxy that runs until its value goes.
pub enum Proxy {
    Apex(Box<Apex>),
    Stranger(Stranger),
}

/// A program that is not ours.
pub struct Stranger {
    child: Child,
    addr: SocketAddr,
    dir: PathBuf,
}

impl Proxy {
    pub fn is_installed(kind: Kind) -> bool {
        kind == Kind::Apex || program(kind).is_some()
    }

    pub fn start(kind: Kind, backend: SocketAddr) -> Self {
        if kind != Kind::Apex {
            return Self::Stranger(Stranger::start(kind, backend));
        }
        let limits = format!(
            "target_bytes_max = {TARGET_BYTES_MAX}\nhead_bytes_max = {HEAD_BYTES_MAX}\nfields_max = {FIELDS_MAX}\n\
             body_bytes_max = {BODY_BYTES_MAX}\naccess_log = false"
        );
        Self::Apex(Box::new(Apex::with(&limits, &all(&[backend]))))
    }

    pub fn addr(&self) -> SocketAddr {
        match self {
            Self::Apex(apex) => apex.addr(),
            Self::Stranger(stranger) => stranger.addr,
        }
    }
}

impl Stranger {
    fn start(kind: Kind, backend: SocketAddr) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = env::temp_dir().join(format!("apex-conformance-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let file = dir.join("config");
        let program = program(kind).expect("it is installed");
        let mut command = Command::new(program);
        if kind == Kind::Nginx {
            fs::write(&file, nginx(addr, backend, &dir)).unwrap();
            command.arg("-p").arg(&dir).arg("-e").arg(dir.join("error.log")).arg("-c").arg(&file);
        } else {
            fs::write(&file, haproxy(addr, backend)).unwrap();
            command.arg("-db").arg("-f").arg(&file);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let mut stranger = Self { child, addr, dir };
        stranger.await_listening();
        stranger
    }

    fn await_listening(&mut self) {
        let deadline = Instant::now() + LISTENS_WITHIN;
        while TcpStream::connect(self.addr).is_err() {
            let ended = self.child.try_wait().unwrap();
            let said = || fs::read_to_string(self.dir.join("stderr")).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < deadline, "it does not listen: {}", said());
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Where the program is; servers are kept where not every user looks.
fn program(kind: Kind) -> Option<PathBuf> {
    let name = if kind == Kind::Nginx { "nginx" } else { "haproxy" };
    let path = format!("{}:/usr/sbin:/usr/local/sbin", env::var("PATH").unwrap_or_default());
    env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

fn nginx(addr: SocketAddr, backend: SocketAddr, dir: &Path) -> String {
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("    {what}_temp_path {}/{what};\n", dir.display()))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid {dir}/pid;\nerror_log {dir}/error.log;\nevents {{}}\n\
         http {{\n    access_log off;\n{temporary}\
         map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}\n\
         upstream origin {{ server {backend}; keepalive 16; }}\n\
         server {{\n    listen {addr};\n    location / {{\n        proxy_pass http://origin;\n\
         proxy_http_version 1.1;\n        proxy_set_header Host $host;\n\
         proxy_set_header Upgrade $http_upgrade;\n        proxy_set_header Connection $connection_upgrade;\n\
         proxy_set_header X-Forwarded-For $remote_addr;\n    }}\n}}\n}}\n",
        dir = dir.display()
    )
}

fn haproxy(addr: SocketAddr, backend: SocketAddr) -> String {
    format!(
        "global\n    maxconn 1000\ndefaults\n    mode http\n    option forwardfor\n    timeout connect 3s\n    \
         timeout client 5s\n    timeout server 5s\n    timeout http-request 5s\n\
         frontend web\n    bind {addr}\n    default_backend origin\n\
         backend origin\n    http-reuse safe\n    server one {backend}\n"
    )
}
