//! What ends at a hop and what a hop adds: Connection, X-Forwarded-*, Expect, Max-Forwards (RFC 9110 sections 7.6 and 10.1.1).

use super::super::case::{Case, Group, OK, Reply, Then, answer, case, octets, ok};
use super::{all_forwarded, all_forwarded_or_refused};

const HOP: Group = Group("hop-by-hop");
const FORWARDED: Group = Group("X-Forwarded");
const EXPECT: Group = Group("Expect");
const MAX_FORWARDS: Group = Group("Max-Forwards");

fn with(lines: &str) -> String {
    format!("GET /a HTTP/1.1\r\nHost: h\r\n{lines}\r\n")
}

pub fn cases() -> Vec<Case> {
    [requests(), relied_upon(), responses(), forwarded(), expectations(), max_forwards()].concat()
}

fn requests() -> Vec<Case> {
    let mut cases = Vec::new();
    let many = (0..40).map(|number| format!("x-{number}, ")).collect::<Vec<_>>().concat();
    for (name, lines, kept) in [
        ("Connection: close ends here", "Connection: keep-alive\r\n", ""),
        ("Keep-Alive", "Keep-Alive: timeout=5\r\n", ""),
        ("Proxy-Connection", "Proxy-Connection: keep-alive\r\n", ""),
        ("Proxy-Authorization", "Proxy-Authorization: Basic eA==\r\n", ""),
        ("TE without Connection", "TE: gzip\r\n", ""),
        ("Upgrade without Connection", "Upgrade: websocket\r\n", ""),
        ("a named field", "Connection: X-A\r\nX-A: 1\r\nX-B: 2\r\n", "X-B: 2\r\n"),
        ("a named field in another case", "Connection: x-a\r\nX-A: 1\r\n", ""),
        ("a named field before Connection", "X-A: 1\r\nConnection: X-A\r\n", ""),
        ("two named fields", "Connection: X-A , x-b\r\nX-A: 1\r\nX-B: 2\r\n", ""),
        ("names in two Connections", "Connection: X-A\r\nX-A: 1\r\nX-B: 2\r\nConnection: X-B\r\n", ""),
        ("a named field repeated", "Connection: X-A\r\nX-A: 1\r\nX-A: 2\r\n", ""),
        ("names among empty elements", "Connection: , ,X-A,,\r\nX-A: 1\r\n", ""),
        ("a name beside keep-alive", "Connection: keep-alive, X-A\r\nX-A: 1\r\n", ""),
        ("a named field that is no hop's", "Connection: Cookie\r\nCookie: a=b\r\n", ""),
        ("a name that is not there", "Connection: X-C\r\nX-A: 1\r\n", "X-A: 1\r\n"),
        ("a name that begins alike", "Connection: X-A\r\nX-AB: 1\r\n", "X-AB: 1\r\n"),
        ("an empty Connection", "Connection:\r\nX-A: 1\r\n", "X-A: 1\r\n"),
        ("a Connection that is no list of tokens", "Connection: X A\r\nX-A: 1\r\n", "X-A: 1\r\n"),
        ("h2c", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n", ""),
    ] {
        cases.push(case(HOP, "9110 7.6.1", name).sends(&with(lines)).forwarded(&with(kept)));
    }
    let named = with(&format!("Connection: {many}x-40\r\nX-40: 1\r\nX-0: 1\r\n"));
    let case_of_many = case(HOP, "9110 7.6.1", "more names than are remembered").sends(&named);
    cases.push(case_of_many.refused(&[400]).or_forwarded(&with("")));
    for (name, lines) in [
        ("TE: trailers", "TE: trailers\r\nConnection: TE\r\n"),
        ("TE: trailers among codings", "TE: gzip, trailers;q=1, trailers\r\nConnection: TE\r\n"),
        ("TE: trailers without Connection", "TE: trailers\r\n"),
    ] {
        let seen = with("TE: trailers\r\nConnection: TE\r\n");
        cases.push(case(HOP, "9110 10.1.4", name).sends(&with(lines)).forwarded(&seen));
    }
    cases
}

/// What a client names is not taken out where Apex, or the backend by its leave, relies on it.
fn relied_upon() -> Vec<Case> {
    let mut cases = Vec::new();
    for named in [
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "X-Forwarded-For",
        "x-forwarded-host, X-Forwarded-Proto",
        "Expect",
        "close, Host",
    ] {
        let closes = named.contains("close");
        let wire =
            format!("POST /a HTTP/1.1\r\nHost: h\r\nConnection: {named}\r\nContent-Length: 5\r\n\r\nhello");
        let seen = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
        let case = case(HOP, "9110 7.6.1", format!("Connection: {named}")).sends(&wire);
        cases.push(case.gives(&[seen], vec![ok()], Some(!closes)).or_refused());
    }
    let chunked = "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    cases.push(
        case(HOP, "9110 7.6.1", "Connection names the coding of the message")
            .sends(chunked)
            .forwarded(
                "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            )
            .or_refused(),
    );
    cases
}

fn responses() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, lines, gone) in [
        ("Keep-Alive comes no further", "Keep-Alive: timeout=5\r\n", "Keep-Alive"),
        ("a named field comes no further", "Connection: x-a\r\nX-A: 1\r\n", "X-A"),
        ("a field named behind it comes no further", "X-A: 1\r\nConnection: keep-alive, X-A\r\n", "X-A"),
        ("Proxy-Connection comes no further", "Proxy-Connection: keep-alive\r\n", "Proxy-Connection"),
        ("Upgrade of h2c comes no further", "Upgrade: h2c\r\nConnection: upgrade\r\n", "Upgrade"),
        ("TE comes no further", "TE: gzip\r\n", "TE"),
    ] {
        let reply = OK.replacen("Content", &format!("{lines}Content"), 1);
        // Only what Connection names MUST be taken out.
        let strict = case(HOP, "9110 7.6.1", name).asks().replies(&reply, Then::Keep);
        let case = strict.answered(ok().lacks(gone));
        cases.push(if gone == "X-A" { case } else { case.or_answered(ok()) });
    }
    for (name, named) in
        [("a named length stays", "Content-Length"), ("a named coding stays", "Transfer-Encoding")]
    {
        let reply = OK.replacen("Content", &format!("Connection: {named}\r\nContent"), 1);
        cases.push(case(HOP, "9110 7.6.1", name).asks().replies(&reply, Then::Keep).answered(ok()));
    }
    let fields = "Server: x\r\nSet-Cookie: a=1\r\nx-lower: Y\r\nSet-Cookie: b=2\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n";
    let reply = OK.replacen("Content", &format!("{fields}Content"), 1);
    let wanted =
        ok().has("Set-Cookie", "a=1, b=2").has("x-lower", "Y").has("Date", "Mon, 01 Jan 2024 00:00:00 GMT");
    // Intermediaries commonly give responses a Date of their own; only end-to-end fields are owed.
    let others = ok().has("Set-Cookie", "a=1, b=2").has("x-lower", "Y");
    cases.push(
        case(HOP, "9110 7.6", "end-to-end fields pass in order")
            .asks()
            .replies(&reply, Then::Keep)
            .answered(wanted)
            .or_answered(others),
    );
    let closing = OK.replacen("Content", "Connection: close\r\nContent", 1);
    cases.push(
        case(HOP, "9112 9.3", "the backend's close is not the client's")
            .asks()
            .replies(&closing, Then::Close)
            .answered(ok().lacks("Connection"))
            .or_answered(ok()),
    );
    cases
}

