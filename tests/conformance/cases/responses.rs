//! Where a response ends: length, chunks, close, and the responses without content (RFC 9112 section 6.3).

use super::super::case::{ASKED, Case, Framing, Group, Link, Reply, Then, answer, case, octets, ok};

const FRAMING: Group = Group("response framing");

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

pub fn cases() -> Vec<Case> {
    [whole(), in_other_shapes(), old_clients(), empty(), doubtful(), cut_short(), extra(), early()].concat()
}

fn whole() -> Vec<Case> {
    let chunks = |body: &str| format!("{CHUNKED}{body}");
    let mut cases = Vec::new();
    for (name, reply, then, framing) in [
        (
            "a length",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
            Then::Keep,
            Framing::Length,
        ),
        (
            "a length, then close",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
            Then::Close,
            Framing::Length,
        ),
        (
            "a length with a leading zero",
            "HTTP/1.1 200 OK\r\nContent-Length: 02\r\n\r\nok".to_owned(),
            Then::Keep,
            Framing::Length,
        ),
        ("a chunk", chunks("2\r\nok\r\n0\r\n\r\n"), Then::Keep, Framing::Chunked),
        ("chunks", chunks("1\r\no\r\n1\r\nk\r\n0\r\n\r\n"), Then::Keep, Framing::Chunked),
        ("an extension", chunks("2;a=\"b\"\r\nok\r\n0\r\n\r\n"), Then::Keep, Framing::Chunked),
        ("sizes that are padded", chunks("2  \r\nok\r\n0  \r\n\r\n"), Then::Keep, Framing::Chunked),
        ("trailers", chunks("2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n"), Then::Keep, Framing::Chunked),
        ("leading zeros", chunks("002\r\nok\r\n00\r\n\r\n"), Then::Keep, Framing::Chunked),
        ("until close", "HTTP/1.1 200 OK\r\n\r\nok".to_owned(), Then::Close, Framing::Chunked),
        ("until close by 1.0", "HTTP/1.0 200 OK\r\n\r\nok".to_owned(), Then::Close, Framing::Chunked),
        (
            "a length by 1.0",
            "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
            Then::Close,
            Framing::Length,
        ),
        (
            "a length by 1.0 that keeps alive",
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok".to_owned(),
            Then::Keep,
            Framing::Length,
        ),
    ] {
        let begun = case(FRAMING, "9112 6.3", name).asks().replies(&reply, then);
        let silent = name.ends_with("by 1.0") || then == Then::Close;
        let link = if silent { Link::Another } else { Link::Same };
        cases.push(begun.answered(ok().framing(framing)).next_on(link));
    }
    cases
}

fn in_other_shapes() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, reply, then) in [
        ("no content until close", "HTTP/1.1 200 OK\r\n\r\n", Then::Close),
        ("no content by length", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Then::Keep),
        (
            "no content in chunks",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Then::Keep,
        ),
    ] {
        cases.push(
            case(FRAMING, "9112 6.3", name).asks().replies(reply, then).answered(answer(200).content("")),
        );
    }
    let each = |text: &str| text.chars().map(|c| octets(&c.to_string())).collect::<Vec<_>>();
    let pieces = each("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    cases.push(
        case(FRAMING, "9112 6.3", "each octet alone")
            .asks()
            .reply(Reply { pieces, ..Reply::default() })
            .answered(ok()),
    );
    let interim = "HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Go\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    cases.push(
        case(FRAMING, "9110 15.2", "interim responses pass")
            .asks()
            .replies(interim, Then::Keep)
            .answered(ok().interim(&[103, 102])),
    );
    cases
}

