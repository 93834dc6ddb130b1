//! `watch = true`: however a file changes, it is read again after a moment without changes.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

mod support;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::{Apex, Backend, all, get, ok};

const WATCH: &str = "watch = true\naccess_log = false";

/// A watching Apex, with a backend for each version that a test may write.
struct Watched {
    apex: Apex,
    origins: Vec<Backend>,
    /// Versions in force so far.
    seen: usize,
}

impl Watched {
    fn start() -> Self {
        let origins: Vec<_> =
            (0..8).map(|number| Backend::answering(ok(&format!("version {number}")))).collect();
        let apex = Apex::with(WATCH, &all(&[origins[0].addr()]));
        let watched = Self { apex, origins, seen: 0 };
        // A change shows that it watches from here on.
        watched.apex.rewrite(WATCH, &all(&[watched.origins[7].addr()]));
        watched.apex.stderr.find(|line| line.contains(": reloaded "));
        watched
    }

    fn file(&self) -> PathBuf {
        self.apex.file()
    }

    fn home(&self) -> PathBuf {
        self.file().parent().unwrap().to_owned()
    }

    /// The text of that version.
    fn text(&self, version: usize) -> String {
        let listen = self.apex.addr();
        let routes = all(&[self.origins[version].addr()]);
        format!("[server]\nlisten = \"{listen}\"\nworkers = 1\n{WATCH}\n{routes}")
    }

    /// Does `change`, and waits until that version is in force.
    fn expect(&mut self, version: usize, change: impl FnOnce(&Self)) {
        let before = self.apex.stderr.count();
        change(self);
        self.apex.stderr.find_behind(before, |line| line.contains(": reloaded "));
        assert_eq!(self.apex.client().ask(get("/")).text(), format!("version {version}"));
        self.seen += 1;
    }
}

#[test]
fn files_written_in_place_are_read_again() {
    let mut watched = Watched::start();
    watched.expect(1, |it| fs::write(it.file(), it.text(1)).unwrap());
    // In pieces, by one who keeps it open between them.
    watched.expect(2, |it| {
        let text = it.text(2);
        let mut file = OpenOptions::new().write(true).truncate(true).open(it.file()).unwrap();
        for piece in text.as_bytes().chunks(20) {
            file.write_all(piece).unwrap();
        }
    });
    // By another name of the same file, which is what a bind mount of a single file comes to. What the making of it tells is over
    // when the next change is.
    let elsewhere = watched.home().with_extension("elsewhere");
    fs::hard_link(watched.file(), &elsewhere).unwrap();
    watched.expect(3, |it| fs::write(it.file(), it.text(3)).unwrap());
    watched.expect(4, |it| fs::write(&elsewhere, it.text(4)).unwrap());
    fs::remove_file(elsewhere).unwrap();
}

#[test]
fn files_put_in_place_as_editors_do_are_read_again() {
    let mut watched = Watched::start();
    let beside = watched.home().join(".apex.toml.swp");
    watched.expect(1, |it| {
        fs::write(&beside, it.text(1)).unwrap();
        fs::rename(&beside, it.file()).unwrap();
    });
    // The old one is kept under another name, and the new one is written afresh.
    watched.expect(2, |it| {
        fs::rename(it.file(), it.home().join("apex.toml~")).unwrap();
        fs::write(it.file(), it.text(2)).unwrap();
    });
    watched.expect(3, |it| {
        fs::remove_file(it.file()).unwrap();
        fs::write(it.file(), it.text(3)).unwrap();
    });
    // And the file that is there now is as well watched as the first one was.
    watched.expect(4, |it| fs::write(it.file(), it.text(4)).unwrap());
}

/// What a `ConfigMap` is mounted as: the file is a link over `..data`, which is a link to a folder of that version.
struct Mounted(PathBuf);

impl Mounted {
    fn new(home: PathBuf, text: &str) -> Self {
        fs::create_dir(&home).unwrap();
        let mounted = Self(home);
        mounted.swap(0, text);
        symlink("..data/apex.toml", mounted.file()).unwrap();
        mounted
    }

    fn file(&self) -> PathBuf {
        self.0.join("apex.toml")
    }

    /// Makes the folder of that version, has `..data` lead there, and removes the one before.
    fn swap(&self, version: usize, text: &str) {
        let folder = |version: usize| format!("..2026_11_24.{version}");
        fs::create_dir(self.0.join(folder(version))).unwrap();
        fs::write(self.0.join(folder(version)).join("apex.toml"), text).unwrap();
        let next = self.0.join("..data_tmp");
        symlink(folder(version), &next).unwrap();
        fs::rename(next, self.0.join("..data")).unwrap();
        if version > 0 {
            fs::remove_dir_all(self.0.join(folder(version - 1))).unwrap();
        }
    }
}

