"""Python's `httpx`: one synchronous client, its pool of connections."""

import concurrent.futures

import httpx

import exchanges


class Client(exchanges.Adapter):
    refused_bytes = 4 << 20
    cannot = {
        "expect": "httpx does not wait for 100",
        "trailers": "httpx shows no trailers",
        "hints": "httpx shows no interim responses",
    }

    def __init__(self, options):
        super().__init__(options)
        self.opened = 0
        limits = httpx.Limits(max_connections=exchanges.AT_ONCE, max_keepalive_connections=exchanges.AT_ONCE)
        self.client = httpx.Client(
            base_url=options.origin, limits=limits, timeout=exchanges.TIMEOUT_SECS, trust_env=False
        )

    def trace(self, event, _):
        self.opened += event == "connection.connect_tcp.complete"

    def ask(self, method, path, fields=None, content=None, follow=False):
        response = self.client.request(
            method,
            path,
            headers=fields,
            content=content,
            follow_redirects=follow,
            extensions={"trace": self.trace},
        )
        return exchanges.Answer(response.status_code, response.headers.multi_items(), response.content)

    def ask_at_once(self, paths):
        with concurrent.futures.ThreadPoolExecutor(exchanges.AT_ONCE) as threads:
            return list(threads.map(lambda path: self.ask("GET", path), paths))

    def leave(self, path, count):
        with self.client.stream("GET", path) as response:
            piece = next(response.iter_bytes(count))
            exchanges.same(len(piece), count, "octets before the client left")

    def connections(self):
        return self.opened

    def close(self):
        self.client.close()


if __name__ == "__main__":
    exchanges.play(Client)
