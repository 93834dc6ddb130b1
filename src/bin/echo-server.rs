//! The program `echo-server`: the origin of `apex::echo` on the ports it is told. Arguments and exit codes only.
#![forbid(unsafe_code)]

use apex::echo::Server;
use lexopt::prelude::{Long, Short, Value, ValueExt};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;

const HELP: &str = "\
A fast HTTP/1.1 origin for tries and benchmarks.

Usage: echo-server [OPTIONS] PORT...

Options:
  -a, --address IP   address to listen on (127.0.0.1)
  -t, --threads N    threads (one per core this process may use)
  -h, --help         this text
  -V, --version      the version

Paths: /bytes/N /chunked/N?chunk=SIZE /close/N /delay/MILLIS /status/CODE /early/CODE
       /echo /upload /headers /sse/N?ms=M /trailers; anything else says port, method and target.
";

enum Call {
    Serve { addrs: Vec<SocketAddr>, threads: usize },
    Say(String),
}

fn main() -> ExitCode {
    match read_arguments() {
        Err(error) => {
            tell(&format!("echo-server: {error}\nTry 'echo-server --help'."));
            ExitCode::from(2)
        }
        Ok(Call::Say(text)) => {
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Ok(Call::Serve { addrs, threads }) => {
            match Server::start_all(&addrs, threads).and_then(|server| {
                for addr in &addrs {
                    tell(&format!("echo-server: listening on http://{addr}"));
                }
                server.wait()
            }) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    tell(&format!("echo-server: {error}"));
                    ExitCode::FAILURE
                }
            }
        }
    }
}

fn read_arguments() -> Result<Call, lexopt::Error> {
    let mut address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut ports: Vec<u16> = Vec::new();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Call::Say(HELP.to_owned())),
            Short('V') | Long("version") => {
                return Ok(Call::Say(format!("echo-server {}\n", env!("CARGO_PKG_VERSION"))));
            }
            Short('a') | Long("address") => address = parser.value()?.parse()?,
            Short('t') | Long("threads") => threads = parser.value()?.parse()?,
            Value(port) => ports.push(port.parse()?),
            _ => return Err(argument.unexpected()),
        }
    }
    if ports.is_empty() {
        return Err("no port was named".into());
    }
    let addrs = ports.into_iter().map(|port| SocketAddr::new(address, port)).collect();
    Ok(Call::Serve { addrs, threads })
}

/// A line on the standard error; whether anybody reads it is no matter.
fn tell(words: &str) {
    let _ = writeln!(io::stderr(), "{words}");
}
