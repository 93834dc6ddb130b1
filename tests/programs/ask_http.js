"use strict";
// Node's `http` with an Agent that keeps connections.

const http = require("node:http");
const { once } = require("node:events");
const { AT_ONCE, TIMEOUT_MS, play } = require("./exchanges.js");

class Client {
  cannot = {};

  constructor(options) {
    this.options = options;
    this.opened = 0;
    this.agent = new http.Agent({ keepAlive: true, maxSockets: AT_ONCE });
    const create = this.agent.createConnection;
    this.agent.createConnection = (...given) => {
      this.opened += 1;
      return create.apply(this.agent, given);
    };
  }

  open(method, target, fields) {
    const { agent } = this;
    const url = new URL(target, this.options.origin);
    const request = http.request(url, { agent, method, headers: fields, timeout: TIMEOUT_MS });
    request.on("timeout", () => request.destroy(new Error("too slow")));
    return request;
  }

  async finish(request) {
    const interim = [];
    request.on("information", (head) => interim.push(head.statusCode));
    const [response] = await once(request, "response");
    const parts = [];
    for await (const part of response) parts.push(part);
    const { statusCode: status, headers: fields, trailers } = response;
    return { status, fields, trailers, interim, content: Buffer.concat(parts) };
  }

  async ask(method, target, { fields = {}, content, follow = false, trailers } = {}) {
    const sized = Buffer.isBuffer(content) ? { "Content-Length": content.length } : {};
    // A request without content must not look like one whose content is to come.
    const chunked = Array.isArray(content) ? { "Transfer-Encoding": "chunked" } : {};
    const request = this.open(method, target, { ...fields, ...sized, ...chunked });
    for (const piece of Array.isArray(content) ? content : []) request.write(piece);
    if (trailers) request.addTrailers(trailers);
    request.end(Buffer.isBuffer(content) ? content : undefined);
    const answer = await this.finish(request);
    const next = answer.fields.location;
    return follow && next ? this.ask(method, next, { fields }) : answer;
  }

  askAtOnce(targets) {
    return Promise.all(targets.map((target) => this.ask("GET", target)));
  }

  async expect(target, content) {
    const fields = { Expect: "100-continue", "Content-Length": content.length };
    const request = this.open("POST", target, fields);
    const finished = this.finish(request);
    request.flushHeaders();
    // A server of HTTP/1.0 says nothing of the kind.
    if (!this.options.lacks.has("continue")) await once(request, "continue");
    request.end(content);
    return finished;
  }

  async leave(target, count) {
    const request = this.open("GET", target, {});
    request.end();
    const [response] = await once(request, "response");
    let got = 0;
    for await (const part of response) {
      got += part.length;
      if (got >= count) break;
    }
    request.destroy();
  }

  connections() {
    return this.opened;
  }

  close() {
    this.agent.destroy();
  }
}

play(Client);
