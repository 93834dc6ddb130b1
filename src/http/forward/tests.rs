//! Golden heads: the received head, the edits, and every octet that is sent.

use super::*;
use crate::http::authority::Authority;
use crate::http::field::slots;
use crate::http::head::Method;
use crate::http::lines::Lines;

const EDITS: RequestEdits<'static> = RequestEdits {
    strip_bytes: 0,
    client_address: Some(b"192.0.2.7"),
    client_trusted: false,
    host_fallback: "10.0.0.1:9001",
    via: None,
    request_id: None,
};
const TRUSTED: RequestEdits<'static> = RequestEdits { client_trusted: true, ..EDITS };

/// The lines that Apex adds after the fields of an untrusted client that asked for `h`.
const OWN: &str = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n";

/// A head as a plain parser reads it, without a judgement: the tests set the judgement in `judged`.
fn forwarded(head: &[u8], judged: impl FnOnce(&mut Request<'_, '_>), edits: &RequestEdits<'_>) -> Vec<u8> {
    let mut slots = slots();
    let mut parsed = httparse::Request::new(&mut []);
    let head_bytes = match parsed.parse_with_uninit_headers(head, &mut slots).unwrap() {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => panic!("an incomplete head"),
    };
    let host = parsed.headers.iter().find(|field| field.name.eq_ignore_ascii_case("host"));
    let target = parsed.path.unwrap().as_bytes();
    let mut judgement = Request {
        method: Method::Other,
        method_text: parsed.method.unwrap(),
        target: Target { path_and_query: target, slash_missing: false, authority: None },
        target_text: target,
        version: if parsed.version == Some(0) { Version::Http10 } else { Version::Http11 },
        authority: host.map(|field| authority(field.value)),
        framing: Framing::None,
        persistence: Persistence::KeepAlive,
        expects_continue: false,
        upgrades: false,
        max_forwards: None,
        fields: parsed.headers,
        lines: Lines::noted(&head[..head_bytes], parsed.headers).unwrap(),
        head_bytes,
    };
    judged(&mut judgement);
    let mut out = b"before".to_vec();
    request(&mut out, &judgement, edits);
    assert!(out.starts_with(b"before"));
    // Line by line, the result is the same.
    judgement.lines = Lines::unknown();
    let mut slow = b"before".to_vec();
    request(&mut slow, &judgement, edits);
    assert_eq!(slow.escape_ascii().to_string(), out.escape_ascii().to_string());
    out.split_off(6)
}

fn authority(text: &[u8]) -> Authority<'_> {
    Authority { text, host: text, port: None }
}

fn unchanged(_: &mut Request<'_, '_>) {}

#[track_caller]
fn same(name: &str, out: &[u8], expected: &str) {
    assert_eq!(String::from_utf8_lossy(out), expected, "{name}");
}

#[test]
fn targets() {
    // Name, target as judged, whether its slash is missing, octets stripped, target sent.
    let cases: &[(&str, &str, bool, usize, &str)] = &[
        ("as it came", "/a/%2e%2E/./b//c?d=/e&%00#no", false, 0, "/a/%2e%2E/./b//c?d=/e&%00#no"),
        ("root", "/", false, 0, "/"),
        ("all stripped", "/api", false, 4, "/"),
        ("query is left", "/api?q", false, 4, "/?q"),
        ("path is left", "/api/x", false, 4, "/x"),
        ("slash is left", "/api/", false, 4, "/"),
        ("slashes are left", "/api//x", false, 4, "//x"),
        ("prefix that ends in a slash", "/api/x?y", false, 5, "/x?y"),
        ("prefix /", "/x", false, 1, "/x"),
        ("slash missing, query", "?q", true, 0, "/?q"),
        ("slash missing, query, prefix /", "?q", true, 1, "/?q"),
        ("slash missing, nothing", "", true, 0, "/"),
        ("slash missing, nothing, prefix /", "", true, 1, "/"),
        ("the server as a whole", "*", false, 0, "*"),
        ("the server as a whole, prefix /", "*", false, 1, "*"),
    ];
    for &(name, path_and_query, slash_missing, strip_bytes, sent) in cases {
        let target = Target { path_and_query: path_and_query.as_bytes(), slash_missing, authority: None };
        let mut out = Vec::new();
        write_target(&mut out, &target, strip_bytes);
        same(name, &out, sent);
    }
}

