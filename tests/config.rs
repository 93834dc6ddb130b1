//! The configuration file for users: the messages for broken files, and the file that is shipped.

use apex::config::{self, Config, Problems, Server};
use apex::route::spec::Balancing;
use std::path::Path;
use std::time::Duration;

const SHIPPED: &str = include_str!("../apex.toml");

/// A file without fault, to be put behind a faulty `[server]`.
const ROUTE: &str = "[[routes]]\nname = \"a\"\nbackends = [{ url = \"http://127.0.0.1:9001\" }]\n";

fn refused(text: &str) -> Problems {
    config::parse(text, "apex.toml").expect_err(text)
}

fn accepted(text: &str) -> Config {
    config::parse(text, "apex.toml").unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

/// Every problem of `text`, in order, as (line, column, part of what or hint).
fn assert_problems(text: &str, expected: &[(usize, usize, &str)]) {
    let problems = refused(text);
    let places: Vec<(usize, usize)> = problems
        .told
        .iter()
        .map(|problem| problem.place.as_ref().map_or((0, 0), |place| (place.line, place.column)))
        .collect();
    let expected_places: Vec<(usize, usize)> =
        expected.iter().map(|&(line, column, _)| (line, column)).collect();
    assert_eq!(places, expected_places, "{text}\n{problems}");
    for (problem, (_, _, words)) in problems.told.iter().zip(expected) {
        let said = problem.line_for_log("apex.toml");
        assert!(said.contains(words), "{text}\n{said}\nlacks {words}");
    }
}

#[test]
fn the_shipped_file_is_right() {
    let config = accepted(SHIPPED);
    assert_eq!(config.server, Server::default());
    assert_eq!(config.routes.len(), 1);
    assert_eq!(config.routes[0].name, "my-api");
    assert_eq!(config.routes[0].backends.len(), 2);
}

#[test]
fn the_shipped_file_shows_every_key_with_its_default() {
    // A line such as `# idle_timeout_secs = 75` is a key; one that ends in "an example" has no default to show.
    let key = |line: &&str| line.starts_with("# ") && line[2..].split(' ').nth(1) == Some("=");
    let commented: Vec<&str> = SHIPPED.lines().filter(key).collect();
    let uncomment = |examples: bool| {
        let lines = SHIPPED.lines().map(|line| {
            let wanted = commented.contains(&line) && (examples || !line.ends_with("# an example"));
            if wanted { &line[2..] } else { line }
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(accepted(&uncomment(false)), accepted(SHIPPED));
    let all = accepted(&uncomment(true));
    assert_eq!(all.server.connections_max, Some(10_000));
    let own = all.routes[0].policy.as_deref().unwrap();
    assert_eq!((own.body_bytes_max, own.retries_max), (Some(10 << 20), None));
    // The messages list every key that there is: the file must show each.
    for text in ["[server]\nzzzzzzzz = 1\n", "[[routes]]\nzzzzzzzz = 1\n"] {
        let problems = refused(text);
        let unknown = problems.told.iter().find(|problem| problem.what.contains("zzzzzzzz"));
        let hint = &unknown.expect("an unknown key").hint;
        let keys = hint.split(" are ").nth(1).expect("a list of keys");
        for key in keys.split(", ") {
            let shown = uncomment(true).lines().any(|line| line.starts_with(&format!("{key} = ")));
            assert!(shown, "`{key}` is not shown");
        }
    }
}

#[test]
fn reads_every_key() {
    let config = accepted(
        r#"
[server]
listen = ["127.0.0.1:0", "[::1]:8443"]
workers = 4
timeout_secs = 0.25
access_log = false
header_timeout_secs = 1
idle_timeout_secs = 0.5
connect_timeout_secs = 1.5
backend_idle_timeout_secs = 2
shutdown_timeout_secs = 1e1
shutdown_delay_secs = 0.5
upgrade_timeout_secs = 2.5
head_bytes_max = 0x2000
fields_max = 512
target_bytes_max = 8_000
body_bytes_max = 1000
tunnel_timeout_secs = 60
connections_max = 7
trusted_proxies = ["10.0.0.0/8", "::1"]
via = "edge-1"
request_id = true
watch = true
pid_file = "/run/apex.pid"

[[routes]]
name = "one"
host = "*.Example.com"
path_prefix = "/api/"
strip_prefix = true
load_balancing = "least_connections"
body_bytes_max = 5
[[routes.backends]]
url = "http://[::1]:9001"
weight = 65535

[[routes]]
name = "two"
backends = [{ url = "http://b" }]
"#,
    );
    let server = &config.server;
    assert_eq!(server.listen, ["127.0.0.1:0".parse().unwrap(), "[::1]:8443".parse().unwrap()]);
    assert_eq!((server.workers, server.access_log, server.watch), (4, false, true));
    assert_eq!(server.timeout, Duration::from_millis(250));
    assert_eq!(server.header_timeout, Duration::from_secs(1));
    assert_eq!(server.idle_timeout, Duration::from_millis(500));
    assert_eq!(server.connect_timeout, Duration::from_millis(1500));
    assert_eq!(server.backend_idle_timeout, Duration::from_secs(2));
    assert_eq!(server.shutdown_timeout, Duration::from_secs(10));
    assert_eq!(server.shutdown_delay, Duration::from_millis(500));
    assert_eq!(server.upgrade_timeout, Duration::from_millis(2500));
    assert_eq!(server.pid_file.as_deref(), Some(Path::new("/run/apex.pid")));
    assert_eq!((server.head.head_bytes_max, server.head.fields_max), (8192, 512));
    assert_eq!((server.head.target_bytes_max, server.body_bytes_max), (8000, Some(1000)));
    assert_eq!((server.via.as_deref(), server.request_id), (Some("edge-1"), true));
    assert_eq!((server.connections_max, server.trusted_proxies.len()), (Some(7), 2));
    let [one, two] = &config.routes[..] else { panic!("two routes") };
    assert_eq!((one.strip_prefix, one.balancing), (true, Balancing::LeastConnections));
    assert_eq!(one.path_prefix.as_str(), "/api");
    assert_eq!((one.backends[0].weight, &*one.backends[0].address.authority()), (65535, "[::1]:9001"));
    assert_eq!((&two.policy, two.backends[0].address.authority()), (&None, String::from("b:80")));
    assert_eq!(server.policy().body_bytes_max, 1000);
    assert_eq!((server.policy().tunnel_timeout, server.policy().retries_max), (Duration::from_secs(60), 3));
    assert_eq!(two.balancing, Balancing::RoundRobin);
}

#[test]
fn reads_the_limits_of_a_route() {
    let keys = "body_bytes_max = 5\ntimeout_secs = 7\nconnect_timeout_secs = 0.5\ntunnel_timeout_secs = 86400\n\
                retries_max = 0";
    let config = accepted(&format!("{ROUTE}\n{keys}\n"));
    let policy = config.routes[0].policy.as_deref().unwrap().over(&config.server.policy());
    assert_eq!((policy.body_bytes_max, policy.retries_max), (5, 0));
    let times = [policy.timeout, policy.connect_timeout, policy.tunnel_timeout];
    assert_eq!(times.map(|time| time.as_millis()), [7_000, 500, 86_400_000]);
}

#[test]
fn defaults_follow_what_they_depend_on() {
    let server = accepted(&format!("[server]\ntimeout_secs = 2\nhead_bytes_max = 4096\n{ROUTE}")).server;
    assert_eq!((server.header_timeout, server.connect_timeout), (server.timeout, server.timeout));
    assert_eq!(server.head.target_bytes_max, 4096);
    let server = accepted(&format!("[server]\ntimeout_secs = 5\n{ROUTE}")).server;
    assert_eq!(server.header_timeout, Duration::from_secs(5));
    assert_eq!(server.connect_timeout, Duration::from_secs(3));
    assert_eq!(accepted(ROUTE).server, Server::default());
}

#[test]
fn byte_order_marks_and_line_ends_of_windows_are_taken() {
    let windows = format!("\u{feff}{}", SHIPPED.replace('\n', "\r\n"));
    assert_eq!(accepted(&windows), accepted(SHIPPED));
    let broken = "\u{feff}[server]\r\nworkrs = 1\r\n".to_owned() + &ROUTE.replace('\n', "\r\n");
    assert_problems(&broken, &[(2, 1, "unknown key `workrs`; did you mean `workers`?")]);
    assert!(!refused(&broken).to_string().contains('\r'));
}

#[test]
fn renders_like_this() {
    let text = "\
[server]
\tlisten = \":8080\"
timeout_secs = \"30\"

# Höhe
[[routes]]
name = \"a\"
path_prefx = \"/api\"
backends = [
    { url = \"https://b\" }, { url = \"http://c\", weight = 0 },
]
";
    let expected = "\
error: `:8080` is not an address to listen on
 --> apex.toml:2:11
  |
2 | \tlisten = \":8080\"
  | \t         ^^^^^^^ write \"0.0.0.0:8080\"

error: expected a number of seconds, found a string
 --> apex.toml:3:16
  |
3 | timeout_secs = \"30\"
  |                ^^^^ write 30 without quotes

error: unknown key `path_prefx`
 --> apex.toml:8:1
  |
8 | path_prefx = \"/api\"
  | ^^^^^^^^^^ did you mean `path_prefix`?

error: bad `url` of a backend
  --> apex.toml:10:13
   |
10 |     { url = \"https://b\" }, { url = \"http://c\", weight = 0 },
   |             ^^^^^^^^^^^ HTTPS

error: `weight` is out of range
  --> apex.toml:10:57
   |
10 |     { url = \"https://b\" }, { url = \"http://c\", weight = 0 },
   |                                                         ^ a whole number from 1 to 65535; 1 where it is left out
";
    // The words about the URL are those of `route`.
    let https = apex::route::spec::BackendAddress::parse_url("https://b").unwrap_err();
    assert_eq!(refused(text).to_string(), expected.replace("HTTPS", &https));
}

#[test]
fn renders_an_empty_file_and_a_missing_one() {
    let expected = "\
error: the file has no `[[routes]]`
 --> apex.toml:1:1
  |
1 |
  | ^ add `[[routes]]` with `name = \"my-api\"` and `backends = [{ url = \"http://127.0.0.1:9001\" }]`
";
    assert_eq!(refused("").to_string(), expected);
    let missing = config::load("no-such-dir/apex.toml".as_ref()).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "error: cannot read `no-such-dir/apex.toml`: there is no such file\n  hint: name the file with `--config FILE`\n"
    );
}

#[test]
fn wrong_values_of_the_server() {
    let cases: &[(&str, usize, &str)] = &[
        ("timeout = 3", 1, "did you mean `timeout_secs`?"),
        ("path_prefix = \"/\"", 1, "`path_prefix` belongs in `[[routes]]`"),
        ("banana = 1", 1, "the keys in `[server]` are listen, workers"),
        ("workers = -1", 11, "`workers` is out of range; a whole number from 0 to 1024"),
        ("workers = 1025", 11, "out of range"),
        ("workers = 1.5", 11, "expected a whole number, found a number with a fraction"),
        ("workers = \"4\"", 11, "expected a whole number, found a string; write 4 without quotes"),
        ("workers = 99999999999999999999", 11, "out of range"),
        ("access_log = \"true\"", 14, "expected `true` or `false`, found a string; write true without"),
        ("access_log = 1", 14, "expected `true` or `false`, found a whole number"),
        ("timeout_secs = 0", 16, "out of range; a number of seconds from 0.001 to 86400"),
        ("timeout_secs = -3", 16, "out of range"),
        ("timeout_secs = nan", 16, "out of range"),
        ("timeout_secs = inf", 16, "out of range"),
        ("timeout_secs = 1e999", 16, "out of range"),
        ("idle_timeout_secs = 86401", 21, "out of range"),
        ("connect_timeout_secs = 1e-9", 24, "out of range"),
        ("header_timeout_secs = [1]", 23, "expected a number of seconds, found a list"),
        ("shutdown_timeout_secs = 07:32:00", 25, "found a date or time"),
        ("backend_idle_timeout_secs = true", 29, "found a boolean"),
        ("head_bytes_max = 1023", 18, "a whole number from 1024 to 1048576"),
        ("head_bytes_max = 1048577", 18, "out of range"),
        ("fields_max = 513", 14, "a whole number from 1 to 512"),
        ("fields_max = 0", 14, "out of range"),
        ("target_bytes_max = 32769", 20, "from 64 to `head_bytes_max`, which is 32768"),
        ("body_bytes_max = 0", 18, "without the key there is no limit"),
        ("body_bytes_max = \"10M\"", 18, "expected a whole number, found a string"),
        ("connections_max = 0", 19, "out of range"),
        ("listen = \"8080\"", 10, "write \"0.0.0.0:8080\""),
        ("listen = 8080", 10, "write \"0.0.0.0:8080\""),
        ("listen = \"*:80\"", 10, "write \"0.0.0.0:80\""),
        ("listen = \"localhost:80\"", 10, "write \"127.0.0.1:80\""),
        ("listen = \"127.0.0.1\"", 10, "write \"127.0.0.1:8080\""),
        ("listen = \"http://10.0.0.1:80/\"", 10, "write \"10.0.0.1:80\""),
        ("listen = \"::1\"", 10, "\"[::1]:8080\""),
        ("listen = \"[::]\"", 10, "\"[::]:8080\""),
        ("listen = \"0.0.0.0:80800\"", 10, "a port from 0 to 65535"),
        ("listen = \"example.com:80\"", 10, "an IP address and a port"),
        ("listen = \"\"", 10, "is not an address"),
        ("listen = []", 10, "names no address"),
        ("listen = true", 10, "expected an address in quotes, found a boolean"),
        ("listen = [\"[::]:80\", \"[0::0]:80\"]", 22, "names [::]:80 twice"),
        ("listen = [\"0.0.0.0:80\", 81]", 25, "write \"0.0.0.0:81\""),
        ("trusted_proxies = \"10.0.0.0/8\"", 19, "expected a list of networks, found a string"),
        ("trusted_proxies = [\"10.0.0.1/8\"]", 20, "the network is \"10.0.0.0/8\""),
        ("trusted_proxies = [\"::/0\", \"10.0.0.0/40\"]", 28, "from 0 to 32"),
        ("via = \"my proxy\"", 7, "is no name for `Via`"),
        ("pid_file = \"\"", 12, "is not the path of a file"),
        ("pid_file = \"/run/\"", 12, "for example \"/run/apex.pid\""),
        ("pid_file = 7", 12, "expected a path in quotes"),
        ("via = true", 7, "expected a name in quotes, found a boolean"),
        ("trusted_proxies = [10]", 20, "expected a network in quotes, found a whole number"),
        ("watch = no", 9, "write `false`"),
    ];
    for (line, column, words) in cases {
        assert_problems(&format!("[server]\n{line}\n{ROUTE}"), &[(2, *column, words)]);
    }
}

#[test]
fn wrong_values_of_a_route() {
    let cases: &[(&str, usize, &str)] = &[
        ("pathprefix = \"/\"", 1, "did you mean `path_prefix`?"),
        ("idle_timeout_secs = 3", 1, "`idle_timeout_secs` belongs in `[server]`"),
        ("timeout_secs = 0", 16, "out of range"),
        ("retries_max = 101", 15, "a whole number from 0 to 100"),
        ("url = \"http://a\"", 1, "`url` belongs in a backend"),
        ("backend = []", 1, "did you mean `backends`?"),
        ("host = 3", 8, "expected text in quotes, found a whole number; write \"3\""),
        ("host = [\"a\", \"b\"]", 8, "write a route for each"),
        ("host = \"a b\"", 8, "bad `host`"),
        ("host = \"a.*\"", 8, "bad `host`"),
        ("host = \"\"", 8, "bad `host`"),
        ("path_prefix = \"api\"", 15, "bad `path_prefix`"),
        ("strip_prefix = \"yes\"", 16, "expected `true` or `false`, found a string"),
        ("load_balancing = \"round-robin\"", 18, "did you mean \"round_robin\"?"),
        ("load_balancing = \"magic\"", 18, "one of round_robin, least_connections, random"),
        ("body_bytes_max = -1", 18, "out of range"),
    ];
    for (line, column, words) in cases {
        assert_problems(&format!("{ROUTE}{line}\n"), &[(4, *column, words)]);
    }
    let cases: &[(&str, usize, &str)] = &[
        ("[]", 12, "the list of backends is empty"),
        ("\"http://a\"", 12, "expected a list of backends, found a string"),
        ("[\"http://a\"]", 13, "expected a table, found a string; write { url = \"http://a\" }"),
        ("[{}]", 13, "the backend has no `url`"),
        ("[{ uri = \"http://a\", url = \"http://a\" }]", 15, "did you mean `url`?"),
        ("[{ url = 3 }]", 21, "expected text in quotes"),
        ("[{ url = \"a:80\" }]", 21, "bad `url`"),
        ("[{ url = \"http://a/x\" }]", 21, "bad `url`"),
        ("[{ url = \"http://u@a\" }]", 21, "bad `url`"),
        ("[{ url = \"http://a\", weight = 65536 }]", 42, "`weight` is out of range"),
        ("[{ url = \"http://a\", weight = 1.5 }]", 42, "expected a whole number"),
        ("[{ url = \"http://a\" }, { url = \"http://A:80\" }]", 43, "line 3 has it already"),
    ];
    for (backends, column, words) in cases {
        let text = format!("[[routes]]\nname = \"a\"\nbackends = {backends}\n");
        assert_problems(&text, &[(3, *column, words)]);
    }
    for (name, words) in [
        ("\"\"", "`name` is empty"),
        ("\" a\"", "white space"),
        ("\"a\\nb\"", "control character"),
        ("3", "expected text in quotes, found a whole number"),
    ] {
        assert_problems(&ROUTE.replace("\"a\"", name), &[(2, 8, words)]);
    }
}

#[test]
fn shapes_of_tables() {
    assert_problems("[server]\nworkers = 2\n", &[(1, 1, "the file has no `[[routes]]`")]);
    assert_problems("routes = []\n", &[(1, 10, "the list of routes is empty")]);
    assert_problems("routes = [3]\n", &[(1, 11, "expected a table, found a whole number")]);
    assert_problems("[routes]\nname = \"a\"\n", &[(1, 1, "write `[[routes]]`, in two brackets")]);
    assert_problems(&format!("[[server]]\n{ROUTE}"), &[(1, 1, "write `[server]`")]);
    assert_problems(&format!("server = 3\n{ROUTE}"), &[(1, 10, "expected a table, found a whole number")]);
    assert_problems(&format!("listen = 3\n{ROUTE}"), &[(1, 1, "`listen` belongs in `[server]`")]);
    assert_problems(&format!("[sever]\n{ROUTE}"), &[(1, 2, "did you mean `server`?")]);
    assert_problems(
        &ROUTE.replace("routes", "route"),
        &[(1, 1, "no `[[routes]]`"), (1, 3, "did you mean `routes`?")],
    );
    assert_problems(
        "[[routes]]\n",
        &[(1, 1, "the route has no `name`"), (1, 1, "the route has no `backends`")],
    );
}

#[test]
fn what_must_not_be_there_twice() {
    let route = |name: &str, more: &str| {
        format!("[[routes]]\nname = \"{name}\"\n{more}\nbackends = [{{ url = \"http://a\" }}]\n")
    };
    let twice = |first: &str, second: &str| route("a", first) + &route("b", second);
    assert_problems(
        &(route("a", "path_prefix = \"/x\"") + &route("a", "")),
        &[(6, 8, "the name `a` is taken; line 2 has it already")],
    );
    let never = "the route `b` can never be reached; `a` in line 3 takes the same host and path prefix";
    assert_problems(&twice("path_prefix = \"/api/\"", "path_prefix = \"/api\""), &[(7, 15, never)]);
    assert_problems(&twice("host = \"A.com\"", "host = \"a.com\""), &[(7, 8, never)]);
    assert_problems(&twice("host = \"*\"", "path_prefix = \"/\""), &[(7, 15, never)]);
    assert_problems(&twice("", ""), &[(5, 1, "`a` in line 1 takes the same")]);
    accepted(&twice("host = \"a.com\"", "host = \"*.a.com\""));
    accepted(&twice("path_prefix = \"/a\"", "path_prefix = \"/ab\""));
    accepted(&format!("[server]\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n{ROUTE}"));
}

#[test]
fn broken_syntax_hides_nothing_that_is_certain() {
    assert_problems(
        "[server]\nworkers = \nwatch = 3\nlisten = \":80\n[[routes]]\nbackends = [{ url = 3 }]\n",
        &[
            (2, 11, "the value is missing"),
            (3, 9, "`true` or `false`"),
            (4, 14, "not TOML"),
            (6, 21, "text in quotes"),
        ],
    );
    assert_problems("[server\n", &[(1, 8, "unclosed table; expected `]`")]);
    assert_problems("a = b.c\n", &[(1, 5, "text stands in quotes")]);
    assert_problems(&format!("[server]\ntimeout_secs = 30s\n{ROUTE}"), &[(2, 16, "without a unit")]);
    assert_problems(&format!("[server]\n[server]\n{ROUTE}"), &[(2, 2, "duplicate key")]);
    assert_problems("\u{1}", &[(1, 1, "not TOML")]);
    assert_problems("x = \"", &[(1, 6, "not TOML")]);
}

#[test]
fn files_that_cannot_be_read() {
    let dir = tempdir();
    let path = dir.join("apex.toml");
    let told = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        config::load(&path).unwrap_err()
    };
    let directory = config::load(&dir).unwrap_err();
    assert!(directory.told[0].what.ends_with("it is a directory"), "{directory}");
    let latin = told(b"[server]\n# caf\xe9\n");
    let place = latin.told[0].place.as_ref().unwrap();
    assert_eq!((latin.told[0].what.as_str(), place.line, place.column), ("not UTF-8", 2, 6));
    let size = usize::try_from(config::FILE_BYTES_MAX).unwrap();
    let large = told(&vec![b'\n'; size + 1]);
    assert!(large.told[0].what.ends_with("is larger than 32 MiB"), "{large}");
    std::fs::write(&path, SHIPPED).unwrap();
    assert_eq!(config::load(&path).unwrap(), accepted(SHIPPED));
    std::fs::remove_dir_all(dir).unwrap();
}

fn tempdir() -> std::path::PathBuf {
    let dir =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("config-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    dir
}

#[test]
fn very_many_problems_are_counted_and_not_all_told() {
    let problems = refused(&format!("{ROUTE}{}", "[[routes]]\nx = 1\n".repeat(1000)));
    assert_eq!(problems.count(), 4000);
    assert_eq!(problems.told.len(), 100);
    assert!(problems.to_string().ends_with("\nand 3900 more\n"));
}

/// xorshift64*: a sequence that is the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).expect("31 bits") % bound
    }
}

#[test]
fn mutated_files_are_taken_or_refused_at_a_place_inside() {
    const PIECES: [&str; 24] = [
        "\"",
        "'",
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
        ",",
        ".",
        "#",
        "\n",
        "\r",
        "\t",
        "0",
        "-1",
        "1e400",
        "nan",
        "ü",
        "\u{0}",
        "\"\"\"",
        "true",
        "99999999999999999999",
    ];
    // With every commented key in force, there is more to break.
    let whole: String = SHIPPED
        .lines()
        .map(|line| {
            line.strip_prefix("# ").filter(|rest| rest.contains(" = ")).unwrap_or(line).to_owned() + "\n"
        })
        .collect();
    accepted(&whole);
    for seed in 1..=4000_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut chars: Vec<char> = whole.chars().collect();
        for _ in 0..=random.below(4) {
            let at = random.below(chars.len());
            let end = (at + random.below(12)).min(chars.len());
            match random.below(4) {
                0 => drop(chars.drain(at..end)),
                1 => drop(chars.splice(at..at, PIECES[random.below(PIECES.len())].chars())),
                2 => drop(chars.splice(at..end, PIECES[random.below(PIECES.len())].chars())),
                _ => {
                    let from = random.below(chars.len());
                    let copied: Vec<char> = chars[from..(from + 40).min(chars.len())].to_vec();
                    drop(chars.splice(at..at, copied));
                }
            }
        }
        let text: String = chars.into_iter().collect();
        let Err(problems) = config::parse(&text, "apex.toml") else { continue };
        assert!(!problems.told.is_empty(), "seed {seed}");
        for problem in &problems.told {
            let place = problem.place.as_ref().expect("a place");
            let line = text.split('\n').nth(place.line - 1);
            let line = line.unwrap_or_else(|| panic!("seed {seed}: {problems}")).trim_end_matches('\r');
            assert!((1..=line.chars().count() + 1).contains(&place.column), "seed {seed}: {problems}");
            assert!(place.marked >= 1 && !problem.what.is_empty(), "seed {seed}: {problems}");
        }
        assert!(!problems.to_string().contains(['\u{0}', '\r']), "seed {seed}");
    }
}

#[test]
fn what_users_of_other_servers_write_has_a_hint_of_its_own() {
    let server = |keys: &str| format!("[server]\n{keys}\n{ROUTE}");
    let route = |keys: &str| format!("{ROUTE}\n{keys}\n");
    let cases = [
        (server("timeout_secs = \"30s\""), "write 30: seconds, without quotes and unit"),
        (server("idle_timeout_secs = \"1m30s\""), "write 90: seconds"),
        (server("timeout_secs = \"30\""), "write 30 without quotes"),
        (route("timeout_secs = \"500ms\""), "write 0.5: seconds"),
        (server("body_bytes_max = \"10M\""), "write 10485760: octets, without quotes and unit"),
        (route("body_bytes_max = \"64 KiB\""), "write 65536: octets"),
        (route("path_prefix = \"/a*\""), "write `/a`"),
        (
            server("listen = [{ address = \"0.0.0.0:443\", tls = true }]"),
            "write `0.0.0.0:443` in quotes alone: TLS",
        ),
        (server("ssl_certificate = \"a.pem\""), "TLS is not there yet"),
        (server("gzip = true"), "compression is not there yet"),
        (server("client_max_body_size = \"1m\""), "write `body_bytes_max`"),
        (server("worker_processes = 2"), "write `workers`"),
        (route("redirect = { to = \"https://a\" }"), "redirects and fixed answers are not there yet"),
        (route("rate_limit = { requests = 1 }"), "limits of rates"),
        (route("proxy_pass = \"http://a\""), "write `backends = "),
        (route("server_name = \"a\""), "write `host = "),
        (format!("{ROUTE}\n[tls]\ncertificates = []\n"), "TLS is not there yet"),
        // A key that is right elsewhere, and one that is nearly right, are told as before.
        (route("workers = 2"), "`workers` belongs in `[server]`"),
        (server("timeout = 2"), "did you mean `timeout_secs`?"),
    ];
    for (text, hint) in cases {
        let problems = refused(&text);
        assert!(problems.told.iter().any(|problem| problem.hint.contains(hint)), "{text}\n{problems}");
    }
}
