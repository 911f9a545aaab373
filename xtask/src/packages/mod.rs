//! `cargo xtask packages`: everything that is given to others, built, and tried as a user would.
//!
//! `static_program` is the program of all of them, `prepared` its manual pages, completions and list of components.
//! `system` packs it for Debian and RPM, and installs both in a root folder of its own; `image` is a container's.
//! `crates` packs the crates, and installs the packed command.

mod crates;
mod image;
mod kubernetes;
mod prepared;
pub(crate) mod static_program;
mod system;

use std::path::PathBuf;

use anyhow::Result;
use fs_err as fs;

use crate::process::target;

/// The folder of what is built. `crates/jetsink-cli/Cargo.toml` names it, too.
fn folder() -> PathBuf {
    target().join("packages")
}

/// Builds and tries everything.
///
/// # Errors
/// A tool can't be fetched, something does not build, or a package does not install, work or go away as it should.
pub(crate) async fn run() -> Result<()> {
    fs::create_dir_all(folder())?;
    kubernetes::check()?;
    crates::pack()?;
    let program = static_program::build()?;
    prepared::prepare(&program)?;
    let packages = system::build()?;
    system::try_out(&packages)?;
    let image = image::build()?;
    image::try_out(&image).await?;
    crates::install_packed_command()?;
    let mut made = vec![image];
    made.extend(packages.files());
    for file in made {
        println!(
            "{:>9} bytes  {}",
            fs::metadata(&file)?.len(),
            file.display()
        );
    }
    Ok(())
}
