"""A server of server-sent events and its client, which calls it through the proxy.

The server sends an event only when the client has acknowledged the one before, inside this process and past the
proxy: a proxy that keeps an event back until more follows stops the stream, and a deadline finds it. In between, the
server pauses, for an idle proxy to be the ordinary case.
"""

import argparse
import http.client
import queue
import select
import socket
import threading

EVENTS = 20
PAUSE_SECS = 0.1
TIMEOUT_SECS = 10
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nConnection: close\r\n"


def event(number):
    return f"id: {number}\ndata: event {number} of a stream\n\n".encode()


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


class Server:
    def __init__(self, listener):
        self.listener = listener
        self.acknowledged = queue.Queue()
        # Of each connection: None, or what went wrong.
        self.outcomes = queue.Queue()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(TIMEOUT_SECS)
                try:
                    self.answer(connection)
                    self.outcomes.put(None)
                except Exception as error:
                    self.outcomes.put(f"server: {error!r}")

    def answer(self, connection):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(4096)
            if not piece:
                raise ConnectionError("request cut short")
            head += piece
        path = head.split(b" ")[1].decode()
        framed = chunk if path != "/until-close" else bytes
        coding = "Transfer-Encoding: chunked\r\n" if path != "/until-close" else ""
        connection.sendall(f"{HEAD}{coding}\r\n".encode())
        if path == "/endless":
            self.until_gone(connection)
            return
        for number in range(EVENTS):
            self.acknowledged.get(timeout=TIMEOUT_SECS)
            # Readable here would be a client that is gone; else this is the pause.
            if select.select([connection], [], [], PAUSE_SECS)[0]:
                raise ConnectionError("the proxy closed or sent bytes in the middle")
            connection.sendall(framed(event(number)))
        self.acknowledged.get(timeout=TIMEOUT_SECS)
        if framed is chunk:
            connection.sendall(b"0\r\n\r\n")

    def until_gone(self, connection):
        """Sends events until the client's absence shows: a backend must not talk to nobody for ever."""
        for number in range(int(TIMEOUT_SECS / PAUSE_SECS)):
            try:
                connection.sendall(chunk(event(number)))
                if select.select([connection], [], [], PAUSE_SECS)[0] and not connection.recv(1):
                    return
            except (BrokenPipeError, ConnectionResetError):
                return
        raise TimeoutError("the client was gone, and the proxy still took events")


def open_stream(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECS)
    connection.request("GET", path, headers={"Accept": "text/event-stream"})
    # The head must come before any event does.
    response = connection.getresponse()
    assert response.status == 200, response.status
    assert response.getheader("Content-Type") == "text/event-stream", response.getheaders()
    return connection, response


def read_event(response):
    data = b""
    while not data.endswith(b"\n\n"):
        piece = response.read1(65536)
        if not piece:
            raise ConnectionError(f"stream ended within an event: {data!r}")
        data += piece
    return data


def lockstep(port, server, path):
    connection, response = open_stream(port, path)
    for number in range(EVENTS):
        server.acknowledged.put(number)
        data = read_event(response)
        assert data == event(number), f"{data!r} instead of event {number}"
    server.acknowledged.put(EVENTS)
    assert response.read() == b"", "bytes after the last event"
    connection.close()


def lockstep_chunked(port, server):
    lockstep(port, server, "/chunked")


def lockstep_until_close(port, server):
    lockstep(port, server, "/until-close")


def leave(port, _server):
    connection, response = open_stream(port, "/endless")
    assert read_event(response).startswith(event(0))
    response.close()
    connection.close()


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--listen", type=int, required=True, help="port of the server")
    arguments.add_argument("--via", type=int, required=True, help="port of the proxy")
    options = arguments.parse_args()
    with socket.create_server(("127.0.0.1", options.listen)) as listener:
        server = Server(listener)
        threading.Thread(target=server.run, daemon=True).start()
        problems = []
        for case in (lockstep_chunked, lockstep_until_close, leave):
            try:
                case(options.via, server)
            except Exception as error:
                problems.append(f"{case.__name__}: client: {error!r}")
            try:
                problems.append(server.outcomes.get(timeout=2 * TIMEOUT_SECS))
            except queue.Empty:
                problems.append(f"{case.__name__}: server: never done")
            if any(problems):
                raise SystemExit("\n".join(filter(None, problems)))
    print(f"server-sent events: 2 streams of {EVENTS}, each event there before the next; a client's leaving was noticed")


if __name__ == "__main__":
    main()