#[test]
fn fields_of_requests() {
    // Name, fields received after `Host: h`, fields sent there, Connection line and others after Apex's own.
    let cases: &[(&str, &str, &str, &str)] = &[
        ("none", "", "", ""),
        (
            "order, case, repeats",
            "b: 1\r\nA:2\r\nB:\t3 4 \r\nb:\r\n",
            "b: 1\r\nA: 2\r\nB: 3 4\r\nb: \r\n",
            "",
        ),
        ("connection close", "Connection: close\r\nA: b\r\n", "A: b\r\n", ""),
        ("keep-alive", "CONNECTION: Keep-Alive\r\nKeep-Alive: timeout=5\r\n", "", ""),
        (
            "proxy fields",
            "Proxy-Connection: x\r\nProxy-Authorization: y\r\nPROXY-AUTHENTICATE: z\r\n",
            "",
            "",
        ),
        (
            "named before and behind",
            "A: 1\r\nX-Hop: 2\r\nConnection: close, x-hop ,a\r\nB: 3\r\nx-HOP: 4\r\n",
            "B: 3\r\n",
            "",
        ),
        ("named on two lines", "Connection: a\r\nConnection: b\r\nA: 1\r\nB: 2\r\nC: 3\r\n", "C: 3\r\n", ""),
        ("Trailer stays", "Trailer: X-Sum\r\n", "Trailer: X-Sum\r\n", ""),
        ("Trailer named", "Connection: trailer\r\nTrailer: X-Sum\r\n", "", ""),
        (
            "naming what Apex relies on",
            "Connection: host, content-length, transfer-encoding, x-forwarded-for, x-forwarded-proto, \
             x-forwarded-host, max-forwards\r\nMax-Forwards: 3\r\n",
            "Max-Forwards: 3\r\n",
            "",
        ),
        ("TE dropped", "TE: gzip;q=0.5, deflate\r\n", "", ""),
        ("TE trailers", "TE: gzip, Trailers\r\nA: b\r\n", "A: b\r\n", "TE: trailers\r\nConnection: TE\r\n"),
        (
            "TE trailers twice",
            "TE: trailers\r\nte: trailers\r\nConnection: TE\r\n",
            "",
            "TE: trailers\r\nConnection: TE\r\n",
        ),
        ("TE that only looks like it", "TE: trailersx, x;trailers\r\n", "", ""),
        ("Upgrade unasked", "Connection: upgrade\r\nUpgrade: websocket\r\n", "", ""),
        ("Expect not judged", "Expect: 200-ok\r\n", "", ""),
        (
            "framing never copied",
            "Content-Length: 5\r\nTransfer-Encoding: gzip\r\ncontent-length: 6\r\n",
            "",
            "",
        ),
        (
            "untrusted forwarding",
            "X-Forwarded-For: a\r\nx-forwarded-PROTO: https\r\nX-Forwarded-Host: evil\r\n",
            "",
            "",
        ),
    ];
    for (name, came, sent, behind) in cases {
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{came}\r\n");
        let expected = format!("GET / HTTP/1.1\r\nHost: h\r\n{sent}{OWN}{behind}\r\n");
        same(name, &forwarded(head.as_bytes(), unchanged, &EDITS), &expected);
    }
}

#[test]
fn obs_text_is_kept() {
    let head = b"GET / HTTP/1.1\r\nHost: h\r\nA: \x80\xff\r\n\r\n";
    let out = forwarded(head, unchanged, &EDITS);
    assert!(memchr::memmem::find(&out, b"\r\nA: \x80\xff\r\n").is_some());
}

