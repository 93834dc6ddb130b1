//! Attempts of public research to have two parsers see two messages, by the names that it gave them: CL.TE, TE.CL, TE.TE, CL.0,
//! 0.CL, obfuscated expectations, chunk lines that end in two ways, responses with a second one inside (RFC 9112 section 11.2).

use super::super::case::{ASKED, Case, Group, Link, OK, Reply, Then, answer, case, octets, ok};
use super::all_refused;

const REQUEST: Group = Group("request smuggling");
const RESPONSE: Group = Group("response smuggling");

/// What an attacker would like to be taken for a request of its own.
const EVIL: &str = "GET /evil HTTP/1.1\r\nHost: evil\r\n\r\n";

/// And for a response.
const EVIL_ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";

const CHUNKED: &str = "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";

fn post(lines: &str, body: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n{body}")
}

/// `EVIL` behind an end of chunks, so that a reader of chunks takes it for a request and a reader of the length for content.
fn behind_chunks() -> String {
    format!("0\r\n\r\n{EVIL}")
}

pub fn cases() -> Vec<Case> {
    [
        codings(),
        lengths(),
        other_versions(),
        without_content(),
        expectations(),
        chunk_lines(),
        targets(),
        upgrades(),
        interim(),
        answers(),
    ]
    .concat()
}

/// CL.TE, TE.CL and TE.TE: the length covers all, and the coding is spelt so that only one of two readers knows it.
fn codings() -> Vec<Case> {
    let body = behind_chunks();
    let length = format!("Content-Length: {}", body.len());
    let by_length = |lines: &str| post(&format!("{lines}{length}"), &body);
    let mut cases = Vec::new();
    for &(name, line, mended) in HIDDEN_CODINGS {
        for (order, lines) in
            [("CL.TE", format!("{length}\r\n{line}")), ("TE.CL", format!("{line}\r\n{length}"))]
        {
            let case = case(REQUEST, "9112 6.3", format!("{order}: {name}")).sends(&post(&lines, &body));
            let case = case.refused(&[400]);
            cases.push(match mended {
                Mended::No => case,
                Mended::LeftOut => case.or_forwarded(&by_length("")),
                Mended::InX => case.or_forwarded(&by_length("X: y Transfer-Encoding: chunked\r\n")),
                // RFC 9112 section 6.1: the connection ends there, so that what follows is no request.
                Mended::BehindX => {
                    case.or_forwarded(&post("X: y\r\nTransfer-Encoding: chunked", "0\r\n\r\n"))
                }
                Mended::Chunked => case.or_forwarded(&format!("{CHUNKED}0\r\n\r\n")),
            });
        }
    }
    cases
}

/// 0.CL: a length that only one of two readers knows hides a request, or makes one of what is content.
fn lengths() -> Vec<Case> {
    let length = EVIL.len();
    let mut cases = Vec::new();
    for (name, line) in [
        ("a plus sign", format!("Content-Length: +{length}")),
        ("a vertical tab", format!("Content-Length: \u{b}{length}")),
        ("a no-break space", format!("Content-Length: \u{a0}{length}")),
        ("NUL behind it", format!("Content-Length: {length}\0")),
        ("a space before the colon", format!("Content-Length : {length}")),
        ("a tab before the colon", format!("Content-Length\t: {length}")),
        ("two colons", format!("Content-Length:: {length}")),
        ("digits apart", "Content-Length: 3 8".to_owned()),
        ("0, then another", format!("Content-Length: 0\r\nContent-Length: {length}")),
        ("0, then another in a list", format!("Content-Length: 0, {length}")),
        ("an exponent", "Content-Length: 3e1".to_owned()),
        ("a fraction", format!("Content-Length: {length}.0")),
        ("octal with a letter", format!("Content-Length: 0o{length}")),
    ] {
        let wire = post(&line, EVIL);
        cases.push(case(REQUEST, "9112 6.3", format!("0.CL: {name}")).sends(&wire).refused(&[400]));
    }
    let folded = post(&format!("Content-Length:\r\n {length}"), EVIL);
    let known = post(&format!("Content-Length: {length}"), EVIL);
    cases.push(
        case(REQUEST, "9112 5.2", "0.CL: a fold behind the colon")
            .sends(&folded)
            .refused(&[400])
            .or_forwarded(&known),
    );
    // What is no field may be left out, or be part of another: then there is no length, and two requests.
    let (bare, in_x) = (post("X: y", ""), post(&format!("X: y Content-Length: {length}"), ""));
    for (name, lines, first) in [
        ("a name in two", format!("X: y\r\nContent Length: {length}"), &bare),
        ("a name that begins with a colon", format!("X: y\r\n:Content-Length: {length}"), &bare),
        ("a name that ends in a no-break space", format!("X: y\r\nContent-Length\u{a0}: {length}"), &bare),
        ("a fold before the name", format!("X: y\r\n Content-Length: {length}"), &in_x),
        ("a bare CR before the name", format!("X: y\rContent-Length: {length}"), &in_x),
    ] {
        let begun =
            case(REQUEST, "9112 5", format!("0.CL: {name}")).sends(&post(&lines, EVIL)).refused(&[400]);
        cases.push(begun.finals(2).or_gives(&[first, EVIL], vec![ok(), ok()]));
    }
    cases
}

