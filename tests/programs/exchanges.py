"""The exchanges that every client of the matrix plays, and how they are judged.

A client hands in an adapter: `ask` sends one request and gives an `Answer`, and so on (see `Adapter`). What comes back is
judged by content: against the files of the site, against what was sent, and against the server's own word about its
connections. Each exchange prints one line, `passed NAME SECONDS`, `failed NAME: why` or `skipped NAME: why`.
"""

import argparse
import gzip
import hashlib
import os
import random
import socket
import threading
import time
import traceback

import site_paths as site

TIMEOUT_SECS = 15
UPLOAD_SIZES = [0, 1, 5_000, 65_536, 1_048_577]
MANY = 20
AT_ONCE = 16


class Answer:
    def __init__(self, status, fields, content):
        """`fields`: pairs, or a mapping."""
        self.status = status
        self.fields = {}
        for name, value in fields.items() if hasattr(fields, "items") else fields:
            name = name.lower()
            self.fields[name] = f"{self.fields[name]}, {value}" if name in self.fields else value
        self.content = content

    def __getitem__(self, name):
        return self.fields.get(name.lower())


class Adapter:
    """What a client must do to be judged. A method that raises fails its exchange."""

    # Exchanges that this client has no way to play, and why.
    cannot = {}
    # What it can have refused and still see the answer. Apex throws away 256 KiB behind one, then closes: who does not read
    # before all is written sees nothing but that.
    refused_bytes = 200_000

    def __init__(self, options):
        self.options = options

    def ask(self, method, path, fields=None, content=None, follow=False):
        """`content`: bytes (sent with a length) or an iterator of pieces (sent chunked)."""
        raise NotImplementedError

    def ask_in_turn(self, paths):
        """GETs one after the other on what should be one connection."""
        return [self.ask("GET", path) for path in paths]

    def ask_at_once(self, paths):
        """GETs on many connections."""
        raise NotImplementedError

    def expect(self, path, content):
        """POST that waits for 100 before it sends its content."""
        raise NotImplementedError

    def leave(self, path, count):
        """Reads that many bytes of an answer, and closes."""
        raise NotImplementedError

    def connections(self):
        """Connections to Apex that were opened so far."""
        raise NotImplementedError

    def close(self):
        pass


def check(holds, what):
    if not holds:
        raise AssertionError(what)


def same(got, wanted, what):
    if got == wanted:
        return
    if isinstance(got, bytes) and len(got) + len(wanted) > 200:
        at = next((at for at, pair in enumerate(zip(got, wanted)) if pair[0] != pair[1]), min(len(got), len(wanted)))
        raise AssertionError(f"{what}: {len(got)} octets instead of {len(wanted)}, different from {at} on")
    raise AssertionError(f"{what}: {got!r} instead of {wanted!r}")


