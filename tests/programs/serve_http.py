"""The servers of the matrix that stand on Python's `http.server`: one of HTTP/1.1 with persistent connections, and one
of HTTP/1.0, whose content ends with its connection."""

import argparse
import functools
import hashlib
import http.server
import socket

import site_paths as site

# Shorter than the time that Apex keeps a connection: connections at rest are closed under its hands.
IDLE_SECS = 0.3
PATIENT_SECS = 30


class Handler(http.server.BaseHTTPRequestHandler):
    timeout = IDLE_SECS
    disable_nagle_algorithm = True

    def __init__(self, root, *arguments):
        self.root = root
        super().__init__(*arguments)

    def read_chunked(self):
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            assert self.rfile.readline() == b"\r\n", "no end of line behind a chunk"
        self.trailers = [line.strip() for line in iter(self.rfile.readline, b"\r\n")]
        return b"".join(parts)

    def read_content(self):
        if site.coding_of(self.named) == "chunked":
            return self.read_chunked()
        wanted = int(self.named.get("content-length", 0))
        content = self.rfile.read(wanted)
        assert len(content) == wanted, "the content was cut short"
        return content

    def exchange(self):
        # The rest of a request, and a slow reader of its answer, may take their time.
        self.connection.settimeout(PATIENT_SECS)
        self.named = {name.lower(): value for name, value in self.headers.items()}
        self.trailers = []
        if self.path == "/refuse":
            # The content is left where it is.
            self.send(site.refusal())
            self.close_connection = True
            return
        content = self.read_content()
        if self.path == "/trailers":
            self.serve_trailers(content)
        else:
            self.send(site.answer(self.root, self.command, self.path, self.named, content))
        self.connection.settimeout(self.timeout)
        if self.path == "/thenclose":
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = exchange

    def begin(self, answer, more=()):
        self.send_response(answer.status)
        own = [("X-Server", self.server.site_name), ("X-Peer", str(self.client_address[1]))]
        for name, value in [*answer.fields, *own, *more]:
            self.send_header(name, value)
        self.end_headers()

    def send(self, answer):
        if self.path == "/thenclose":
            answer = site.Answer(200, [("Content-Type", "text/plain")], b"said nothing of closing\n")
        if answer.status in (204, 304):
            self.begin(answer)
            return
        is_chunked = answer.length is None and self.protocol_version == "HTTP/1.1"
        if answer.length is not None:
            framing = ("Content-Length", str(answer.length))
        elif is_chunked:
            framing = ("Transfer-Encoding", "chunked")
        else:
            framing = ("Connection", "close")
        self.begin(answer, [framing])
        if self.command == "HEAD":
            return
        for piece in answer.pieces:
            if self.server.is_spoiled:
                piece = piece[:-1] + bytes(octet ^ 1 for octet in piece[-1:])
            # A chunk of length zero would be the last one.
            if piece:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if is_chunked else piece)
        if is_chunked:
            self.wfile.write(b"0\r\n\r\n")

    def serve_trailers(self, content):
        fields = [("Content-Type", "text/plain"), ("Transfer-Encoding", "chunked"), ("Trailer", "X-Sum")]
        self.begin(site.Answer(200, fields))
        content = content or b"with a trailer\n"
        content += b"".join(line + b"\n" for line in self.trailers)
        total = hashlib.sha256(content).hexdigest().encode()
        if self.server.is_spoiled:
            total = total[::-1]
        self.wfile.write(b"%x\r\n%s\r\n0\r\nX-Sum: %s\r\n\r\n" % (len(content), content, total))

    def handle(self):
        try:
            super().handle()
        except (ConnectionError, RuntimeError):
            # A client that left, or a body that was cut on purpose: the connection closes, which is all there is to do.
            pass

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def server_bind(self):
        # The base class asks the resolver for this host's name, which may take long.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.server_address


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--root", required=True, help="the directory of the files")
    arguments.add_argument("--name", required=True, help="what the field X-Server says")
    arguments.add_argument("--version", choices=["HTTP/1.0", "HTTP/1.1"], required=True)
    arguments.add_argument("--spoiled", action="store_true", help="change the last octet of every piece that is sent")
    options = arguments.parse_args()
    Handler.protocol_version = options.version
    server = Server(("127.0.0.1", options.port), functools.partial(Handler, options.root))
    server.site_name = options.name
    server.is_spoiled = options.spoiled
    server.serve_forever()


if __name__ == "__main__":
    main()
