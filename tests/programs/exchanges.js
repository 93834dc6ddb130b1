"use strict";
// The exchanges of `exchanges.py` once more, for clients that run in Node: the same names, the same judgement.
//
// An adapter has `ask(method, path, {fields, content, follow})`, where `content` is a Buffer (sent with a length) or an
// array of Buffers (sent chunked), and gives `{status, fields, content}`; `askAtOnce(paths)`; `expect(path, content)`;
// `leave(path, count)`; `connections()`; `close()`; and `cannot`, a map of exchanges that it has no way to play.

const assert = require("node:assert");
const crypto = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");
const zlib = require("node:zlib");
const { parseArgs } = require("node:util");
const { setTimeout: pause } = require("node:timers/promises");

const TIMEOUT_MS = 15_000;
const UPLOAD_SIZES = [0, 1, 5_000, 65_536, 1_048_577];
const MANY = 20;
const AT_ONCE = 16;
const STREAM_PIECES = 200;

function readOptions() {
  const text = { type: "string" };
  const names = ["client", "name", "via", "backend", "verdict", "root", "scratch"];
  const spec = { ...Object.fromEntries(names.map((name) => [name, text])), lacks: { ...text, default: "" } };
  const { values } = parseArgs({ options: { ...spec, closes: { type: "boolean", default: false } } });
  return { ...values, lacks: new Set(values.lacks.split(",")), origin: `http://127.0.0.1:${values.via}` };
}

function sameBytes(got, wanted, what) {
  if (Buffer.compare(got, wanted) === 0) return;
  const at = wanted.findIndex((octet, index) => got[index] !== octet);
  assert.fail(`${what}: ${got.length} octets instead of ${wanted.length}, different from ${at} on`);
}

// Connections on loopback that the listener of this port has, and that are not closed by either side.
function established(port) {
  const wanted = `0100007F:${Number(port).toString(16).toUpperCase().padStart(4, "0")}`;
  const rows = fs.readFileSync("/proc/net/tcp", "ascii").split("\n").slice(1);
  return rows.map((row) => row.trim().split(/\s+/)).filter((row) => row[1] === wanted && row[3] === "01").length;
}

async function untilNone(port, what) {
  const deadline = Date.now() + TIMEOUT_MS;
  for (;;) {
    const begun = Date.now();
    const count = established(port);
    if (count === 0) return;
    assert.ok(begun < deadline, `${what}: ${count} connections to the server are still there`);
    // Where many connections are open, the look itself takes long.
    await pause(Math.max(10, 2 * (Date.now() - begun)));
  }
}

class Exchanges {
  constructor(client, options) {
    this.client = client;
    this.options = options;
    const file = (name) => fs.readFileSync(path.join(options.root, name));
    [this.small, this.large, this.text] = ["small.bin", "large.bin", "text.txt"].map(file);
  }

  async ask(method, target, { status = 200, ...more } = {}) {
    const answer = await this.client.ask(method, target, more);
    assert.strictEqual(answer.status, status, `status of ${method} ${target}`);
    // An answer that is Apex's own, or another server's, does not pass for this one.
    assert.strictEqual(answer.fields["x-server"], this.options.name, "the field X-Server");
    return answer;
  }

  isSmall(answer) {
    assert.strictEqual(answer.status, 200);
    sameBytes(answer.content, this.small, "the small file");
  }

  // A message that was framed wrongly shows in the one behind it.
  async thenSmall() {
    this.isSmall(await this.ask("GET", "/files/small.bin"));
  }

  async get() {
    const answer = await this.ask("GET", "/files/small.bin");
    sameBytes(answer.content, this.small, "content");
    assert.ok(answer.fields.date, "no Date");
    assert.strictEqual((await this.client.ask("GET", "/files/nosuch")).status, 404);
    await this.thenSmall();
  }

  async head() {
    const answer = await this.ask("HEAD", "/files/large.bin");
    assert.strictEqual(answer.fields["content-length"], String(this.large.length));
    assert.strictEqual(answer.content.length, 0, "content");
    await this.thenSmall();
    if (this.options.lacks.has("stream")) return;
    // Its head says that it is chunked, and there is no content all the same.
    assert.strictEqual((await this.ask("HEAD", "/stream")).content.length, 0, "content of a HEAD");
    await this.thenSmall();
  }

  async large_get() {
    for (let round = 0; round < 3; round += 1) {
      sameBytes((await this.ask("GET", "/files/large.bin")).content, this.large, "content");
    }
  }

