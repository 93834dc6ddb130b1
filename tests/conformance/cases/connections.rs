//! Persistence, pipelining and upgrade (RFC 9112 section 9, RFC 9110 section 7.8).

use super::super::case::{ASKED, Case, Framing, Group, Link, OK, Reply, Then, answer, case, octets, ok};

const PERSISTENCE: Group = Group("persistence");
const UPGRADE: Group = Group("upgrade");

pub fn cases() -> Vec<Case> {
    [persistence(), pipelining(), failures(), upgrades(), refused_upgrades()].concat()
}

fn persistence() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, line, version, stays) in [
        ("1.1 goes on", "", "1.1", true),
        ("1.1 says close", "Connection: close\r\n", "1.1", false),
        ("1.1 says Close", "Connection: Close\r\n", "1.1", false),
        ("1.1 says close in a list", "Connection: foo, close\r\n", "1.1", false),
        ("1.1 says close in a second field", "Connection: foo\r\nConnection: close\r\n", "1.1", false),
        ("1.1 says keep-alive and close", "Connection: keep-alive, close\r\n", "1.1", false),
        ("1.1 says keep-alive", "Connection: keep-alive\r\n", "1.1", true),
        ("1.1 says closed, which is nothing", "Connection: closed\r\n", "1.1", true),
        ("1.0 ends", "", "1.0", false),
        ("1.0 says keep-alive", "Connection: keep-alive\r\n", "1.0", true),
        ("1.0 says Keep-Alive in a list", "Connection: foo, Keep-Alive\r\n", "1.0", true),
        ("1.0 says keep-alive and close", "Connection: close, keep-alive\r\n", "1.0", false),
    ] {
        let wire = format!("GET /r HTTP/{version}\r\nHost: h\r\n{line}\r\n");
        let said = if stays { ok() } else { ok().has("Connection", "close") };
        let mut case =
            case(PERSISTENCE, "9112 9.3", name).sends(&wire).gives(&[ASKED], vec![said], Some(stays));
        case.old = version == "1.0";
        // A server that closes without a word is ruder than it should be, but in its right.
        cases.push(case.or_answered(ok()));
    }
    let half =
        case(PERSISTENCE, "9112 9.6", "a client that has no more to say is answered").asks().half_closes();
    cases.push(half.gives(&[ASKED], vec![ok()], None).or_dropped());
    for (name, reply, then) in [
        ("the backend says close", OK.replacen("Content", "Connection: close\r\nContent", 1), Then::Close),
        (
            "the backend says close and does not",
            OK.replacen("Content", "Connection: close\r\nContent", 1),
            Then::Keep,
        ),
        ("the backend closes unsaid", OK.to_owned(), Then::Close),
        ("the backend resets behind its answer", OK.to_owned(), Then::Reset),
    ] {
        let case = case(PERSISTENCE, "9112 9.3", name).asks().replies(&reply, then).answered(ok());
        cases.push(case.next_on(Link::Another));
    }
    cases
}

fn pipelining() -> Vec<Case> {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
    let post = |path: &str| format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
    let reply =
        |content: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{content}", content.len());
    let (a, b, c) = (get("/a"), post("/b"), get("/c"));
    let wire = format!("{a}{b}{c}");
    let three = |name: &str| case(PERSISTENCE, "9112 9.3.2", name).sends(&wire);
    let requests = [a.as_str(), b.as_str(), c.as_str()];
    let answers = || ["one", "two", "three"].map(|content| answer(200).content(content)).to_vec();
    let scripted = |case: Case| {
        ["one", "two", "three"].iter().fold(case, |case, content| case.replies(&reply(content), Then::Keep))
    };
    let mut cases = vec![
        scripted(three("three requests at once")).gives(&requests, answers(), Some(true)),
        scripted(three("three requests and no more").half_closes())
            .gives(&requests, answers(), None)
            // Half an end of the connection may pass for the whole of it.
            .or_gives(&requests[..1], answers()[..1].to_vec())
            .or_dropped(),
        three("the second answer ends its connection")
            .replies(&reply("one"), Then::Keep)
            .replies(&reply("two"), Then::Close)
            .replies(&reply("three"), Then::Keep)
            .gives(&requests, answers(), Some(true))
            // A connection that ends as a request is sent on it may cost that request (RFC 9112 section 9.3.1).
            .or_gives(&requests[..2], answers()[..2].to_vec()),
        three("the first answer has a tail")
            .replies(&format!("{}{}", reply("one"), reply("evil")), Then::Keep)
            .replies(&reply("two"), Then::Keep)
            .replies(&reply("three"), Then::Keep)
            .gives(&requests, answers(), Some(true)),
    ];
    let last = a.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
    cases.push(
        case(PERSISTENCE, "9112 9.6", "nothing is taken behind a request that closes")
            .sends(&format!("{last}{c}"))
            .gives(&[&a], vec![ok()], Some(false)),
    );
    cases.push(
        case(PERSISTENCE, "9112 9.3.2", "a refused request ends the pipeline")
            .sends(&format!("{a}GET  /b HTTP/1.1\r\nHost : h\r\n\r\n{c}"))
            .gives(&[&a], vec![ok(), answer(400)], Some(false)),
    );
    cases.push(
        case(PERSISTENCE, "9112 9.3.2", "a request refused for its framing ends the pipeline")
            .sends(&format!("{a}POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n{c}"))
            .gives(&[&a], vec![ok(), answer(400)], Some(false)),
    );
    cases
}

