//! Invocations of the program that bind nothing: exit codes, and the output on each stream.

use std::process::{Command, Output, Stdio};

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/apex.toml");

fn apex(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_apex")).args(args).stdin(Stdio::null()).output().expect("apex runs")
}

/// Exit code, and the two streams as text.
fn told(args: &[&str]) -> (Option<i32>, String, String) {
    let output = apex(args);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn help_and_version_go_to_the_standard_output() {
    let (code, out, err) = told(&["--help"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("apex: a reverse proxy"), "{out}");
    let version = format!("apex {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(told(&["-V"]), (Some(0), version, String::new()));
}

#[test]
fn a_call_not_understood_is_exit_2() {
    let (code, out, err) = told(&["--chek"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert_eq!(err, "apex: unknown flag `--chek`\n  did you mean `--check`?\n");
    assert_eq!(told(&["-c", SHIPPED, "--explain", "GET /a b"]).0, Some(2));
}

#[test]
fn check_sums_up_or_tells_every_error() {
    let (code, out, err) = told(&["--config", SHIPPED, "--check"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(out, format!("{SHIPPED}: ok, 1 route, 2 backends, listening on 0.0.0.0:8080\n"));
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("broken.toml");
    std::fs::write(&file, "[server]\nworkrs = 1\n").unwrap();
    let name = file.to_str().unwrap();
    let (code, out, err) = told(&["-tc", name]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains(&format!("--> {name}:2:1\n")), "{err}");
    assert!(err.ends_with(&format!("\n{name}: 2 errors\n")), "{err}");
    assert_eq!(told(&["-c", name, "--explain", "/"]), (Some(1), String::new(), err));
    std::fs::remove_dir_all(dir).unwrap();
    let (code, _, err) = told(&["-t", "-c", "no-such-dir/apex.toml"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("there is no such file"), "{err}");
}

#[test]
fn explain_says_which_route_takes_a_request() {
    let (code, out, err) = told(&["-c", SHIPPED, "--explain", "GET http://host/path"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("the route `my-api` takes it"), "{out}");
    assert_eq!(told(&["-c", SHIPPED, "--explain", "CONNECT host:1"]).0, Some(1));
}

/// A folder of this test's own.
fn folder(name: &str) -> std::path::PathBuf {
    let path =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&path).expect("the folder can be made");
    path
}

#[test]
fn diff_says_what_a_reload_would_do() {
    let dir = folder("diff");
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let route = "[[routes]]\nname = \"a\"\nbackends = [{ url = \"http://127.0.0.1:1\" }]\n";
    let old = file("old.toml", &format!("[server]\nworkers = 1\n{route}"));
    let same =
        file("same.toml", &format!("# other words\n[server]\nworkers = 1\ntimeout_secs = 30\n{route}"));
    let new = file(
        "new.toml",
        &format!("[server]\nworkers = 2\nvia = \"x\"\n{}", route.replace("127.0.0.1:1", "127.0.0.1:2")),
    );
    let broken = file("broken.toml", "[server]\nworkrs = 1\n");
    let (code, out, err) = told(&["-c", &old, "--diff", &same]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "nothing changes\n", ""));
    let (code, out, err) = told(&["-c", &old, "--diff", &new]);
    assert_eq!((code, err.as_str()), (Some(1), ""));
    assert_eq!(
        out,
        "route `a` changed (+127.0.0.1:2, -127.0.0.1:1)\nserver: via\nby an upgrade (SIGUSR2) or a restart only: workers\n"
    );
    // Either file, or both: every error is told, as `--check` tells it.
    let (_, _, checked) = told(&["-tc", &broken]);
    for args in [["-c", &old, "--diff", &broken], ["-c", &broken, "--diff", &old]] {
        assert_eq!(told(&args), (Some(2), String::new(), checked.clone()), "{args:?}");
    }
    let missing = dir.join("missing.toml");
    let (code, out, err) = told(&["-c", &broken, "--diff", missing.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.starts_with(&checked) && err.contains("there is no such file"), "{err}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    for args in [&["--help"][..], &["-t", "-c", SHIPPED], &["--nonsense"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut call = Command::new(env!("CARGO_BIN_EXE_apex"));
        call.args(args).stdin(Stdio::null()).stdout(writer.try_clone().unwrap()).stderr(writer);
        let code = call.status().unwrap().code();
        assert!(matches!(code, Some(0 | 2)), "{args:?}: {code:?}");
    }
}

#[test]
fn unix_sockets_are_told_as_the_file_has_them() {
    let dir =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-unix-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let write = |name: &str, listen: &str, url: &str| {
        let text = format!(
            "[server]\nlisten = {listen}\n[[routes]]\nname = \"a\"\nbackends = [{{ url = \"{url}\" }}]\n"
        );
        let file = dir.join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let one = write("one.toml", "[\"127.0.0.1:8080\", \"unix:///run/a.sock\"]", "unix:/run/app.sock");
    let two = write("two.toml", "[\"127.0.0.1:8080\", \"unix:/run/b.sock\"]", "http://127.0.0.1:9001");
    let (code, out, err) = told(&["-c", &one, "--check"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(
        out.ends_with(": ok, 1 route, 1 backend, listening on 127.0.0.1:8080, unix:/run/a.sock\n"),
        "{out}"
    );
    let (code, out, _) = told(&["-c", &one, "--explain", "GET http://host/path"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("\n    unix:/run/app.sock  weight 1"), "{out}");
    let (code, out, _) = told(&["-c", &one, "--diff", &two]);
    assert_eq!(code, Some(1));
    assert!(out.contains("listen: +unix:/run/b.sock, -unix:/run/a.sock"), "{out}");
    assert!(out.contains("+127.0.0.1:9001, -unix:/run/app.sock"), "{out}");
    let long = format!("unix:/{}", "a".repeat(107));
    for (listen, url, words) in [
        ("\"/run/a.sock\"", "unix:/run/app.sock", "write \"unix:/run/a.sock\""),
        ("\"unix:a.sock\"", "unix:/run/app.sock", "begins with `/`"),
        ("\"@a\"", "unix:/run/app.sock", "not by an abstract name"),
        (&format!("\"{long}\""), "unix:/run/app.sock", "at most 107 octets, this one 108"),
        ("\"unix:/run/a.sock\"", &long, "at most 107 octets, this one 108"),
        ("[\"unix:/run/a.sock\", \"unix://run/a.sock\"]", "http://h", "names unix:/run/a.sock twice"),
        ("\"unix:/run/a.sock\"\ntrusted_proxies = [\"unix\"]", "http://h", "\"unix:\""),
    ] {
        let (code, _, err) = told(&["-c", &write("bad.toml", listen, url), "--check"]);
        assert_eq!(code, Some(1), "{listen} {url}");
        assert!(err.contains(words), "{words}: {err}");
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn the_demo_runs_on_free_ports_of_the_loopback() {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    // Whoever has these ports already has them in use, too.
    let taken = [8080, 9001].map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
    let mut demo = Command::new(env!("CARGO_BIN_EXE_apex"));
    demo.arg("--demo").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = demo.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut said = Vec::new();
    let serving = loop {
        let line = lines.next().unwrap_or_else(|| panic!("it ended: {said:#?}"));
        said.push(line.clone());
        if line.contains("serving 1 route") {
            break line;
        }
    };
    let port = |line: &str, before: &str| -> u16 {
        let rest = line.split(before).nth(1).unwrap_or_else(|| panic!("{said:#?}"));
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    let at = port(&serving, "on 127.0.0.1:");
    assert_ne!(at, 8080);
    assert!(said.contains(&format!("apex: port 8080 is in use: the demo takes {at}")), "{said:#?}");
    assert!(said.iter().any(|line| line.starts_with("apex: port 9001 is in use: ")), "{said:#?}");
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, at)).unwrap();
    client.write_all(b"GET /x HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    let _ = child.kill();
    let _ = child.wait();
    drop(taken);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(" GET /x"), "{answer}");
}

#[test]
fn a_large_broken_file_is_checked_in_little_memory() {
    let dir = folder("large");
    let file = dir.join("large.toml");
    let name = file.to_str().unwrap();
    for (text, error) in [
        ("k = \n".repeat(2 << 20), "not TOML"),
        (format!("[server]\nwatch = [{}]\n", "1,".repeat(5 << 20)), "outside of `[[routes]]`"),
        (format!("[server]\nwatch = {}\n", "[".repeat(10 << 20)), "outside of `[[routes]]`"),
    ] {
        std::fs::write(&file, text).unwrap();
        // Address space in KiB: the file has 10 MiB.
        let script = "ulimit -v 150000 && exec \"$0\" --check --config \"$1\"";
        let output =
            Command::new("sh").args(["-c", script, env!("CARGO_BIN_EXE_apex"), name]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(error), "{} {said:.400}", output.status);
    }
    std::fs::remove_dir_all(dir).unwrap();
}