  async range() {
    const fields = { Range: "bytes=70000-270000" };
    const answer = await this.ask("GET", "/files/large.bin", { status: 206, fields });
    assert.strictEqual(answer.fields["content-range"], `bytes 70000-270000/${this.large.length}`);
    sameBytes(answer.content, this.large.subarray(70000, 270001), "content");
    await this.thenSmall();
  }

  async compressed() {
    const answer = await this.ask("GET", "/files/text.txt", { fields: { "Accept-Encoding": "gzip" } });
    assert.strictEqual(answer.fields["content-encoding"], "gzip");
    // Some clients decode, others hand out what came.
    const isPacked = answer.content[0] === 0x1f && answer.content[1] === 0x8b;
    sameBytes(isPacked ? zlib.gunzipSync(answer.content) : answer.content, this.text, "content");
    await this.thenSmall();
  }

  async stream() {
    const piece = (_, number) => `piece ${number} of a stream, ${".".repeat(number % 97)}\n`;
    const wanted = Buffer.from(Array.from({ length: STREAM_PIECES }, piece).join(""));
    sameBytes((await this.ask("GET", "/stream")).content, wanted, "content");
    await this.thenSmall();
  }

  async upload(method, isChunked) {
    const coding = isChunked ? "chunked" : "length";
    const fields = { "Content-Type": "application/octet-stream" };
    for (const size of UPLOAD_SIZES) {
      const content = crypto.randomBytes(size);
      const starts = Array.from({ length: Math.ceil(size / 7000) }, (_, number) => number * 7000);
      const given = isChunked ? starts.map((at) => content.subarray(at, at + 7000)) : content;
      let answer;
      if (method === "POST") {
        answer = await this.ask("POST", "/echo", { fields, content: given });
        sameBytes(answer.content, content, `the echo of ${size} octets`);
      } else {
        // nginx says 204 of a file that was there already.
        const target = `/store/${this.options.client.replaceAll(" ", "")}${size}${coding}`;
        answer = await this.client.ask("PUT", target, { fields, content: given });
        assert.ok([201, 204].includes(answer.status), `status ${answer.status} of PUT`);
        sameBytes((await this.ask("GET", target)).content, content, `the file of ${size} octets`);
      }
      if (size > 0) assert.strictEqual(answer.fields["x-coding"], coding, "how the content came to the server");
    }
  }

  put_sized() {
    return this.upload("PUT", false);
  }

  put_chunked() {
    return this.upload("PUT", true);
  }

  post_sized() {
    return this.upload("POST", false);
  }

  post_chunked() {
    return this.upload("POST", true);
  }

  async expect() {
    const content = crypto.randomBytes(200_000);
    const answer = await this.client.expect("/echo", content);
    assert.strictEqual(answer.status, 200);
    sameBytes(answer.content, content, "the echo");
    await this.thenSmall();
  }

  // A server that answers before it has read the content, and reads none of it: the answer is not lost.
  async refused() {
    // Apex throws away 256 KiB behind an answer, then closes: Node does not read before all is written.
    const piece = Buffer.alloc(50_000);
    for (const content of [Buffer.alloc(200_000), [piece, piece, piece, piece]]) {
      assert.strictEqual((await this.client.ask("PUT", "/refuse", { content })).status, 413, "status");
      await this.thenSmall();
    }
  }

  async not_modified() {
    const first = (await this.ask("GET", "/files/small.bin")).fields;
    for (const fields of [{ "If-None-Match": first.etag }, { "If-Modified-Since": first["last-modified"] }]) {
      assert.ok(Object.values(fields)[0], "nothing to say");
      const answer = await this.ask("GET", "/files/small.bin", { status: 304, fields });
      assert.strictEqual(answer.content.length, 0, "content of a 304");
      await this.thenSmall();
    }
  }

  async no_content() {
    for (let round = 0; round < 3; round += 1) {
      const answer = await this.ask("GET", "/204", { status: 204 });
      assert.strictEqual(answer.content.length, 0, "content of a 204");
      assert.strictEqual(answer.fields["transfer-encoding"], undefined, "framing of a 204");
      await this.thenSmall();
    }
  }

  async redirect() {
    const answer = await this.ask("GET", "/redirect", { status: 302 });
    assert.strictEqual(answer.fields.location, "/files/small.bin");
    this.isSmall(await this.ask("GET", "/redirect", { follow: true }));
  }

  async inTurn(target, count) {
    const before = this.client.connections();
    const answers = [];
    for (let number = 0; number < count; number += 1) answers.push(await this.ask("GET", target));
    const opened = this.client.connections() - before;
    assert.ok(opened <= 1, `${opened} connections to Apex for ${count} requests`);
    return answers;
  }

