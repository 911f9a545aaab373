//! The texts of the source, in `snapshots/`: every log line with its level, crate and fields, every error, every
//! problem of the gateway, and every note of the command. The manual lists the warnings and errors of the log, and all fields.
//!
//! After a change: `INSTA_UPDATE=always cargo test -p xtask texts`, and read the difference.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use regex::Regex;

const CRATES: [&str; 4] = [
    "jetsink",
    "jetsink-serve",
    "jetsink-cli",
    "cellos-sink-jetstream",
];

/// The macros of `tracing`, from the worst level.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// A call of a macro of `tracing`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LogLine {
    /// The index in `LEVELS`.
    level: usize,
    crate_name: &'static str,
    message: String,
    fields: Vec<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The source files of a folder, except its tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The calls in some tokens, and in the groups within them.
fn calls(tokens: TokenStream, crate_name: &'static str, found: &mut BTreeSet<LogLine>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else {
            continue;
        };
        let is_bang =
            |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.as_char() == '!');
        let level = match tokens[..index] {
            [.., TokenTree::Ident(ref name), ref bang] if is_bang(bang) => {
                LEVELS.iter().position(|level| name == level)
            }
            _ => None,
        };
        match level {
            Some(level) if group.delimiter() == Delimiter::Parenthesis => {
                found.insert(log_line(level, crate_name, group.stream()));
            }
            _ => calls(group.stream(), crate_name, found),
        }
    }
}

/// Reads the arguments of a call: fields, and then the message.
fn log_line(level: usize, crate_name: &'static str, arguments: TokenStream) -> LogLine {
    let tokens: Vec<TokenTree> = arguments.into_iter().collect();
    let is =
        |token: &TokenTree, sign: char| matches!(token, TokenTree::Punct(p) if p.as_char() == sign);
    let mut line = LogLine {
        level,
        crate_name,
        message: String::new(),
        fields: Vec::new(),
    };
    for argument in tokens.split(|token| is(token, ',')) {
        match argument {
            [TokenTree::Literal(message)] => {
                line.message = unescaped(&message.to_string());
                break; // values of the message follow
            }
            [TokenTree::Ident(target), colon, ..] if target == "target" && is(colon, ':') => {}
            [sign, TokenTree::Ident(name)] if is(sign, '%') || is(sign, '?') => {
                line.fields.push(name.to_string());
            }
            [TokenTree::Ident(name)] => line.fields.push(name.to_string()),
            [TokenTree::Ident(name), equals, ..] if is(equals, '=') => {
                line.fields.push(name.to_string());
            }
            other => panic!("not understood in {crate_name}: {other:?}"),
        }
    }
    line
}

/// The text of a literal, without its quotes and with continued lines joined.
fn unescaped(literal: &str) -> String {
    let text = literal.trim_matches('"').replace("\\\"", "\"");
    let mut lines = text.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + line.trim_start())
}

/// The tokens of each source file of the crates.
fn source_tokens() -> Vec<(&'static str, TokenStream)> {
    let mut found = Vec::new();
    for name in CRATES {
        let mut files = Vec::new();
        sources(&root().join("crates").join(name).join("src"), &mut files);
        files.sort();
        for file in files {
            let text = fs_err::read_to_string(&file).unwrap();
            found.push((name, TokenStream::from_str(&text).unwrap()));
        }
    }
    found
}

fn log_lines() -> BTreeSet<LogLine> {
    let mut found = BTreeSet::new();
    for (name, tokens) in source_tokens() {
        calls(tokens, name, &mut found);
    }
    found
}

/// The texts in some tokens, and in the groups within them.
fn texts_in(tokens: TokenStream) -> Vec<String> {
    let texts = tokens.into_iter().map(|token| match token {
        TokenTree::Literal(literal) if literal.to_string().starts_with('"') => {
            vec![unescaped(&literal.to_string())]
        }
        TokenTree::Group(group) => texts_in(group.stream()),
        _ => Vec::new(),
    });
    texts.flatten().collect()
}

/// The texts of `NAME(…)` for each of the names: directly in brackets, as attributes are, or in any place.
fn texts_of(names: &[&str], only_in: Option<Delimiter>, tokens: TokenStream) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut groups = vec![(None, tokens)];
    while let Some((around, tokens)) = groups.pop() {
        let mut before = None;
        for token in tokens {
            if let TokenTree::Group(group) = &token {
                let is_one = (only_in.is_none() || around == only_in)
                    && before.is_some_and(|name: String| names.contains(&name.as_str()));
                match texts_in(group.stream()).into_iter().next() {
                    Some(text) if is_one => {
                        found.insert(text);
                    }
                    _ => groups.push((Some(group.delimiter()), group.stream())),
                }
            }
            before = match token {
                TokenTree::Ident(name) => Some(name.to_string()),
                _ => None,
            };
        }
    }
    found
}

