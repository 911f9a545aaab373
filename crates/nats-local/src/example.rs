//! A crate's examples, as programs to run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::NatsLocalError;

/// The program of an example of the package in the folder `package` (`env!("CARGO_MANIFEST_DIR")`).
///
/// `cargo test` builds the examples beside the tests, but `cargo test --test NAME` doesn't; and only cargo
/// knows the sources of an example. So each call asks cargo, which builds if anything changed. It is asked for
/// the whole workspace, as the tests are: for one package alone, features differ, and everything is built again.
///
/// # Errors
/// [`NatsLocalError::Io`], and [`NatsLocalError::Example`] where it does not build.
pub fn example(package: &str, name: &str) -> Result<PathBuf, NatsLocalError> {
    let what = || format!("example {name}");
    let test = std::env::current_exe().map_err(NatsLocalError::io(what()))?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    // The variables of this test's package. A build script that reads one of them would run again, and its
    // dependents would be compiled again, here and in the developer's next build.
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if name == "OUT_DIR"
            || name.starts_with("CARGO_PKG_")
            || name.starts_with("CARGO_MANIFEST_")
        {
            cargo.env_remove(&variable);
        }
    }
    let built = cargo
        .args([
            "build",
            "--workspace",
            "--quiet",
            "--locked",
            "--example",
            name,
        ])
        .args(["--profile", profile(&test)])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(package)
        .stderr(Stdio::inherit())
        .output()
        .map_err(NatsLocalError::io(what()))?;
    let program = String::from_utf8_lossy(&built.stdout)
        .lines()
        .find_map(|line| program(line, name));
    match program {
        Some(program) if built.status.success() => Ok(program),
        _ => Err(NatsLocalError::Example(name.to_owned())),
    }
}

/// The profile that a test was built with, which is at target/FOLDER/deps/TEST.
fn profile(test: &Path) -> &str {
    let folder = test.ancestors().nth(2).and_then(Path::file_name);
    match folder.and_then(|folder| folder.to_str()) {
        None | Some("debug") => "dev",
        Some(profile) => profile,
    }
}

/// The program's path, if cargo's message is about this example.
fn program(message: &str, name: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let target = &message["target"];
    let is_it = target["name"] == name && target["kind"][0] == "example";
    let program = message["executable"].as_str().filter(|_| is_it)?;
    Some(PathBuf::from(program))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a panic is how a test fails

    use std::fs;

    use super::*;

    #[test]
    fn the_profile_is_that_of_the_running_test() {
        for (test, expected) in [
            ("/t/debug/deps/broker-1f", "dev"),
            ("/t/release/deps/broker-1f", "release"),
            (
                "/t/x86_64-unknown-linux-gnu/careful/deps/broker-1f",
                "careful",
            ),
        ] {
            assert_eq!(profile(Path::new(test)), expected);
        }
    }

    /// Regression: only a change of the example's own source led to a new build.
    #[test]
    fn an_example_is_built_again_when_the_crate_behind_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let says = |word: &str| format!("pub const WORD: &str = {word:?};\n");
        write(
            "Cargo.toml",
            "[package]\nname = \"nats-local-sample\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n",
        );
        write(
            "Cargo.lock",
            "version = 4\n\n[[package]]\nname = \"nats-local-sample\"\nversion = \"0.1.0\"\n",
        );
        write(
            "examples/nats_local_sample_word.rs",
            "fn main() { print!(\"{}\", nats_local_sample::WORD) }\n",
        );
        for word in ["old", "new"] {
            write("src/lib.rs", &says(word));
            let package = folder.path().to_str().unwrap();
            let program = example(package, "nats_local_sample_word").unwrap();
            let output = Command::new(program).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), word);
        }
        assert!(matches!(
            example(folder.path().to_str().unwrap(), "none"),
            Err(NatsLocalError::Example(name)) if name == "none"
        ));
    }
}