class Exchanges:
    def __init__(self, client, options):
        self.client = client
        self.options = options
        with open(os.path.join(options.root, "large.bin"), "rb") as file:
            self.large = file.read()
        with open(os.path.join(options.root, "small.bin"), "rb") as file:
            self.small = file.read()
        with open(os.path.join(options.root, "text.txt"), "rb") as file:
            self.text = file.read()

    def ask(self, method, path, status=200, **more):
        answer = self.client.ask(method, path, **more)
        same(answer.status, status, f"status of {method} {path}")
        # An answer that is Apex's own, or another server's, does not pass for this one.
        same(answer["x-server"], self.options.name, "the field X-Server")
        return answer

    def is_small(self, answer):
        same(answer.status, 200, "status")
        same(answer.content, self.small, "the small file")

    def then_small(self):
        """A message that was framed wrongly shows in the one behind it."""
        self.is_small(self.ask("GET", "/files/small.bin"))

    def get(self):
        answer = self.ask("GET", "/files/small.bin")
        same(answer.content, self.small, "content")
        check(answer["date"], "no Date")
        same(self.client.ask("GET", "/files/nosuch").status, 404, "status of a file that is not there")
        self.then_small()

    def head(self):
        answer = self.ask("HEAD", "/files/large.bin")
        same(answer["content-length"], str(len(self.large)), "Content-Length")
        same(answer.content, b"", "content")
        self.then_small()
        if "stream" not in self.options.lacks:
            # Its head says that it is chunked, and there is no content all the same.
            same(self.ask("HEAD", "/stream").content, b"", "content of a HEAD")
            self.then_small()

    def large_get(self):
        for _ in range(3):
            same(self.ask("GET", "/files/large.bin").content, self.large, "content")

    def range(self):
        answer = self.ask("GET", "/files/large.bin", 206, fields={"Range": "bytes=70000-270000"})
        same(answer["content-range"], f"bytes 70000-270000/{len(self.large)}", "Content-Range")
        same(answer.content, self.large[70000:270001], "content")
        self.then_small()

    def compressed(self):
        answer = self.ask("GET", "/files/text.txt", fields={"Accept-Encoding": "gzip"})
        same(answer["content-encoding"], "gzip", "Content-Encoding")
        # Some clients decode, others hand out what came.
        content = answer.content
        same(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content, self.text, "content")
        self.then_small()

    def stream(self):
        wanted = b"".join(map(site.stream_piece, range(site.STREAM_PIECES)))
        same(self.ask("GET", "/stream").content, wanted, "content")
        self.then_small()

    def upload(self, method, is_chunked):
        source = random.Random(len(method) + is_chunked)
        for size in UPLOAD_SIZES:
            content = source.randbytes(size)
            pieces = (content[at : at + 7000] for at in range(0, size, 7000))
            coding = "chunked" if is_chunked else "length"
            given = pieces if is_chunked else content
            kind = {"Content-Type": "application/octet-stream"}
            if method == "POST":
                answer = self.ask("POST", "/echo", fields=kind, content=given)
                same(answer.content, content, f"the echo of {size} octets")
            else:
                # nginx says 204 of a file that was there already.
                path = f"/store/{self.options.client.replace(' ', '')}{size}{coding}"
                answer = self.client.ask("PUT", path, fields=kind, content=given)
                check(answer.status in (201, 204), f"status {answer.status} of PUT")
                same(self.ask("GET", path).content, content, f"the file of {size} octets")
            if size > 0:
                same(answer["x-coding"], coding, "how the content came to the server")

    def put_sized(self):
        self.upload("PUT", False)

    def put_chunked(self):
        self.upload("PUT", True)

    def post_sized(self):
        self.upload("POST", False)

    def post_chunked(self):
        self.upload("POST", True)

    def expect(self):
        content = random.Random(100).randbytes(200_000)
        answer = self.client.expect("/echo", content)
        same(answer.status, 200, "status")
        same(answer.content, content, "the echo")
        self.then_small()

    def refused(self):
        """A server that answers before it has read the content, and reads none of it: the answer is not lost."""
        content = bytes(self.client.refused_bytes)
        for given in [content, (content[at : at + 65_536] for at in range(0, len(content), 65_536))]:
            answer = self.client.ask("PUT", "/refuse", content=given)
            same(answer.status, 413, "status")
            self.then_small()

    def not_modified(self):
        first = self.ask("GET", "/files/small.bin")
        for name, value in [("If-None-Match", first["etag"]), ("If-Modified-Since", first["last-modified"])]:
            check(value, f"nothing to say in {name}")
            answer = self.ask("GET", "/files/small.bin", 304, fields={name: value})
            same(answer.content, b"", "content of a 304")
            self.then_small()

    def no_content(self):
        for _ in range(3):
            answer = self.ask("GET", "/204", 204)
            same(answer.content, b"", "content of a 204")
            same(answer["transfer-encoding"], None, "framing of a 204")
            self.then_small()

    def redirect(self):
        answer = self.ask("GET", "/redirect", 302)
        same(answer["location"], "/files/small.bin", "Location")
        self.is_small(self.ask("GET", "/redirect", follow=True))

    def cookies(self):
        self.is_small(self.ask("GET", "/redirect", follow=True))
        told = sorted(self.ask("GET", "/cookies").content.decode().split("; "))
        same(told, ["one=1", "two=2"], "the cookies that came back")

    def in_turn(self, path, count):
        before = self.client.connections()
        answers = self.client.ask_in_turn([path] * count)
        same(len(answers), count, "answers")
        for answer in answers:
            same(answer.status, 200, "status")
            same(answer["x-server"], self.options.name, "the field X-Server")
            same(answer["connection"] in (None, "keep-alive"), True, "Apex closes: it")
        opened = self.client.connections() - before
        check(opened <= 1, f"{opened} connections to Apex for {count} requests")
        return answers

    def reuse(self):
        answers = self.in_turn("/files/small.bin", MANY)
        for answer in answers:
            self.is_small(answer)
        peers = {answer["x-peer"] for answer in answers}
        # One, unless the server's patience ended just now.
        wanted = MANY if self.options.closes else 2
        check(len(peers) <= wanted, f"{len(peers)} connections to the server for {MANY} requests")

    def closing(self):
        """A server that closes after each answer and says so: nothing of it reaches the client."""
        for answer in self.in_turn("/close", MANY):
            same(answer.content, b"the last one\n", "content")

    def then_close(self):
        """A server that closes after each answer without a word: requests race with the end of idle connections."""
        for answer in self.in_turn("/thenclose", 2 * MANY):
            same(answer.content, b"said nothing of closing\n", "content")

    def until_none(self, what):
        """Waits until the server has no connection any more."""
        deadline = time.monotonic() + TIMEOUT_SECS
        while True:
            begun = time.monotonic()
            count = established(self.options.backend)
            if count == 0:
                return
            check(begun < deadline, f"{what}: {count} connections to the server are still there")
            # Where many connections are open, the look itself takes long.
            time.sleep(max(0.01, 2 * (time.monotonic() - begun)))

    def stale(self):
        """The server closed what Apex keeps for the next request: not even a request that must not be repeated fails."""
        self.then_small()
        self.until_none("at rest")
        if "post_sized" in self.options.lacks:
            self.then_small()
        else:
            same(self.ask("POST", "/echo", content=b"after a rest").content, b"after a rest", "the echo")

    def cut_length(self):
        self.must_fail("/cut")

    def cut_chunked(self):
        self.must_fail("/cutchunked")

    def must_fail(self, path):
        try:
            answer = self.client.ask("GET", path)
        except Exception:
            # A client may give the connection up here; the next request is answered all the same.
            self.then_small()
            return
        raise AssertionError(f"{path}: {answer.status} and {len(answer.content)} octets passed for a whole answer")

    def leave(self):
        """A client that goes in the middle of an answer: the server's connection goes, too."""
        self.client.leave("/files/huge.bin", 65_536)
        self.until_none("the client left")
        self.then_small()

    def at_once(self):
        paths = ["/files/small.bin", "/files/large.bin", "/files/small.bin", "/files/sub/1.js"] * AT_ONCE
        contents = {"/files/small.bin": self.small, "/files/large.bin": self.large, "/files/sub/1.js": b"loaded(1);\n"}
        answers = self.client.ask_at_once(paths)
        same(len(answers), len(paths), "answers")
        for path, answer in zip(paths, answers):
            same(answer.status, 200, f"status of {path}")
            same(answer.content, contents[path], path)

    def trailers(self):
        answer = self.ask("GET", "/trailers")
        same(answer.content, b"with a trailer\n", "content")
        same(answer["x-sum"], hashlib.sha256(answer.content).hexdigest(), "the trailer")
        self.then_small()

    def hints(self):
        answer = self.ask("GET", "/hints")
        same(answer.content, b"after a hint\n", "content")
        same(answer["link"], "</files/small.bin>; rel=preload", "Link of the 103")


