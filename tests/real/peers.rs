//! The two sides of a case: nginx as a backend, Apex between, and the configuration that joins them.

use std::fs;
use std::path::PathBuf;

use crate::support::{Dir, Server, command, command_at, free_port};

/// nginx with one `server` block that holds `directives`, on a port of its own.
pub(crate) fn nginx(dir: &Dir, name: &str, directives: &str) -> Server {
    let port = free_port();
    let home = dir.join(name);
    fs::create_dir_all(&home).expect("make a directory for nginx");
    // nginx started by root gives its workers to another user, who could not write here.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {}/{kind};\n", home.display()))
        .concat();
    let config = format!(
        "{user}daemon off;\nworker_processes 1;\npid {home}/pid;\nerror_log {home}/error.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n{temporary}  access_log off;\n  default_type text/plain;\n  client_max_body_size 0;\n  \
         keepalive_timeout 75s;\n  keepalive_requests 10000000;\n  \
         server {{\n    listen 127.0.0.1:{port} backlog=4096;\n    {directives}\n  }}\n}}\n",
        home = home.display()
    );
    let file = home.join("nginx.conf");
    fs::write(&file, config).expect("write nginx's configuration");
    let mut command = command("nginx");
    // Without -e it would first try the log file that it was built with.
    command.arg("-p").arg(&home).arg("-e").arg(home.join("error.log")).arg("-c").arg(&file);
    Server::start(command, home.join("output.log"), port)
}

/// An nginx whose every answer is a short line that names it.
pub(crate) fn naming_nginx(dir: &Dir, name: &str) -> Server {
    nginx(dir, name, &format!("location / {{ return 200 \"{name} $request_uri\\n\"; }}"))
}

/// One `[[routes]]` table.
pub(crate) fn route(name: &str, host: &str, path_prefix: &str, backends: &[u16]) -> String {
    let url = |port: &u16| format!("{{ url = \"http://127.0.0.1:{port}\" }}");
    let urls = backends.iter().map(url).collect::<Vec<_>>().join(", ");
    format!(
        "\n[[routes]]\nname = \"{name}\"\nhost = \"{host}\"\npath_prefix = \"{path_prefix}\"\nbackends = [{urls}]\n"
    )
}

/// A route that takes every request.
pub(crate) fn any_route(backends: &[u16]) -> String {
    route("all", "*", "/", backends)
}

/// The `[server]` table; `more` holds further lines of it.
pub(crate) fn server_table(port: u16, more: &str) -> String {
    format!("[server]\nlisten = \"127.0.0.1:{port}\"\naccess_log = false\n{more}\n")
}

/// The binary under test: `APEX_BIN`, or the one that cargo built for this run.
fn apex_binary() -> PathBuf {
    std::env::var_os("APEX_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_apex")), PathBuf::from)
}

/// Starts Apex with these routes and further lines of the `[server]` table.
pub(crate) fn apex(dir: &Dir, more: &str, routes: &str) -> Server {
    let port = free_port();
    let file = dir.join("apex.toml");
    fs::write(&file, server_table(port, more) + routes).expect("write the configuration");
    let mut command = command_at(&apex_binary());
    command.arg("--config").arg(&file);
    Server::start(command, dir.join("apex.log"), port)
}
