//! The manifests for Kubernetes, by the schemas of its API.

use std::process::Command;

use anyhow::{Result, ensure};
use fs_err as fs;

use crate::process::{root, succeed};
use crate::tools;

/// With the schemas of the versions up to 1.37.
const VALIDATOR: &str = "kubernetes-validate==1.37.0";

/// # Errors
/// A manifest has an unknown or missing field, or the folder has no manifest.
pub(super) fn check() -> Result<()> {
    let modules = tools::from_pypi(VALIDATOR, true)?;
    let folder = root().join("deploy/kubernetes");
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            files.push(path);
        }
    }
    ensure!(!files.is_empty(), "no manifest in {}", folder.display());
    let mut validate = Command::new("python3");
    validate
        .args(["-m", "kubernetes_validate", "--strict"])
        .args(files)
        .env("PYTHONPATH", modules);
    succeed(&mut validate)
}
