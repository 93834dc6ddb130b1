//! The fuzz targets' checks over their seed corpora, so that findings of a campaign stay covered without a
//! fuzzer.

use std::fs;
use std::panic;
use std::path::Path;

#[path = "../fuzz/checks/mod.rs"]
mod checks;

/// Runs `check` over every file of the target's corpus; names the files that fail it.
fn hold(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut failed = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("every target has a corpus") {
        let path = entry.expect("the folder can be read").path();
        let bytes = fs::read(&path).expect("a seed can be read");
        count += 1;
        // Its own message says what failed; this adds which seed it was.
        if panic::catch_unwind(|| check(&bytes)).is_err() {
            failed.push(path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default());
        }
    }
    failed.sort();
    assert!(count >= 10, "only {count} seeds in {}", folder.display());
    assert!(failed.is_empty(), "seeds of {target} that fail: {failed:?}");
}

#[test]
fn head() {
    hold("head", checks::head);
}

#[test]
fn target() {
    hold("target", checks::target);
}

#[test]
fn framing() {
    hold("framing", checks::framing);
}

#[test]
fn chunked() {
    hold("chunked", checks::chunked);
}

#[test]
fn forward() {
    hold("forward", checks::forward);
}

#[test]
fn exchange() {
    hold("exchange", checks::exchange);
}

#[test]
fn config() {
    hold("config", checks::config);
}
