//! The container image: the static program, certificates, nothing else. It is an OCI archive, written without a
//! container engine; its root file system runs against a broker.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use fs_err as fs;
use nats_local::{NatsServer, stored};
use serde_json::{Value, json};

use super::folder;
use crate::process::{empty, output, succeed};

/// The user of the image, as in deploy/kubernetes.
const USER: &str = "65532";

/// The authorities that Debian trusts; a program in an empty root file system has none otherwise.
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";

/// The folder of the volume with the spool.
const DATA: &str = "var/lib/jetsink";

/// Fills the root file system, which deploy/kubernetes/Dockerfile copies, and packs it as an image.
///
/// # Errors
/// A file is missing, or tar fails.
pub(super) fn build() -> Result<PathBuf> {
    let root = folder().join("rootfs");
    empty(&root)?;
    fs::copy(folder().join("bin/jetsink"), root.join("jetsink"))?;
    let authorities = root.join(AUTHORITIES);
    fs::create_dir_all(authorities.parent().context("a file has a folder")?)?;
    fs::copy(Path::new("/").join(AUTHORITIES), &authorities)
        .context("apt-get install ca-certificates")?;
    // For temporary files of `audit` and `drill`, and for a volume with the spool, which takes over owner and mode.
    for writable in ["tmp", DATA] {
        fs::create_dir_all(root.join(writable))?;
        succeed(Command::new("chmod").arg("1777").arg(root.join(writable)))?;
    }

    let layout = folder().join("image");
    empty(&layout)?;
    fs::create_dir_all(layout.join("blobs/sha256"))?;
    let new = layout.join("new");
    pack(&root, &new)?;
    let layer = Blob::add(&layout, &new)?;
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "User": USER,
            "Entrypoint": ["/jetsink"],
            "Labels": {
                "org.opencontainers.image.title": "jetsink",
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
                "org.opencontainers.image.licenses": "Apache-2.0 OR MIT",
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
        "history": [{"created_by": "cargo xtask packages"}],
    });
    fs::write(&new, config.to_string())?;
    let config = Blob::add(&layout, &new)?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config.descriptor("application/vnd.oci.image.config.v1+json"),
        "layers": [layer.descriptor("application/vnd.oci.image.layer.v1.tar")],
    });
    fs::write(&new, manifest.to_string())?;
    let manifest = Blob::add(&layout, &new)?;
    let mut descriptor = manifest.descriptor("application/vnd.oci.image.manifest.v1+json");
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": "jetsink"});
    let index = json!({"schemaVersion": 2, "manifests": [descriptor]});
    fs::write(layout.join("index.json"), index.to_string())?;
    fs::write(
        layout.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )?;
    let image = folder().join("jetsink-image.tar");
    pack(&layout, &image)?;
    Ok(image)
}

/// Unpacks the image, and publishes an event from its root file system as its user, with a spool.
///
/// # Errors
/// The program does not run there, or the event is not stored.
pub(super) async fn try_out(image: &Path) -> Result<()> {
    let layout = folder().join("unpacked");
    empty(&layout)?;
    unpack(image, &layout)?;
    let read = |name: &str| -> Result<Value> {
        Ok(serde_json::from_str(&fs::read_to_string(
            layout.join(name),
        )?)?)
    };
    let blob = |descriptor: &Value| -> Result<String> {
        let digest = descriptor["digest"].as_str().context("no digest")?;
        Ok(format!("blobs/{}", digest.replace(':', "/")))
    };
    let manifest = read(&blob(&read("index.json")?["manifests"][0])?)?;
    let root = layout.join("rootfs");
    empty(&root)?;
    unpack(&layout.join(blob(&manifest["layers"][0])?), &root)?;

    let server = NatsServer::start().await?;
    server.create_stream("EVENTS", &["events.>"]).await?;
    let event = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    let input = folder().join("event.jsonl");
    fs::write(&input, event)?;
    let mut publish = Command::new("chroot");
    publish
        .arg(format!("--userspec={USER}:{USER}"))
        .arg(&root)
        .args(["/jetsink", "publish", "--subject", "events.{tenantId}"])
        .args(["--spool", &format!("/{DATA}/spool")])
        .env("NATS_URL", server.url())
        .stdin(Stdio::from(fs::File::open(&input)?.into_file()));
    succeed(&mut publish)?;
    let jetstream = server.jetstream().await?;
    let messages = stored(&jetstream, "EVENTS").await?;
    ensure!(
        messages.len() == 1 && messages[0].payload == event[..],
        "the image has published {messages:?}"
    );
    fs::remove_dir_all(&layout)?;
    println!("{}: its root file system publishes", image.display());
    Ok(())
}

struct Blob {
    digest: String,
    /// In bytes.
    size: u64,
}

impl Blob {
    /// Moves a file to its digest in the layout.
    fn add(layout: &Path, file: &Path) -> Result<Self> {
        let sum = output(Command::new("sha256sum").arg(file))?;
        let sum = sum.split(' ').next().unwrap_or_default();
        let size = fs::metadata(file)?.len();
        fs::rename(file, layout.join("blobs/sha256").join(sum))?;
        Ok(Self {
            digest: format!("sha256:{sum}"),
            size,
        })
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": self.digest, "size": self.size})
    }
}

/// Packs a folder's content, so that the same content is the same archive.
fn pack(folder: &Path, archive: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args([
        "--create",
        "--sort=name",
        "--mtime=@0",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
    ])
    .arg("--file")
    .arg(archive)
    .arg("--directory")
    .arg(folder)
    .arg(".");
    succeed(&mut tar)
}

fn unpack(archive: &Path, folder: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.arg("--extract")
        .arg("--file")
        .arg(archive)
        .arg("--directory")
        .arg(folder);
    succeed(&mut tar)
}