/// The details of a gateway's problems: in `Problem::new(…)`, or assigned to `detail`.
fn problems(tokens: TokenStream) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut groups = vec![tokens];
    while let Some(tokens) = groups.pop() {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is = |token: &TokenTree, sign: char| matches!(token, TokenTree::Punct(p) if p.as_char() == sign);
        for (index, token) in tokens.iter().enumerate() {
            if let TokenTree::Group(group) = token {
                groups.push(group.stream());
            }
            let of = match &tokens[index..] {
                [
                    TokenTree::Ident(name),
                    a,
                    b,
                    TokenTree::Ident(new),
                    arguments,
                    ..,
                ] if name == "Problem" && is(a, ':') && is(b, ':') && new == "new" => {
                    std::slice::from_ref(arguments)
                }
                [TokenTree::Ident(name), equals, value @ ..]
                    if name == "detail" && is(equals, '=') =>
                {
                    let end = value.iter().position(|token| is(token, ';'));
                    &value[..end.unwrap_or(value.len())]
                }
                _ => continue,
            };
            found.extend(texts_in(of.iter().cloned().collect()));
        }
    }
    found
}

fn assert_texts(name: &str, lines: impl IntoIterator<Item = String>) {
    let lines: Vec<String> = lines.into_iter().collect();
    insta::with_settings!({ omit_expression => true }, {
        insta::assert_snapshot!(name, lines.join("\n"));
    });
}

/// The trial of crashes ended at no point of two that had left the source.
#[test]
fn each_crash_point_is_in_the_source() {
    let mut files = Vec::new();
    for crate_name in CRATES {
        sources(
            &root().join("crates").join(crate_name).join("src"),
            &mut files,
        );
    }
    let texts = files
        .iter()
        .map(|path| fs_err::read_to_string(path).unwrap());
    let source: String = texts.collect();
    let listed = source.split_once("pub const POINTS").unwrap().1;
    let (listed, _) = listed.split_once("];").unwrap();
    let points = Regex::new(r#""([a-z.-]+)""#).unwrap();
    let points: Vec<&str> = points
        .captures_iter(listed)
        .map(|found| found.extract::<1>().1[0])
        .collect();
    assert!(points.len() > 5, "{points:?}");
    for point in points {
        assert!(source.contains(&format!("point(\"{point}\")")), "{point}");
    }
}

#[test]
fn log_lines_have_these_messages_and_fields() {
    let lines = log_lines().into_iter().map(|line| {
        let level = LEVELS[line.level];
        let mut text = format!("{level:5} {}: {}", line.crate_name, line.message);
        if !line.fields.is_empty() {
            text += &format!(" [{}]", line.fields.join(", "));
        }
        text
    });
    assert_texts("log_messages", lines);
}

#[test]
fn errors_problems_and_notes_have_these_texts() {
    for name in CRATES {
        let mut errors = BTreeSet::new();
        let mut notes = BTreeSet::new();
        for (_, tokens) in source_tokens().into_iter().filter(|(of, _)| *of == name) {
            let bracket = Some(Delimiter::Bracket);
            errors.extend(texts_of(&["error"], bracket, tokens.clone()));
            notes.extend(texts_of(&["note", "to_stderr", "line"], None, tokens));
        }
        if !errors.is_empty() {
            assert_texts(&format!("errors-of-{name}"), errors);
        }
        if name == "jetsink-serve" {
            let tokens = source_tokens().into_iter().filter(|(of, _)| *of == name);
            let problems: BTreeSet<String> =
                tokens.flat_map(|(_, tokens)| problems(tokens)).collect();
            assert_texts("problems", problems);
        }
        if name == "jetsink-cli" {
            assert_texts("notes", notes);
        }
    }
}

#[test]
fn manual_lists_each_warning_and_each_field() {
    let manual = fs_err::read_to_string(root().join("docs/operate/log.md")).unwrap();
    let lacks = |name: &str| !manual.contains(&format!("`{name}`"));
    let values = Regex::new(r"\{[^}]*\}").unwrap();
    let mut missing = BTreeSet::new();
    for line in log_lines() {
        missing.extend(line.fields.into_iter().filter(|field| lacks(field)));
        let message = values.replace_all(&line.message, "…").into_owned();
        // A message that is a value only has the text of an error.
        if line.level < 2 && message != "…" && lacks(&message) {
            missing.insert(message);
        }
    }
    assert!(missing.is_empty(), "docs/operate/log.md lacks {missing:#?}");
}

#[test]
fn calls_are_found_in_any_form() {
    let source = r#"
        fn f() {
            warn!(%error, ?other, "first");
            if true { tracing::info!(target: T, wait_ms = wait as u64, subject, "second \
                part {}", 1); }
            error!("{found}");
        }
    "#;
    let mut found = BTreeSet::new();
    calls(
        TokenStream::from_str(source).unwrap(),
        "jetsink",
        &mut found,
    );
    let line = |level, message: &str, fields: &[&str]| LogLine {
        level,
        crate_name: "jetsink",
        message: message.to_owned(),
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
    };
    let expected = [
        line(0, "{found}", &[]),
        line(1, "first", &["error", "other"]),
        line(2, "second part {}", &["wait_ms", "subject"]),
    ];
    assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
}
