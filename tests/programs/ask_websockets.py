"""Python's `websockets`: messages of every size, pings, and the close handshake from either side."""

import random

import websockets.exceptions
import websockets.sync.client

import exchanges


class Client(exchanges.Adapter):
    def connect(self):
        url = f"ws://127.0.0.1:{self.options.via}/ws"
        return websockets.sync.client.connect(
            url, proxy=None, max_size=8 << 20, open_timeout=exchanges.TIMEOUT_SECS, close_timeout=exchanges.TIMEOUT_SECS
        )


class Exchanges(exchanges.Exchanges):
    def echo(self, message, socket):
        socket.send(message)
        got = socket.recv(timeout=exchanges.TIMEOUT_SECS)
        exchanges.check(got == message, f"{len(got)} instead of {len(message)}, or others")

    def ws_text(self):
        with self.client.connect() as socket:
            for text in ["", "a", "Grüße, 世界 🌍", "x" * 70_000]:
                self.echo(text, socket)

    def ws_binary(self):
        source = random.Random(7)
        with self.client.connect() as socket:
            for size in [0, 1, 125, 126, 65_535, 65_536]:
                self.echo(source.randbytes(size), socket)

    def ws_large(self):
        source = random.Random(8)
        with self.client.connect() as socket:
            for size in [1 << 20, 4 << 20]:
                self.echo(source.randbytes(size), socket)

    def ws_fragments(self):
        parts = [random.Random(9).randbytes(10_000) for _ in range(20)]
        with self.client.connect() as socket:
            socket.send(iter(parts))
            exchanges.same(socket.recv(timeout=exchanges.TIMEOUT_SECS), b"".join(parts), "the message")

    def ws_ping(self):
        with self.client.connect() as socket:
            for number in range(20):
                pong = socket.ping(str(number))
                exchanges.check(pong.wait(exchanges.TIMEOUT_SECS), f"no pong to ping {number}")

    def ws_close(self):
        with self.client.connect() as socket:
            socket.close(4001, "by the client")
            exchanges.same(socket.close_code, 4001, "close code")

    def ws_closed(self):
        """The server closes with a code and a reason of its own."""
        with self.client.connect() as socket:
            socket.send("close 4002 by the server")
            try:
                socket.recv(timeout=exchanges.TIMEOUT_SECS)
            except websockets.exceptions.ConnectionClosed:
                pass
            exchanges.same((socket.close_code, socket.close_reason), (4002, "by the server"), "the end")
        self.until_none("closed")


NAMES = ["ws_text", "ws_binary", "ws_large", "ws_fragments", "ws_ping", "ws_close", "ws_closed"]

if __name__ == "__main__":
    exchanges.play(Client, NAMES, Exchanges)