/// A client of 1.0 knows no chunks and no interim responses.
fn old_clients() -> Vec<Case> {
    let mut cases = Vec::new();
    let plain = "GET /r HTTP/1.0\r\nHost: h\r\n\r\n";
    for (name, reply, then) in [
        (
            "chunks for 1.0",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n",
            Then::Keep,
        ),
        ("until close for 1.0", "HTTP/1.1 200 OK\r\n\r\nok", Then::Close),
        (
            "an interim response for 1.0",
            "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            Then::Keep,
        ),
    ] {
        let begun = case(FRAMING, "9112 6.1", name).old().sends(plain).replies(reply, then);
        cases.push(begun.gives(&[ASKED], vec![ok().interim(&[])], Some(false)));
    }
    let keeping = "GET /r HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n";
    let reply = format!("{CHUNKED}2\r\nok\r\n0\r\n\r\n");
    cases.push(
        case(FRAMING, "9112 6.1", "chunks for 1.0 that keeps alive")
            .old()
            .sends(keeping)
            .replies(&reply, Then::Keep)
            .gives(&[ASKED], vec![ok().has("Connection", "close")], Some(false))
            .or_gives(&[ASKED], vec![ok()]),
    );
    cases
}

/// RFC 9112 section 6.3, rule 1: no content, whatever the fields say; RFC 9110 section 8.6: no length in 1xx and 204.
fn empty() -> Vec<Case> {
    let mut cases = Vec::new();
    let asked = "HEAD /r HTTP/1.1\r\nHost: h\r\n\r\n";
    for (name, reply, length) in [
        ("HEAD with a length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", Some("10")),
        ("HEAD with a coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        ("HEAD without a framing field", "HTTP/1.1 200 OK\r\n\r\n", None),
        (
            "HEAD with both",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 10\r\n\r\n",
            None,
        ),
        ("HEAD with content all the same", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", Some("4")),
    ] {
        let wanted = length.map_or(answer(200), |length| answer(200).has("Content-Length", length));
        let case = case(FRAMING, "9112 6.3", name).head().sends(asked).replies(reply, Then::Keep);
        let case = case.gives(&[asked], vec![wanted], Some(true)).or_gives(&[asked], vec![answer(200)]);
        cases.push(if name.ends_with("the same") {
            case.or_gives(&[asked], vec![answer(502)])
        } else {
            case
        });
    }
    cases.push(
        case(FRAMING, "9110 9.3.2", "HEAD answered by Apex")
            .head()
            .sends(asked)
            .replies("HTTP/1.1 2x0 OK\r\n\r\n", Then::Close)
            .gives(&[asked], vec![answer(502).content("")], Some(true))
            .or_dropped(),
    );
    for (name, reply, status) in [
        ("204", "HTTP/1.1 204 No\r\nX: y\r\n\r\n", 204),
        ("204 with a length", "HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", 204),
        ("204 with a length above 0", "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", 204),
        ("204 with a coding", "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", 204),
        ("204 with content all the same", "HTTP/1.1 204 No\r\nContent-Length: 4\r\n\r\nevil", 204),
        (
            "204 with chunks all the same",
            "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
            204,
        ),
        ("304", "HTTP/1.1 304 No\r\nETag: \"x\"\r\n\r\n", 304),
        ("304 with a length", "HTTP/1.1 304 No\r\nETag: \"x\"\r\nContent-Length: 10\r\n\r\n", 304),
        ("304 with content all the same", "HTTP/1.1 304 No\r\nContent-Length: 4\r\n\r\nevil", 304),
    ] {
        let case = case(FRAMING, "9112 6.3", name).asks().replies(reply, Then::Keep).answered(answer(status));
        let link = if name.ends_with("the same") { Link::Another } else { Link::Same };
        cases.push(case.or_answered(answer(502)).next_on(link));
    }
    let interim =
        "HTTP/1.1 103 Early\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    cases.push(
        case(FRAMING, "9110 8.6", "an interim response with a length")
            .asks()
            .replies(interim, Then::Keep)
            .answered(ok())
            .or_answered(answer(502)),
    );
    cases
}

/// Framings that could be read in two ways.
fn doubtful() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, lines) in [
        ("the same length twice", "Content-Length: 2\r\nContent-Length: 2"),
        ("a list of equal lengths", "Content-Length: 2, 2"),
    ] {
        let reply = format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nok");
        let begun = case(FRAMING, "9112 6.3", name).asks().replies(&reply, Then::Keep);
        cases
            .push(begun.answered(ok().has("Content-Length", "2")).or_answered(ok()).or_answered(answer(502)));
    }
    for (name, lines) in [
        ("two lengths", "Content-Length: 2\r\nContent-Length: 3"),
        ("a list of two lengths", "Content-Length: 2, 3"),
        ("a sign", "Content-Length: +2"),
        ("a negative length", "Content-Length: -2"),
        ("a length of letters", "Content-Length: two"),
        ("an empty length", "Content-Length:"),
        ("a length in hex", "Content-Length: 0x2"),
        ("a length over 64 bits", "Content-Length: 18446744073709551618"),
        ("space within a length", "Content-Length: 2 0"),
        ("a folded length", "Content-Length: 2\r\n 0"),
        ("chunked not last", "Transfer-Encoding: chunked, gzip"),
        ("a coding that is not known", "Transfer-Encoding: cow"),
        ("gzip before chunked", "Transfer-Encoding: gzip, chunked"),
        ("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        ("xchunked", "Transfer-Encoding: xchunked"),
        ("vertical tab before chunked", "Transfer-Encoding: \u{b}chunked"),
        ("an empty coding", "Transfer-Encoding:"),
        ("space before the coding's colon", "Transfer-Encoding : chunked"),
    ] {
        let reply = format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n2\r\nok\r\n0\r\n\r\n");
        let case = case(FRAMING, "9112 6.3", name).asks().replies(&reply, Then::Close).bad_gateway();
        // RFC 9112 section 6.3, rule 4: without chunked as the last coding the content ends with the connection.
        let until_close =
            ["chunked not last", "a coding that", "xchunked", "vertical tab", "an empty coding"];
        cases.push(if until_close.iter().any(|front| name.starts_with(front)) {
            case.or_answered(answer(200).content("2\r\nok\r\n0\r\n\r\n"))
        } else if ["gzip", "space before", "chunked twice"].iter().any(|front| name.starts_with(front)) {
            case.or_answered(ok())
        } else {
            case
        });
    }
    let both =
        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let wanted = ok().lacks("Content-Length").framing(Framing::Chunked);
    cases.push(
        case(FRAMING, "9112 6.3", "both")
            .asks()
            .replies(both, Then::Keep)
            .answered(wanted)
            .or_answered(answer(502))
            .next_on(Link::Another),
    );
    let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    cases.push(
        case(FRAMING, "9112 6.1", "chunked by 1.0")
            .asks()
            .replies(old, Then::Close)
            .bad_gateway()
            .or_answered(ok())
            .or_answered(answer(200).content("2\r\nok\r\n0\r\n\r\n")),
    );
    cases
}

