"""Python's `aiohttp`: one session on a loop of its own, its pool of connections."""

import asyncio

import aiohttp

import exchanges


async def pieces_of(iterator):
    for piece in iterator:
        yield piece


class Client(exchanges.Adapter):
    cannot = {
        "trailers": "aiohttp shows no trailers",
        "hints": "aiohttp shows no interim responses",
    }

    def __init__(self, options):
        super().__init__(options)
        if "continue" in options.lacks:
            self.cannot = {**self.cannot, "expect": "aiohttp waits for a 100 that does not come"}
        self.opened = 0
        self.loop = asyncio.new_event_loop()
        self.session = self.loop.run_until_complete(self.make_session())

    async def make_session(self):
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(self.count)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=exchanges.AT_ONCE),
            # Cookies of a host that is an address are only kept on demand.
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            timeout=aiohttp.ClientTimeout(total=exchanges.TIMEOUT_SECS),
            trace_configs=[trace],
        )

    async def count(self, *_):
        self.opened += 1

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    async def exchange(self, method, path, fields=None, content=None, follow=False, expect100=False):
        data = content if content is None or isinstance(content, bytes) else pieces_of(content)
        asked = self.session.request(
            method,
            self.options.origin + path,
            headers=fields,
            data=data,
            allow_redirects=follow,
            expect100=expect100,
        )
        async with asked as response:
            return exchanges.Answer(response.status, response.headers.items(), await response.read())

    def ask(self, method, path, fields=None, content=None, follow=False):
        return self.run(self.exchange(method, path, fields, content, follow))

    def ask_at_once(self, paths):
        async def gather():
            return await asyncio.gather(*(self.exchange("GET", path) for path in paths))

        return self.run(gather())

    def expect(self, path, content):
        return self.run(self.exchange("POST", path, content=content, expect100=True))

    def leave(self, path, count):
        async def some():
            async with self.session.get(self.options.origin + path) as response:
                await response.content.readexactly(count)
                response.close()

        self.run(some())

    def connections(self):
        return self.opened

    def close(self):
        self.run(self.session.close())


if __name__ == "__main__":
    exchanges.play(Client)
