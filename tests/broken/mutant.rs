//! Files with a fault or a few: what slips from a keyboard, what a bad merge leaves, what somebody believes who has not read the
//! manual. Some of them turn out to be good files.

use super::choices::Choices;

/// Files without a fault, to be broken.
const GOOD: [&str; 4] = [
    include_str!("../../apex.toml"),
    "[server]\nlisten = [\"127.0.0.1:8081\", \"[::1]:8081\"]\nworkers = 2\ntimeout_secs = 30\nheader_timeout_secs = 2.5\n\
     idle_timeout_secs = 75\nconnect_timeout_secs = 3\nshutdown_delay_secs = 0\naccess_log = true\nhead_bytes_max = 32768\n\
     fields_max = 128\ntarget_bytes_max = 16384\nbody_bytes_max = 10_000_000\nconnections_max = 10000\n\
     trusted_proxies = [\"10.0.0.0/8\", \"fd00::/8\"]\nvia = \"edge-1\"\nrequest_id = true\nwatch = false\n\n\
     [[routes]]\nname = \"shop\"\nhost = \"*.example.com\"\npath_prefix = \"/shop\"\nstrip_prefix = true\n\
     load_balancing = \"least_connections\"\nbackends = [\n    { url = \"http://127.0.0.1:9001\", weight = 3 },\n    \
     { url = \"http://127.0.0.1:9002\" },\n]\n\n[[routes]]\nname = \"rest\"\nbackends = [{ url = \"http://[::1]:9003\" }]\n",
    "server.listen = \"127.0.0.1:8082\"\nserver.watch = true\nroutes = [\n  { name = \"a\", backends = [{ url = \"http://a\" }] },\n  \
     { name = \"b\", host = \"b.example\", body_bytes_max = 1, backends = [{ url = \"http://b:81\", weight = 2 }] },\n]\n",
    "# Umlaute: äöü\n[server]\nlisten = '0.0.0.0:8083' # \"quoted\"\n[[routes]]\nname = \"\"\"w\u{fc}rze\"\"\"\n\
     path_prefix = \"/caf\\u0065\"\n[[routes.backends]]\nurl = \"http://127.0.0.1:9004\"\n[[routes.backends]]\n\
     url = \"http://127.0.0.1:9005\"\nweight = 0x10\n",
];

/// Texts that stand in for others, mostly wrongly.
const SWAPS: [(&str, &[&str]); 22] = [
    ("true", &["yes", "\"true\"", "1", "True", "[]"]),
    ("false", &["no", "off", "0", "{}"]),
    ("30", &["\"30\"", "-30", "30s", "1e400", "nan", "0", "99999999999999999999", "3_0_", "030"]),
    ("128", &["0", "513", "128.5", "\"128\"", "0x", "1_28_"]),
    ("weight = ", &["weight = -", "weight = 7000", "wieght = ", "weight = \"", "weight == "]),
    ("http://", &["https://", "http:/", "", "ftp://", "http://user@", "http://[", "HTTP//"]),
    (":9001", &[":90011", ":", ":0", ":9001/path", ":9001?x", ":-1", ":9 001"]),
    ("127.0.0.1:", &["127.0.0.256:", "localhost:", "127.0.0.1", ":", "*:", "127.0.0.1:8081:"]),
    ("[[routes]]", &["[routes]", "[[route]]", "[[routes]", "[[routes.backends]]", "[[]]", "[[routes]] x"]),
    ("[server]", &["[[server]]", "[sever]", "[server", "[server.x]", "server]"]),
    ("backends", &["backend", "beckends", "\"backends\"", "backends.x", "Backends"]),
    ("name = ", &["nome = ", "name : ", "name ", "name = 7 # ", "name = [] # "]),
    ("listen", &["listn", "Listen", "bind", "listen.x"]),
    ("_secs", &["_sec", "_ms", "", "_secs_secs"]),
    ("\"least_connections\"", &["\"least\"", "\"round-robin\"", "least_connections", "\"Random\"", "3"]),
    (
        "path_prefix = \"/",
        &[
            "path_prefix = \"",
            "path_prefix = \"/a?",
            "path_prefix = \"/#",
            "prefix = \"/",
            "path_prefix = [\"/",
        ],
    ),
    (
        "*.example.com",
        &["*example.com", "*.*.com", "exa mple.com", "*.", "example.com:80", "http://example.com"],
    ),
    ("10.0.0.0/8", &["10.0.0.0/33", "10.0.0.0/", "10.0.0.1/8", "10/8", "ten"]),
    ("edge-1", &["edge 1", "", "edge,1", "edge\\n1"]),
    (" = ", &[" ", " == ", " := ", " = = ", ": "]),
    ("\"", &["", "'", "\"\"", "\\\"", "\u{201c}"]),
    ("]", &["", "]]", "}", "],,"]),
];