#[test]
fn swapped_links_are_seen() {
    let mut watched = Watched::start();
    // The file that Apex was started with becomes a link to one that is mounted elsewhere.
    let mounted = Mounted::new(watched.home().join("mounted"), &watched.text(1));
    let link = |to: &Path, it: &Watched| {
        let beside = it.home().join("link");
        symlink(to, &beside).unwrap();
        fs::rename(beside, it.file()).unwrap();
    };
    watched.expect(1, |it| link(&mounted.file(), it));
    for version in 2..5 {
        watched.expect(version, |it| mounted.swap(version - 1, &it.text(version)));
    }
    // And to a file within a folder that is itself behind a link, as releases are put in place.
    for version in [5, 6] {
        let folder = watched.home().join(format!("release-{version}"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("apex.toml"), watched.text(version)).unwrap();
    }
    let current = watched.home().join("current");
    symlink("release-5", &current).unwrap();
    watched.expect(5, |it| link(&current.join("apex.toml"), it));
    watched.expect(6, |it| {
        symlink("release-6", it.home().join("next")).unwrap();
        fs::rename(it.home().join("next"), &current).unwrap();
    });
}

#[test]
fn a_folder_that_is_swapped_is_seen() {
    let mut watched = Watched::start();
    let (home, aside, next) =
        (watched.home(), watched.home().with_extension("old"), watched.home().with_extension("new"));
    fs::create_dir(&next).unwrap();
    fs::write(next.join("apex.toml"), watched.text(1)).unwrap();
    watched.expect(1, |_| {
        fs::rename(&home, &aside).unwrap();
        fs::rename(&next, &home).unwrap();
    });
    fs::remove_dir_all(&aside).unwrap();
    watched.expect(2, |it| fs::write(it.file(), it.text(2)).unwrap());
    // Gone, and back after a while.
    fs::rename(&home, &aside).unwrap();
    watched.apex.stderr.all();
    thread::park_timeout(Duration::from_millis(300));
    fs::write(aside.join("apex.toml"), watched.text(3)).unwrap();
    watched.expect(3, |_| fs::rename(&aside, &home).unwrap());
}

#[test]
fn other_files_in_the_folder_neither_count_nor_keep_it_waiting() {
    let mut watched = Watched::start();
    let stops = Arc::new(AtomicBool::new(false));
    let busy = {
        let (stops, other) = (Arc::clone(&stops), watched.home().join("other.log"));
        thread::spawn(move || {
            while !stops.load(Ordering::Relaxed) {
                let _ = File::create(&other);
                thread::park_timeout(Duration::from_millis(5));
            }
        })
    };
    watched.expect(1, |it| fs::write(it.file(), it.text(1)).unwrap());
    stops.store(true, Ordering::Relaxed);
    busy.join().unwrap();
}

/// Writes versions in a row, with pauses shorter than what counts as left alone; false where the machine made one too long.
fn in_a_row(watched: &Watched, pieces: &[String]) -> bool {
    let mut last = Instant::now();
    let mut in_time = true;
    for piece in pieces {
        thread::park_timeout(Duration::from_millis(50));
        fs::write(watched.file(), piece).unwrap();
        in_time &= last.elapsed() < Duration::from_millis(150);
        last = Instant::now();
    }
    in_time
}

#[test]
fn it_is_read_once_it_was_left_alone() {
    let mut watched = Watched::start();
    // Half a file, another version, nothing at all, and the one that stays.
    let row = |it: &Watched, last: usize| {
        let mut pieces = vec![
            it.text(3)[..40].to_owned(),
            it.text(4),
            String::new(),
            it.text(5),
            it.text(6)[..90].to_owned(),
        ];
        pieces.push(it.text(last));
        pieces
    };
    // On a machine that stands still for long no such row can be written.
    for round in 0..10 {
        let (before, mut in_time) = (watched.apex.stderr.count(), false);
        let last = 1 + round % 2;
        watched.expect(last, |it| in_time = in_a_row(it, &row(it, last)));
        if in_time {
            let said = watched.apex.stderr.all()[before..].join("\n");
            assert!(said.lines().count() == 1 && said.contains(": reloaded "), "{said}");
            return;
        }
    }
    support::say("SKIPPED: this machine is too slow to write a file six times within a second");
}

#[test]
fn a_file_that_is_touched_but_reads_the_same_is_no_news() {
    let mut watched = Watched::start();
    watched.expect(1, |it| fs::write(it.file(), it.text(1)).unwrap());
    let before = watched.apex.stderr.count();
    fs::write(watched.file(), watched.text(1)).unwrap();
    fs::remove_file(watched.file()).unwrap();
    watched.expect(2, |it| fs::write(it.file(), it.text(2)).unwrap());
    assert_eq!(watched.apex.stderr.count(), before + 1);
}

#[test]
fn a_broken_file_is_told_of_once_and_the_next_good_one_is_taken() {
    let mut watched = Watched::start();
    fs::write(watched.file(), watched.text(1).replace("name", "nome")).unwrap();
    watched.apex.stderr.find(|line| line.contains("was not reloaded"));
    watched.expect(1, |it| fs::write(it.file(), it.text(1)).unwrap());
}