/// What the client says of itself is not believed; what the backend is told is held against every forwarded request.
fn forwarded() -> Vec<Case> {
    let plain = with("");
    let rows: Vec<(&str, String)> = vec![
        ("a claimed client", with("X-Forwarded-For: 192.0.2.1\r\n")),
        ("a claimed list of clients", with("X-Forwarded-For: 192.0.2.1, 127.0.0.1\r\n")),
        ("two claimed clients", with("X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\n")),
        ("a claimed client in lower case", with("x-forwarded-for: 192.0.2.1\r\n")),
        ("an empty claim", with("X-Forwarded-For:\r\n")),
        ("a claimed protocol", with("X-Forwarded-Proto: https\r\n")),
        ("two claimed protocols", with("X-Forwarded-Proto: https\r\nx-forwarded-proto: http\r\n")),
        ("a claimed host", with("X-Forwarded-Host: evil\r\n")),
        (
            "a claimed client that Connection names",
            with("Connection: X-Forwarded-For\r\nX-Forwarded-For: 192.0.2.1\r\n"),
        ),
        ("all claims", with("X-Forwarded-For: a\r\nX-Forwarded-Proto: b\r\nX-Forwarded-Host: c\r\n")),
    ];
    let rows: Vec<_> = rows.iter().map(|(name, wire)| (*name, wire.as_str(), plain.as_str())).collect();
    let mut cases = all_forwarded(FORWARDED, "7239 8.1", &rows);
    for (name, wire, seen) in [
        (
            "the target's host is told",
            "GET http://t/a HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: t\r\n\r\n",
        ),
        (
            "the client of a body",
            "POST /a HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: x\r\nContent-Length: 1\r\n\r\na",
            "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\na",
        ),
    ] {
        cases.push(case(FORWARDED, "7239 8.1", name).sends(wire).forwarded(seen).or_refused());
    }
    cases
}