/// Behind an error the connections are in a known state, or gone.
fn failures() -> Vec<Case> {
    let broken = "HTTP/1.1 2x0 OK\r\nContent-Length: 2\r\n\r\nok";
    let second = "GET /b HTTP/1.1\r\nHost: h\r\n\r\n";
    let refused = "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\noh";
    vec![
        case(PERSISTENCE, "9112 9.3", "a request behind a 502")
            .sends(&format!("{ASKED}{second}"))
            .replies(broken, Then::Keep)
            .gives(&[ASKED, second], vec![answer(502), ok()], Some(true))
            .or_gives(&[ASKED], vec![answer(502)])
            .or_dropped(),
        case(PERSISTENCE, "9112 9.3", "a request behind the backend's 500")
            .sends(&format!("{ASKED}{second}"))
            .replies(refused, Then::Keep)
            .gives(&[ASKED, second], vec![answer(500).content("oh"), ok()], Some(true)),
        case(PERSISTENCE, "9112 8", "no request behind a response cut short")
            .sends(&format!("{ASKED}{second}"))
            .replies("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", Then::Close)
            .gives(&[ASKED], vec![answer(200).cut()], Some(false))
            .or_gives(&[ASKED], vec![answer(502)])
            .or_gives(&[ASKED, second], vec![answer(502), ok()]),
        case(PERSISTENCE, "9110 9.2.2", "a POST that failed is not sent again")
            .sends("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
            .reply(Reply { then: Then::Reset, ..Reply::default() })
            .gives(
                &["POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"],
                vec![answer(502)],
                Some(true),
            ),
    ]
}

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const ASK_SEEN: &str = "GET /chat HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nConnection: upgrade\r\n\r\n";
const AGREE: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn upgrades() -> Vec<Case> {
    let agreed = || {
        answer(101)
            .framing(Framing::Tunnel)
            .content("pong")
            .has("Upgrade", "websocket")
            .has("Connection", "upgrade")
    };
    let declined = "HTTP/1.1 426 No\r\nUpgrade: other\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nno";
    // RFC 9110 section 7.8: nobody is bound to upgrade; an intermediary that does not takes Upgrade out of requests.
    let plain = "GET /chat HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let h2c = "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c, websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    vec![
        case(UPGRADE, "9110 7.8", "both sides agree").sends(ASK).replies(AGREE, Then::Tunnel).gives(
            &[ASK_SEEN],
            vec![agreed()],
            None,
        ),
        case(UPGRADE, "9110 7.8", "asked for among other options")
            .sends(&ASK.replacen("Connection: Upgrade", "Connection: keep-alive, upgrade", 1))
            .replies(AGREE, Then::Tunnel)
            .gives(&[ASK_SEEN], vec![agreed()], None),
        case(UPGRADE, "9110 7.8", "h2c is not offered").sends(h2c).replies(AGREE, Then::Tunnel).gives(
            &[ASK_SEEN],
            vec![agreed()],
            None,
        ),
        case(UPGRADE, "9110 7.8", "an interim response before the agreement")
            .sends(ASK)
            .replies(&format!("HTTP/1.1 103 Early\r\n\r\n{AGREE}"), Then::Tunnel)
            .gives(&[ASK_SEEN], vec![agreed().interim(&[103])], None),
        case(UPGRADE, "9110 7.8", "the backend declines").sends(ASK).replies(OK, Then::Keep).gives(
            &[ASK_SEEN],
            vec![ok()],
            Some(true),
        ),
        case(UPGRADE, "9110 15.5.22", "the backend wants another protocol")
            .sends(ASK)
            .replies(declined, Then::Keep)
            .gives(
                &[ASK_SEEN],
                vec![answer(426).content("no").has("Upgrade", "other").has("Connection", "upgrade")],
                Some(true),
            ),
        case(UPGRADE, "9110 7.8", "a backend that goes on as before")
            .sends(ASK)
            .replies(OK, Then::Keep)
            .gives(&[ASK_SEEN], vec![ok()], Some(true))
            .or_forwarded(plain),
    ]
}

fn refused_upgrades() -> Vec<Case> {
    let mut cases = Vec::new();
    let seen = "GET /chat HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for (name, wire) in [
        ("Upgrade without Connection", ASK.replacen("Connection: Upgrade\r\n", "", 1)),
        ("Connection without Upgrade", ASK.replacen("Upgrade: websocket\r\n", "", 1)),
        ("h2c alone", ASK.replacen("websocket", "h2c", 1)),
        ("an empty Upgrade", ASK.replacen("websocket", "", 1)),
    ] {
        cases.push(case(UPGRADE, "9110 7.8", name).sends(&wire).forwarded(seen));
        let unasked = case(UPGRADE, "9110 7.8", format!("{name}, and the backend switches")).sends(&wire);
        let unasked =
            unasked.reply(Reply { pieces: vec![octets(AGREE)], then: Then::Tunnel, ..Reply::default() });
        cases.push(unasked.gives(&[seen], vec![answer(502)], Some(true)).or_refused());
    }
    let old = ASK.replacen("HTTP/1.1", "HTTP/1.0", 1);
    cases.push(case(UPGRADE, "9110 7.8", "a client of 1.0").old().sends(&old).gives(
        &[seen],
        vec![ok()],
        Some(false),
    ));
    let unread = ASK.replacen("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\n", 1);
    cases.push(
        case(UPGRADE, "9110 7.8", "a switch before the content is there")
            .sends(&unread)
            .reply(Reply { on_head: octets(AGREE), then: Then::Tunnel, ..Reply::default() })
            .gives_early(vec![answer(502)], Some(false))
            // A client that sends on would be understood by whoever tunnels from here, or behind the content.
            .or_gives(&[], vec![answer(101)])
            .or_refused(),
    );
    cases.push(
        case(UPGRADE, "9110 7.8", "a switch that nobody asked for")
            .asks()
            .reply(Reply { pieces: vec![octets(AGREE)], then: Then::Tunnel, ..Reply::default() })
            .bad_gateway(),
    );
    cases
}