/// Another minor version, which is read on another way through the parser: the rules are the same.
fn other_versions() -> Vec<Case> {
    let newer = |wire: &str| wire.replacen("HTTP/1.1", "HTTP/1.2", 1);
    let get = |lines: &str| format!("GET /a HTTP/1.1\r\n{lines}");
    let chunks = "5\r\nhello\r\n0\r\n\r\n";
    let refused = [
        ("1.2 with two lengths", post("Content-Length: 0\r\nContent-Length: 5", "hello")),
        ("1.2 with a space before a colon", post("Content-Length : 5", "hello")),
        ("1.2 with two Hosts", get("Host: h\r\nHost: h\r\n\r\n")),
        ("1.2 without a Host", get("X: y\r\n\r\n")),
    ]
    .map(|(name, wire)| (name, newer(&wire)));
    let mut cases: Vec<_> = refused
        .iter()
        .map(|(name, wire)| case(REQUEST, "9110 2.5", *name).sends(wire).refused(&[400]))
        .collect();
    let plain = get("Host: h\r\n\r\n");
    let chunked = post("Transfer-Encoding: chunked", chunks);
    let mended = [
        ("1.2 with both framings", post("Content-Length: 5\r\nTransfer-Encoding: chunked", chunks), &chunked),
        ("1.2 with a bare LF behind the line", "GET /a HTTP/1.1\nHost: h\r\n\r\n".to_owned(), &plain),
        ("1.2 with a bare LF behind a field", get("Host: h\n\r\n"), &plain),
        ("1.2 with a bare LF at the end", get("Host: h\r\n\n"), &plain),
        ("1.2 with a folded line", get("Host: h\r\nX: y\r\n z\r\n\r\n"), &get("Host: h\r\nX: y z\r\n\r\n")),
    ];
    for (name, wire, seen) in mended {
        let case = case(REQUEST, "9110 2.5", name).sends(&newer(&wire)).refused(&[400]);
        cases.push(case.or_forwarded(seen));
    }
    for (name, seen) in
        [("1.2 with a length", &post("Content-Length: 5", "hello")), ("1.2 with chunks", &chunked)]
    {
        cases.push(case(REQUEST, "9110 2.5", name).sends(&newer(seen)).forwarded(seen).or_refused());
    }
    cases
}

