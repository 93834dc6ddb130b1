"""What every server of the matrix serves: one table of paths, for the servers that are written in Python.

It knows messages, no sockets: each server hands a whole request in and sends what it gets. `serve_node.js` serves the
same paths again, and nginx's configuration those that it can. `README.md` lists them.
"""

import email.utils
import gzip
import hashlib
import os
import re
import urllib.parse

PIECE_BYTES = 64 * 1024
STREAM_PIECES = 200
EVENTS = 20
CUT_BYTES = 100_000
CUT_AFTER_BYTES = 50_000

TYPES = {".html": "text/html", ".js": "text/javascript", ".txt": "text/plain", ".bin": "application/octet-stream"}


class Answer:
    """`pieces` are sent one by one. Without a `length` they are chunked, or end with the connection."""

    def __init__(self, status, fields=(), content=b"", pieces=None, length=None):
        self.status = status
        self.fields = list(fields)
        self.pieces = pieces if pieces is not None else [content]
        self.length = len(content) if pieces is None else length


def stream_piece(number):
    return f"piece {number} of a stream, {'.' * (number % 97)}\n".encode()


def event(number):
    return f"id: {number}\ndata: event {number}\n\n".encode()


def file_pieces(path, first, count):
    with open(path, "rb") as file:
        file.seek(first)
        while count > 0:
            piece = file.read(min(PIECE_BYTES, count))
            if not piece:
                raise EOFError(path)
            count -= len(piece)
            yield piece


def gzip_pieces(data):
    packed = gzip.compress(data, mtime=0)
    return (packed[at : at + 1000] for at in range(0, len(packed), 1000))


def broken_pieces():
    """A body whose maker fails in the middle: the server must not make a clean end of it."""
    yield b"x" * CUT_AFTER_BYTES
    raise RuntimeError("the content ends here on purpose")


def serve_file(root, name, fields):
    path = os.path.join(root, name)
    if ".." in name or not os.path.isfile(path):
        return Answer(404, [("Content-Type", "text/plain")], b"no such file\n")
    about = os.stat(path)
    tag = f'"{about.st_mtime_ns:x}-{about.st_size:x}"'
    modified = email.utils.formatdate(about.st_mtime, usegmt=True)
    own = [("ETag", tag), ("Last-Modified", modified)]
    if fields.get("if-none-match") == tag or (
        "if-none-match" not in fields and fields.get("if-modified-since") == modified
    ):
        return Answer(304, own)
    kind = TYPES.get(os.path.splitext(name)[1], "application/octet-stream")
    own += [("Content-Type", kind), ("Accept-Ranges", "bytes")]
    if kind == "text/plain" and "gzip" in fields.get("accept-encoding", ""):
        with open(path, "rb") as file:
            return Answer(200, [*own, ("Content-Encoding", "gzip")], pieces=gzip_pieces(file.read()))
    wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", fields.get("range", ""))
    if wanted:
        first, last = int(wanted[1]), min(int(wanted[2]), about.st_size - 1)
        span = ("Content-Range", f"bytes {first}-{last}/{about.st_size}")
        count = last - first + 1
        return Answer(206, [*own, span], pieces=file_pieces(path, first, count), length=count)
    return Answer(200, own, pieces=file_pieces(path, 0, about.st_size), length=about.st_size)


def refusal():
    """The answer to `/refuse`, which is given before the content is read."""
    return Answer(413, [("Content-Type", "text/plain"), ("Connection", "close")], b"too much\n")


def coding_of(fields):
    """How the content came over the wire to this server."""
    if "chunked" in fields.get("transfer-encoding", "").lower():
        return "chunked"
    return "length" if "content-length" in fields else "none"


def answer(root, method, target, fields, content):
    """The answer to a whole request; names of `fields` are in lower case."""
    path, _, query = target.partition("?")
    head, _, name = path[1:].partition("/")
    query = dict(urllib.parse.parse_qsl(query))
    text = [("Content-Type", "text/plain")]
    if method in ("GET", "HEAD") and head == "files":
        return serve_file(root, name, fields)
    if method == "PUT" and head == "store" and name.isalnum():
        with open(os.path.join(root, "store", name), "wb") as file:
            file.write(content)
        return Answer(201, [("X-Coding", coding_of(fields))])
    if method == "GET" and head == "store":
        return serve_file(os.path.join(root, "store"), name, {})
    if method == "POST" and head == "echo":
        kind = query.get("type", fields.get("content-type", "application/octet-stream"))
        return Answer(200, [("Content-Type", kind), ("X-Coding", coding_of(fields))], content)
    if method == "POST" and head == "digest":
        sum_ = hashlib.sha256(content).hexdigest().encode()
        return Answer(200, [*text, ("X-Coding", coding_of(fields))], sum_)
    if method not in ("GET", "HEAD"):
        return Answer(405, text, b"not here\n")
    simple = {
        "204": lambda: Answer(204),
        "redirect": lambda: Answer(
            302, [("Location", "/files/small.bin"), ("Set-Cookie", "one=1; Path=/"), ("Set-Cookie", "two=2; Path=/")]
        ),
        "cookies": lambda: Answer(200, text, fields.get("cookie", "").encode()),
        "close": lambda: Answer(200, [*text, ("Connection", "close")], b"the last one\n"),
        "stream": lambda: Answer(200, text, pieces=map(stream_piece, range(STREAM_PIECES))),
        "events": lambda: Answer(200, [("Content-Type", "text/event-stream")], pieces=map(event, range(EVENTS))),
        "cut": lambda: Answer(200, text, pieces=broken_pieces(), length=CUT_BYTES),
        "cutchunked": lambda: Answer(200, text, pieces=broken_pieces()),
    }
    make = simple.get(head)
    return make() if make else Answer(404, text, b"no such path\n")