#[test]
fn hosts() {
    let own = |host: &str| OWN.replace(": h\r\n", &format!(": {host}\r\n"));
    let cases: &[(&str, &str, Option<&str>, &str)] = &[
        ("keeps its place", "A: b\r\nhost: h:80\r\nC: d\r\n", None, "A: b\r\nhost: h:80\r\nC: d\r\n"),
        ("rewritten", "A: b\r\nHOST: other\r\n", Some("[::1]:8080"), "A: b\r\nHOST: [::1]:8080\r\n"),
        ("twice", "Host: h\r\nA: b\r\nHost: h\r\n", None, "Host: h\r\nA: b\r\n"),
        ("of the target alone", "A: b\r\n", Some("h"), "Host: h\r\nA: b\r\n"),
        ("none", "A: b\r\n", None, "Host: 10.0.0.1:9001\r\nA: b\r\n"),
    ];
    for (name, came, asked, sent) in cases {
        let mut forwarded_host = None;
        let head = format!("GET / HTTP/1.0\r\n{came}\r\n");
        let out = forwarded(
            head.as_bytes(),
            |request| {
                if let Some(asked) = asked {
                    request.target.authority = Some(authority(asked.as_bytes()));
                    request.authority = request.target.authority;
                }
                forwarded_host =
                    request.authority.map(|authority| String::from_utf8(authority.text.to_vec()).unwrap());
            },
            &EDITS,
        );
        let own = forwarded_host.map_or(OWN.replace("X-Forwarded-Host: h\r\n", ""), |host| own(&host));
        same(name, &out, &format!("GET / HTTP/1.1\r\n{sent}{own}\r\n"));
    }
}

#[test]
fn trusted_peers_are_believed() {
    let host = "X-Forwarded-Host: h\r\n";
    let proto = "X-Forwarded-Proto: http\r\n";
    let cases: &[(&str, &str, String)] = &[
        ("nothing said", "", OWN.to_owned()),
        (
            "appended to",
            "X-Forwarded-For: 1.1.1.1, 2.2.2.2\r\nA: b\r\nx-forwarded-for:\r\nx-forwarded-for: 3.3.3.3\r\n",
            format!("A: b\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.7\r\n{proto}{host}"),
        ),
        (
            "kept",
            "x-forwarded-proto: https\r\nX-Forwarded-Host: shop.example\r\n",
            "x-forwarded-proto: https\r\nX-Forwarded-Host: shop.example\r\nX-Forwarded-For: 192.0.2.7\r\n"
                .to_owned(),
        ),
        (
            "Connection takes nothing away",
            "Connection: X-Forwarded-Proto, X-Forwarded-For\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 1.1.1.1\r\n",
            format!("X-Forwarded-Proto: https\r\nX-Forwarded-For: 1.1.1.1, 192.0.2.7\r\n{host}"),
        ),
    ];
    for (name, came, sent) in cases {
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{came}\r\n");
        let expected = format!("GET / HTTP/1.1\r\nHost: h\r\n{sent}\r\n");
        same(name, &forwarded(head.as_bytes(), unchanged, &TRUSTED), &expected);
    }
}

#[test]
fn a_client_of_a_unix_socket_adds_no_address() {
    const UNIX: RequestEdits<'static> = RequestEdits { client_address: None, ..EDITS };
    let rest = "X-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n";
    let came = "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n";
    let trusted = RequestEdits { client_trusted: true, ..UNIX };
    for (name, edits, came, sent) in [
        ("nothing said", UNIX, "", ""),
        ("not believed", UNIX, came, ""),
        ("nothing said by a trusted one", trusted, "X-Forwarded-For:\r\n", ""),
        ("believed", trusted, came, "X-Forwarded-For: 1.1.1.1, 2.2.2.2\r\n"),
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{came}\r\n");
        let expected = format!("GET / HTTP/1.1\r\nHost: h\r\n{sent}{rest}\r\n");
        same(name, &forwarded(head.as_bytes(), unchanged, &edits), &expected);
    }
}