/// CL.0: a backend that does not read the content answers it, too. Nobody is given that answer.
fn without_content() -> Vec<Case> {
    let mut cases = Vec::new();
    for (method, framed) in [
        ("POST", format!("Content-Length: {}\r\n\r\n{EVIL}", EVIL.len())),
        ("GET", format!("Content-Length: {}\r\n\r\n{EVIL}", EVIL.len())),
        ("OPTIONS", format!("Content-Length: {}\r\n\r\n{EVIL}", EVIL.len())),
        ("POST", format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{EVIL}\r\n0\r\n\r\n", EVIL.len())),
    ] {
        let wire = format!("{method} /a HTTP/1.1\r\nHost: h\r\n{framed}");
        let coding = if framed.starts_with('T') { " in chunks" } else { "" };
        let whole = case(REQUEST, "9112 9.2", format!("CL.0: {method}{coding}, answered twice"));
        let twice = format!("{OK}{EVIL_ANSWER}");
        cases.push(
            whole
                .sends(&wire)
                .replies(&twice, Then::Keep)
                .gives(&[&wire], vec![ok()], Some(true))
                .next_on(Link::Another),
        );
        let later = case(REQUEST, "9112 9.2", format!("CL.0: {method}{coding}, answered again at rest"));
        let pieces = vec![octets(OK), octets(EVIL_ANSWER)];
        cases.push(
            later
                .sends(&wire)
                .awaits()
                .awaits_backend()
                .reply(Reply { pieces, ..Reply::default() })
                .gives(&[&wire], vec![ok()], Some(true))
                .next_on(Link::Another),
        );
    }
    // Pause-based: the content comes when the answer is out, and is no request then.
    for method in ["POST", "GET", "PUT"] {
        let head = format!("{method} /a HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", EVIL.len());
        let seen = format!("{head}{EVIL}");
        cases.push(
            case(REQUEST, "9112 9.3", format!("pause: {method}, its content behind the answer"))
                .sends(&head)
                .reply(Reply { on_head: octets(OK), ..Reply::default() })
                .awaits()
                .sends(EVIL)
                .gives_early(vec![ok()], None)
                .or_gives(&[&seen], vec![ok()]),
        );
    }
    cases
}

/// Expectations that only one of two readers knows, and content that is held back until it is asked for.
fn expectations() -> Vec<Case> {
    let head = |method: &str, expect: &str| {
        format!(
            "{method} /a HTTP/1.1\r\nHost: h\r\nExpect: {expect}\r\nContent-Length: {}\r\n\r\n",
            EVIL.len()
        )
    };
    let mut cases = Vec::new();
    for value in ["y 100-continue", "100-continue;x", "100-continue,", ",100-continue", "=100-continue", ""] {
        let wire = format!("{}{EVIL}", head("POST", value));
        let case = case(REQUEST, "9110 10.1.1", format!("Expect {value:?}")).sends(&wire).refused(&[417]);
        cases.push(case.or_forwarded(&wire));
    }
    for (name, field) in [
        ("a bare LF within", "Expect:\n100-continue"),
        ("a vertical tab within", "Expect: \u{b}100-continue"),
        ("NUL behind", "Expect: 100-continue\0"),
        ("a space before its colon", "Expect : 100-continue"),
        ("a fold", "Expect:\r\n 100-continue"),
    ] {
        let wire = head("POST", "x").replacen("Expect: x", field, 1) + EVIL;
        let plain = head("POST", "x").replacen("Expect: x\r\n", "", 1) + EVIL;
        let case = case(REQUEST, "9110 10.1.1", format!("Expect with {name}")).sends(&wire).refused(&[400]);
        cases.push(match name {
            // The line is none, or a name alone.
            "a bare LF within" => {
                let named = head("POST", "x").replacen("Expect: x", "100-continue: ", 1) + EVIL;
                case.or_forwarded(&plain).or_forwarded(&named)
            }
            "a vertical tab within" | "a fold" => case.or_forwarded(&plain),
            _ => case,
        });
    }
    let go = "HTTP/1.1 100 Continue\r\n\r\n";
    for method in ["GET", "POST", "OPTIONS"] {
        let (front, whole) = (head(method, "100-continue"), head(method, "100-continue") + EVIL);
        // A client that was not asked may keep its content to itself: what it sends next cannot be told, and is not taken.
        for (name, on_head, stays) in
            [("refused", OK.to_owned(), false), ("asked for and not read", format!("{go}{OK}"), true)]
        {
            cases.push(
                case(REQUEST, "9110 10.1.1", format!("Expect of {method}, its content {name}"))
                    .sends(&front)
                    .reply(Reply { on_head: octets(&on_head), ..Reply::default() })
                    .awaits()
                    .sends(EVIL)
                    .gives_early(vec![ok()], Some(stays))
                    .or_gives(&[&whole], vec![ok()]),
            );
        }
    }
    // A reader that has forgotten the HEAD behind the 100 takes the next response for content.
    let asked = head("HEAD", "100-continue") + EVIL;
    let reply = Reply {
        on_head: octets(go),
        pieces: vec![octets("HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n")],
        then: Then::Keep,
    };
    cases.push(case(REQUEST, "9110 10.1.1", "Expect of HEAD").head().sends(&asked).reply(reply).gives(
        &[&asked],
        vec![answer(200).content("")],
        Some(true),
    ));
    cases
}

/// Lines of chunked content that end in two ways: in the extension (EXT.TERM, TERM.EXT), behind the data (TERM.SPILL,
/// SPILL.TERM), by one octet or by two.
fn chunk_lines() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, body, by_lf) in [
        ("TERM.EXT: a bare LF behind a semicolon", "5;\nhello\r\n0\r\n\r\n", Some("hello")),
        ("TERM.EXT: a bare LF in a name", "5;a\nhello\r\n0\r\n\r\n", Some("hello")),
        ("TERM.EXT: a bare LF in a value", "5;a=b\nhello\r\n0\r\n\r\n", Some("hello")),
        ("TERM.EXT: a bare LF in a quoted value", "5;a=\"\nhello\r\n0\r\n\r\n", Some("hello")),
        ("TERM.EXT: a bare CR in a name", "5;a\rhello\r\n0\r\n\r\n", None),
        (
            "EXT.TERM: a line end in an extension's place",
            "2;\nxx\r\n5\r\nhello\r\n0\r\n\r\n",
            Some("xxhello"),
        ),
        ("EXT.TERM: a bare LF in the last size line", "5\r\nhello\r\n0;a\n\r\n", Some("hello")),
        ("TERM.SPILL: a bare LF behind data", "5\r\nhello\n0\r\n\r\n", Some("hello")),
        ("TERM.SPILL: a bare CR behind data", "5\r\nhello\r0\r\n\r\n", None),
        ("TERM.SPILL: nothing behind data", "5\r\nhello0\r\n\r\n", None),
        ("SPILL.TERM: two octets behind data", "5\r\nhelloxx0\r\n\r\n", None),
        ("SPILL.TERM: an octet and LF behind data", "5\r\nhellox\n0\r\n\r\n", None),
        ("SPILL.TERM: CR and an octet behind data", "5\r\nhello\rx0\r\n\r\n", None),
        ("SPILL.TERM: two LFs behind data", "5\r\nhello\n\n0\r\n\r\n", None),
        ("SPILL.TERM: data longer than its size", "3\r\nhello\r\n0\r\n\r\n", None),
        ("a size line of CR and an octet", "5\rxhello\r\n0\r\n\r\n", None),
        ("a last line of LF CR", "5\r\nhello\r\n0\r\n\n\r", Some("hello")),
        ("a last line of CR CR", "5\r\nhello\r\n0\r\n\r\r\n", None),
        ("an octet before the last line", "5\r\nhello\r\n0\r\nx\r\n\r\n", None),
        ("a size with a fold", "5\r\n ;a\r\nhello\r\n0\r\n\r\n", None),
        ("a size in digits of another script", "\u{d9}\u{a5}\r\nhello\r\n0\r\n\r\n", None),
    ] {
        let wire = format!("{CHUNKED}{body}");
        let case = case(REQUEST, "9112 7.1", name).sends(&wire).broken_off(&[400]);
        cases.push(match by_lf {
            Some(content) => {
                let seen = format!("{CHUNKED}{:x}\r\n{content}\r\n0\r\n\r\n", content.len());
                // Whoever ends lines at a bare LF may go on to take what is left for a request, and refuses that.
                case.or_forwarded(&seen).or_gives(&[&seen], vec![ok(), answer(400)])
            }
            // Trailers may be thrown away unread.
            None if name.ends_with("before the last line") || name.ends_with("CR CR") => {
                case.or_forwarded(&format!("{CHUNKED}5\r\nhello\r\n0\r\n\r\n"))
            }
            None => case,
        });
    }
    cases
}

