//! Request targets in their four forms (RFC 9112 section 3.2).

use super::super::case::{Case, Group, case};
use super::{all_forwarded, all_forwarded_or_refused, all_refused, all_refused_or};

const TARGET: Group = Group("target forms");

const H: &str = " HTTP/1.1\r\nHost: h\r\n\r\n";

pub fn cases() -> Vec<Case> {
    [origin_form(), absolute_form(), other_forms()].concat()
}

/// What an origin-form may hold passes octet by octet.
fn origin_form() -> Vec<Case> {
    let mut cases = Vec::new();
    for target in [
        "/",
        "/a?",
        "/a?b=c?d",
        "/a;p=1,2",
        "/a//b/",
        "/a%2Fb%2fc",
        "/~u/-._!$&'()*+,;=:@",
        "/%E2%82%AC",
        "//a/b",
    ] {
        let wire = format!("GET {target}{H}");
        cases.push(case(TARGET, "9112 3.2.1", target).sends(&wire).forwarded(&wire));
    }
    // Not all of these are URIs, and some lead out of the root: an intermediary may refuse them, but not mend them unseen.
    for target in [
        "/a/./b",
        "/a/../b",
        "/../../b",
        "/%2e%2e/b",
        "/a%00b",
        "/%zz",
        "/%",
        "/a%0d%0ab",
        "/a\"b",
        "/a<b>",
        "/a\\b",
        "/a^b",
        "/a`b",
        "/a{b}",
        "/a|b",
        "/a[b]",
        "/a?b[]=%zz",
        "/*",
        "/http://x/",
        "/caf\u{e9}",
        "/a?\u{ff}",
    ] {
        let wire = format!("GET {target}{H}");
        let name = target.escape_default().to_string();
        cases.push(case(TARGET, "9112 3.2.1", name).sends(&wire).forwarded(&wire).or_refused());
    }
    let fragment = [
        ("fragment", "GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"),
        (
            "fragment behind a query",
            "GET /a?c#b HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /a?c HTTP/1.1\r\nHost: h\r\n\r\n",
        ),
        ("empty fragment", "GET /a# HTTP/1.1\r\nHost: h\r\n\r\n", "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"),
    ];
    cases.extend(all_refused_or(TARGET, "9112 3.2.1", &fragment));
    cases
}

fn absolute_form() -> Vec<Case> {
    // RFC 9112 section 3.2.2: an origin server takes the absolute-form, and its authority counts.
    let forwarded = [
        ("absolute", "GET http://h/a?b HTTP/1.1\r\nHost: h\r\n\r\n", "GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n"),
        (
            "absolute, upper-case scheme",
            "GET HTTP://h/a HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
        ),
        (
            "absolute without a path",
            "GET http://t HTTP/1.1\r\nHost: t\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: t\r\n\r\n",
        ),
        (
            "absolute with a query alone",
            "GET http://t?q HTTP/1.1\r\nHost: t\r\n\r\n",
            "GET /?q HTTP/1.1\r\nHost: t\r\n\r\n",
        ),
        (
            "absolute with a port",
            "GET http://t:81/a HTTP/1.1\r\nHost: t:81\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: t:81\r\n\r\n",
        ),
    ];
    let forwarded_or_refused = [
        (
            "absolute, another Host",
            "GET http://t/a HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: t\r\n\r\n",
        ),
        (
            "absolute https",
            "GET https://h/a HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
        ),
        (
            "absolute IPv6",
            "GET http://[::1]/a HTTP/1.1\r\nHost: [::1]\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: [::1]\r\n\r\n",
        ),
        (
            "absolute, empty port",
            "GET http://h:/a HTTP/1.1\r\nHost: h:\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: h:\r\n\r\n",
        ),
    ];
    let mut cases = all_forwarded(TARGET, "9112 3.2.2", &forwarded);
    cases.push(
        case(TARGET, "9112 3.2.4", "absolute OPTIONS of the server")
            .sends("OPTIONS http://h HTTP/1.1\r\nHost: h\r\n\r\n")
            .forwarded("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n")
            // What a proxy owes here (an asterisk) a gateway need not.
            .or_forwarded("OPTIONS / HTTP/1.1\r\nHost: h\r\n\r\n")
            .or_refused(),
    );
    cases.extend(all_forwarded_or_refused(TARGET, "9112 3.2.2", &forwarded_or_refused));
    cases.extend(all_refused(TARGET, "9112 3.2.2", NO_ABSOLUTE_FORMS));
    cases.extend(all_refused_or(TARGET, "9112 3.2.2", ABSOLUTE_FORMS_TO_MEND));
    cases
}

fn other_forms() -> Vec<Case> {
    let asterisk = "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut cases = all_forwarded_or_refused(TARGET, "9112 3.2.4", &[("OPTIONS *", asterisk, asterisk)]);
    let refused = [
        ("* without OPTIONS", "GET * HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("two asterisks", "OPTIONS ** HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("an asterisk and more", "OPTIONS *x HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("authority without CONNECT", "GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("a relative path", "GET a/b HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("a dot", "GET ./a HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("a query alone", "GET ?a HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("an escaped slash", "GET %2Fa HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("a backslash", "GET \\a HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("an at sign", "GET @h/a HTTP/1.1\r\nHost: h\r\n\r\n"),
    ];
    cases.extend(all_refused(TARGET, "9112 3.2", &refused));
    cases
}

/// Absolute-forms that name nobody, or that no server takes.
const NO_ABSOLUTE_FORMS: &[(&str, &str)] = &[
    ("absolute, empty host", "GET http:///a HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("absolute, port alone", "GET http://:80/a HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("absolute, port no number", "GET http://h:x/a HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("absolute, two ports", "GET http://h:80:81/a HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("absolute, open bracket", "GET http://[::1/a HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("absolute, broken host", "GET http://a\\b/a HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("absolute without Host", "GET http://h/a HTTP/1.1\r\n\r\n"),
    ("absolute with two Hosts", "GET http://h/a HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n"),
    ("absolute with a malformed Host", "GET http://h/a HTTP/1.1\r\nHost: a b\r\n\r\n"),
    ("absolute, one slash", "GET http:/h/a HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("absolute, no slash", "GET http:h/a HTTP/1.1\r\nHost: h\r\n\r\n"),
];

/// Absolute-forms that Apex refuses and another may mend: RFC 9110 section 4.2.4 would have user information treated as an
/// error, but there is no MUST. With what is then forwarded.
const ABSOLUTE_FORMS_TO_MEND: &[(&str, &str, &str)] = &[
    (
        "absolute, port too large",
        "GET http://h:65536/a HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    (
        "absolute, another scheme",
        "GET ftp://h/a HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    (
        "absolute with a user",
        "GET http://u@h/a HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    (
        "absolute with a fragment",
        "GET http://h/a#b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
];
