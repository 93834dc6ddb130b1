"use strict";
// The page that judges itself: it plays its exchanges in a browser through Apex and sends the verdict to `/verdict`, a line
// an exchange, which `ask_chromium.py` reads. Its query says what the server is called and what it lacks.

const query = new URLSearchParams(location.search);
const lacks = new Set(query.get("lacks").split(","));
const LIMIT_MS = 20_000;
const SCRIPTS = Number(query.get("scripts"));
const EVENTS = 20;
const STREAM_PIECES = 200;
const FILE_BYTES = 3 << 20;

function check(holds, what) {
  if (!holds) throw new Error(what);
}

function same(got, wanted, what) {
  check(got === wanted, `${what}: ${got} instead of ${wanted}`);
}

function random(count) {
  const bytes = new Uint8Array(count);
  // So many at a time are given.
  for (let at = 0; at < count; at += 65_536) crypto.getRandomValues(bytes.subarray(at, Math.min(at + 65_536, count)));
  return bytes;
}

async function sum(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (octet) => octet.toString(16).padStart(2, "0")).join("");
}

const happens = (target, name) =>
  new Promise((resolve, reject) => {
    target.addEventListener(name, resolve, { once: true });
    if (name !== "error") target.addEventListener("error", () => reject(new Error(`${name}: an error`)), { once: true });
  });

// A page that moves while its `load` is being told replaces its entry of the history.
const turn = () => new Promise((resolve) => setTimeout(resolve));

async function ask(target, options = {}) {
  const response = await fetch(target, options);
  check(response.ok, `status ${response.status} of ${target}`);
  same(response.headers.get("X-Server"), query.get("name"), "the field X-Server");
  return response;
}

async function frame(target) {
  const element = document.createElement("iframe");
  element.name = "frame";
  const there = happens(element, "load");
  element.src = target;
  document.body.append(element);
  await there;
  await turn();
  return element;
}

const word = (element) => element.contentDocument.getElementById("word")?.textContent;