/// Targets whose authority two readers could find in two places.
fn targets() -> Vec<Case> {
    let with = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut cases = Vec::new();
    for (target, sent) in [
        ("//evil/a", "//evil/a"),
        ("///evil/a", "///evil/a"),
        ("/\\evil/a", "/\\evil/a"),
        ("/@evil/a", "/@evil/a"),
        ("/http://evil/a", "/http://evil/a"),
        ("http://h//evil/a", "//evil/a"),
        ("http://h/@evil/a", "/@evil/a"),
        ("http://h?@evil/a", "/?@evil/a"),
        ("http://h/../evil", "/../evil"),
    ] {
        cases.push(
            case(REQUEST, "9112 3.2", format!("target {target}"))
                .sends(&with(target))
                .forwarded(&with(sent))
                .or_refused(),
        );
    }
    // RFC 9110 section 4.2.4 has no MUST against user information, and RFC 9112 section 3.2.1 none against a fragment.
    for (target, mended) in [
        ("http://h@evil/a", Some("GET /a HTTP/1.1\r\nHost: evil\r\n\r\n")),
        ("http://h:80@evil/a", Some("GET /a HTTP/1.1\r\nHost: evil\r\n\r\n")),
        ("http://@evil/a", Some("GET /a HTTP/1.1\r\nHost: evil\r\n\r\n")),
        ("http://h;@evil/a", Some("GET /a HTTP/1.1\r\nHost: evil\r\n\r\n")),
        ("http://h#@evil/a", Some("GET / HTTP/1.1\r\nHost: h\r\n\r\n")),
        ("http://h/a#@evil/", Some("GET /a HTTP/1.1\r\nHost: h\r\n\r\n")),
        ("http://h\\@evil/a", None),
        ("http://h\\evil/a", None),
        ("http:/evil/a", None),
        ("http:\\\\evil\\a", None),
        ("http:evil/a", None),
        ("://evil/a", None),
        ("evil/a", None),
        ("@evil/a", None),
        ("http://[::1]evil/a", None),
        ("http://h:80evil/a", None),
        ("http://h%/a", None),
    ] {
        let name = format!("target {}", target.escape_default());
        let case = case(REQUEST, "9112 3.2", name).sends(&with(target)).refused(&[400]);
        cases.push(mended.into_iter().fold(case, Case::or_forwarded));
    }
    let both = "GET http://h/a HTTP/1.1\r\nHost: h\r\nHost: evil\r\n\r\n";
    cases.extend(all_refused(REQUEST, "9112 3.2", &[("an absolute target and two Hosts", both)]));
    cases
}

