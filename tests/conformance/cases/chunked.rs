//! The chunked coding of a request: sizes, extensions, line ends, its end (RFC 9112 section 7.1).

use super::super::case::{Case, Group, case, ok};

const CHUNKED: Group = Group("chunked coding");

const HEAD: &str = "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";

fn seen(content: &str) -> String {
    if content.is_empty() {
        return format!("{HEAD}0\r\n\r\n");
    }
    format!("{HEAD}{:x}\r\n{content}\r\n0\r\n\r\n", content.len())
}

pub fn cases() -> Vec<Case> {
    [taken(), taken_by_others(), refused(), ends()].concat()
}

fn taken() -> Vec<Case> {
    let long = format!("5;a={}\r\nhello\r\n0\r\n\r\n", "b".repeat(1000));
    let ones: String =
        "hello".chars().map(|c| format!("1\r\n{c}\r\n")).collect::<Vec<_>>().concat() + "0\r\n\r\n";
    let mut cases = Vec::new();
    for (name, body, content) in [
        ("one chunk", "5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("two chunks", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "hello"),
        ("chunks of one octet", ones.as_str(), "hello"),
        ("no chunk but the last", "0\r\n\r\n", ""),
        ("lower-case hex", "a\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("upper-case hex", "A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("leading zeros", "005\r\nhello\r\n0\r\n\r\n", "hello"),
        ("a last chunk of several zeros", "5\r\nhello\r\n000\r\n\r\n", "hello"),
        ("line ends within data", "6\r\n\r\n0\r\n\r\r\n0\r\n\r\n", "\r\n0\r\n\r"),
        ("an extension", "5;a\r\nhello\r\n0\r\n\r\n", "hello"),
        ("an extension with a value", "5;a=b\r\nhello\r\n0\r\n\r\n", "hello"),
        ("two extensions", "5;a=b;c\r\nhello\r\n0\r\n\r\n", "hello"),
        ("an extension with a quoted value", "5;a=\"b c\"\r\nhello\r\n0\r\n\r\n", "hello"),
        ("an extension with quotes in quotes", "5;a=\"b\\\"; c\"\r\nhello\r\n0\r\n\r\n", "hello"),
        ("an extension of the last chunk", "5\r\nhello\r\n0;a=b\r\n\r\n", "hello"),
        ("white space behind the semicolon", "5; a\r\nhello\r\n0\r\n\r\n", "hello"),
        ("white space around the equals sign", "5;a = b\r\nhello\r\n0\r\n\r\n", "hello"),
    ] {
        cases.push(case(CHUNKED, "9112 7.1", name).sends(&format!("{HEAD}{body}")).forwarded(&seen(content)));
    }
    for (name, body) in [
        ("sixteen digits", "0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n"),
        ("a long extension", long.as_str()),
    ] {
        cases.push(
            case(CHUNKED, "9112 7.1", name)
                .sends(&format!("{HEAD}{body}"))
                .forwarded(&seen("hello"))
                .or_refused(),
        );
    }
    let mut split = case(CHUNKED, "9112 7.1", "each octet alone").sends(HEAD);
    for octet in "5;a=\"b\"\r\nhello\r\n0\r\n\r\n".chars() {
        split = split.sends(&octet.to_string());
    }
    cases.push(split.forwarded(&seen("hello")));
    cases
}

/// What Apex refuses and another may read in the one way there is.
fn taken_by_others() -> Vec<Case> {
    let long = format!("5;a={}\r\nhello\r\n0\r\n\r\n", "b".repeat(2000));
    let mut cases = Vec::new();
    for (name, body) in [
        ("space behind the size", "5 \r\nhello\r\n0\r\n\r\n"),
        ("tab behind the size", "5\t\r\nhello\r\n0\r\n\r\n"),
        ("space before the size", " 5\r\nhello\r\n0\r\n\r\n"),
        ("white space before an extension", "5 ;a\r\nhello\r\n0\r\n\r\n"),
        ("two sizes", "5 5\r\nhello\r\n0\r\n\r\n"),
        ("seventeen digits", "00000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("bare LF behind the size", "5\nhello\r\n0\r\n\r\n"),
        ("bare LF behind an extension", "5;a\nhello\r\n0\r\n\r\n"),
        ("bare LF behind data", "5\r\nhello\n0\r\n\r\n"),
        ("bare LF behind the last size", "5\r\nhello\r\n0\n\r\n"),
        ("bare LF at the end", "5\r\nhello\r\n0\r\n\n"),
        ("two semicolons", "5;;a\r\nhello\r\n0\r\n\r\n"),
        ("a semicolon alone", "5;\r\nhello\r\n0\r\n\r\n"),
        ("an extension without a name", "5;=b\r\nhello\r\n0\r\n\r\n"),
        ("an extension that is no token", "5;a[]=b\r\nhello\r\n0\r\n\r\n"),
        ("an open quote", "5;a=\"b\r\nhello\r\n0\r\n\r\n"),
        ("control octet in an extension", "5;a=\u{1}\r\nhello\r\n0\r\n\r\n"),
        ("an extension too long", long.as_str()),
    ] {
        let wire = format!("{HEAD}{body}");
        cases.push(
            case(CHUNKED, "9112 7.1", name).sends(&wire).broken_off(&[400]).or_forwarded(&seen("hello")),
        );
    }
    cases
}

fn refused() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, body) in [
        ("no size", "\r\nhello\r\n0\r\n\r\n"),
        ("a size of letters", "xyz\r\nhello\r\n0\r\n\r\n"),
        ("a letter behind the size", "5h\r\nhello\r\n0\r\n\r\n"),
        ("a plus sign", "+5\r\nhello\r\n0\r\n\r\n"),
        ("a minus sign", "-5\r\nhello\r\n0\r\n\r\n"),
        ("0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("an underscore in the size", "0_5\r\nhello\r\n0\r\n\r\n"),
        ("a decimal point", "5.0\r\nhello\r\n0\r\n\r\n"),
        ("a quoted size", "\"5\"\r\nhello\r\n0\r\n\r\n"),
        ("NUL behind the size", "5\0\r\nhello\r\n0\r\n\r\n"),
        ("vertical tab behind the size", "5\u{b}\r\nhello\r\n0\r\n\r\n"),
        ("obs-text behind the size", "5\u{a0}\r\nhello\r\n0\r\n\r\n"),
        ("an extension without a size", ";a\r\nhello\r\n0\r\n\r\n"),
        ("a size over 63 bits", "8000000000000000\r\nhello\r\n0\r\n\r\n"),
        ("a size over 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("all ones", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ("all ones and the like of a sign", "fffffffffffffffb\r\nhello\r\n0\r\n\r\n"),
        ("thirty digits", "100000000000000000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("CR alone behind the size", "5\rhello\r\n0\r\n\r\n"),
        ("CR CR LF behind the size", "5\r\r\nhello\r\n0\r\n\r\n"),
        ("CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("no line end behind data", "5\r\nhello0\r\n\r\n"),
        ("other octets behind data", "5\r\nhelloXX0\r\n\r\n"),
        ("data longer than its size", "4\r\nhello\r\n0\r\n\r\n"),
        ("CR and another octet behind data", "5\r\nhello\rX0\r\n\r\n"),
        ("a sign before the last size", "5\r\nhello\r\n-0\r\n\r\n"),
        ("0x before the last size", "5\r\nhello\r\n0x0\r\n\r\n"),
        ("a second chunk without a size", "5\r\nhello\r\n\r\n0\r\n\r\n"),
        ("not chunked at all", "GET /evil HTTP/1.1\r\nHost: evil\r\n\r\n"),
    ] {
        cases.push(case(CHUNKED, "9112 7.1", name).sends(&format!("{HEAD}{body}")).broken_off(&[400]));
    }
    // RFC 9112 section 7.1.1: a quoted value cannot hold a line end; whoever thinks so sees another request.
    let evil = "GET /evil HTTP/1.1\r\nHost: evil\r\n\r\n";
    let quoted = "5;a=\"\r\nhello\r\n0\r\n\r\nGET /evil HTTP/1.1\r\nHost: evil\r\n\r\n\"\r\n";
    cases.push(
        case(CHUNKED, "9112 7.1.1", "a line end in a quoted value")
            .sends(&format!("{HEAD}{quoted}"))
            .broken_off(&[400])
            .finals(3)
            .or_gives(&[&seen("hello"), evil], vec![ok(), ok(), super::super::case::answer(400)]),
    );
    cases
}

/// Bodies that end too early, or with something behind their end.
fn ends() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, body) in [
        ("nothing", ""),
        ("a size and no more", "5"),
        ("a size line and no more", "5\r\n"),
        ("data cut short", "5\r\nhel"),
        ("data and no more", "5\r\nhello"),
        ("a chunk and no more", "5\r\nhello\r\n"),
        ("the last size and no more", "5\r\nhello\r\n0\r\n"),
        ("half of the last line end", "5\r\nhello\r\n0\r\n\r"),
        ("half of a trailer", "5\r\nhello\r\n0\r\nX: y\r\n"),
        ("a size over 32 bits", "100000005\r\nhello\r\n0\r\n\r\n"),
        ("the largest size", "7fffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    ] {
        let name = format!("cut short: {name}");
        let wire = format!("{HEAD}{body}");
        cases.push(case(CHUNKED, "9112 8", name).sends(&wire).half_closes().broken_off(&[400, 413]));
    }
    let body = "5\r\nhello\r\n0\r\n\r\n";
    let second = "GET /b HTTP/1.1\r\nHost: h\r\n\r\n";
    cases.push(
        case(CHUNKED, "9112 9.3.2", "a request right behind").sends(&format!("{HEAD}{body}{second}")).gives(
            &[&seen("hello"), second],
            vec![ok(), ok()],
            Some(true),
        ),
    );
    cases.push(
        case(CHUNKED, "9112 3", "what is no request right behind")
            .sends(&format!("{HEAD}{body}XYZ\r\n\r\n"))
            .gives(&[&seen("hello")], vec![ok(), super::super::case::answer(400)], Some(false))
            .or_gives(&[&seen("hello")], vec![ok()]),
    );
    cases
}
