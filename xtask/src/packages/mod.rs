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

use crate::process::root;

/// The folder of the packages, wherever cargo builds: `crates/jetsink-cli/Cargo.toml` names it, too.
fn folder() -> PathBuf {
    root().join("target/packages")
}

/// A part that can be built alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// The manifests for Kubernetes, checked
    Kubernetes,
    /// The crates, and the command installed from its crate
    Crates,
    /// The static program with manual pages, completions and SBOM; the next two contain it
    Program,
    /// The packages for Debian and RPM
    System,
    /// The container image
    Image,
}

const ALL: [Part; 5] = [
    Part::Kubernetes,
    Part::Crates,
    Part::Program,
    Part::System,
    Part::Image,
];

/// Builds and tries out everything, or one part.
///
/// # Errors
/// A tool can't be fetched, something does not build, or a package does not install, work or go away as it should.
pub(crate) async fn run(only: Option<Part>) -> Result<()> {
    fs::create_dir_all(folder())?;
    let mut made = Vec::new();
    for part in ALL {
        if only.is_some_and(|only| only != part) {
            continue;
        }
        match part {
            Part::Kubernetes => kubernetes::check()?,
            Part::Crates => {
                crates::pack()?;
                crates::install_packed_command()?;
            }
            Part::Program => prepared::prepare(&static_program::build()?)?,
            Part::System => {
                let packages = system::build()?;
                system::try_out(&packages)?;
                made.extend(packages.files());
            }
            Part::Image => {
                let image = image::build()?;
                image::try_out(&image).await?;
                made.push(image);
            }
        }
    }
    for file in made {
        println!(
            "{:>9} bytes  {}",
            fs::metadata(&file)?.len(),
            file.display()
        );
    }
    Ok(())
}