const exchanges = {
  // More than a hundred scripts, over the few connections that a browser opens.
  async subresources() {
    const scripts = Array.from({ length: SCRIPTS }, (_, index) => {
      const script = document.createElement("script");
      const there = happens(script, "load");
      script.src = `sub/${index + 1}.js`;
      document.body.append(script);
      return there;
    });
    await Promise.all(scripts);
    same(new Set(seen).size, SCRIPTS, "scripts that ran");
  },

  async large() {
    const [one, two] = await Promise.all(
      ["one", "two"].map(async (mark) => sum(await (await ask(`large.bin?${mark}`)).arrayBuffer())),
    );
    same(one, query.get("large"), "the sum of the large file");
    same(two, one, "the sum of the large file the second time");
  },

  async head() {
    const response = await ask("large.bin", { method: "HEAD" });
    same(response.headers.get("Content-Length"), "1048576", "Content-Length");
    same((await response.arrayBuffer()).byteLength, 0, "content");
  },

  async compressed() {
    const response = await ask("text.txt");
    same(response.headers.get("Content-Encoding"), "gzip", "Content-Encoding");
    same((await response.text()).split("\n").length, 5_001, "lines");
  },

  async stream() {
    const reader = (await ask("/stream")).body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value;
    const piece = (_, number) => `piece ${number} of a stream, ${".".repeat(number % 97)}\n`;
    same(text, Array.from({ length: STREAM_PIECES }, piece).join(""), "the stream");
  },

  // A reader that goes in the middle must not harm the exchanges behind.
  async leave() {
    const leaving = new AbortController();
    const reader = (await ask("huge.bin", { signal: leaving.signal, cache: "no-store" })).body.getReader();
    await reader.read();
    leaving.abort();
    same((await (await ask("sub/1.js", { cache: "no-store" })).text()).trim(), "loaded(1);", "the next answer");
  },

  async cut_length() {
    let whole = null;
    try {
      whole = await (await fetch("/cut")).text();
    } catch {
      return;
    }
    check(false, `${whole.length} octets passed for a whole answer`);
  },

  async cut_chunked() {
    let whole = null;
    try {
      whole = await (await fetch("/cutchunked")).text();
    } catch {
      return;
    }
    check(false, `${whole.length} octets passed for a whole answer`);
  },

  // The browser asks whether what it has is still good: a 304 costs head alone, and the script sees a 200 with content.
  async not_modified() {
    const target = "large.bin?validated";
    const before = await sum(await (await ask(target)).arrayBuffer());
    performance.clearResourceTimings();
    const answer = await ask(target, { cache: "no-cache" });
    same(await sum(await answer.arrayBuffer()), before, "the content the second time");
    const entries = performance.getEntriesByName(new URL(target, location).href);
    same(entries.length, 1, "entries of the timing");
    check(entries[0].transferSize > 0, "the server was not asked");
    check(entries[0].transferSize < 10_000, `${entries[0].transferSize} octets came: no 304`);
  },

  async no_content() {
    const response = await ask("/204");
    same(response.status, 204, "status");
    same((await response.text()).length, 0, "content");
  },

  async redirect() {
    const response = await ask("/redirect");
    check(response.redirected && response.url.endsWith("/files/small.bin"), `it led to ${response.url}`);
    same(await response.text(), "a small file of the site\n", "content");
  },

  async cookies() {
    await ask("/redirect");
    const names = (await (await ask("/cookies")).text()).split("; ").sort();
    same(names.join(), "one=1,two=2", "the cookies that came back");
  },

  async put() {
    const bytes = random(FILE_BYTES);
    // nginx has no content behind its 201 or 204.
    await fetch("/store/browser", { method: "PUT", body: bytes });
    const back = await (await ask("/store/browser", { cache: "no-store" })).arrayBuffer();
    same(await sum(back), await sum(bytes), "the sum of what was stored");
  },

  async post() {
    const bytes = random(FILE_BYTES);
    const response = await ask("/digest", { method: "POST", body: bytes });
    same(await response.text(), await sum(bytes), "the sum at the server");
  },

  // A file among the fields of a form, said back and taken apart by the browser itself.
  async form() {
    const bytes = random(FILE_BYTES);
    const form = new FormData();
    form.append("word", "Grüße");
    form.append("file", new File([bytes], "upload.bin"));
    const back = await (await ask("/echo", { method: "POST", body: form })).formData();
    same(back.get("word"), "Grüße", "the word");
    same(await sum(await back.get("file").arrayBuffer()), await sum(bytes), "the sum of the file");
  },

  // A form that navigates, as a page without scripts sends it.
  async form_post() {
    const element = await frame("frame.html");
    const form = document.createElement("form");
    form.method = "post";
    form.action = "/echo?type=text/plain";
    form.target = "frame";
    form.innerHTML = '<input name="a" value="1 2"><input name="b" value="&amp;">';
    document.body.append(form);
    const there = happens(element, "load");
    form.submit();
    await there;
    same(element.contentDocument.body.textContent, "a=1+2&b=%26", "what the server got");
    element.remove();
  },

  // Forth to another page within a frame, and back.
  async back_and_forth() {
    const element = await frame("frame.html?one");
    same(word(element), "a frame of the site", "the first page");
    for (const [move, end] of [
      [() => element.contentWindow.location.assign("frame.html?two"), "?two"],
      [() => history.back(), "?one"],
      [() => history.forward(), "?two"],
      [() => element.contentWindow.location.reload(), "?two"],
    ]) {
      const there = happens(element, "load");
      move();
      await there;
      await turn();
      same(element.contentWindow.location.search, end, "the page that is shown");
      same(word(element), "a frame of the site", "its content");
    }
    element.remove();
  },

  async events() {
    const source = new EventSource("/events");
    const got = [];
    await new Promise((resolve, reject) => {
      source.onmessage = (event) => {
        got.push(`${event.lastEventId} ${event.data}`);
        if (got.length === EVENTS) resolve();
      };
      source.onerror = () => reject(new Error(`an error after ${got.length} events`));
    });
    source.close();
    const wanted = Array.from({ length: EVENTS }, (_, number) => `${number} event ${number}`);
    same(got.join(), wanted.join(), "the events");
  },

  async websocket() {
    const socket = new WebSocket(`ws://${location.host}/ws`);
    socket.binaryType = "arraybuffer";
    await happens(socket, "open");
    const say = async (message) => {
      const came = happens(socket, "message");
      socket.send(message);
      return (await came).data;
    };
    same(await say("Grüße, 世界"), "Grüße, 世界", "a text");
    for (const size of [1, 65_536, 1 << 20]) {
      const bytes = random(size);
      same(await sum(await say(bytes)), await sum(bytes), `a message of ${size} octets`);
    }
    const closed = happens(socket, "close");
    socket.send("close 4002 by the server");
    const { code, reason, wasClean } = await closed;
    same(`${code} ${reason} ${wasClean}`, "4002 by the server true", "the end");
  },
};

async function playOne(name, run) {
  const begun = performance.now();
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("never done")), LIMIT_MS);
  });
  try {
    await Promise.race([run(), limit]);
    return `passed ${name} ${((performance.now() - begun) / 1000).toFixed(3)}`;
  } catch (error) {
    return `failed ${name}: ${String(error).replaceAll(/\s+/g, " ")}`;
  } finally {
    clearTimeout(timer);
  }
}

async function play() {
  const lines = [];
  for (const [name, run] of Object.entries(exchanges)) {
    lines.push(lacks.has(name) ? `skipped ${name}: not of this server` : await playOne(name, run));
  }
  await fetch("/verdict", { method: "POST", body: lines.join("\n") });
  document.title = "done";
}

addEventListener("load", play, { once: true });
