"""The contenders: how each is found, configured as its own manual would for this task, and started with one worker."""

import os
import resource
import shutil
from dataclasses import dataclass

from . import workloads

# Server programs are kept there, and not every user has it in the path.
SERVERS = os.pathsep.join(["/usr/local/sbin", "/usr/sbin", "/sbin"])
PATH = os.pathsep.join([os.environ.get("PATH", ""), SERVERS])
# Idle connections to the backend that a proxy may keep: more than any workload has clients.
POOL = 1024
# Client connections that a proxy may have: more than the workload `idle` has.
CLIENTS = 16_000


@dataclass(frozen=True)
class Setting:
    """What a contender is started for."""

    front: int
    back: int
    directory: str
    log: bool = False
    routes: int = 0

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        return path

    @property
    def log_path(self):
        return os.path.join(self.directory, "access.log")


@dataclass
class Contender:
    """A program that may take part."""

    name: str
    program: str = None
    missing: str = None

    # Apex, a floor (the relay), or a peer.
    role = "peer"
    # Takes part in every workload, or in those with long content alone.
    bulk_only = False
    # The settings that it knows besides the plain one.
    variants = ()

    def command(self, setting):
        """The command line; it stays in the foreground."""
        raise NotImplementedError

    def environment(self):
        return {}

    def takes(self, workload):
        """Has it a part in this workload? Where that compares settings, only programs that have the setting, and the floor."""
        if workload.variant and self.role == "peer" and workload.variant[1] not in self.variants:
            return False
        return workload.bulk or not self.bulk_only


class Relay(Contender):
    """The blind relay of this crate."""

    role = "floor"

    def command(self, setting):
        front, back = f"127.0.0.1:{setting.front}", f"127.0.0.1:{setting.back}"
        return [self.program, "--listen", front, "--backend", back]

    def takes(self, workload):
        # It has a backend connection for each client: twice the descriptors, for nothing that a proxy would do.
        return not workload.idle and super().takes(workload)


class RelaySplice(Relay):
    """The blind relay through a kernel pipe."""

    bulk_only = True

    def command(self, setting):
        return super().command(setting) + ["--splice"]


class Apex(Contender):
    role = "apex"
    variants = ("log", "routes")

    def command(self, setting):
        backends = f'backends = [{{ url = "http://127.0.0.1:{setting.back}" }}]\n'
        log = "true" if setting.log else "false"
        text = f'[server]\nlisten = "127.0.0.1:{setting.front}"\nworkers = 1\naccess_log = {log}\n'
        if not setting.routes:
            text += f'[[routes]]\nname = "all"\n{backends}'
        for i in range(setting.routes):
            text += f'[[routes]]\nname = "r{i}"\nhost = "h{i}.test"\n{backends}'
        return [self.program, "--config", setting.write("apex.toml", text)]