/// h2c, whose frames would be a tunnel past every rule, in spellings that a backend might know.
fn upgrades() -> Vec<Case> {
    let mut cases = Vec::new();
    let plain = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    for value in ["h2c", "H2C", "h2c/1", "h2c, H2C/2.0", ",h2c", "h2c,", "\th2c", "h2c;a", "h2c /1"] {
        let fields = format!("\r\nConnection: Upgrade\r\nUpgrade: {value}\r\n\r\n");
        let wire = plain.replacen("\r\n\r\n", &fields, 1);
        let name = value.escape_default();
        cases.push(
            case(REQUEST, "9113 3.1", format!("Upgrade: {name}")).sends(&wire).forwarded(plain).or_refused(),
        );
        let switched = case(REQUEST, "9113 3.1", format!("Upgrade: {name}, and the backend switches"));
        let reply = Reply { pieces: vec![octets(switch)], then: Then::Tunnel, ..Reply::default() };
        cases.push(
            switched
                .sends(&wire)
                .reply(reply)
                .gives(&[plain], vec![answer(502)], Some(true))
                .or_gives(&[plain], vec![answer(101)])
                .or_refused(),
        );
    }
    cases
}

/// Interim responses that could hide a final one.
fn interim() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, reply) in [
        ("a 100 with content", format!("HTTP/1.1 100 Continue\r\nContent-Length: 4\r\n\r\nevil{OK}")),
        (
            "a 103 with chunks",
            format!("HTTP/1.1 103 Early\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n{OK}"),
        ),
        (
            "a 101 with content",
            "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 4\r\n\r\nevil".to_owned(),
        ),
        (
            "a 101 that changes nothing, then an answer",
            format!("HTTP/1.1 101 Switching Protocols\r\n\r\n{OK}"),
        ),
        (
            "a 101 without Upgrade",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n".to_owned(),
        ),
        ("a thousand of them", "HTTP/1.1 102 Processing\r\n\r\n".repeat(1000) + OK),
        ("one without an end", format!("HTTP/1.1 103 Early\r\nX: {}", "y".repeat(20_000))),
    ] {
        let case = case(RESPONSE, "9110 15.2", name).asks().replies(&reply, Then::Keep).bad_gateway();
        cases.push(if name == "a thousand of them" { case.or_answered(ok()) } else { case });
    }
    let hidden = format!("HTTP/1.1 103 Early\r\nContent-Length: {}\r\n\r\n{EVIL_ANSWER}", EVIL_ANSWER.len());
    // An interim response has no content: what follows it is the answer, and the only one.
    cases.push(
        case(RESPONSE, "9110 15.2", "a 103 whose length covers an answer")
            .asks()
            .replies(&hidden, Then::Keep)
            .answered(answer(200).content("evil"))
            .or_answered(answer(502)),
    );
    cases
}

