"use strict";
// The server of the matrix on Node's `http` module: the paths of `site_paths.py` once more, with what only Node does of
// them: early hints, trailers both ways, and a WebSocket at `/ws` where the package `ws` is there.

const crypto = require("node:crypto");
const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const zlib = require("node:zlib");
const { parseArgs } = require("node:util");
const { once } = require("node:events");

// Shorter than the time that Apex keeps a connection: connections at rest are closed under its hands.
const KEEP_ALIVE_MS = 300;
const STREAM_PIECES = 200;
const EVENTS = 20;
const CUT_BYTES = 100_000;
const CUT_AFTER_BYTES = 50_000;
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".txt": "text/plain" };

const { values: options } = parseArgs({
  options: { port: { type: "string" }, root: { type: "string" }, name: { type: "string" } },
});

const streamPiece = (number) => `piece ${number} of a stream, ${".".repeat(number % 97)}\n`;
const event = (number) => `id: ${number}\ndata: event ${number}\n\n`;

async function whole(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}

function codingOf(headers) {
  if (/chunked/i.test(headers["transfer-encoding"] ?? "")) return "chunked";
  return "content-length" in headers ? "length" : "none";
}

function serveFile(root, name, request, response) {
  const file = path.join(root, name);
  if (name.includes("..") || !fs.existsSync(file)) return void response.writeHead(404).end("no such file\n");
  const about = fs.statSync(file);
  const tag = `"${Math.floor(about.mtimeMs).toString(16)}-${about.size.toString(16)}"`;
  const modified = new Date(Math.floor(about.mtimeMs / 1000) * 1000).toUTCString();
  const type = TYPES[path.extname(name)] ?? "application/octet-stream";
  response.setHeader("ETag", tag);
  response.setHeader("Last-Modified", modified);
  const { "if-none-match": match, "if-modified-since": since, "accept-encoding": codings, range } = request.headers;
  if (match === tag || (match === undefined && since === modified)) return void response.writeHead(304).end();
  response.setHeader("Content-Type", type);
  if (type === "text/plain" && /gzip/.test(codings ?? "")) {
    response.writeHead(200, { "Content-Encoding": "gzip" });
    return void fs.createReadStream(file).pipe(zlib.createGzip()).pipe(response);
  }
  const wanted = /^bytes=(\d+)-(\d+)$/.exec(range ?? "");
  const first = wanted ? Number(wanted[1]) : 0;
  const last = Math.min(wanted ? Number(wanted[2]) : Infinity, about.size - 1);
  if (wanted) response.setHeader("Content-Range", `bytes ${first}-${last}/${about.size}`);
  response.writeHead(wanted ? 206 : 200, { "Content-Length": last - first + 1 });
  if (request.method === "HEAD" || about.size === 0) return void response.end();
  const source = fs.createReadStream(file, { start: first, end: last });
  response.on("close", () => source.destroy());
  source.pipe(response);
}

async function pieces(response, type, count, make) {
  response.writeHead(200, { "Content-Type": type });
  for (let number = 0; number < count; number += 1) {
    if (!response.write(make(number))) await once(response, "drain");
  }
  response.end();
}

function cut(response, fields) {
  response.writeHead(200, { "Content-Type": "text/plain", ...fields });
  response.write("x".repeat(CUT_AFTER_BYTES), () => response.socket.destroySoon());
}

function trailers(request, response, content) {
  const lines = [];
  for (let at = 0; at < request.rawTrailers.length; at += 2) {
    lines.push(`${request.rawTrailers[at]}: ${request.rawTrailers[at + 1]}\n`);
  }
  const body = (content.length > 0 ? content.toString("latin1") : "with a trailer\n") + lines.join("");
  response.writeHead(200, { "Content-Type": "text/plain", Trailer: "X-Sum" });
  response.write(body);
  response.addTrailers({ "X-Sum": crypto.createHash("sha256").update(body).digest("hex") });
  response.end();
}

async function upload(request, response, head, name, url) {
  // The content is left where it is.
  if (head === "refuse") return response.writeHead(413, { Connection: "close" }).end("too much\n");
  const content = await whole(request);
  response.setHeader("X-Coding", codingOf(request.headers));
  if (request.method === "PUT" && head === "store") {
    fs.writeFileSync(path.join(options.root, "store", name), content);
    return response.writeHead(201).end();
  }
  if (head === "trailers") return trailers(request, response, content);
  if (head === "digest") return response.end(crypto.createHash("sha256").update(content).digest("hex"));
  const type = url.searchParams.get("type") ?? request.headers["content-type"] ?? "application/octet-stream";
  return response.writeHead(200, { "Content-Type": type, "Content-Length": content.length }).end(content);
}

async function answer(request, response) {
  const url = new URL(request.url, "http://site");
  const [, head, name] = /^\/([^/]*)\/?(.*)$/.exec(url.pathname);
  response.setHeader("X-Server", options.name);
  response.setHeader("X-Peer", request.socket.remotePort);
  if (request.method === "POST" || request.method === "PUT") return upload(request, response, head, name, url);
  const text = { "Content-Type": "text/plain" };
  switch (head) {
    case "files":
      return serveFile(options.root, name, request, response);
    case "store":
      return serveFile(path.join(options.root, "store"), name, request, response);
    case "204":
      return response.writeHead(204).end();
    case "redirect":
      response.setHeader("Set-Cookie", ["one=1; Path=/", "two=2; Path=/"]);
      return response.writeHead(302, { Location: "/files/small.bin" }).end();
    case "cookies":
      return response.writeHead(200, text).end(request.headers.cookie ?? "");
    case "close":
      return response.writeHead(200, { ...text, Connection: "close" }).end("the last one\n");
    case "thenclose": {
      const { socket } = request;
      return response.writeHead(200, text).end("said nothing of closing\n", () => socket.destroySoon());
    }
    case "stream":
      return pieces(response, "text/plain", STREAM_PIECES, streamPiece);
    case "events":
      return pieces(response, "text/event-stream", EVENTS, event);
    case "cut":
      return cut(response, { "Content-Length": CUT_BYTES });
    case "cutchunked":
      return cut(response, {});
    case "trailers":
      return trailers(request, response, Buffer.alloc(0));
    case "hints":
      response.writeEarlyHints({ link: "</files/small.bin>; rel=preload" });
      return response.writeHead(200, text).end("after a hint\n");
    default:
      return response.writeHead(404, text).end("no such path\n");
  }
}

const server = http.createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (request, response) => {
  answer(request, response).catch((error) => {
    console.error(`${request.method} ${request.url}: ${error}`);
    response.destroy();
  });
});

function webSockets() {
  let ws;
  try {
    ws = require("ws");
  } catch {
    return;
  }
  const sockets = new ws.WebSocketServer({ server, path: "/ws", maxPayload: 8 << 20 });
  // Says every message back. `close CODE REASON` closes with those; `ping me` is answered once the client's pong is there.
  sockets.on("connection", (socket) => {
    socket.on("pong", (data) => socket.send(`pong ${data}`));
    socket.on("message", (data, isBinary) => {
      const closing = isBinary ? null : /^close (\d+) (.*)$/.exec(data.toString());
      if (closing) return socket.close(Number(closing[1]), closing[2]);
      if (!isBinary && data.toString() === "ping me") return socket.ping("from the server");
      return socket.send(data, { binary: isBinary });
    });
  });
}

// Newer versions wait for a second longer than they say.
server.keepAliveTimeoutBuffer = 0;
webSockets();
server.listen(Number(options.port), "127.0.0.1", 511);
