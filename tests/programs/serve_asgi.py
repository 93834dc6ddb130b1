"""The ASGI application of the matrix, for uvicorn and hypercorn: the paths of the site, and a WebSocket at `/ws`.
`SITE_ROOT` is the directory of the files, `SITE_NAME` what the field X-Server says."""

import os

import site_paths as site

ROOT, NAME = os.environ["SITE_ROOT"], os.environ["SITE_NAME"]
HOP = {"transfer-encoding"}


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "websocket":
        await websocket(receive, send)
    else:
        await exchange(scope, receive, send)


async def lifespan(receive, send):
    while (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": message["type"] + ".complete"})
    await send({"type": "lifespan.shutdown.complete"})


async def exchange(scope, receive, send):
    if scope["path"] == "/refuse":
        await respond(scope, send, site.refusal())
        return
    parts = []
    while (message := await receive())["type"] == "http.request":
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    else:
        # The client left within its request: nobody is there to answer.
        return
    named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    target = (scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")).decode()
    await respond(scope, send, site.answer(ROOT, scope["method"], target, named, b"".join(parts)))


async def respond(scope, send, answer):
    fields = [field for field in answer.fields if field[0].lower() not in HOP]
    fields += [("X-Server", NAME), ("X-Peer", str(scope["client"][1]))]
    if answer.length is not None and answer.status not in (204, 304):
        fields.append(("Content-Length", str(answer.length)))
    raw = [(name.lower().encode(), value.encode()) for name, value in fields]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    if scope["method"] != "HEAD":
        for piece in answer.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def websocket(receive, send):
    """Says every message back; the text `close CODE REASON` closes with those."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        text = message.get("text")
        if text is None:
            await send({"type": "websocket.send", "bytes": message["bytes"]})
        elif text.startswith("close "):
            _, code, reason = text.split(" ", 2)
            await send({"type": "websocket.close", "code": int(code), "reason": reason})
        else:
            await send({"type": "websocket.send", "text": text})
