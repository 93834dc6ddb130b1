"use strict";
// The package `ws`: messages of every size, pings both ways, and the close handshake from either side.

const assert = require("node:assert");
const crypto = require("node:crypto");
const { once } = require("node:events");
const { Exchanges, TIMEOUT_MS, play, sameBytes, untilNone } = require("./exchanges.js");
const { WebSocket } = require("ws");

class Client {
  cannot = {};

  constructor(options) {
    this.options = options;
    this.open = [];
  }

  async connect() {
    const url = `ws://127.0.0.1:${this.options.via}/ws`;
    const socket = new WebSocket(url, { handshakeTimeout: TIMEOUT_MS, maxPayload: 8 << 20 });
    this.open.push(socket);
    await once(socket, "open");
    return socket;
  }

  close() {
    for (const socket of this.open) socket.terminate();
  }
}

class Played extends Exchanges {
  async echo(socket, message) {
    const came = once(socket, "message");
    socket.send(message);
    const [data, isBinary] = await came;
    assert.strictEqual(isBinary, typeof message !== "string", "the kind of the message");
    sameBytes(data, Buffer.from(message), "the message");
  }

  async with(run) {
    const socket = await this.client.connect();
    await run(socket);
    const closed = once(socket, "close");
    socket.close(1000);
    assert.strictEqual((await closed)[0], 1000, "close code");
  }

  ws_text() {
    return this.with(async (socket) => {
      for (const text of ["", "a", "Grüße, 世界 🌍", "x".repeat(70_000)]) await this.echo(socket, text);
    });
  }

  ws_binary() {
    return this.with(async (socket) => {
      for (const size of [0, 1, 125, 126, 65_535, 65_536]) await this.echo(socket, crypto.randomBytes(size));
    });
  }

  ws_large() {
    return this.with(async (socket) => {
      for (const size of [1 << 20, 4 << 20]) await this.echo(socket, crypto.randomBytes(size));
    });
  }

  ws_fragments() {
    return this.with(async (socket) => {
      const parts = Array.from({ length: 20 }, () => crypto.randomBytes(10_000));
      const came = once(socket, "message");
      parts.forEach((part, number) => socket.send(part, { binary: true, fin: number === parts.length - 1 }));
      sameBytes((await came)[0], Buffer.concat(parts), "the message");
    });
  }

  // Many messages at once, each way: the tunnel is full in both directions.
  ws_many() {
    return this.with(async (socket) => {
      const messages = Array.from({ length: 100 }, () => crypto.randomBytes(20_000));
      const got = [];
      const all = new Promise((resolve) => {
        socket.on("message", (data) => {
          if (got.push(data) === messages.length) resolve();
        });
      });
      for (const message of messages) socket.send(message);
      await all;
      sameBytes(Buffer.concat(got), Buffer.concat(messages), "the messages");
    });
  }

  ws_ping() {
    return this.with(async (socket) => {
      for (let number = 0; number < 20; number += 1) {
        const pong = once(socket, "pong");
        socket.ping(String(number));
        assert.strictEqual(String((await pong)[0]), String(number));
      }
    });
  }

  // The server's ping is answered by the library; the server says so.
  ws_pinged() {
    return this.with(async (socket) => {
      const came = once(socket, "message");
      socket.send("ping me");
      assert.strictEqual(String((await came)[0]), "pong from the server");
    });
  }

  async ws_close() {
    const socket = await this.client.connect();
    const closed = once(socket, "close");
    socket.close(4001, "by the client");
    assert.strictEqual((await closed)[0], 4001, "close code");
  }

  async ws_closed() {
    const socket = await this.client.connect();
    const closed = once(socket, "close");
    socket.send("close 4002 by the server");
    const [code, reason] = await closed;
    assert.deepStrictEqual([code, String(reason)], [4002, "by the server"]);
    await untilNone(this.options.backend, "closed");
  }
}

const NAMES = "ws_text ws_binary ws_large ws_fragments ws_many ws_ping ws_pinged ws_close ws_closed";
play(Client, NAMES.split(" "), Played);
