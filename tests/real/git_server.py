"""An HTTP/1.1 origin that runs `git http-backend` as a CGI program.

Python's own CGI server cannot take a chunked request, and git pushes by one. Bodies pass both ways in small pieces,
so that neither a clone nor a push is held in memory. One line a request: method, service, framing of the request, status.
"""

import argparse
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECE = 64 * 1024


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A proxy that leaves a request unfinished must not keep a thread for ever.
    timeout = 60

    def run(self, left):
        """The next `left` bytes of the connection, in pieces."""
        while left:
            piece = self.rfile.read(min(left, PIECE))
            if not piece:
                raise ConnectionError("request cut short")
            left -= len(piece)
            yield piece

    def content(self):
        """The content of the request, decoded."""
        if self.headers.get("Transfer-Encoding", "").strip().lower() != "chunked":
            yield from self.run(int(self.headers.get("Content-Length", 0)))
            return
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield from self.run(size)
            if self.rfile.readline() != b"\r\n":
                raise ValueError("no line end after a chunk")
        while self.rfile.readline() not in (b"\r\n", b""):
            pass

    def feed(self, pipe):
        """Gives the content to git; what git does not want is read all the same, for the next request to begin clean."""
        wanted = True
        try:
            for piece in self.content():
                try:
                    if wanted:
                        pipe.write(piece)
                except BrokenPipeError:
                    wanted = False
        except (OSError, ValueError) as error:
            self.log_message("request: %s", error)
            self.close_connection = True
        try:
            pipe.close()
        except BrokenPipeError:
            pass

    def environment(self):
        path, _, query = self.path.partition("?")
        variables = dict(os.environ)
        variables.update(
            GIT_PROJECT_ROOT=self.server.root,
            GIT_HTTP_EXPORT_ALL="1",
            GIT_CONFIG_NOSYSTEM="1",
            GIT_CONFIG_GLOBAL="",
            GATEWAY_INTERFACE="CGI/1.1",
            SERVER_PROTOCOL=self.request_version,
            REQUEST_METHOD=self.command,
            PATH_INFO=path,
            QUERY_STRING=query,
            REMOTE_ADDR=self.client_address[0],
            REMOTE_USER="test",
            CONTENT_TYPE=self.headers.get("Content-Type", ""),
            GIT_PROTOCOL=self.headers.get("Git-Protocol", ""),
            HTTP_CONTENT_ENCODING=self.headers.get("Content-Encoding", ""),
        )
        # Without it, git reads to the end of its input: just what a chunked request needs.
        variables.pop("CONTENT_LENGTH", None)
        if "Content-Length" in self.headers:
            variables["CONTENT_LENGTH"] = self.headers["Content-Length"]
        return variables

    def answer(self):
        command = ["git", "http-backend"]
        git = subprocess.Popen(command, env=self.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        feeder = threading.Thread(target=self.feed, args=(git.stdin,))
        feeder.start()
        try:
            self.relay(git.stdout)
        finally:
            git.stdout.close()
            git.wait(timeout=60)
            feeder.join(timeout=60)

    def relay(self, output):
        """Writes the CGI answer as an HTTP answer, chunked."""
        status, fields = 200, []
        for line in iter(output.readline, b""):
            line = line.decode("latin-1").strip()
            if not line:
                break
            name, _, value = line.partition(":")
            if name.lower() == "status":
                status = int(value.split()[0])
            else:
                fields.append((name, value.strip()))
        fields = [field for field in fields if field[0].lower() != "content-length"]
        self.send_response_only(status)
        for name, value in fields:
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in iter(lambda: output.read1(PIECE), b""):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")
        framing = self.headers.get("Transfer-Encoding") or "plain"
        print(self.command, self.path.rsplit("/", 1)[-1], framing, status, flush=True)

    do_GET = answer
    do_POST = answer


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--root", required=True)
    options = arguments.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    server.daemon_threads = True
    server.root = options.root
    server.serve_forever()


if __name__ == "__main__":
    main()