type Judged = fn(&mut Request<'_, '_>);

/// Each: name, fields received, judgement, fields sent in their place, lines after Apex's own.
fn judged_are_written(cases: &[(&str, &str, Judged, &str, &str)]) {
    for (name, came, judged, sent, behind) in cases {
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\n{came}\r\n");
        let expected = format!("POST / HTTP/1.1\r\nHost: h\r\n{sent}{OWN}{behind}\r\n");
        same(name, &forwarded(head.as_bytes(), judged, &EDITS), &expected);
    }
}

#[test]
fn framing_and_hops_are_written_as_judged() {
    judged_are_written(&[
        (
            "length",
            "Content-Length: 0005\r\n",
            |request| request.framing = Framing::Length(5),
            "",
            "Content-Length: 5\r\n",
        ),
        ("length 0", "", |request| request.framing = Framing::Length(0), "", "Content-Length: 0\r\n"),
        (
            "chunked, length never beside it",
            "Content-Length: 5\r\nTransfer-Encoding: Chunked\r\n",
            |request| request.framing = Framing::Chunked,
            "",
            "Transfer-Encoding: chunked\r\n",
        ),
        (
            "framing named by Connection",
            "Connection: Content-Length\r\nContent-Length: 5\r\n",
            |request| request.framing = Framing::Length(5),
            "",
            "Content-Length: 5\r\n",
        ),
        (
            "expectation, once",
            "Expect: 100-Continue\r\nexpect: 100-continue\r\nContent-Length: 5\r\n",
            |request| {
                request.expects_continue = true;
                request.framing = Framing::Length(5);
            },
            "",
            "Expect: 100-continue\r\nContent-Length: 5\r\n",
        ),
        (
            "hops counted down",
            "max-forwards: 010\r\nA: b\r\n",
            |request| request.max_forwards = Some(10),
            "max-forwards: 9\r\nA: b\r\n",
            "",
        ),
        ("hops as they came", "Max-Forwards: 10\r\n", unchanged, "Max-Forwards: 10\r\n", ""),
    ]);
}

#[test]
fn upgrades_and_trailers_are_written_as_judged() {
    judged_are_written(&[
        (
            "upgrade",
            "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            |request| request.upgrades = true,
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            "Connection: upgrade\r\n",
        ),
        (
            "upgrade without h2c",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c, a/1,H2C/2 , b\r\nHTTP2-Settings: x\r\nUpgrade: h2c\r\n",
            |request| request.upgrades = true,
            "Upgrade: a/1, b\r\n",
            "Connection: upgrade\r\n",
        ),
        (
            "upgrade and trailers",
            "Connection: Upgrade, TE\r\nTE: trailers\r\nUpgrade: websocket\r\n",
            |request| request.upgrades = true,
            "Upgrade: websocket\r\n",
            "TE: trailers\r\nConnection: TE, upgrade\r\n",
        ),
        (
            "no trailers for a 1.0 client",
            "TE: trailers\r\n",
            |request| request.version = Version::Http10,
            "",
            "",
        ),
    ]);
}

/// A browser's head, a large one.
const BROWSER: &str = "GET /search?q=rust&lang=en HTTP/1.1\r\nHost: www.example.com\r\nConnection: keep-alive\r\n\
    Cache-Control: max-age=0\r\nsec-ch-ua: \"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\nsec-ch-ua-mobile: ?0\r\n\
    sec-ch-ua-platform: \"Linux\"\r\nDNT: 1\r\nUpgrade-Insecure-Requests: 1\r\nUser-Agent: Mozilla/5.0 (X11; Linux \
    x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\nAccept: text/html,\
    application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\nSec-Fetch-Site: same-origin\r\n\
    Sec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\nReferer: http://www.example.com/\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\nCookie: session=0123456789abcdef\r\n\
    If-None-Match: \"33a64df5\"\r\nPriority: u=0, i\r\n\r\n";

