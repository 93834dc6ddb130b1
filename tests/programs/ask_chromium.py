"""Chromium without a window: it loads `page.html` through Apex, which plays its exchanges and posts what came out.

The verdict goes by a route of its own past the server under test, to a listener in this script.
"""

import ctypes
import hashlib
import http.server
import os
import queue
import signal
import subprocess
import time
import urllib.parse

import exchanges

LIMIT_SECS = 90
END_SECS = 10
# Of <linux/prctl.h>.
PR_SET_CHILD_SUBREAPER = 36
# No word to anybody but the proxy: no updates, no reports, and no name is resolved.
FLAGS = """--headless --disable-gpu --disable-quic --disable-dev-shm-usage --disable-breakpad
    --no-first-run --no-default-browser-check --no-proxy-server
    --disable-background-networking --disable-component-update --disable-sync --disable-extensions
    --disable-default-apps --disable-domain-reliability --metrics-recording-only
    --disable-features=OptimizationHints,MediaRouter,Translate""".split()


class Verdict(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.send_response(204)
        self.end_headers()
        self.server.verdicts.put(text)

    def log_message(self, *_):
        pass


def page_of(found):
    with open(os.path.join(found.root, "large.bin"), "rb") as file:
        large = hashlib.sha256(file.read()).hexdigest()
    scripts = len(os.listdir(os.path.join(found.root, "sub")))
    asked = {"name": found.name, "lacks": ",".join(found.lacks), "large": large, "scripts": scripts}
    return f"{found.origin}/files/page.html?{urllib.parse.urlencode(asked)}"


def command(found):
    # Its sandbox is not for root.
    own = ["--no-sandbox"] if os.geteuid() == 0 else []
    profile = os.path.join(found.scratch, "profile")
    rules = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    return ["chromium", *FLAGS, *own, f"--host-resolver-rules={rules}", f"--user-data-dir={profile}", page_of(found)]


def adopt_orphans():
    """Processes whose parent ends become children of this one: the browser leaves some, and all are to be waited for."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end(browser):
    browser.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + END_SECS
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.01)
        except ChildProcessError:
            return
    print(f"failed end: the browser did not end within {END_SECS} s", flush=True)
    # What is left is of this script's process group, and goes with it.
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)


def main():
    adopt_orphans()
    found = exchanges.options()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", found.verdict), Verdict)
    server.verdicts = queue.Queue()
    exchanges.in_background(server.serve_forever)
    log = os.path.join(found.scratch, "chromium.log")
    with open(log, "wb") as output:
        own = {"HOME": found.scratch, "XDG_CONFIG_HOME": found.scratch, "XDG_CACHE_HOME": found.scratch}
        browser = subprocess.Popen(
            command(found), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **own}
        )
    try:
        print(server.verdicts.get(timeout=LIMIT_SECS))
    except queue.Empty:
        with open(log, encoding="utf-8", errors="replace") as output:
            said = output.read()[-2000:]
        raise SystemExit(f"no verdict within {LIMIT_SECS} s; the browser said:\n{said}") from None
    finally:
        end(browser)


if __name__ == "__main__":
    main()