/// RFC 9112 section 8: what is cut short never looks whole.
fn cut_short() -> Vec<Case> {
    let mut cases = Vec::new();
    let chunked = |body: &str| format!("{CHUNKED}{body}");
    for (name, reply) in [
        ("short of its length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok".to_owned()),
        ("nothing of its length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_owned()),
        ("no last chunk", chunked("2\r\nok\r\n")),
        ("within a chunk", chunked("5\r\nok")),
        ("within a size", chunked("2\r\nok\r\n5")),
        ("no end of the trailers", chunked("2\r\nok\r\n0\r\nX: y\r\n")),
        ("no chunk at all", chunked("")),
        ("a broken size", chunked("2\r\nok\r\nxyz\r\n")),
        ("a signed size", chunked("2\r\nok\r\n+2\r\nok\r\n0\r\n\r\n")),
        ("no line end behind data", chunked("2\r\nokXX0\r\n\r\n")),
        ("a size over 64 bits", chunked("2\r\nok\r\n10000000000000002\r\nok\r\n0\r\n\r\n")),
        ("space before the size", chunked("2\r\nok\r\n 2\r\nok\r\n0\r\n\r\n")),
        ("bare LF behind the size", chunked("2\r\nok\r\n2\nok\r\n0\r\n\r\n")),
        ("a broken trailer", chunked("2\r\nok\r\n0\r\nX : y\r\n\r\n")),
    ] {
        let case = case(FRAMING, "9112 8", format!("cut: {name}")).asks().replies(&reply, Then::Close);
        let case =
            case.gives(&[ASKED], vec![answer(200).cut()], Some(false)).or_answered(answer(502)).or_dropped();
        let lenient =
            ["space before", "bare LF", "a broken trailer"].iter().any(|front| name.starts_with(front));
        cases.push(if lenient {
            case.or_answered(answer(200).content("okok")).or_answered(ok())
        } else {
            case
        });
    }
    for (name, reply) in
        [("no octet", ""), ("half a head", "HTTP/1.1 200 OK\r\nContent-Le"), ("half a status line", "HTTP/1")]
    {
        let post = "POST /r HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\na";
        let begun = case(FRAMING, "9112 8", format!("cut: {name}")).sends(post).replies(reply, Then::Close);
        let case = begun
            .gives(&[post], vec![answer(502)], Some(true))
            .or_gives(&[post], vec![answer(504)])
            .or_dropped();
        cases.push(case);
    }
    let reset = |reply: &str| Reply { pieces: vec![octets(reply)], then: Then::Reset, ..Reply::default() };
    let post = "POST /r HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\na";
    let case = case(FRAMING, "9112 8", "cut: a reset before the response").sends(post).reply(reset(""));
    cases.push(case.gives(&[post], vec![answer(502)], Some(true)));
    cases
}

/// RFC 9112 section 9.2: octets behind a response belong to nobody.
fn extra() -> Vec<Case> {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let mut cases = Vec::new();
    for (name, front) in [
        ("a response behind a length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned()),
        ("a response behind the last chunk", format!("{CHUNKED}2\r\nok\r\n0\r\n\r\n")),
        ("a response behind trailers", format!("{CHUNKED}2\r\nok\r\n0\r\nX: y\r\n\r\n")),
        ("a line end and a response", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n".to_owned()),
    ] {
        let one = case(FRAMING, "9112 9.2", name).asks().replies(&format!("{front}{evil}"), Then::Keep);
        cases.push(one.answered(ok()).next_on(Link::Another));
        // Once the next request is under way nobody can tell them from its answer: they come while the connection rests.
        let pieces = vec![octets(&front), octets(evil)];
        let two =
            case(FRAMING, "9112 9.2", format!("{name}, a moment later")).asks().awaits().awaits_backend();
        cases.push(two.reply(Reply { pieces, ..Reply::default() }).answered(ok()).next_on(Link::Another));
    }
    cases
}

/// RFC 9112 section 9.3: a response may come before its request is whole; the rest of that is nobody's request.
fn early() -> Vec<Case> {
    let front = "POST /a HTTP/1.1\r\nHost: h\r\n";
    let no =
        || Reply { on_head: octets("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"), ..Reply::default() };
    let evil = "GET /evil HTTP/1.1\r\nHost: evil\r\n\r\n";
    vec![
        case(FRAMING, "9112 9.3", "early: the rest never comes")
            .sends(&format!("{front}Content-Length: 1000\r\n\r\nbegun"))
            .reply(no())
            .gives_early(vec![answer(403).content("no")], None)
            // Whoever gathers a request before it is forwarded waits, and may.
            .or_refused(),
        case(FRAMING, "9112 9.3", "early: the rest comes afterwards")
            .sends(&format!("{front}Content-Length: {}\r\n\r\n", evil.len()))
            .reply(no())
            .awaits()
            .sends(evil)
            .gives_early(vec![answer(403).content("no")], None)
            .or_gives(&[&format!("{front}Content-Length: {}\r\n\r\n{evil}", evil.len())], vec![answer(403)]),
        case(FRAMING, "9112 9.3", "early: chunks come afterwards")
            .sends(&format!("{front}Transfer-Encoding: chunked\r\n\r\n"))
            .reply(no())
            .awaits()
            .sends("5\r\nhello\r\n0\r\n\r\n")
            .gives_early(vec![answer(403).content("no")], None)
            .or_gives(
                &[&format!("{front}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")],
                vec![answer(403)],
            ),
    ]
}
