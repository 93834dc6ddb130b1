//! What the servers serve, and the interpreters that the scripts run in.
//!
//! Each column of the matrix has files of its own, for clients also write some.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::{Dir, Job, command, command_at, program, say};

/// Octets of the file that is compared as a whole.
const LARGE_BYTES: usize = 1 << 20;

/// Lines of the file that is sent compressed; the page counts them.
const TEXT_LINES: usize = 5_000;

/// Octets of the file that clients leave: more than the sockets on the way hold. It takes no room on the disk.
const HUGE_BYTES: u64 = 64 << 20;

/// Scripts that the browser's page loads beside itself.
pub(crate) const SUBRESOURCES: usize = 120;

/// How long a small program that prepares something may take.
const PREPARATION_LIMIT: Duration = Duration::from_secs(60);

/// The directory of the scripts.
pub(crate) fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs")
}

/// Octets that do not repeat (xorshift): a piece lost, doubled or moved is seen.
fn random_bytes(count: usize) -> Vec<u8> {
    let mut state = 0x5EED_u64;
    let mut word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..count.div_ceil(8)).flat_map(|_| word()).collect();
    bytes.truncate(count);
    bytes
}

/// Writes the files of the site into a directory, which is returned.
pub(crate) fn lay_out(dir: &Dir) -> PathBuf {
    let root = dir.join("site");
    for folder in ["store", "sub"] {
        fs::create_dir_all(root.join(folder)).expect("make a folder of the site");
    }
    let write = |name: &str, content: &[u8]| {
        fs::write(root.join(name), content).expect("write a file of the site");
    };
    write("small.bin", b"a small file of the site\n");
    write("large.bin", &random_bytes(LARGE_BYTES));
    let mut lines = String::new();
    for number in 0..TEXT_LINES {
        let _ = writeln!(lines, "line {number} of a text that packs well");
    }
    write("text.txt", lines.as_bytes());
    for number in 1..=SUBRESOURCES {
        write(&format!("sub/{number}.js"), format!("loaded({number});\n").as_bytes());
    }
    for name in ["page.html", "page.js", "frame.html"] {
        write(name, &fs::read(scripts().join(name)).expect("read a file of the page"));
    }
    let huge = File::create(root.join("huge.bin")).expect("make the huge file");
    huge.set_len(HUGE_BYTES).expect("set the length of the huge file");
    if program("git").is_some() {
        repository(&root);
    }
    root
}

/// A bare repository that git can read as plain files.
fn repository(root: &Path) {
    let source = root.join("source");
    fs::create_dir_all(&source).expect("make the source repository");
    git(&source, &["init", "--quiet", "--initial-branch=main"]);
    for number in 1..=5 {
        fs::write(source.join("file"), random_bytes(number * 50_000)).expect("write a file to commit");
        git(&source, &["add", "file"]);
        git(&source, &["commit", "--quiet", "--message", &format!("commit {number}")]);
    }
    git(root, &["clone", "--quiet", "--bare", "source", "repo.git"]);
    git(&root.join("repo.git"), &["update-server-info"]);
}

fn git(at: &Path, arguments: &[&str]) {
    let mut git = command("git");
    git.current_dir(at).env("HOME", at).env("GIT_CONFIG_NOSYSTEM", "1");
    git.args(["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]);
    git.args(arguments);
    Job::start(git).finish(PREPARATION_LIMIT);
}

/// As `Kind`s of both sides name Node.
pub(crate) const NODE: &str = "node";

/// The oldest version of Node that has all that the scripts use.
const NODE_MAJOR_MIN: u32 = 18;

/// Whether Node is there and new enough.
fn has_node() -> bool {
    if program(NODE).is_none() {
        return false;
    }
    let mut node = command(NODE);
    node.arg("--version");
    let version = Job::start(node).finish(PREPARATION_LIMIT);
    let major = version.trim_start_matches('v').split('.').next().and_then(|number| number.parse().ok());
    let is_new = major.is_some_and(|major: u32| major >= NODE_MAJOR_MIN);
    if !is_new {
        say(&format!("NOTE: node {} is older than {NODE_MAJOR_MIN}: it counts as missing", version.trim()));
    }
    is_new
}

/// The interpreters, and which packages they have.
pub(crate) struct Interpreters {
    /// The one of the virtual environment that `tests/programs/install` makes, or the system's.
    python: Option<PathBuf>,
    has_node: bool,
    /// Where that script puts Node's packages.
    node_modules: PathBuf,
    packages: BTreeSet<String>,
}

impl Interpreters {
    pub(crate) fn find(python_packages: &[&str]) -> Self {
        let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("programs");
        let own = Some(installed.join("venv/bin/python3")).filter(|file| file.is_file());
        let node_modules = installed.join("node_modules");
        let mut packages = BTreeSet::new();
        // Only packages of the versions that are pinned: what others make of a cut answer is not Apex's to answer for.
        if let Some(python) = &own {
            let ask = "import importlib.util, sys; \
                       print(*filter(importlib.util.find_spec, sys.argv[1:]), sep='\\n')";
            let mut command = command_at(python);
            command.args(["-c", ask]).args(python_packages);
            packages.extend(Job::start(command).finish(PREPARATION_LIMIT).lines().map(str::to_owned));
        }
        let python = own.or_else(|| program("python3"));
        if node_modules.join("ws/package.json").is_file() {
            packages.insert("ws".to_owned());
        }
        Self { python, has_node: has_node(), node_modules, packages }
    }

    /// What of these is missing: a program, or a package of an interpreter.
    pub(crate) fn lacks<'a>(&self, programs: &[&'a str], packages: &[&'a str]) -> Option<&'a str> {
        let has_program = |name: &str| match name {
            "python3" => self.python.is_some(),
            NODE => self.has_node,
            _ => program(name).is_some(),
        };
        let missing = programs.iter().find(|name| !has_program(name));
        missing.or_else(|| packages.iter().find(|name| !self.packages.contains(**name))).copied()
    }

    /// A command that runs Python, and leaves no compiled files among the scripts.
    pub(crate) fn python(&self) -> Command {
        let mut command = command_at(self.python.as_deref().unwrap_or(Path::new("python3")));
        command.arg("-B").arg("-u").current_dir(scripts());
        command
    }

    /// The same, with one of the scripts.
    pub(crate) fn python_script(&self, name: &str) -> Command {
        let mut command = self.python();
        command.arg(scripts().join(name));
        command
    }

    /// A command that runs one of the scripts in Node.
    pub(crate) fn node_script(&self, name: &str) -> Command {
        let mut command = command(NODE);
        command.arg(scripts().join(name)).env("NODE_PATH", &self.node_modules);
        command
    }
}
