"""The workloads: what the load sends, over how many connections, and which contenders make sense for it."""

from dataclasses import dataclass, field

KIB, MIB = 1024, 1024 * 1024
# Hosts of the workload `routes`, and routes of the contenders that have that many.
ROUTES = 10_000
# Connections at rest in the workload `idle`.
IDLE = 10_000
# Requests a second in the open loop.
RATE = 5_000

# What a browser sends, 20 fields and about 1 KB, less the request line and Host.
BROWSER_FIELDS = (
    ("Connection", "keep-alive"),
    ("Cache-Control", "max-age=0"),
    ("sec-ch-ua", '"Chromium";v="130", "Google Chrome";v="130", "Not?A_Brand";v="99"'),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", '"Linux"'),
    ("DNT", "1"),
    ("Upgrade-Insecure-Requests", "1"),
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    ),
    (
        "Accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    ),
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-User", "?1"),
    ("Sec-Fetch-Dest", "document"),
    ("Referer", "http://bench.test/articles/2024/how-proxies-work?utm_source=newsletter"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-GB,en;q=0.9,de-AT;q=0.8,de;q=0.7"),
    (
        "Cookie",
        "session=5b1f0c6e9d2a4f7c8e3b6a1d9c4f2e7b; theme=dark; _ga=GA1.2.1234567890.1700000000; "
        "_gid=GA1.2.987654321.1700000001; consent=all; cart=3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    ),
    ("If-None-Match", 'W/"5f2-18c2f3a4b80"'),
    ("Priority", "u=0, i"),
)


@dataclass(frozen=True)
class Workload:
    """One kind of traffic."""

    name: str
    title: str
    target: str = "/bytes/12"
    method: str = "GET"
    fields: tuple = ()
    # Octets of a request's content, and of its answer's (None: asked of the backend first).
    content_bytes: int = 0
    expect_bytes: int = None
    connections: int = 64
    rate: int = 0
    hosts: int = 1
    closes: bool = False
    idle: bool = False
    # Long content: told per gigabyte too, and the modes that splice take part.
    bulk: bool = False
    # Only where it is named.
    extra: bool = False
    # Further settings of each proxy that knows them: (suffix of its name, setting, value).
    variant: tuple = None

    @property
    def octets(self):
        """Octets of content that one exchange carries."""
        return max(self.content_bytes, self.expect_bytes or 0)

    @property
    def suits_wrk(self):
        """Can wrk send it: one closed loop of requests without content?"""
        return not (self.content_bytes or self.rate or self.closes or self.idle or self.hosts > 1)

    def heads(self):
        """The request heads, one behind the other."""
        names = ["bench.test"] if self.hosts == 1 else [f"h{i}.test" for i in range(self.hosts)]
        fields = list(self.fields)
        if self.content_bytes:
            fields.append(("Content-Length", str(self.content_bytes)))
        if self.closes:
            fields.append(("Connection", "close"))
        rest = "".join(f"{name}: {value}\r\n" for name, value in fields)
        return "".join(f"{self.method} {self.target} HTTP/1.1\r\nHost: {name}\r\n{rest}\r\n" for name in names)


WORKLOADS = [
    Workload("small", "GET, answer of 12 octets", expect_bytes=12),
    Workload("1k", "GET, answer of 1 KiB", "/bytes/1024", expect_bytes=KIB),
    Workload("64k", "GET, answer of 64 KiB", f"/bytes/{64 * KIB}", expect_bytes=64 * KIB, connections=32, bulk=True),
    Workload("1m", "GET, answer of 1 MiB", f"/bytes/{MIB}", expect_bytes=MIB, connections=16, bulk=True),
    Workload(
        "chunked-1m",
        "GET, answer of 1 MiB in chunks of 16 KiB",
        f"/chunked/{MIB}?chunk=16384",
        expect_bytes=MIB,
        connections=16,
        bulk=True,
    ),
    Workload(
        "upload-1m",
        "POST of 1 MiB, short answer",
        "/drained",
        method="POST",
        content_bytes=MIB,
        connections=16,
        bulk=True,
    ),
    Workload("crowd", "GET, 1,000 busy connections", expect_bytes=12, connections=1000),
    Workload("connect", "GET, a new connection each", expect_bytes=12, connections=32, closes=True),
    Workload("rate", f"GET, open loop, {RATE} requests a second", expect_bytes=12, rate=RATE),
    Workload("browser", "GET with a browser's head of 20 fields, 1 KB", fields=BROWSER_FIELDS, expect_bytes=12),
    Workload(
        "routes",
        f"GET over {ROUTES} hosts: one route, and a route for each host",
        expect_bytes=12,
        hosts=ROUTES,
        variant=("+routes", "routes", ROUTES),
    ),
    Workload("log", "GET, access log off and on", expect_bytes=12, variant=("+log", "log", True)),
    Workload("idle", f"{IDLE} connections at rest after one request each", expect_bytes=12, connections=IDLE, idle=True),
]
# Where splicing begins to cost less than copying: with 64k and 1m they are the curve of it.
WORKLOADS += [
    Workload(
        f"{size}k",
        f"GET, answer of {size} KiB",
        f"/bytes/{size * KIB}",
        expect_bytes=size * KIB,
        connections=32,
        bulk=True,
        extra=True,
    )
    for size in (16, 32, 128, 256, 512)
]
BY_NAME = {workload.name: workload for workload in WORKLOADS}
