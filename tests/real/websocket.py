"""A WebSocket echo server and its client, which calls it through the proxy: RFC 6455 by hand.

The server greets in the same write as its 101, so the first frame lies behind the head in one segment. The client
writes all its messages from one thread and reads from another: both directions of the tunnel are full at once.
"""

import argparse
import base64
import hashlib
import os
import socket
import struct
import threading

MESSAGES = 8
MESSAGE_BYTES = 1 << 20
FRAGMENTS = 4
TIMEOUT_SECS = 30
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MORE, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def accept_value(key):
    return base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()


def mask(data, key):
    """The masking of section 5.3, as one exclusive or of two large numbers."""
    whole = (key * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(whole, "big")).to_bytes(len(data), "big")


def frame(opcode, data, masked, final=True):
    length = len(data)
    bit = 0x80 if masked else 0
    head = bytes([(0x80 if final else 0) | opcode])
    if length < 126:
        head += bytes([bit | length])
    elif length < 1 << 16:
        head += bytes([bit | 126]) + struct.pack("!H", length)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", length)
    if not masked:
        return head + data
    key = os.urandom(4)
    return head + key + mask(data, key)


def exactly(stream, count):
    data = stream.read(count)
    if len(data) != count:
        raise ConnectionError(f"{len(data)} bytes instead of {count}, then the end")
    return data


def read_frame(stream):
    """(final, opcode, data, masked)"""
    first, second = exactly(stream, 2)
    length = second & 0x7F
    if length == 126:
        (length,) = struct.unpack("!H", exactly(stream, 2))
    elif length == 127:
        (length,) = struct.unpack("!Q", exactly(stream, 8))
    masked = bool(second & 0x80)
    key = exactly(stream, 4) if masked else None
    data = exactly(stream, length)
    return bool(first & 0x80), first & 0x0F, mask(data, key) if masked else data, masked


def read_message(stream, pings):
    """The next message, its fragments joined; pings and pongs between them go to `pings`."""
    kind, parts = None, []
    while True:
        final, opcode, data, _ = read_frame(stream)
        if opcode in (PING, PONG):
            pings.append((opcode, data))
            continue
        if opcode == CLOSE:
            return CLOSE, data
        kind = opcode if opcode != MORE else kind
        parts.append(data)
        if final:
            return kind, b"".join(parts)


def read_head(stream):
    start = stream.readline().decode("latin-1").strip()
    fields = {}
    for line in iter(stream.readline, b"\r\n"):
        if not line:
            raise ConnectionError(f"head cut short after {start!r}")
        name, _, value = line.decode("latin-1").partition(":")
        fields[name.strip().lower()] = value.strip()
    return start, fields


def serve(listener, problems):
    try:
        connection, _ = listener.accept()
        connection.settimeout(TIMEOUT_SECS)
        stream = connection.makefile("rb")
        start, fields = read_head(stream)
        assert start == "GET /echo HTTP/1.1", start
        assert fields["upgrade"].lower() == "websocket", fields
        assert "upgrade" in fields["connection"].lower(), fields
        head = (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept_value(fields['sec-websocket-key'])}\r\n\r\n"
        )
        connection.sendall(head.encode() + frame(TEXT, b"hello", masked=False))
        while True:
            pings = []
            kind, data = read_message(stream, pings)
            for opcode, payload in pings:
                assert opcode == PING
                connection.sendall(frame(PONG, payload, masked=False))
            connection.sendall(frame(kind, data, masked=False))
            if kind == CLOSE:
                break
        # Section 7.1.1: the server closes first; the client has its close frame by then.
        connection.shutdown(socket.SHUT_WR)
        assert stream.read() == b"", "bytes after the close frame"
        connection.close()
    except Exception as error:
        problems.append(f"server: {error!r}")


def send_all(connection, messages, problems):
    try:
        for number, message in enumerate(messages):
            if number % 2:
                connection.sendall(frame(BINARY, message, masked=True))
                continue
            step = len(message) // FRAGMENTS
            for part in range(FRAGMENTS):
                data = message[part * step : (part + 1) * step if part < FRAGMENTS - 1 else None]
                opcode = MORE if part else BINARY
                connection.sendall(frame(opcode, data, masked=True, final=part == FRAGMENTS - 1))
                connection.sendall(frame(PING, b"%d.%d" % (number, part), masked=True))
    except Exception as error:
        problems.append(f"client's writer: {error!r}")


def call(port, problems):
    connection = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECS)
    stream = connection.makefile("rb")
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(
        f"GET /echo HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    start, fields = read_head(stream)
    assert start.startswith("HTTP/1.1 101"), start
    assert fields["sec-websocket-accept"] == accept_value(key), fields
    assert read_message(stream, []) == (TEXT, b"hello"), "the greeting behind the 101"

    messages = [os.urandom(MESSAGE_BYTES + number) for number in range(MESSAGES)]
    writer = threading.Thread(target=send_all, args=(connection, messages, problems))
    writer.start()
    pongs = []
    for number, message in enumerate(messages):
        kind, data = read_message(stream, pongs)
        assert kind == BINARY and data == message, f"message {number} came back changed"
    writer.join(TIMEOUT_SECS)

    goodbye = struct.pack("!H", 1000) + b"done"
    connection.sendall(frame(CLOSE, goodbye, masked=True))
    assert read_message(stream, pongs) == (CLOSE, goodbye), "the close frame"
    assert stream.read() == b"", "bytes after the close frame"
    connection.close()
    expected = FRAGMENTS * ((MESSAGES + 1) // 2)
    assert len(pongs) == expected and all(kind == PONG for kind, _ in pongs), f"{len(pongs)} pongs of {expected}"


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--listen", type=int, required=True, help="port of the echo server")
    arguments.add_argument("--via", type=int, required=True, help="port of the proxy")
    options = arguments.parse_args()
    problems = []
    with socket.create_server(("127.0.0.1", options.listen)) as listener:
        listener.settimeout(TIMEOUT_SECS)
        server = threading.Thread(target=serve, args=(listener, problems), daemon=True)
        server.start()
        try:
            call(options.via, problems)
        except Exception as error:
            problems.append(f"client: {error!r}")
        server.join(TIMEOUT_SECS)
        if server.is_alive():
            problems.append("server: the end of the connection did not reach it")
    if problems:
        raise SystemExit("\n".join(problems))
    print(f"WebSocket: {MESSAGES} messages of {MESSAGE_BYTES} bytes echoed, closed by handshake")


if __name__ == "__main__":
    main()