/// A file with a fault or a few.
pub(crate) fn mutant(random: &mut Choices) -> Vec<u8> {
    let mut text = random.pick(&GOOD).to_owned();
    for _ in 0..random.within(1, 3) {
        text = match random.below(10) {
            0..4 => swapped(&text, random),
            4..6 => with_other_lines(&text, random),
            _ => with_other_characters(&text, random),
        };
    }
    let mut bytes = text.into_bytes();
    if random.percent(3) {
        let at = random.below(bytes.len() + 1);
        bytes.splice(
            at..at,
            random
                .pick(&[&b"\xff"[..], b"\xc3", b"\xe2\x82", b"\x00", b"\xef\xbb\xbf", b"\r"])
                .iter()
                .copied(),
        );
    }
    if random.percent(3) {
        bytes.truncate(random.below(bytes.len() + 1));
    }
    bytes
}

/// One place of a text that has one of [`SWAPS`], with another text there.
fn swapped(text: &str, random: &mut Choices) -> String {
    let there: Vec<_> = SWAPS.iter().filter(|(from, _)| text.contains(from)).collect();
    if there.is_empty() {
        return text.to_owned();
    }
    let (from, to) = there[random.below(there.len())];
    let places: Vec<usize> = text.match_indices(from).map(|(at, _)| at).collect();
    let (at, to) = (random.pick(&places), random.pick(to));
    format!("{}{to}{}", &text[..at], &text[at + from.len()..])
}

/// A line that is missing, there twice, elsewhere, a comment, or strange here.
fn with_other_lines(text: &str, random: &mut Choices) -> String {
    const STRANGE: [&str; 8] = [
        "<<<<<<< HEAD",
        "timeout = 3",
        "tls = true",
        "[[routes]]",
        "[server]",
        "name = \"shop\"",
        "include = \"other.toml\"",
        "backends = [{ url = \"http://127.0.0.1:9001\" }, { url = \"http://127.0.0.1:9001\" }]",
    ];
    let mut lines: Vec<&str> = text.lines().collect();
    let (at, to) = (random.below(lines.len()), random.below(lines.len()));
    match random.below(5) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(to, lines[at]),
        2 => lines.swap(at, to),
        3 => lines.insert(at, random.pick(&STRANGE)),
        _ => {
            // Everything from there on once more.
            let more = lines[at..].to_vec();
            lines.extend(more);
        }
    }
    lines.join("\n") + "\n"
}

/// A character that is missing, there twice, another one, or new.
fn with_other_characters(text: &str, random: &mut Choices) -> String {
    const NEW: [char; 20] = [
        '"', '\'', '[', ']', '{', '}', '=', '#', ',', '.', '\\', '\n', ' ', '\t', '0', '-', 'x', '/', ':',
        '\u{e4}',
    ];
    let mut chars: Vec<char> = text.chars().collect();
    let at = random.below(chars.len());
    match random.below(4) {
        0 => drop(chars.remove(at)),
        1 => chars.insert(at, chars[at]),
        2 => chars[at] = random.pick(&NEW),
        _ => chars.insert(at, random.pick(&NEW)),
    }
    chars.into_iter().collect()
}