  async reuse() {
    const answers = await this.inTurn("/files/small.bin", MANY);
    for (const answer of answers) this.isSmall(answer);
    const peers = new Set(answers.map((answer) => answer.fields["x-peer"])).size;
    // One, unless the server's patience ended just now.
    assert.ok(peers <= (this.options.closes ? MANY : 2), `${peers} connections to the server for ${MANY} requests`);
  }

  // A server that closes after each answer and says so: nothing of it reaches the client.
  async closing() {
    for (const answer of await this.inTurn("/close", MANY)) {
      assert.strictEqual(answer.content.toString(), "the last one\n");
    }
  }

  // A server that closes after each answer without a word: requests race with the end of idle connections.
  async then_close() {
    for (const answer of await this.inTurn("/thenclose", 2 * MANY)) {
      assert.strictEqual(answer.content.toString(), "said nothing of closing\n");
    }
  }

  // The server closed what Apex keeps for the next request: not even a request that must not be repeated fails.
  async stale() {
    const content = Buffer.from("after a rest");
    await this.thenSmall();
    await untilNone(this.options.backend, "at rest");
    if (this.options.lacks.has("post_sized")) return this.thenSmall();
    return sameBytes((await this.ask("POST", "/echo", { content })).content, content, "the echo");
  }

  cut_length() {
    return this.mustFail("/cut");
  }

  cut_chunked() {
    return this.mustFail("/cutchunked");
  }

  async mustFail(target) {
    let answer;
    try {
      answer = await this.client.ask("GET", target);
    } catch {
      return this.thenSmall();
    }
    return assert.fail(`${target}: ${answer.status} and ${answer.content.length} octets passed for a whole answer`);
  }

  // A client that goes in the middle of an answer: the server's connection goes, too.
  async leave() {
    await this.client.leave("/files/huge.bin", 65_536);
    await untilNone(this.options.backend, "the client left");
    await this.thenSmall();
  }

  async at_once() {
    const some = ["/files/small.bin", "/files/large.bin", "/files/small.bin", "/files/sub/1.js"];
    const contents = [this.small, this.large, this.small, Buffer.from("loaded(1);\n")];
    const targets = Array.from({ length: AT_ONCE * some.length }, (_, number) => some[number % some.length]);
    const answers = await this.client.askAtOnce(targets);
    assert.strictEqual(answers.length, targets.length);
    answers.forEach((answer, number) => {
      assert.strictEqual(answer.status, 200);
      sameBytes(answer.content, contents[number % some.length], targets[number]);
    });
  }

  async trailers() {
    const answer = await this.ask("GET", "/trailers");
    assert.strictEqual(answer.content.toString(), "with a trailer\n");
    const sum = crypto.createHash("sha256").update(answer.content).digest("hex");
    assert.strictEqual(answer.trailers["x-sum"], sum, "the trailer");
    const content = [Buffer.from("with a trailer of its own\n")];
    const echo = await this.ask("POST", "/trailers", { content, trailers: { "X-Mark": "at the end" } });
    assert.strictEqual(echo.content.toString(), "with a trailer of its own\nX-Mark: at the end\n");
    await this.thenSmall();
  }

  async hints() {
    const answer = await this.ask("GET", "/hints");
    assert.strictEqual(answer.content.toString(), "after a hint\n");
    assert.deepStrictEqual(answer.interim, [103], "interim responses");
  }
}

const EXCHANGES =
  "get head large_get range compressed stream put_sized put_chunked post_sized post_chunked expect refused not_modified " +
  "no_content redirect reuse closing then_close stale cut_length cut_chunked leave at_once trailers hints";

async function playOne(name, run) {
  const begun = performance.now();
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("never done")), 2 * TIMEOUT_MS);
  });
  try {
    await Promise.race([run(), limit]);
    console.log(`passed ${name} ${((performance.now() - begun) / 1000).toFixed(3)}`);
  } catch (error) {
    const cause = error.cause ? `; ${error.cause}` : "";
    console.log(`failed ${name}: ${`${error}${cause}`.replaceAll(/\s+/g, " ")}`);
  } finally {
    clearTimeout(timer);
  }
}

// Plays the exchanges of one cell of the matrix, in order.
async function play(Client, names = EXCHANGES.split(" "), Played = Exchanges) {
  const options = readOptions();
  const client = new Client(options);
  const exchanges = new Played(client, options);
  for (const name of names) {
    if (options.lacks.has(name)) console.log(`skipped ${name}: not of this server`);
    else if (client.cannot[name]) console.log(`skipped ${name}: ${client.cannot[name]}`);
    else await playOne(name, () => exchanges[name]());
  }
  await client.close();
}

module.exports = { AT_ONCE, Exchanges, TIMEOUT_MS, play, sameBytes, untilNone };
