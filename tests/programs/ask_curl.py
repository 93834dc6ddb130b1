"""curl: one process for a request, or for many over one connection or over several at once."""

import os
import re
import subprocess

import exchanges


class Client(exchanges.Adapter):
    refused_bytes = 4 << 20

    def __init__(self, options):
        super().__init__(options)
        self.opened = 0
        self.jar = os.path.join(options.scratch, "cookies")
        self.heads = os.path.join(options.scratch, "heads")
        features = self.run(["--version"]).decode()
        if "HTTP2" not in features:
            self.cannot = {"h2c": "this curl knows no HTTP/2"}

    def run(self, arguments, given=None):
        command = ["curl", "--disable", "--silent", "--show-error", "--noproxy", "*"]
        command += ["--max-time", str(exchanges.TIMEOUT_SECS), *arguments]
        done = subprocess.run(command, input=given, capture_output=True, timeout=2 * exchanges.TIMEOUT_SECS)
        if done.returncode != 0:
            raise ConnectionError(f"curl: exit {done.returncode}: {done.stderr.decode().strip()}")
        return done.stdout

    def read_heads(self):
        """Each head that curl wrote down: status, and pairs of fields. Trailers stand behind their head."""
        with open(self.heads, encoding="latin-1") as file:
            blocks = re.split(r"(?m)^(?=HTTP/)", file.read())[1:]
        for block in blocks:
            first, *lines = filter(None, block.splitlines())
            pairs = [line.split(":", 1) for line in lines]
            yield int(first.split(" ")[1]), [(name, value.strip()) for name, value in pairs]

    def ask(self, method, path, fields=None, content=None, follow=False, more=()):
        arguments = ["--dump-header", self.heads, "--cookie", self.jar, "--cookie-jar", self.jar, *more]
        given = None
        if method == "HEAD":
            arguments.append("--head")
        elif content is not None and not isinstance(content, bytes):
            # From its standard input, whose length it does not know.
            given = b"".join(content)
            arguments += ["--upload-file", "-", "--request", method]
        elif content is not None:
            given = content
            arguments += ["--data-binary", "@-", "--request", method]
        for name, value in (fields or {}).items():
            arguments += ["--header", f"{name}: {value}"]
        if follow:
            arguments.append("--location")
        said = self.run([*arguments, self.options.origin + path], given)
        heads = list(self.read_heads())
        status, pairs = heads[-1]
        interim = [pair for status, fields in heads if 100 < status < 200 for pair in fields]
        self.statuses = [status for status, _ in heads]
        # With --head the head itself is what curl prints.
        return exchanges.Answer(status, pairs + interim, b"" if method == "HEAD" else said)

    def ask_many(self, paths, more=()):
        files = [os.path.join(self.options.scratch, f"body{number}") for number in range(len(paths))]
        arguments = ["--write-out", "%{num_connects} %{http_code}\n", *more]
        for path, file in zip(paths, files):
            arguments += ["--output", file, self.options.origin + path]
        rows = [line.split() for line in self.run(arguments).decode().splitlines()]
        self.opened += sum(int(row[0]) for row in rows)
        contents = []
        for file in files:
            with open(file, "rb") as content:
                contents.append(content.read())
            os.remove(file)
        return [int(row[1]) for row in rows], contents

    def ask_in_turn(self, paths):
        _, contents = self.ask_many(paths, ["--dump-header", self.heads])
        heads = list(self.read_heads())
        return [exchanges.Answer(*head, content) for head, content in zip(heads, contents)]

    def ask_at_once(self, paths):
        statuses, contents = self.ask_many(paths, ["--parallel", "--parallel-max", str(exchanges.AT_ONCE)])
        # The lines come as the transfers end; all of them must be alike.
        return [exchanges.Answer(status, [], content) for status, content in zip(statuses, contents)]

    def expect(self, path, content):
        # Without an answer to the expectation, curl sends after a second all the same.
        answer = self.ask("POST", path, {"Expect": "100-continue"}, content)
        if "continue" not in self.options.lacks:
            exchanges.check(100 in self.statuses, f"no 100 among {self.statuses}")
        return answer

    def leave(self, path, count):
        command = ["curl", "--disable", "--silent", "--noproxy", "*", "--max-time", str(exchanges.TIMEOUT_SECS)]
        with subprocess.Popen([*command, self.options.origin + path], stdout=subprocess.PIPE) as curl:
            exchanges.same(len(curl.stdout.read(count)), count, "octets before the client left")
            curl.kill()

    def connections(self):
        return self.opened


class Exchanges(exchanges.Exchanges):
    def http10(self):
        """A client of HTTP/1.0 gets chunked content unwrapped, and no interim response."""
        old = {"more": ["--http1.0"]}
        self.is_small(self.ask("GET", "/files/small.bin", **old))
        exchanges.same(self.ask("GET", "/files/large.bin", **old).content, self.large, "content")
        exchanges.same(self.ask("HEAD", "/files/large.bin", **old).content, b"", "content of a HEAD")
        answer = self.ask("GET", "/files/text.txt", fields={"Accept-Encoding": "gzip"}, more=["--http1.0", "--compressed"])
        exchanges.same(answer.content, self.text, "content that was compressed")
        exchanges.same(answer["transfer-encoding"], None, "a transfer coding to 1.0")
        if "post_sized" not in self.options.lacks:
            content = self.large[:300_000]
            exchanges.same(self.ask("POST", "/echo", content=content, **old).content, content, "the echo")

    def http10_reuse(self):
        """A client of HTTP/1.0 that asks for a persistent connection has one."""
        before = self.client.connections()
        old = ["--http1.0", "--header", "Connection: keep-alive"]
        _, contents = self.client.ask_many(["/files/small.bin"] * exchanges.MANY, old)
        exchanges.same(contents, [self.small] * exchanges.MANY, "contents")
        opened = self.client.connections() - before
        exchanges.same(opened, 1, "connections to Apex")

    def absolute(self):
        """curl takes Apex for a forward proxy: the target is a whole URL."""
        through = ["--noproxy", "", "--proxy", self.options.origin]
        self.is_small(self.ask("GET", "/files/small.bin", more=through))
        exchanges.same(self.ask("GET", "/files/large.bin", more=through).content, self.large, "content")

    def transfer_coding(self):
        """What curl says in `TE` is of its own connection: no server compresses for that."""
        answer = self.ask("GET", "/files/text.txt", more=["--tr-encoding"])
        exchanges.same(answer.content, self.text, "content")

    def h2c(self):
        """An offer to go on with HTTP/2 is for nobody behind Apex: the answer is of HTTP/1.1."""
        answer = self.ask("GET", "/files/large.bin", more=["--http2"])
        exchanges.same(answer.content, self.large, "content")
        exchanges.same(self.client.statuses, [200], "statuses")


OWN = ["http10", "http10_reuse", "absolute", "transfer_coding", "h2c"]

if __name__ == "__main__":
    exchanges.play(Client, [*exchanges.EXCHANGES, *OWN], Exchanges)