/// Answers without content that bring some, and answers with a second one behind their end.
fn answers() -> Vec<Case> {
    let mut cases = Vec::new();
    let chunks = "4\r\nevil\r\n0\r\n\r\n";
    for (name, status, head, body) in [
        ("a 204 with chunks", 204, "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", chunks),
        ("a 204 with an answer behind it", 204, "HTTP/1.1 204 No\r\n\r\n", EVIL_ANSWER),
        ("a 304 with chunks", 304, "HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n", chunks),
        (
            "a 304 with a length and an answer",
            304,
            "HTTP/1.1 304 No\r\nContent-Length: 42\r\n\r\n",
            EVIL_ANSWER,
        ),
        (
            "a 304 of both framings",
            304,
            "HTTP/1.1 304 No\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
            chunks,
        ),
        (
            "a 205 of length 0 with an answer behind it",
            205,
            "HTTP/1.1 205 No\r\nContent-Length: 0\r\n\r\n",
            EVIL_ANSWER,
        ),
    ] {
        for later in [false, true] {
            let name = format!("{name}{}", if later { ", a moment later" } else { "" });
            let pieces =
                if later { vec![octets(head), octets(body)] } else { vec![octets(&format!("{head}{body}"))] };
            let case = case(RESPONSE, "9112 6.3", name).asks().awaits().awaits_backend();
            let case = case.reply(Reply { pieces, ..Reply::default() });
            cases.push(
                case.answered(answer(status).content("")).or_answered(answer(502)).next_on(Link::Another),
            );
        }
    }
    let asked = ASKED.replacen("GET", "HEAD", 1);
    for (name, head, body) in [
        ("HEAD answered with its length", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", "evil"),
        ("HEAD answered with chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunks),
        (
            "HEAD answered with an answer behind it",
            "HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n",
            EVIL_ANSWER,
        ),
    ] {
        let case = case(RESPONSE, "9112 6.3", name).head().sends(&asked).awaits().awaits_backend();
        let case = case.reply(Reply { pieces: vec![octets(head), octets(body)], ..Reply::default() });
        cases.push(case.gives(&[&asked], vec![answer(200).content("")], Some(true)).next_on(Link::Another));
    }
    cases
}

/// What another intermediary may make of such a field.
#[derive(Clone, Copy)]
enum Mended {
    /// Nothing: the request has to be refused.
    No,
    /// It is no field, and left out.
    LeftOut,
    /// It is part of the field before it.
    InX,
    /// It is `chunked`, which goes before a length.
    Chunked,
    /// It is that behind another field.
    BehindX,
}

/// Ways to write `Transfer-Encoding: chunked` that only one of two readers knows.
const HIDDEN_CODINGS: &[(&str, &str, Mended)] = &[
    ("a space before the colon", "Transfer-Encoding : chunked", Mended::No),
    ("a tab before the colon", "Transfer-Encoding\t: chunked", Mended::No),
    ("a vertical tab ends the name", "Transfer-Encoding\u{b}: chunked", Mended::LeftOut),
    ("NUL begins the name", "\0Transfer-Encoding: chunked", Mended::LeftOut),
    ("DEL ends the name", "Transfer-Encoding\u{7f}: chunked", Mended::LeftOut),
    ("a no-break space ends the name", "Transfer-Encoding\u{a0}: chunked", Mended::LeftOut),
    ("a backslash in the name", "Transfer\\Encoding: chunked", Mended::LeftOut),
    ("a space in the name", "Transfer Encoding: chunked", Mended::LeftOut),
    ("obs-text in the name", "Tran\u{c5}\u{bf}fer-Encoding: chunked", Mended::LeftOut),
    ("a colon begins the name", ":Transfer-Encoding: chunked", Mended::LeftOut),
    ("a line without its colon", "Transfer-Encoding chunked", Mended::LeftOut),
    ("two colons", "Transfer-Encoding:: chunked", Mended::No),
    ("a bare LF before it", "X: y\nTransfer-Encoding: chunked", Mended::BehindX),
    ("a bare CR before it", "X: y\rTransfer-Encoding: chunked", Mended::InX),
    ("LF CR before it", "X: y\n\rTransfer-Encoding: chunked", Mended::Chunked),
    ("a fold before it", "X: y\r\n Transfer-Encoding: chunked", Mended::InX),
    ("a fold behind the colon", "Transfer-Encoding:\r\n chunked", Mended::Chunked),
    ("a fold before the colon", "Transfer-Encoding\r\n : chunked", Mended::No),
    ("a fold within", "Transfer-Encoding: chun\r\n ked", Mended::No),
    ("a bare LF behind the colon", "Transfer-Encoding:\nchunked", Mended::No),
    ("a bare CR behind it", "Transfer-Encoding: chunked\r\rX: y", Mended::No),
    ("a vertical tab", "Transfer-Encoding: \u{b}chunked", Mended::No),
    ("a form feed", "Transfer-Encoding: \u{c}chunked", Mended::No),
    ("a control octet", "Transfer-Encoding: \u{1}chunked", Mended::No),
    ("NUL", "Transfer-Encoding: \0chunked", Mended::No),
    ("NUL behind it", "Transfer-Encoding: chunked\0", Mended::No),
    ("DEL", "Transfer-Encoding: chunked\u{7f}", Mended::No),
    ("a no-break space", "Transfer-Encoding: \u{a0}chunked", Mended::No),
    ("next line", "Transfer-Encoding: \u{85}chunked", Mended::No),
    ("a byte order mark", "Transfer-Encoding: \u{ef}\u{bb}\u{bf}chunked", Mended::No),
    ("a Kelvin sign", "Transfer-Encoding: chun\u{e2}\u{84}\u{aa}ed", Mended::No),
    ("obs-text within", "Transfer-Encoding: chu\u{96}nked", Mended::No),
    ("quotes", "Transfer-Encoding: \"chunked\"", Mended::No),
    ("single quotes", "Transfer-Encoding: 'chunked'", Mended::No),
    ("a bracket", "Transfer-Encoding: [chunked]", Mended::No),
    ("a semicolon", "Transfer-Encoding: chunked;", Mended::No),
    ("a parameter", "Transfer-Encoding: chunked;a=b", Mended::No),
    ("a comma before it", "Transfer-Encoding: ,chunked", Mended::Chunked),
    ("a comma behind it", "Transfer-Encoding: chunked,", Mended::Chunked),
    ("identity", "Transfer-Encoding: identity", Mended::No),
    ("identity, then it", "Transfer-Encoding: identity, chunked", Mended::No),
    ("it, then identity", "Transfer-Encoding: chunked, identity", Mended::No),
    ("cow", "Transfer-Encoding: cow", Mended::No),
    ("cow behind a space", "Transfer-Encoding: chunked cow", Mended::No),
    ("cow in a second field", "Transfer-Encoding: chunked\r\nTransfer-encoding: cow", Mended::No),
    ("nothing in a second field", "Transfer-Encoding: chunked\r\nTransfer-Encoding:", Mended::Chunked),
    ("it in a second field", "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked", Mended::No),
    ("x before it", "Transfer-Encoding: xchunked", Mended::No),
    ("x behind it", "Transfer-Encoding: chunkedx", Mended::No),
    ("a letter less", "Transfer-Encoding: chunke", Mended::No),
    ("plain", "Transfer-Encoding: chunked", Mended::Chunked),
    ("capitals", "TRANSFER-ENCODING: CHUNKED", Mended::Chunked),
    ("no space", "Transfer-Encoding:chunked", Mended::Chunked),
    ("a tab", "Transfer-Encoding:\tchunked", Mended::Chunked),
];
