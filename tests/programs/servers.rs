//! The servers of the matrix: what each needs, what it cannot play, how it is started.

use std::path::Path;
use std::process::Command;

use crate::peers::nginx;
use crate::site::{Interpreters, NODE};
use crate::support::{Dir, Server, free_port};

/// What a server is started with.
struct Place<'a> {
    on: &'a Interpreters,
    dir: &'a Dir,
    /// The directory of the files.
    root: &'a Path,
    name: &'static str,
    /// nginx picks one by itself.
    port: u16,
}

/// One column of the matrix.
pub(crate) struct Kind {
    /// As the table and the field `X-Server` say it.
    pub(crate) name: &'static str,
    pub(crate) programs: &'static [&'static str],
    /// Packages of Python or Node.
    pub(crate) packages: &'static [&'static str],
    /// It closes its connection after each answer.
    pub(crate) closes: bool,
    pub(crate) has_websocket: bool,
    /// Exchanges that it cannot play.
    pub(crate) lacks: &'static [&'static str],
    start: fn(&Place) -> Server,
}

/// An application behind gunicorn knows no connection and no trailers.
const OF_WSGI: &[&str] = &["then_close", "trailers", "hints", "websocket"];

pub(crate) const SERVERS: &[Kind] = &[
    Kind {
        name: "nginx",
        programs: &["nginx"],
        packages: &[],
        closes: false,
        has_websocket: false,
        // Files, uploads by WebDAV, and fixed answers are what it has without another server behind it.
        lacks: &[
            "stream",
            "post_sized",
            "post_chunked",
            "expect",
            "then_close",
            "cut_length",
            "cut_chunked",
            "trailers",
            "hints",
            "events",
            "websocket",
            "post",
            "form",
            "form_post",
        ],
        start: start_nginx,
    },
    Kind {
        name: "python1.1",
        programs: &["python3"],
        packages: &[],
        closes: false,
        has_websocket: false,
        lacks: &["hints", "websocket"],
        start: |place| start_python(place, &["--version", "HTTP/1.1"]),
    },
    Kind {
        name: "python1.0",
        programs: &["python3"],
        packages: &[],
        closes: true,
        has_websocket: false,
        // Without a length its content ends with its connection: a cut cannot be told from an end.
        // It answers no expectation.
        lacks: &["cut_chunked", "trailers", "hints", "continue", "websocket"],
        start: |place| start_python(place, &["--version", "HTTP/1.0"]),
    },
    Kind {
        name: "node",
        programs: &[NODE],
        packages: &["ws"],
        closes: false,
        has_websocket: true,
        lacks: &[],
        start: start_node,
    },
    Kind {
        name: "sync",
        programs: &["python3"],
        packages: &["gunicorn"],
        closes: true,
        has_websocket: false,
        lacks: OF_WSGI,
        start: |place| start_gunicorn(place, &["--workers", "2"]),
    },
    Kind {
        name: "gthread",
        programs: &["python3"],
        packages: &["gunicorn"],
        closes: false,
        has_websocket: false,
        lacks: OF_WSGI,
        start: |place| start_gunicorn(place, &["--threads", "8"]),
    },
    Kind {
        name: "uvicorn",
        programs: &["python3"],
        packages: &["uvicorn", "h11", "websockets"],
        closes: false,
        has_websocket: true,
        lacks: &["then_close", "trailers", "hints", "ws_pinged"],
        start: start_uvicorn,
    },
    Kind {
        name: "hypercorn",
        programs: &["python3"],
        packages: &["hypercorn"],
        closes: false,
        has_websocket: true,
        lacks: &["then_close", "trailers", "hints", "ws_pinged"],
        start: start_hypercorn,
    },
];

/// A server whose every answer is wrong by an octet: nothing of it may pass.
pub(crate) const SPOILED: Kind = Kind {
    name: "spoiled",
    programs: &["python3"],
    packages: &[],
    closes: false,
    has_websocket: false,
    // Content that cannot be unpacked leaves Node's `fetch` waiting for ever.
    lacks: &["compressed", "hints", "websocket"],
    start: |place| start_python(place, &["--version", "HTTP/1.1", "--spoiled"]),
};

impl Kind {
    pub(crate) fn start(&self, on: &Interpreters, dir: &Dir, root: &Path) -> Server {
        (self.start)(&Place { on, dir, root, name: self.name, port: free_port() })
    }
}

impl Place<'_> {
    fn start(&self, mut command: Command) -> Server {
        command.env("SITE_ROOT", self.root).env("SITE_NAME", self.name);
        Server::start(command, self.dir.join("server.log"), self.port)
    }

    /// `127.0.0.1:port`
    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

fn start_nginx(place: &Place) -> Server {
    let root = place.root.display();
    let own = format!("add_header X-Server {} always; add_header X-Peer $remote_port always;", place.name);
    let directives = format!(
        "keepalive_timeout 300ms;
    absolute_redirect off;
    types {{ text/html html; text/javascript js; text/plain txt; application/octet-stream bin; }}
    gzip_types text/plain;
    set $coding length;
    if ($http_transfer_encoding) {{ set $coding chunked; }}
    {own}
    location /files/ {{ alias {root}/; gzip on; }}
    location /store/ {{ alias {root}/store/; dav_methods PUT; {own} add_header X-Coding $coding always; }}
    location = /refuse {{ alias {root}/store/refused; dav_methods PUT; client_max_body_size 1k; }}
    location = /204 {{ return 204; }}
    location = /redirect {{
        {own} add_header Set-Cookie 'one=1; Path=/'; add_header Set-Cookie 'two=2; Path=/'; return 302 /files/small.bin;
    }}
    location = /cookies {{ return 200 $http_cookie; }}
    location = /close {{ keepalive_timeout 0; return 200 'the last one\\n'; }}"
    );
    nginx(place.dir, "nginx", &directives)
}

fn start_python(place: &Place, more: &[&str]) -> Server {
    let mut command = place.on.python_script("serve_http.py");
    command
        .args(["--port", &place.port.to_string(), "--name", place.name])
        .arg("--root")
        .arg(place.root)
        .args(more);
    place.start(command)
}

fn start_node(place: &Place) -> Server {
    let mut command = place.on.node_script("serve_node.js");
    command.args(["--port", &place.port.to_string(), "--name", place.name]).arg("--root").arg(place.root);
    place.start(command)
}

fn start_gunicorn(place: &Place, workers: &[&str]) -> Server {
    let mut command = place.on.python();
    command.args(["-m", "gunicorn", "--keep-alive", "1", "--no-control-socket", "--bind", &place.address()]);
    command.args(workers).arg("serve_wsgi:application");
    place.start(command)
}

fn start_uvicorn(place: &Place) -> Server {
    let mut command = place.on.python();
    command.args(["-m", "uvicorn", "--http", "h11", "--ws", "websockets-sansio", "--no-access-log"]);
    command.args(["--timeout-keep-alive", "1", "--host", "127.0.0.1", "--port", &place.port.to_string()]);
    command.arg("serve_asgi:application");
    place.start(command)
}

fn start_hypercorn(place: &Place) -> Server {
    let mut command = place.on.python();
    command.args(["-m", "hypercorn", "--keep-alive", "1", "--bind", &place.address()]);
    command.arg("serve_asgi:application");
    place.start(command)
}
