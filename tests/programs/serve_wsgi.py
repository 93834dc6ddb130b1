"""The WSGI application of the matrix, for gunicorn. `SITE_ROOT` is the directory of the files, `SITE_NAME` what the field
X-Server says."""

import http
import os

import site_paths as site

ROOT, NAME = os.environ["SITE_ROOT"], os.environ["SITE_NAME"]
# The server owns the framing of an answer and its connection: these are not an application's (PEP 3333).
HOP = {"connection", "transfer-encoding"}


def named_fields(environ):
    named = {key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key.startswith("HTTP_")}
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(key):
            named[key.replace("_", "-").lower()] = environ[key]
    return named


def application(environ, start_response):
    target = environ["RAW_URI"]
    if target == "/refuse":
        answer = site.refusal()
    else:
        content = environ["wsgi.input"].read()
        answer = site.answer(ROOT, environ["REQUEST_METHOD"], target, named_fields(environ), content)
    fields = [field for field in answer.fields if field[0].lower() not in HOP]
    fields += [("X-Server", NAME), ("X-Peer", environ["REMOTE_PORT"])]
    if answer.length is not None and answer.status not in (204, 304):
        fields.append(("Content-Length", str(answer.length)))
    start_response(f"{answer.status} {http.HTTPStatus(answer.status).phrase}", fields)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else iter(answer.pieces)