#[test]
fn what_goes_out_reads_back_as_the_fields_that_came() {
    let out = forwarded(BROWSER.as_bytes(), unchanged, &EDITS);
    let (mut came, mut sent) = ([httparse::EMPTY_HEADER; 64], [httparse::EMPTY_HEADER; 64]);
    let (mut before, mut after) = (httparse::Request::new(&mut came), httparse::Request::new(&mut sent));
    assert!(before.parse(BROWSER.as_bytes()).unwrap().is_complete());
    assert_eq!(after.parse(&out).unwrap(), httparse::Status::Complete(out.len()));
    assert_eq!((after.method, after.path, after.version), (before.method, before.path, Some(1)));
    let own = [
        Field { name: "X-Forwarded-For", value: b"192.0.2.7" },
        Field { name: "X-Forwarded-Proto", value: b"http" },
        Field { name: "X-Forwarded-Host", value: b"www.example.com" },
    ];
    let kept = before.headers.iter().filter(|field| field.name != "Connection").chain(&own);
    assert!(after.headers.iter().eq(kept), "{after:?}");
}

#[test]
fn the_room_reserved_holds_the_longest_head() {
    // Every field grows as much as possible, and every line of Apex's own is present.
    let fields = "a:b\r\n".repeat(100);
    let head = format!(
        "OPTIONS x HTTP/1.0\r\n{fields}Upgrade:w\r\nMax-Forwards:9\r\nX-Forwarded-For:1.1.1.1\r\nTE:trailers\r\n\r\n"
    );
    let host = "h".repeat(100);
    let longest = |request: &mut Request<'_, '_>| {
        request.version = Version::Http11;
        request.framing = Framing::Length(u64::MAX);
        request.expects_continue = true;
        request.upgrades = true;
    };
    let out = forwarded(head.as_bytes(), longest, &RequestEdits { host_fallback: &host, ..TRUSTED });
    let reserved =
        head.len() + 104 + 2 * host.len() + TRUSTED.client_address.unwrap().len() + OWN_LINES_BYTES;
    assert!(out.len() <= reserved, "{} octets of {reserved}", out.len());
}

fn answered(head: &[u8], length_hint: Option<u64>, edits: &ResponseEdits, date: Option<&str>) -> Vec<u8> {
    let mut slots = slots();
    let mut parsed = httparse::Response::new(&mut []);
    let mut config = httparse::ParserConfig::default();
    config.allow_spaces_after_header_name_in_responses(false);
    let head_bytes =
        config.parse_response_with_uninit_headers(&mut parsed, head, &mut slots).unwrap().unwrap();
    let mut judgement = Response {
        status: parsed.code.unwrap(),
        reason: parsed.reason.unwrap().as_bytes(),
        version: Version::Http11,
        framing: Framing::None,
        length_hint,
        persistence: Persistence::KeepAlive,
        fields: parsed.headers,
        lines: Lines::noted(&head[..head_bytes], parsed.headers).unwrap(),
        head_bytes,
    };
    let write = |judgement: &Response<'_, '_>| {
        let mut out = Vec::new();
        match date {
            Some(date) => response_dated(&mut out, judgement, edits, date),
            None => response(&mut out, judgement, edits),
        }
        out
    };
    let out = write(&judgement);
    // Line by line, the result is the same.
    judgement.lines = Lines::unknown();
    assert_eq!(write(&judgement).escape_ascii().to_string(), out.escape_ascii().to_string());
    out
}

const fn plain(framing: Framing) -> ResponseEdits {
    ResponseEdits { framing, connection: None, upgrades: false }
}

/// Each: name, head received, length of a response without content, edits, head sent.
fn responses_are_written(cases: &[(&str, &str, Option<u64>, ResponseEdits, &str)]) {
    for (name, came, hint, edits, sent) in cases {
        let out = answered(format!("HTTP/{came}\r\n").as_bytes(), *hint, edits, None);
        same(name, &out, &format!("HTTP/1.1 {sent}\r\n"));
    }
}

