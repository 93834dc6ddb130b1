//! Golden requests: name, wire in, verdict.

use super::super::*;
use super::{assert_request_clean, read_request};
use std::fmt::Write;

pub(super) struct Taken {
    pub(super) name: &'static str,
    pub(super) wire: &'static [u8],
    /// See [`summary`].
    verdict: &'static str,
}

pub(super) struct Refused {
    pub(super) name: &'static str,
    pub(super) wire: &'static [u8],
    status: u16,
    case: &'static str,
}

const fn taken(name: &'static str, wire: &'static [u8], verdict: &'static str) -> Taken {
    Taken { name, wire, verdict }
}

const fn refused(name: &'static str, wire: &'static [u8], status: u16, case: &'static str) -> Refused {
    Refused { name, wire, status, case }
}

/// Version, method's class, target sent, authority, framing, persistence, then everything unusual.
pub(super) fn summary(wire: &[u8]) -> String {
    read_request(wire, &HeadLimits::DEFAULT, |read| {
        let request = read.expect("taken").expect("complete");
        assert_request_clean(wire, &request);
        let mut text = format!("{:?} {:?} ", request.version, request.method);
        if request.target.slash_missing {
            text.push('/');
        }
        write!(text, "{}", request.target.path_and_query.escape_ascii()).unwrap();
        let authority = request.authority.map_or(&b"-"[..], |authority| authority.text);
        write!(text, " {} {:?} {:?}", authority.escape_ascii(), request.framing, request.persistence)
            .unwrap();
        if request.expects_continue {
            text.push_str(" continue");
        }
        if request.upgrades {
            text.push_str(" upgrades");
        }
        if let Some(forwards) = request.max_forwards {
            write!(text, " forwards={forwards}").unwrap();
        }
        text
    })
}

macro_rules! get {
    ($fields:literal) => {
        concat!("GET / HTTP/1.1\r\nHost: a\r\n", $fields, "\r\n").as_bytes()
    };
}

macro_rules! old {
    ($fields:literal) => {
        concat!("GET / HTTP/1.0\r\n", $fields, "\r\n").as_bytes()
    };
}

macro_rules! options {
    ($fields:literal) => {
        concat!("OPTIONS * HTTP/1.1\r\nHost: a\r\n", $fields, "\r\n").as_bytes()
    };
}

const PLAIN: &str = "Http11 Get / a None KeepAlive";

