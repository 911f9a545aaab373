//! The packages for Debian and RPM. Both are installed, used and removed in a root folder of Debian.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use fs_err as fs;

use super::folder;
use crate::process::{cargo_tool, output, root, succeed, target};
use crate::tools;

const DEB: (&str, &str) = ("cargo-deb", "3.8.0");
const RPM: (&str, &str) = ("cargo-generate-rpm", "0.21.1");

/// Files that an installation must create.
const FILES: [&str; 8] = [
    "usr/bin/jetsink",
    "usr/share/man/man1/jetsink.1.gz",
    "usr/share/man/man1/jetsink-publish.1.gz",
    "usr/share/bash-completion/completions/jetsink",
    "usr/lib/systemd/system/jetsink-publish@.service",
    "usr/lib/systemd/system/jetsink-serve.service",
    "usr/share/doc/jetsink/jetsink.cdx.json",
    "usr/share/doc/jetsink/LICENSE-MIT",
];

pub(super) struct Packages {
    deb: PathBuf,
    rpm: PathBuf,
}

impl Packages {
    pub(super) fn files(self) -> [PathBuf; 2] {
        [self.deb, self.rpm]
    }
}

/// Packs what [`prepared`](super::prepared) has prepared.
///
/// # Errors
/// A tool can't be fetched, or fails.
pub(super) fn build() -> Result<Packages> {
    let (deb, rpm) = (folder().join("jetsink.deb"), folder().join("jetsink.rpm"));
    let package = root().join("crates/jetsink-cli");
    let mut command = cargo_tool(&tools::from_crates_io(DEB.0, DEB.1)?, &["deb", "--quiet"]);
    command
        .args([
            "--no-build",
            "--no-strip",
            "--deb-version",
            env!("CARGO_PKG_VERSION"),
            "--output",
        ])
        .arg(&deb)
        .current_dir(&package);
    succeed(&mut command)?;
    let mut command = cargo_tool(&tools::from_crates_io(RPM.0, RPM.1)?, &["generate-rpm"]);
    command
        .args(["--package", "crates/jetsink-cli", "--output"])
        .arg(&rpm);
    succeed(&mut command)?;
    Ok(Packages { deb, rpm })
}

/// Installs, uses and removes each package.
///
/// # Errors
/// A step fails, or leaves another state than it should.
pub(super) fn try_out(packages: &Packages) -> Result<()> {
    try_one(
        &packages.deb,
        "dpkg --install",
        &["dpkg --remove jetsink", "dpkg --purge jetsink"],
    )?;
    // The root folder is no mount point, as the plugin unshare wants, and its database knows no package with a shell.
    try_one(
        &packages.rpm,
        "rpm --noplugins --install --nodeps",
        &["rpm --noplugins --erase jetsink"],
    )
}

fn try_one(package: &Path, install: &str, remove: &[&str]) -> Result<()> {
    let system = Root::new()?;
    let name = package.file_name().context("a package is a file")?;
    fs::copy(package, system.path.join("tmp").join(name))?;
    system.run(&format!("{install} /tmp/{}", name.to_string_lossy()))?;
    for file in FILES {
        let is_there = system.path.join(file).is_file();
        ensure!(
            is_there,
            "{}: no {file} after its installation",
            package.display()
        );
    }
    let shown = system.run("stat --format '%a %U:%G' /var/lib/jetsink")?;
    ensure!(
        shown == "700 jetsink:jetsink",
        "/var/lib/jetsink is {shown}"
    );
    // The units' settings, apart from each other: an instance of publish may have the name serve.
    system.run("test -d /etc/jetsink/publish")?;
    system.run("/usr/bin/jetsink --version && getent passwd jetsink")?;
    // The user of the units fills a spool without a broker: exit code 4.
    let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    let publish = "jetsink publish --server nats://127.0.0.1:1 --subject a.b --max-outage 1s \
                   --spool /var/lib/jetsink/try/spool";
    system.run(&format!(
        "echo '{event}' | su --shell /bin/sh --command '{publish}' jetsink; test $? = 4"
    ))?;
    for step in remove {
        system.run(step)?;
        for file in FILES {
            let is_there = system.path.join(file).exists();
            ensure!(
                !is_there,
                "{}: {file} is there after {step}",
                package.display()
            );
        }
        let spool = system.path.join("var/lib/jetsink/try/spool");
        ensure!(spool.is_dir(), "{step} removed a spool with an event");
    }
    println!("{}: installed, used, removed", package.display());
    Ok(())
}

/// A Debian without a package of ours, in a folder.
struct Root {
    path: PathBuf,
}

impl Root {
    /// A copy of one that debootstrap makes once.
    fn new() -> Result<Self> {
        let base = target().join("tools/debian-root");
        if !base.is_dir() {
            let Some(debootstrap) = tools::installed("debootstrap") else {
                bail!("no debootstrap: apt-get install debootstrap (and run this as root)");
            };
            // An interrupted one leaves no folder of the final name.
            let partial = target().join("tools/debian-root.partial");
            if partial.is_dir() {
                fs::remove_dir_all(&partial)?;
            }
            let mut make = Command::new(debootstrap);
            make.args(["--variant=minbase", "--include=rpm", "stable"]);
            succeed(make.arg(&partial))?;
            fs::rename(&partial, &base)?;
        }
        let path = folder().join("root");
        if path.is_dir() {
            fs::remove_dir_all(&path)?;
        }
        let mut copy = Command::new("cp");
        succeed(
            copy.args(["--archive", "--reflink=auto"])
                .arg(&base)
                .arg(&path),
        )?;
        Ok(Self { path })
    }

    /// Runs a line of a shell there, and returns its output.
    fn run(&self, line: &str) -> Result<String> {
        let mut chroot = Command::new("chroot");
        chroot
            .arg(&self.path)
            .args(["/bin/sh", "-c", line])
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        output(&mut chroot)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
