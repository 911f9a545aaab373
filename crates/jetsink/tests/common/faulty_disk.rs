//! A disk that hangs or has no locks, for a test in a process of its own (`tests/faulty-disk`).

#![allow(dead_code, missing_docs, unreachable_pub)]

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Names the file that makes syncs hang.
const HANG: &str = "FAULTY_DISK_HANG";

/// Marks a child with a faulty disk, and names its test.
const CHILD: &str = "JETSINK_FAULTY_DISK_CHILD";

/// Whether this process is the child of `test`.
pub fn is_child_of(test: &str) -> bool {
    std::env::var(CHILD).is_ok_and(|child| child == test)
}

/// The library that makes the faults, compiled by the linker's own compiler.
pub fn library(folder: &TempDir) -> PathBuf {
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/faulty-disk/faulty_disk.c"
    );
    let library = folder.path().join("faulty_disk.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-shared", "-fPIC", "-o"]);
    let compiled = compiler.arg(&library).arg(source).arg("-ldl").status();
    assert!(compiled.unwrap().success(), "cc is needed");
    library
}

/// Runs one test of this file again in a process whose syncs hang while [`hang`] says so.
///
/// # Panics
/// If the test fails there.
pub fn run_in_a_child(test: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut child = child(test, &folder);
    child.env(HANG, folder.path().join("hang"));
    succeed(&mut child);
}

/// Runs one test of this file again in a process whose file system has no locks.
///
/// # Panics
/// If the test fails there.
pub fn run_in_a_child_without_locks(test: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut child = child(test, &folder);
    child.env("FAULTY_DISK_NO_LOCKS", "1");
    succeed(&mut child);
}

fn child(test: &str, folder: &TempDir) -> Command {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, test)
        .env("LD_PRELOAD", library(folder))
        // As in memory.rs.
        .envs([
            ("MALLOC_ARENA_MAX", "1"),
            ("MALLOC_MMAP_THRESHOLD_", "65536"),
        ]);
    child
}

fn succeed(child: &mut Command) {
    let status = child.status().unwrap();
    assert!(status.success(), "{status}; its output is above");
}

/// In a child: lets the disk hang or work.
pub fn hang(hangs: bool) {
    let path = std::env::var_os(HANG).unwrap();
    let path = Path::new(&path);
    if hangs {
        std::fs::write(path, "").unwrap();
    } else {
        std::fs::remove_file(path).unwrap();
    }
}
