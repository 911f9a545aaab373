use super::*;

fn pages(files: &[(&str, &str)]) -> BTreeMap<PathBuf, Page> {
    let page = |(path, text): &(&str, &str)| (PathBuf::from(path), Page::read(text));
    files.iter().map(page).collect()
}

#[test]
fn links_and_anchors_are_read_outside_code() {
    let page = Page::read(
        "# `jetsink serve`, and more\n[a](b.md#c)\n```\n[no](no.md)\n```\n![d](e.png)\n",
    );
    assert_eq!(page.links, ["b.md#c", "e.png"]);
    assert!(page.anchors.contains("jetsink-serve-and-more"));
}

#[test]
fn link_to_no_file_and_to_no_heading_is_broken() {
    let text =
        "# One\n[a](nothing.md) [b](README.md#none) [c](#one) [d](#two) [e](https://nats.io/x)\n";
    let broken = broken_links(&pages(&[
        ("docs/x.md", text),
        ("docs/README.md", "# Two\n"),
    ]));
    let expected = [
        "docs/x.md: no file nothing.md",
        "docs/x.md: no heading README.md#none",
        "docs/x.md: no heading #two",
    ];
    assert_eq!(broken, expected);
}

#[test]
fn page_without_a_chapter_is_reported() {
    let summary = ("docs/SUMMARY.md", "- [a](guide/a.md)\n");
    let pages = pages(&[
        summary,
        ("docs/guide/a.md", ""),
        ("docs/guide/b.md", ""),
        ("README.md", ""),
    ]);
    assert_eq!(unlisted(&pages), ["docs/guide/b.md"]);
}