#[test]
fn responses_are_framed_anew() {
    let none = plain(Framing::None);
    let length = plain(Framing::Length(7));
    let closes = ResponseEdits { connection: Some(Persistence::Close), ..plain(Framing::UntilClose) };
    let stays = ResponseEdits { connection: Some(Persistence::KeepAlive), ..length };
    responses_are_written(&[
        (
            "length",
            "1.1 200 OK\r\nA: b\r\ncontent-length: 07\r\n",
            None,
            length,
            "200 OK\r\nA: b\r\nContent-Length: 7\r\n",
        ),
        ("length 0", "1.1 200 OK\r\n", None, plain(Framing::Length(0)), "200 OK\r\nContent-Length: 0\r\n"),
        ("no reason", "1.1 200 \r\nA: b\r\n", None, none, "200 \r\nA: b\r\n"),
        ("no space in front of none", "1.1 200\r\nA: b\r\n", None, none, "200 \r\nA: b\r\n"),
        ("1.0", "1.0 200 OK\r\nA: b\r\n", None, none, "200 OK\r\nA: b\r\n"),
        (
            "chunked decides",
            "1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: gzip, chunked\r\n",
            None,
            plain(Framing::Chunked),
            "200 OK\r\nTransfer-Encoding: chunked\r\n",
        ),
        ("1.0 becomes 1.1, closes", "1.0 200 OK\r\n", None, closes, "200 OK\r\nConnection: close\r\n"),
        (
            "keeps a 1.0 client",
            "1.1 200 OK\r\n",
            None,
            stays,
            "200 OK\r\nContent-Length: 7\r\nConnection: keep-alive\r\n",
        ),
        ("no reason", "1.1 299 \r\nA: b\r\n", None, none, "299 \r\nA: b\r\n"),
        ("a long reason", "1.1 404 Not  Found here\r\n", None, none, "404 Not  Found here\r\n"),
        (
            "HEAD with length",
            "1.1 200 OK\r\nContent-Length: 9\r\n",
            Some(9),
            none,
            "200 OK\r\nContent-Length: 9\r\n",
        ),
        (
            "304 with length",
            "1.1 304 Not Modified\r\n",
            Some(9),
            none,
            "304 Not Modified\r\nContent-Length: 9\r\n",
        ),
        ("HEAD without length", "1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", None, none, "200 OK\r\n"),
        ("204", "1.1 204 No Content\r\nContent-Length: 0\r\n", Some(0), length, "204 No Content\r\n"),
        (
            "interim",
            "1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 4\r\n",
            Some(4),
            plain(Framing::Chunked),
            "103 Early Hints\r\nLink: </a>\r\n",
        ),
    ]);
}

#[test]
fn fields_of_responses_end_at_this_hop_or_go_on() {
    let none = plain(Framing::None);
    let upgrades = ResponseEdits { upgrades: true, ..none };
    responses_are_written(&[
        (
            "hop by hop",
            "1.1 200 OK\r\nConnection: keep-alive, X-Hop, host\r\nKeep-Alive: x\r\nx-hop: y\r\nHost: z\r\n\
             Proxy-Authenticate: a\r\nProxy-Connection: b\r\nTE: trailers\r\nUpgrade: h2c\r\nTrailer: X-Sum\r\n",
            None,
            none,
            "200 OK\r\nTrailer: X-Sum\r\n",
        ),
        (
            "order, case, repeats",
            "1.1 200 OK\r\nset-Cookie: a\r\nX: 1\r\nSet-Cookie: b\r\nx-forwarded-for: c\r\n",
            None,
            none,
            "200 OK\r\nset-Cookie: a\r\nX: 1\r\nSet-Cookie: b\r\nx-forwarded-for: c\r\n",
        ),
        (
            "101",
            "1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nContent-Length: 0\r\n",
            Some(0),
            upgrades,
            "101 Switching Protocols\r\nupgrade: websocket\r\nConnection: upgrade\r\n",
        ),
        (
            "426",
            "1.1 426 No\r\nConnection: upgrade, X-Hop\r\nX-Hop: y\r\nUpgrade: h2c, TLS/1.0\r\nupgrade: HTTP/3.0\r\n",
            None,
            ResponseEdits { connection: Some(Persistence::Close), ..none },
            "426 No\r\nUpgrade: TLS/1.0\r\nupgrade: HTTP/3.0\r\nConnection: upgrade\r\nConnection: close\r\n",
        ),
        ("426 that names none", "1.1 426 No\r\nUpgrade: h2c\r\n", None, none, "426 No\r\n"),
    ]);
}