#[rustfmt::skip]
pub(super) static TAKEN: &[Taken] = &[
    taken("the plainest", get!(""), PLAIN),
    taken("one empty line before", b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", PLAIN),
    taken("four empty lines before", b"\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", PLAIN),
    taken("obs-text in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: \x80\xff\r\n\r\n", PLAIN),
    taken("HTAB in a value", get!("X: a\tb\r\n"), PLAIN),
    taken("white space around a value", get!("X: \t a \t\r\nY:b\r\nZ:\r\nW: \t \r\n"), PLAIN),
    taken("a value of colons", get!("X: ::a:\r\n"), PLAIN),
    taken("every token octet in a name", get!("!#$%&'*+-.^_`|~09azAZ: x\r\n"), PLAIN),
    taken("version 1.0 without fields", old!(""), "Http10 Get / - None Close"),
    taken("version 1.0 with Host", old!("Host: a:1\r\n"), "Http10 Get / a:1 None Close"),
    taken("version 1.2", b"GET / HTTP/1.2\r\nHost: a\r\nX: y\r\n\r\n", PLAIN),
    taken("version 1.9 behind an empty line", b"\r\nGET / HTTP/1.9\r\nHost: a\r\n\r\n", PLAIN),
    taken("version 1.2 without other fields is held to 1.1", b"PUT /x HTTP/1.2\r\nHost: b\r\nContent-Length: 3\r\n\r\n", "Http11 PutOrDelete /x b Length(3) KeepAlive"),
    taken("method HEAD", b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "Http11 Head / a None KeepAlive"),
    taken("method POST", b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", "Http11 Other / a None KeepAlive"),
    taken("method PATCH", b"PATCH / HTTP/1.1\r\nHost: a\r\n\r\n", "Http11 Other / a None KeepAlive"),
    taken("method PUT", b"PUT / HTTP/1.1\r\nHost: a\r\n\r\n", "Http11 PutOrDelete / a None KeepAlive"),
    taken("method DELETE", b"DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", "Http11 PutOrDelete / a None KeepAlive"),
    taken("method in small letters is another", b"get / HTTP/1.1\r\nHost: a\r\n\r\n", "Http11 Other / a None KeepAlive"),
    taken("method of odd token octets", b"!#$%&'*+-.^_`|~ / HTTP/1.1\r\nHost: a\r\n\r\n", "Http11 Other / a None KeepAlive"),
    taken("method of 32 octets", b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1\r\nHost: a\r\n\r\n", "Http11 Other / a None KeepAlive"),
    taken("method of 32 octets in 1.2", b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.2\r\nHost: a\r\n\r\n", "Http11 Other / a None KeepAlive"),
    taken("origin-form", b"GET /a//../%2e?b=?/ HTTP/1.1\r\nHost: a\r\n\r\n", "Http11 Get /a//../%2e?b=?/ a None KeepAlive"),
    taken("odd ASCII in the target", b"GET /<>^`{|}[] HTTP/1.1\r\nHost: a\r\n\r\n", "Http11 Get /<>^`{|}[] a None KeepAlive"),
    taken("UTF-8 in the target", b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", "Http11 Get /\\xc3\\xa9 a None KeepAlive"),
    taken("obs-text in the target", b"GET /\xe9\xff HTTP/1.0\r\nHost: a\r\n\r\n", "Http10 Get /\\xe9\\xff a None Close"),
    taken("absolute-form", b"GET http://b:8/x?y HTTP/1.1\r\nHost: b:8\r\n\r\n", "Http11 Get /x?y b:8 None KeepAlive"),
    taken("absolute-form over Host", b"GET https://b/x HTTP/1.1\r\nHost: a\r\n\r\n", "Http11 Get /x b None KeepAlive"),
    taken("absolute-form without path", b"GET HTTP://b HTTP/1.1\r\nHost: a\r\n\r\n", "Http11 Get / b None KeepAlive"),
    taken("absolute-form with a query alone", b"GET http://b?q HTTP/1.1\r\nHost: a\r\n\r\n", "Http11 Get /?q b None KeepAlive"),
    taken("absolute-form in 1.0", b"GET http://b/ HTTP/1.0\r\n\r\n", "Http10 Get / b None Close"),
    taken("asterisk-form", options!(""), "Http11 Options * a None KeepAlive"),
    taken("OPTIONS of a whole server in absolute-form", b"OPTIONS http://b HTTP/1.1\r\nHost: b\r\n\r\n", "Http11 Options * b None KeepAlive"),
    taken("Host with a port", b"GET / HTTP/1.1\r\nhOST: A.example:80\r\n\r\n", "Http11 Get / A.example:80 None KeepAlive"),
    taken("Host of IPv6", b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "Http11 Get / [::1]:80 None KeepAlive"),
    taken("Content-Length", get!("Content-Length: 5\r\n"), "Http11 Get / a Length(5) KeepAlive"),
    taken("Content-Length 0", get!("content-length:0\r\n"), "Http11 Get / a Length(0) KeepAlive"),
    taken("Content-Length of 63 bits", get!("Content-Length: 9223372036854775807\r\n"), "Http11 Get / a Length(9223372036854775807) KeepAlive"),
    taken("Content-Length in 1.0", old!("Content-Length: 5\r\n"), "Http10 Get / - Length(5) Close"),
    taken("chunked", get!("Transfer-Encoding: chunked\r\n"), "Http11 Get / a Chunked KeepAlive"),
    taken("chunked, case and white space", get!("transfer-ENCODING: \t ChunKed \t\r\n"), "Http11 Get / a Chunked KeepAlive"),
    taken("close", get!("Connection: close\r\n"), "Http11 Get / a None Close"),
    taken("close in a list", get!("Connection: x, CLOSE ,y\r\n"), "Http11 Get / a None Close"),
    taken("close in a second field", get!("Connection: keep-alive\r\nConnection: close\r\n"), "Http11 Get / a None Close"),
    taken("an option that only begins like close", get!("Connection: closed, xclose, clos\r\n"), PLAIN),
    taken("keep-alive in 1.0", old!("Connection: Keep-Alive\r\n"), "Http10 Get / - None KeepAlive"),
    taken("close before keep-alive in 1.0", old!("Connection: close, keep-alive\r\n"), "Http10 Get / - None Close"),
    taken("Proxy-Connection counts for nothing", old!("Proxy-Connection: keep-alive\r\n"), "Http10 Get / - None Close"),
    taken("100-continue", get!("Expect: 100-Continue\r\nContent-Length: 1\r\n"), "Http11 Get / a Length(1) KeepAlive continue"),
    taken("100-continue of a 1.0 client", old!("Expect: 100-continue\r\n"), "Http10 Get / - None Close"),
    taken("another expectation of a 1.0 client", old!("Expect: x\r\n"), "Http10 Get / - None Close"),
    taken("upgrade", get!("Connection: Upgrade\r\nUpgrade: websocket\r\n"), "Http11 Get / a None KeepAlive upgrades"),
    taken("upgrade in lists", get!("Upgrade: h2c, foo/1\r\nConnection: keep-alive, upgrade\r\n"), "Http11 Get / a None KeepAlive upgrades"),
    taken("upgrade to h2c alone", get!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: H2C\r\n"), PLAIN),
    taken("upgrade to h2c with a version", get!("Connection: Upgrade\r\nUpgrade: h2c/1, H2C;x\r\n"), PLAIN),
    taken("upgrade to nothing", get!("Connection: Upgrade\r\nUpgrade:\r\n"), PLAIN),
    taken("Upgrade without the option", get!("Upgrade: websocket\r\n"), PLAIN),
    taken("the option without Upgrade", get!("Connection: upgrade\r\n"), PLAIN),
    taken("upgrade of a 1.0 client", old!("Connection: upgrade\r\nUpgrade: websocket\r\n"), "Http10 Get / - None Close"),
    taken("Max-Forwards", options!("Max-Forwards: 10\r\n"), "Http11 Options * a None KeepAlive forwards=10"),
    taken("Max-Forwards 0 of TRACE", b"TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", "Http11 Trace / a None KeepAlive forwards=0"),
    taken("Max-Forwards above all", options!("Max-Forwards: 99999999999999999999\r\n"), "Http11 Options * a None KeepAlive forwards=18446744073709551615"),
    taken("Max-Forwards of GET", get!("Max-Forwards: 1\r\n"), PLAIN),
    taken("Max-Forwards malformed", options!("Max-Forwards: +1\r\n"), "Http11 Options * a None KeepAlive"),
    taken("Max-Forwards empty", options!("Max-Forwards:\r\n"), "Http11 Options * a None KeepAlive"),
    taken("Max-Forwards twice", options!("Max-Forwards: 1\r\nMax-Forwards: 1\r\n"), "Http11 Options * a None KeepAlive"),
];

const LINE: &str = "malformed request line";
const NAME: &str = "malformed field name";
const VALUE: &str = "malformed field value";
const CODING: &str = "Transfer-Encoding is not chunked";
const LENGTH: &str = "malformed Content-Length";
const TARGET: &str = "malformed request target";
const VERSION: &str = "HTTP version not supported";

#[rustfmt::skip]
pub(super) static REFUSED: &[Refused] = &[
    refused("five empty lines before", b"\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "too many empty lines before the request"),
    refused("an empty line of a bare LF", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, BARE_LF),
    refused("an empty line of a bare CR", b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, BARE_LF),
    refused("an empty line of two CR", b"\r\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, BARE_LF),
    refused("bare LF behind the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400, BARE_LF),
    refused("bare LF behind the request line, no fields", b"GET / HTTP/1.0\n\r\n", 400, BARE_LF),
    refused("bare LF behind a first field", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400, BARE_LF),
    refused("bare LF behind an empty value", b"GET / HTTP/1.1\r\nHost: a\r\nX:\nY: z\r\n\r\n", 400, BARE_LF),
    refused("bare LF behind trailing white space", b"GET / HTTP/1.1\r\nHost: a\r\nX: y \nY: z\r\n\r\n", 400, BARE_LF),
    refused("bare LF behind the last field", b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400, BARE_LF),
    refused("bare LF as the last line", b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400, BARE_LF),
    refused("bare LF as the last line, no fields", b"GET / HTTP/1.0\r\n\n", 400, BARE_LF),
    refused("bare LF everywhere", b"GET / HTTP/1.1\nHost: a\n\n", 400, BARE_LF),
    refused("bare LF in 1.2", b"GET / HTTP/1.2\r\nHost: a\nX: y\r\n\r\n", 400, BARE_LF),
    refused("bare LF behind obs-text in the target", b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\n", 400, BARE_LF),
    refused("bare CR in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n", 400, VALUE),
    refused("bare CR before a value", b"GET / HTTP/1.1\r\nHost: a\r\nX:\ry\r\n\r\n", 400, VALUE),
    refused("two CR behind a value", b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400, VALUE),
    refused("bare CR in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX\rY: y\r\n\r\n", 400, NAME),
    refused("bare CR as the last line", b"GET / HTTP/1.1\r\nHost: a\r\n\rX", 400, BARE_LF),
    refused("two CR behind the request line", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400, BARE_LF),
    refused("bare CR in the request line", b"GET /\rHTTP/1.1\r\nHost: a\r\n\r\n", 400, "no version in the request line"),
    refused("NUL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n", 400, VALUE),
    refused("vertical tab in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\x0bz\r\n\r\n", 400, VALUE),
    refused("form feed at a value's end", b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\x0c\r\n\r\n", 400, VALUE),
    refused("DEL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", 400, VALUE),
    refused("obs-fold with a space", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", 400, NAME),
    refused("obs-fold with a HTAB", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tz: 1\r\n\r\n", 400, NAME),
    refused("white space before the colon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, NAME),
    refused("HTAB before the colon", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length\t: 1\r\n\r\n", 400, NAME),
    refused("white space before the first field", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, NAME),
    refused("white space before the first field of 1.2", b"GET / HTTP/1.2\r\n Host: a\r\n\r\n", 400, NAME),
    refused("empty name", get!(": x\r\n"), 400, NAME),
    refused("line without colon", get!("X\r\n"), 400, NAME),
    refused("name with a space", get!("X Y: z\r\n"), 400, NAME),
    refused("name with a delimiter", get!("X(Y): z\r\n"), 400, NAME),
    refused("name with obs-text", b"GET / HTTP/1.1\r\nHost: a\r\nX\xe9: z\r\n\r\n", 400, NAME),
    refused("name with NUL", b"GET / HTTP/1.1\r\nHost: a\r\nX\0: z\r\n\r\n", 400, NAME),
    refused("space before the request line", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
    refused("two spaces behind the method", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
    refused("two spaces behind the target", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
    refused("HTAB behind the method", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
    refused("HTAB behind the target", b"GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
    refused("space behind the version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, LINE),
    refused("space in the target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
    refused("version named twice", b"GET / HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n", 400, BARE_LF),
    refused("method alone", b"GET\r\n\r\n", 400, LINE),
    refused("no method", b"/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
    refused("method with a delimiter", b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
    refused("method with obs-text", b"G\xe9T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
    refused("method of 33 octets", b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "method too long"),
    refused("method of 33 octets, incomplete", b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG", 400, "method too long"),
    refused("TLS instead of HTTP", b"\x16\x03\x01\x02\0\x01\0\x01\xfc", 400, "TLS on a plain port"),
    refused("TLS behind an empty line", b"\r\n\x16\x03\x01", 400, "TLS on a plain port"),
    refused("control octets", b"\x16\x04\x01\x02", 400, LINE),
    refused("HTTP/0.9", b"GET /\r\n", 400, "no version in the request line"),
    refused("HTTP/0.9 with a bare LF", b"GET /\n", 400, "no version in the request line"),
    refused("HTTP/0.9 by name", b"GET / HTTP/0.9\r\n\r\n", 400, "HTTP/0.9 is not served"),
    refused("HTTP/2.0", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, VERSION),
    refused("HTTP/0.8", b"GET / HTTP/0.8\r\nHost: a\r\n\r\n", 505, VERSION),
    refused("HTTP/9.1", b"GET / HTTP/9.1\r\nHost: a\r\n\r\n", 505, VERSION),
    refused("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, VERSION),
    refused("HTTP/1.10", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400, LINE),
    refused("HTTP/01.1", b"GET / HTTP/01.1\r\nHost: a\r\n\r\n", 400, LINE),
    refused("HTTP/1", b"GET / HTTP/1\r\nHost: a\r\n\r\n", 400, LINE),
    refused("HTTP/2", b"GET / HTTP/2\r\nHost: a\r\n\r\n", 400, LINE),
    refused("HTTP/1,1", b"GET / HTTP/1,1\r\nHost: a\r\n\r\n", 400, LINE),
    refused("version in small letters", b"GET / http/1.1\r\nHost: a\r\n\r\n", 400, LINE),
    refused("another protocol", b"GET / RTSP/1.0\r\nHost: a\r\n\r\n", 400, LINE),
    refused("fragment", b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "forbidden octet in the request target"),
    refused("fragment behind obs-text", b"GET /\xe9#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "forbidden octet in the request target"),
    refused("NUL in the target", b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
    refused("DEL in the target", b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
    refused("relative target", b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400, TARGET),
    refused("scheme that is not HTTP's", b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, TARGET),
    refused("absolute-form with an empty host", b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed authority in the target"),
    refused("absolute-form with user information", b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed authority in the target"),
    refused("absolute-form without Host in 1.1", b"GET http://a/ HTTP/1.1\r\n\r\n", 400, "no Host field"),
    refused("asterisk-form without OPTIONS", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target * without OPTIONS"),
    refused("CONNECT", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501, "CONNECT is not served"),
    refused("authority-form without CONNECT", b"GET a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400, TARGET),
    refused("no Host", b"GET / HTTP/1.1\r\n\r\n", 400, "no Host field"),
    refused("no Host in 1.2", b"GET / HTTP/1.2\r\n\r\n", 400, "no Host field"),
    refused("two Host fields", get!("host: b\r\n"), 400, "two Host fields"),
    refused("two equal Host fields", get!("Host: a\r\n"), 400, "two Host fields"),
    refused("two Host fields in 1.0", old!("Host: a\r\nHost: a\r\n"), 400, "two Host fields"),
    refused("empty Host", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "malformed Host"),
    refused("malformed Host in 1.0", old!("Host: a b\r\n"), 400, "malformed Host"),
    refused("Host with a path", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "malformed Host"),
    refused("Host with user information", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, "malformed Host"),
    refused("Host with obs-text", b"GET / HTTP/1.1\r\nHost: \xe9\r\n\r\n", 400, "malformed Host"),
    refused("Host with port 65536", b"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400, "malformed Host"),
    refused("malformed Host beside absolute-form", b"GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "malformed Host"),
    refused("Transfer-Encoding and Content-Length", get!("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400, "Transfer-Encoding with Content-Length"),
    refused("Content-Length and Transfer-Encoding", get!("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), 400, "Transfer-Encoding with Content-Length"),
    refused("Transfer-Encoding and broken Content-Length", get!("Content-Length: x\r\nTransfer-Encoding: gzip, chunked\r\n"), 400, "Transfer-Encoding with Content-Length"),
    refused("Transfer-Encoding in 1.0", old!("Transfer-Encoding: chunked\r\n"), 400, "Transfer-Encoding in HTTP/1.0"),
    refused("chunked twice", get!("Transfer-Encoding: chunked, chunked\r\n"), 400, CODING),
    refused("chunked in two fields", get!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400, CODING),
    refused("chunked not last", get!("Transfer-Encoding: chunked, gzip\r\n"), 400, CODING),
    refused("not chunked", get!("Transfer-Encoding: gzip\r\n"), 400, CODING),
    refused("identity", get!("Transfer-Encoding: identity\r\n"), 400, CODING),
    refused("almost chunked", get!("Transfer-Encoding: xchunked\r\n"), 400, CODING),
    refused("chunked with a parameter", get!("Transfer-Encoding: chunked;q=1\r\n"), 400, CODING),
    refused("chunked in quotes", get!("Transfer-Encoding: \"chunked\"\r\n"), 400, CODING),
    refused("chunked behind an empty element", get!("Transfer-Encoding: ,chunked\r\n"), 400, CODING),
    refused("empty Transfer-Encoding", get!("Transfer-Encoding:\r\n"), 400, CODING),
    refused("another coding, then chunked", get!("Transfer-Encoding: gzip, chunked\r\n"), 501, "unknown transfer coding"),
    refused("another coding, then chunked, in two fields", get!("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"), 501, "unknown transfer coding"),
    refused("Content-Length with a sign", get!("Content-Length: +5\r\n"), 400, LENGTH),
    refused("negative Content-Length", get!("Content-Length: -5\r\n"), 400, LENGTH),
    refused("Content-Length in hex", get!("Content-Length: 0x5\r\n"), 400, LENGTH),
    refused("Content-Length with white space inside", get!("Content-Length: 5 5\r\n"), 400, LENGTH),
    refused("empty Content-Length", get!("Content-Length:\r\n"), 400, LENGTH),
    refused("Content-Length of 64 bits", get!("Content-Length: 9223372036854775808\r\n"), 400, LENGTH),
    refused("list of equal Content-Length", get!("Content-Length: 5, 5\r\n"), 400, "repeated Content-Length"),
    refused("equal Content-Length twice", get!("Content-Length: 5\r\nContent-Length: 5\r\n"), 400, "repeated Content-Length"),
    refused("differing Content-Length", get!("Content-Length: 5\r\nContent-Length: 6\r\n"), 400, LENGTH),
    refused("unknown expectation", get!("Expect: 200-ok\r\n"), 417, "unknown expectation"),
    refused("a known and an unknown expectation", get!("Expect: 100-continue, x\r\n"), 417, "unknown expectation"),
    refused("an unknown, then a known expectation", get!("Expect: x\r\nExpect: 100-continue\r\n"), 417, "unknown expectation"),
    refused("empty expectation", get!("Expect:\r\n"), 417, "unknown expectation"),
];

#[test]
fn golden_requests_are_taken() {
    for case in TAKEN {
        read_request(case.wire, &HeadLimits::DEFAULT, |read| {
            let head_bytes = read.map(|request| request.map(|request| request.head_bytes));
            assert_eq!(head_bytes, Ok(Some(case.wire.len())), "{}", case.name);
        });
        assert_eq!(summary(case.wire), case.verdict, "{}", case.name);
    }
}

#[test]
fn golden_requests_are_refused() {
    for case in REFUSED {
        read_request(case.wire, &HeadLimits::DEFAULT, |read| {
            let reply = read.map(|request| request.map(|_| ())).expect_err(case.name);
            assert_eq!((reply.status, reply.reason), (case.status, case.case), "{}", case.name);
        });
    }
}

#[test]
fn the_wire_is_borrowed_as_it_came() {
    let wire = b"\r\nPUT /\xe9?q HTTP/1.1\r\nHost: a\r\nX:  \x80 y\t\r\nx: z\r\n\r\nsurplus";
    read_request(wire, &HeadLimits::DEFAULT, |read| {
        let request = read.unwrap().unwrap();
        assert_eq!((request.method_text, request.target_text), ("PUT", &b"/\xe9?q"[..]));
        assert_eq!(request.target.path(), b"/\xe9");
        assert_eq!(request.fields.len(), 3);
        assert_eq!((request.field("HOST"), request.field("x")), (Some(&b"a"[..]), Some(&b"\x80 y"[..])));
        assert_eq!(request.field("y"), None);
        assert_eq!(&wire[request.head_bytes..], b"surplus");
    });
}

/// The status of a request: 0 if it is incomplete, 200 if it is accepted.
fn status(wire: &[u8], limits: &HeadLimits) -> u16 {
    read_request(wire, limits, |read| match read {
        Err(reply) => reply.status,
        Ok(None) => 0,
        Ok(Some(_)) => 200,
    })
}

/// Both paths through the code: what httparse accepts whole, and what it does not.
const VERSIONS: [&str; 2] = ["HTTP/1.1", "HTTP/1.2"];

#[test]
fn the_target_has_its_limit() {
    let limits = HeadLimits { target_bytes_max: 100, ..HeadLimits::DEFAULT };
    for version in VERSIONS {
        let wire = |bytes: usize| format!("GET /{} {version}\r\nHost: a\r\n\r\n", "x".repeat(bytes - 1));
        assert_eq!(status(wire(100).as_bytes(), &limits), 200);
        assert_eq!(status(wire(101).as_bytes(), &limits), 414);
        // Incomplete heads: within the target, after it, and before the end.
        for cut in [4 + 101, 4 + 102, 4 + 105, wire(101).len() - 1] {
            assert_eq!(status(&wire(101).as_bytes()[..cut], &limits), 414, "{cut}");
        }
        assert_eq!(status(&wire(101).as_bytes()[..4 + 100], &limits), 0);
    }
    // RFC 9112 section 3 recommends 8000 octets at least.
    const { assert!(HeadLimits::DEFAULT.target_bytes_max >= 8000) };
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(7999));
    assert_eq!(status(long.as_bytes(), &HeadLimits::DEFAULT), 200);
}

#[test]
fn the_head_has_its_limit() {
    for version in VERSIONS {
        for before in ["", "\r\n\r\n"] {
            let wire = format!("{before}GET / {version}\r\nHost: a\r\nX: yyyyyyyyyyy\r\n\r\n");
            let bytes = wire.len() - before.len();
            let limits = |head_bytes_max| HeadLimits { head_bytes_max, ..HeadLimits::DEFAULT };
            assert_eq!(status(wire.as_bytes(), &limits(bytes)), 200, "the empty lines do not count");
            assert_eq!(status(wire.as_bytes(), &limits(bytes - 1)), 431);
            assert_eq!(status(&wire.as_bytes()[..wire.len() - 1], &limits(bytes)), 0);
            assert_eq!(
                status(&wire.as_bytes()[..wire.len() - 1], &limits(bytes - 1)),
                431,
                "it cannot end in time"
            );
            // Octets after the head do not count.
            assert_eq!(status((wire.clone() + &wire).as_bytes(), &limits(bytes)), 200);
        }
        let endless = format!("GET / {version}\r\nHost: a\r\nX: {}", "y".repeat(40_000));
        assert_eq!(status(endless.as_bytes(), &HeadLimits::DEFAULT), 431);
    }
    // A request line that does not end: here the target's limit is above the head's.
    let limits = HeadLimits { head_bytes_max: 50, ..HeadLimits::DEFAULT };
    assert_eq!(status(format!("GET /{}", "x".repeat(44)).as_bytes(), &limits), 0);
    assert_eq!(status(format!("GET /{}", "x".repeat(45)).as_bytes(), &limits), 431);
}

#[test]
fn fields_have_their_limit() {
    for version in VERSIONS {
        let wire =
            |count: usize| format!("GET / {version}\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(count - 1));
        for fields_max in [1, 100, 128, FIELDS_CEILING] {
            let limits = HeadLimits { fields_max, ..HeadLimits::DEFAULT };
            assert_eq!(status(wire(fields_max).as_bytes(), &limits), 200, "{fields_max}");
            assert_eq!(status(wire(fields_max + 1).as_bytes(), &limits), 431, "{fields_max}");
            let incomplete = wire(fields_max + 1);
            let incomplete = &incomplete.as_bytes()[..incomplete.len() - 2];
            assert_eq!(status(incomplete, &limits), 431, "{fields_max}");
        }
        // A setting above the ceiling is capped.
        let limits = HeadLimits { fields_max: FIELDS_CEILING + 1, ..HeadLimits::DEFAULT };
        assert_eq!(status(wire(FIELDS_CEILING).as_bytes(), &limits), 200);
        assert_eq!(status(wire(FIELDS_CEILING + 1).as_bytes(), &limits), 431);
    }
    const { assert!(HeadLimits::DEFAULT.fields_max >= 100) };
}

#[test]
fn connection_options_have_their_limit() {
    for version in VERSIONS {
        for line in [",", " ,, ", "\r\nconnection:"] {
            let wire = |count: usize| {
                let options: Vec<String> = (0..count).map(|number| format!("x-{number}")).collect();
                format!("GET / {version}\r\nHost: a\r\nConnection: {}\r\n\r\n", options.join(line))
            };
            assert_eq!(status(wire(CONNECTION_NAMES_MAX).as_bytes(), &HeadLimits::DEFAULT), 200, "{line}");
            assert_eq!(
                status(wire(CONNECTION_NAMES_MAX + 1).as_bytes(), &HeadLimits::DEFAULT),
                400,
                "{line}"
            );
        }
    }
}

#[test]
fn a_head_request_is_told_by_its_first_word() {
    for (bytes, expected) in [
        ("HEAD / HTTP/1.1\r\n", true),
        ("HEAD ", true),
        ("\r\n\r\n\r\n\r\nHEAD ", true),
        ("\r\n\r\n\r\n\r\n\r\nHEAD ", false),
        ("HEAD", false),
        ("head ", false),
        (" HEAD ", false),
        ("\nHEAD ", false),
        ("HEADER / HTTP/1.1", false),
        ("", false),
    ] {
        assert_eq!(begins_as_head(bytes.as_bytes()), expected, "{bytes:?}");
    }
}
