"""Python's `requests`: one session, its pool of connections."""

import concurrent.futures

import requests
import requests.adapters

import exchanges


class Client(exchanges.Adapter):
    refused_bytes = 4 << 20
    cannot = {
        "expect": "requests does not wait for 100",
        "trailers": "requests shows no trailers",
        "hints": "requests shows no interim responses",
    }

    def __init__(self, options):
        super().__init__(options)
        self.session = requests.Session()
        # Of the environment's proxies nothing is wanted here.
        self.session.trust_env = False
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=exchanges.AT_ONCE)
        self.session.mount("http://", adapter)
        self.pool = adapter.poolmanager.connection_from_url(options.origin)

    def ask(self, method, path, fields=None, content=None, follow=False):
        response = self.session.request(
            method,
            self.options.origin + path,
            headers=fields,
            data=content,
            allow_redirects=follow,
            timeout=exchanges.TIMEOUT_SECS,
        )
        return exchanges.Answer(response.status_code, response.headers, response.content)

    def ask_at_once(self, paths):
        with concurrent.futures.ThreadPoolExecutor(exchanges.AT_ONCE) as threads:
            return list(threads.map(lambda path: self.ask("GET", path), paths))

    def leave(self, path, count):
        with self.session.get(self.options.origin + path, stream=True, timeout=exchanges.TIMEOUT_SECS) as response:
            piece = response.raw.read(count)
            exchanges.same(len(piece), count, "octets before the client left")

    def connections(self):
        return self.pool.num_connections

    def close(self):
        self.session.close()


if __name__ == "__main__":
    exchanges.play(Client)