#[test]
fn responses_are_dated_once() {
    let edits = ResponseEdits { framing: Framing::None, connection: None, upgrades: false };
    let cases = [
        ("the backend's", "200 OK\r\ndate: a\r\nB: c\r\n", "200 OK\r\ndate: a\r\nB: c\r\n"),
        ("Apex's", "200 OK\r\nB: c\r\n", "200 OK\r\nB: c\r\nDate: now\r\n"),
        ("interim", "103 Early Hints\r\n", "103 Early Hints\r\n"),
        (
            "Connection names the backend's",
            "200 OK\r\nDate: a\r\nConnection: date\r\n",
            "200 OK\r\nDate: now\r\n",
        ),
    ];
    for (name, came, sent) in cases {
        let out = answered(format!("HTTP/1.1 {came}\r\n").as_bytes(), None, &edits, Some("now"));
        same(name, &out, &format!("HTTP/1.1 {sent}\r\n"));
    }
}

#[test]
fn via_and_the_name_of_the_request() {
    const NAMED: RequestEdits<'static> = RequestEdits {
        via: Some("apex"),
        request_id: Some(RequestId(0x0123_4567_89ab_cdef_0011_2233_4455_6677)),
        ..EDITS
    };
    const MADE: &str = "X-Request-Id: 0123456789abcdef0011223344556677\r\n";
    let believing = RequestEdits { client_trusted: true, ..NAMED };
    let passing = RequestEdits { request_id: None, ..NAMED };
    let two = "X-Request-Id: a\r\nx-request-id: b\r\n";
    // Name, edits, fields received, fields sent in their place, lines after the fields.
    let cases = [
        ("none came", NAMED, "", "", MADE),
        ("a stranger's", NAMED, "X-Request-Id: a\r\n", "", MADE),
        ("a trusted peer's", believing, "X-Request-Id: a\r\n", "X-Request-Id: a\r\n", ""),
        ("two of a trusted peer's", believing, two, "X-Request-Id: a\r\n", ""),
        ("an empty one of a trusted peer's", believing, "X-Request-Id:\r\n", "", MADE),
        ("switched off", passing, two, two, ""),
        ("switched off and named", passing, "X-Request-Id: a\r\nConnection: x-request-id\r\n", "", ""),
        ("never taken out by name", NAMED, "Connection: x-request-id\r\n", "", MADE),
    ];
    for (name, edits, came, kept, behind) in cases {
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{came}Via: 1.0 front\r\n\r\n");
        let expected = format!(
            "GET / HTTP/1.1\r\nHost: h\r\n{kept}Via: 1.0 front\r\n{OWN}{behind}Via: 1.1 apex\r\n\r\n"
        );
        same(name, &forwarded(head.as_bytes(), unchanged, &edits), &expected);
    }
    let old = forwarded(
        b"GET / HTTP/1.0\r\nHost: h\r\n\r\n",
        unchanged,
        &RequestEdits { request_id: None, ..NAMED },
    );
    assert!(old.ends_with(b"Via: 1.0 apex\r\n\r\n"), "the version that was received");
}