fn expectations() -> Vec<Case> {
    let head = "POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let seen = format!("{head}hello");
    let go = "HTTP/1.1 100 Continue\r\n\r\n";
    let goes = |on_head: &str| Reply { on_head: octets(on_head), pieces: vec![octets(OK)], then: Then::Keep };
    let mut cases = vec![
        case(EXPECT, "9110 10.1.1", "asked for by the backend")
            .sends(head)
            .awaits()
            .sends("hello")
            .reply(goes(go))
            .gives(&[&seen], vec![ok().interim(&[100])], Some(true)),
        case(EXPECT, "9110 10.1.1", "sent without waiting")
            .sends(&seen)
            .reply(goes(""))
            .gives(&[&seen], vec![ok()], Some(true)),
        case(EXPECT, "9110 10.1.1", "in other letters")
            .sends(&seen.replace("100-continue", "100-Continue"))
            .reply(goes(go))
            .gives(&[&seen], vec![ok()], Some(true)),
        case(EXPECT, "9110 10.1.1", "chunked content asked for")
            .sends("POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
            .awaits()
            .sends("5\r\nhello\r\n0\r\n\r\n")
            .reply(goes(go))
            .gives(
                &["POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"],
                vec![ok()],
                Some(true),
            ),
        // An intermediary may give the go itself; then the backend's refusal comes behind the content.
        case(EXPECT, "9110 10.1.1", "refused by the backend")
            .sends(head)
            .reply(Reply {
                on_head: octets("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"),
                ..Reply::default()
            })
            .awaits()
            .sends("hello")
            .gives_early(vec![answer(403).content("no")], None)
            .or_gives(&[&seen], vec![answer(403).content("no")]),
        case(EXPECT, "9110 15.2", "a 100 that nobody asked for")
            .asks()
            .replies(&format!("{go}{OK}"), Then::Keep)
            .answered(ok()),
        case(EXPECT, "9110 10.1.1", "ignored from 1.0")
            .old()
            .sends("POST /a HTTP/1.0\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
            .gives(&["POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"], vec![ok().interim(&[])], Some(false)),
        case(EXPECT, "9110 10.1.1", "no interim response for 1.0")
            .old()
            .sends("POST /a HTTP/1.0\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello")
            .reply(goes(go))
            .gives(&["POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"], vec![ok().interim(&[])], Some(false)),
    ];
    for value in ["miracles", "100-continue, miracles", "100", "100-continues", "\"100-continue\""] {
        let wire = seen.replace("100-continue", value);
        let case = case(EXPECT, "9110 10.1.1", format!("expecting {value}")).sends(&wire).refused(&[417]);
        cases.push(case.or_forwarded(&wire));
    }
    cases
}

fn max_forwards() -> Vec<Case> {
    let options = |number: &str| format!("OPTIONS /a HTTP/1.1\r\nHost: h\r\nMax-Forwards: {number}\r\n\r\n");
    let trace = |number: &str| options(number).replacen("OPTIONS", "TRACE", 1);
    let get = |number: &str| options(number).replacen("OPTIONS", "GET", 1);
    let rows = [
        ("OPTIONS counts down", options("5"), options("4")),
        ("OPTIONS to its last hop", options("1"), options("0")),
        ("TRACE counts down", trace("5"), trace("4")),
        ("leading zeros", options("007"), options("6")),
    ];
    let rows: Vec<_> = rows.iter().map(|(name, wire, seen)| (*name, wire.as_str(), seen.as_str())).collect();
    let mut cases = all_forwarded_or_refused(MAX_FORWARDS, "9110 7.6.2", &rows);
    let rows = [("GET does not count", get("5"), get("5")), ("GET is forwarded at 0", get("0"), get("0"))];
    for (name, wire, seen) in rows {
        cases.push(case(MAX_FORWARDS, "9110 7.6.2", name).sends(&wire).forwarded(&seen));
    }
    for value in ["x", "-1", "5, 6", ""] {
        let wire = options(value);
        cases.push(
            case(MAX_FORWARDS, "9110 7.6.2", format!("malformed {value:?}"))
                .sends(&wire)
                .forwarded(&wire)
                .or_refused(),
        );
    }
    for (name, wire) in
        [("OPTIONS ends at 0", options("0")), ("OPTIONS * ends at 0", options("0").replacen("/a", "*", 1))]
    {
        cases.push(
            case(MAX_FORWARDS, "9110 7.6.2", name)
                .sends(&wire)
                .gives(&[], vec![answer(200)], Some(true))
                .or_refused(),
        );
    }
    let secret = trace("0").replacen("\r\n\r\n", "\r\nCookie: a=b\r\nX: y\r\nAuthorization: c\r\n\r\n", 1);
    cases.push(
        case(MAX_FORWARDS, "9110 9.3.8", "TRACE ends at 0 and tells no secrets")
            .sends(&secret)
            .gives(
                &[],
                vec![
                    answer(200)
                        .has("Content-Type", "message/http")
                        .content("TRACE /a HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\nX: y\r\n\r\n"),
                ],
                Some(true),
            )
            .or_refused(),
    );
    cases
}