class Nginx(Contender):
    """Unbuffered both ways: cheaper than any set of buffers that was tried. 96 KiB take a head and 64 KiB in one read, and stay
    below the size from which malloc asks the kernel each time."""

    variants = ("log", "routes")

    def command(self, setting):
        log = f"{setting.log_path} combined buffer=64k flush=1s" if setting.log else "off"
        location = "location / { proxy_pass http://back; }"
        listen = f"listen 127.0.0.1:{setting.front} backlog=4096;"
        servers = [f"server {{ {listen} {location} }}"]
        if setting.routes:
            listen = f"listen 127.0.0.1:{setting.front};"
            servers += [f"server {{ {listen} server_name h{i}.test; {location} }}" for i in range(setting.routes)]
        temporary = "".join(
            f"{kind}_temp_path {setting.directory}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        text = f"""daemon off;
worker_processes 1;
pid {setting.directory}/nginx.pid;
error_log stderr crit;
worker_rlimit_nofile {2 * CLIENTS};
events {{ worker_connections {CLIENTS}; }}
http {{
access_log {log};
{temporary}
tcp_nodelay on;
keepalive_timeout 75s;
keepalive_requests 1000000000;
server_tokens off;
server_names_hash_max_size 65536;
server_names_hash_bucket_size 128;
client_max_body_size 0;
proxy_http_version 1.1;
proxy_set_header Connection "";
proxy_set_header Host $http_host;
proxy_set_header X-Forwarded-For $remote_addr;
proxy_set_header X-Forwarded-Proto $scheme;
proxy_set_header X-Forwarded-Host $http_host;
proxy_request_buffering off;
proxy_buffering off;
proxy_buffer_size 96k;
proxy_buffers 8 96k;
proxy_busy_buffers_size 192k;
client_body_buffer_size 96k;
upstream back {{
    server 127.0.0.1:{setting.back};
    keepalive {POOL};
    keepalive_requests 1000000000;
}}
{chr(10).join(servers)}
}}
"""
        prefix = setting.directory + "/"
        return [self.program, "-p", prefix, "-e", "stderr", "-c", setting.write("nginx.conf", text)]


class Haproxy(Contender):
    """Its default buffers of 16 KiB: larger ones made every short exchange dearer."""

    variants = ("log", "routes")
    tuning = ""
    splice = ""

    def command(self, setting):
        log, option = ("log stdout len 1024 format raw local0", "log global\noption httplog") if setting.log else ("", "")
        choice = "default_backend back"
        if setting.routes:
            hosts = setting.write("hosts.map", "".join(f"h{i}.test back\n" for i in range(setting.routes)))
            choice = f"use_backend %[req.hdr(host),lower,map_str({hosts})]"
        text = f"""global
nbthread 1
no strict-limits
maxconn {CLIENTS}
{log}
{self.tuning}
defaults
mode http
{option}
{self.splice}
option http-keep-alive
http-reuse always
timeout connect 3s
timeout client 75s
timeout server 30s
timeout http-keep-alive 75s
timeout http-request 10s
frontend front
bind 127.0.0.1:{setting.front} backlog 4096
option forwardfor
http-request set-header X-Forwarded-Proto http
http-request set-header X-Forwarded-Host %[req.hdr(host)]
{choice}
backend back
server one 127.0.0.1:{setting.back} pool-max-conn -1 pool-purge-delay 60s
"""
        return [self.program, "-db", "-f", setting.write("haproxy.cfg", text)]


class HaproxySplice(Haproxy):
    """Through kernel pipes where it can: content of a known length."""

    bulk_only = True
    variants = ()
    tuning = "tune.pipesize 262144\nmaxpipes 256"
    splice = "option splice-request\noption splice-response"


class HaproxyLarge(HaproxySplice):
    """The same with buffers of 64 KiB, which help where it cannot splice: chunked content."""

    tuning = HaproxySplice.tuning + "\ntune.bufsize 65536"


class H2o(Contender):
    variants = ("log",)

    def command(self, setting):
        log = f"access-log: {setting.log_path}\n" if setting.log else ""
        text = f"""{"user: root" if os.geteuid() == 0 else ""}
num-threads: 1
max-connections: {CLIENTS}
http1-request-timeout: 75
num-name-resolution-threads: 1
listen:
  host: 127.0.0.1
  port: {setting.front}
{log}proxy.preserve-host: ON
proxy.timeout.keepalive: 30000
hosts:
  default:
    paths:
      /:
        proxy.reverse.url: http://127.0.0.1:{setting.back}/
"""
        return [self.program, "-m", "worker", "-c", setting.write("h2o.conf", text)]


class Caddy(Contender):
    variants = ("log",)

    def environment(self):
        # One worker, as the others have; and nothing written into anybody's home.
        return {"GOMAXPROCS": "1"}

    def command(self, setting):
        log = f"log {{\noutput file {setting.log_path}\n}}\n" if setting.log else ""
        text = f"""{{
admin off
auto_https off
log {{
level ERROR
}}
}}
http://:{setting.front} {{
bind 127.0.0.1
{log}reverse_proxy 127.0.0.1:{setting.back} {{
transport http {{
keepalive 30s
keepalive_idle_conns {POOL}
keepalive_idle_conns_per_host {POOL}
compression off
}}
}}
}}
"""
        return [self.program, "run", "--adapter", "caddyfile", "--config", setting.write("Caddyfile", text)]


class Sozu(Contender):
    """Kept connections, one to the backend for each client: it pools none. With buffers of 96 KiB long content costs 0.55 to 0.8
    of what it costs with its default of 16 KiB, with 64, 128 and 256 KiB about as much, and short exchanges the same."""

    variants = ("log", "routes")

    def command(self, setting):
        # It does not start where its connections, two descriptors each, could pass the hard limit.
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        clients = CLIENTS if hard == resource.RLIM_INFINITY else min(CLIENTS, hard // 2 - 256)
        # `PRE`, its default, is a list that is walked for each request: right for one route, and not for many.
        hosts = [f'"h{i}.test", position = "TREE"' for i in range(setting.routes)] or ['"*", position = "PRE"']
        frontends = ",".join(f'{{ address = "127.0.0.1:{setting.front}", hostname = {host} }}' for host in hosts)
        # Its access log is what it says at `info`.
        level, log = ("info", f'access_logs_target = "file://{setting.log_path}"') if setting.log else ("error", "")
        text = f"""command_socket = "{setting.directory}/sozu.sock"
log_level = "{level}"
log_target = "file://{setting.directory}/sozu.log"
{log}
worker_count = 1
worker_automatic_restart = false
handle_process_affinity = false
disable_cluster_metrics = true
max_connections = {clients}
buffer_size = 98304
min_buffers = 64
max_buffers = 4096
activate_listeners = true
[[listeners]]
protocol = "http"
address = "127.0.0.1:{setting.front}"
forwarded_headers = "x_forwarded"
[clusters.one]
protocol = "http"
frontends = [{frontends}]
backends = [{{ address = "127.0.0.1:{setting.back}" }}]
"""
        return [self.program, "start", "-c", setting.write("sozu.toml", text)]

    def takes(self, workload):
        # A backend connection for each client, as the relay.
        return not workload.idle and super().takes(workload)


PEERS = [
    (Nginx, "nginx", "nginx"),
    (Haproxy, "haproxy", "haproxy"),
    (HaproxySplice, "haproxy-splice", "haproxy"),
    (HaproxyLarge, "haproxy-64k", "haproxy"),
    (H2o, "h2o", "h2o"),
    (Caddy, "caddy", "caddy"),
    (Sozu, "sozu", "sozu"),
]


def contenders(relay, apexes):
    """All of them, the floor first; one whose program is not there says so in `missing`."""
    found = [Relay("relay", relay), RelaySplice("relay-splice", relay)]
    found += [Apex(name, path) for name, path in apexes]
    for kind, name, program in PEERS:
        path = shutil.which(program, path=PATH)
        found.append(kind(name, path, None if path else f"no program `{program}` in the path"))
    return found


def names():
    return ["relay", "relay-splice", "apex"] + [name for _, name, _ in PEERS]


def variants_of(contender, workload):
    """The labels and settings with which it takes part in a workload."""
    if contender.missing or not contender.takes(workload):
        return []
    plain = [(contender.name, {})]
    if workload.variant and workload.variant[1] in contender.variants:
        suffix, setting, value = workload.variant
        plain.append((contender.name + suffix, {setting: value}))
    return plain


assert all(workload.connections < CLIENTS for workload in workloads.WORKLOADS)
