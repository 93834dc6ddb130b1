"use strict";
// Node's own `fetch`, which is undici: its pool of connections.

const { AT_ONCE, TIMEOUT_MS, play } = require("./exchanges.js");
const channel = require("node:diagnostics_channel");

class Client {
  cannot = {
    expect: "fetch does not wait for 100",
    trailers: "fetch shows no trailers",
    hints: "fetch shows no interim responses",
  };

  constructor(options) {
    this.options = options;
    this.opened = 0;
    channel.subscribe("undici:client:connected", () => {
      this.opened += 1;
    });
  }

  async ask(method, target, { fields = {}, content, follow = false } = {}) {
    const body = Array.isArray(content) ? new Blob(content).stream() : content;
    const response = await fetch(this.options.origin + target, {
      method,
      headers: fields,
      body,
      duplex: "half",
      redirect: follow ? "follow" : "manual",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const bytes = Buffer.from(await response.arrayBuffer());
    return { status: response.status, fields: Object.fromEntries(response.headers), content: bytes };
  }

  async askAtOnce(targets) {
    const answers = [];
    const turns = targets.entries();
    // Each of these takes the next that nobody took.
    const run = async () => {
      for (const [number, target] of turns) answers[number] = await this.ask("GET", target);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, run));
    return answers;
  }

  async leave(target, count) {
    const leaving = new AbortController();
    const response = await fetch(this.options.origin + target, { signal: leaving.signal });
    const reader = response.body.getReader();
    for (let got = 0; got < count; got += (await reader.read()).value.length);
    leaving.abort();
  }

  connections() {
    return this.opened;
  }

  async close() {
    // The pool would keep the process alive until its connections are given up.
    process.exit();
  }
}

play(Client);