EXCHANGES = """get head large_get range compressed stream put_sized put_chunked post_sized post_chunked expect refused not_modified
    no_content redirect cookies reuse closing then_close stale cut_length cut_chunked leave at_once trailers hints""".split()


def established(port):
    """Connections on loopback that the listener of this port has, and that are not closed by either side."""
    wanted = socket.inet_aton("127.0.0.1")[::-1].hex().upper() + f":{port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return sum(row[1] == wanted and row[3] == "01" for row in rows)


def in_background(run):
    """Runs until the process ends."""
    threading.Thread(target=run, daemon=True).start()


def options():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--client", required=True, help="what the client is called")
    arguments.add_argument("--name", required=True, help="what the server's X-Server says")
    arguments.add_argument("--via", type=int, required=True, help="port of Apex")
    arguments.add_argument("--backend", type=int, required=True, help="port of the server")
    arguments.add_argument("--verdict", type=int, required=True, help="port that `/verdict` of Apex leads to")
    arguments.add_argument("--root", required=True, help="the directory of the files")
    arguments.add_argument("--scratch", required=True, help="a directory of this client's own")
    arguments.add_argument("--closes", action="store_true", help="the server closes after each answer")
    arguments.add_argument("--lacks", default="", help="exchanges that the server cannot play, with commas between")
    found = arguments.parse_args()
    found.lacks = set(found.lacks.split(","))
    found.origin = f"http://127.0.0.1:{found.via}"
    return found


def play_one(name, run):
    begun = time.monotonic()
    try:
        run()
        print(f"passed {name} {time.monotonic() - begun:.3f}", flush=True)
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"failed {name}: {said} ({os.path.basename(where.filename)}:{where.lineno})", flush=True)
        if not isinstance(error, Exception):
            raise


def play(adapter, names=EXCHANGES, of=Exchanges):
    """Plays the exchanges of one cell of the matrix, in order."""
    found = options()
    client = adapter(found)
    exchanges = of(client, found)
    for name in names:
        if name in found.lacks:
            print(f"skipped {name}: not of this server", flush=True)
        elif name in client.cannot:
            print(f"skipped {name}: {client.cannot[name]}", flush=True)
        else:
            play_one(name, getattr(exchanges, name))
    client.close()
