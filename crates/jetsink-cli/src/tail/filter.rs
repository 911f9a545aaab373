//! Which messages are shown. Pure.

use std::collections::BTreeSet;
use std::time::SystemTime;

use jetsink::StoredEvent;
use jetsink::subject::{TENANT_ID_DEFAULT_TOKEN, check_tenant_id, encode_token};

use super::content::Content;

/// With more the request for a consumer grows large; they are looked for here then.
const MAX_FILTER_SUBJECTS: usize = 64;

/// Of a template.
const PLACEHOLDERS: [&str; 3] = ["{tenantId}", "{type}", "{source}"];

#[derive(Debug, Default)]
pub(super) struct Filter {
    pub(super) tenants: Vec<String>,
    pub(super) types: Vec<String>,
    /// With wildcards, without placeholders.
    pub(super) subjects: Vec<String>,
    pub(super) since: Option<SystemTime>,
    pub(super) until: Option<SystemTime>,
}

impl Filter {
    /// What the broker may look for: it refuses subjects that overlap.
    pub(super) fn at_the_broker(&self) -> &[String] {
        let subjects = &self.subjects;
        let overlap = (1..subjects.len()).any(|i| {
            subjects[..i]
                .iter()
                .any(|other| overlaps(other, &subjects[i]))
        });
        if overlap || subjects.len() > MAX_FILTER_SUBJECTS {
            return &[];
        }
        subjects
    }

    pub(super) fn passes(&self, message: &StoredEvent, content: &Content) -> bool {
        let any_or = |all: &[String], passes: &dyn Fn(&String) -> bool| {
            all.is_empty() || all.iter().any(passes)
        };
        self.since.is_none_or(|since| message.stored_at >= since)
            && self.until.is_none_or(|until| message.stored_at <= until)
            && any_or(&self.subjects, &|filter| matches(filter, &message.subject))
            && match content {
                Content::Event(event) => {
                    let tenant = event.tenant.as_deref().unwrap_or(TENANT_ID_DEFAULT_TOKEN);
                    any_or(&self.tenants, &|wanted| wanted == tenant)
                        && any_or(&self.types, &|glob| is_like(glob, &event.event_type))
                }
                // Of no tenant, and of no type.
                Content::Other => self.tenants.is_empty() && self.types.is_empty(),
            }
    }
}

/// The subjects that `template` gives for `tenants`, or for all where none is named: a token with
/// another placeholder can be any.
pub(super) fn subjects(template: &str, tenants: &[String]) -> Result<BTreeSet<String>, String> {
    check_placeholders(template)?;
    let mut ids = BTreeSet::new();
    for tenant in tenants {
        // As `--tenant-policy encode` files it; and by itself, as an id with a % is where nothing is
        // encoded.
        ids.insert(Some(encode_token(tenant).into_owned()));
        if check_tenant_id(tenant).is_ok() {
            ids.insert(Some(tenant.clone()));
        }
    }
    if ids.is_empty() {
        ids.insert(None);
    }
    let filled = ids.into_iter().map(|id| {
        let tokens = template.split('.').map(|token| fill(token, id.as_deref()));
        tokens.collect::<Vec<String>>().join(".")
    });
    filled.map(|subject| check(subject, template)).collect()
}

fn fill(token: &str, tenant: Option<&str>) -> String {
    let filled = match tenant {
        Some(tenant) => token.replace("{tenantId}", tenant),
        None => token.to_owned(),
    };
    // A tenant id may look like a placeholder; it is one token all the same.
    let known = tenant.map_or(&PLACEHOLDERS[..], |_| &PLACEHOLDERS[1..]);
    if known.iter().any(|placeholder| token.contains(placeholder)) {
        return "*".to_owned();
    }
    filled
}

/// Of the template itself: a tenant id may have braces.
fn check_placeholders(template: &str) -> Result<(), String> {
    for token in template.split('.') {
        let mut rest = token;
        while let Some(at) = rest.find('{') {
            rest = &rest[at..];
            let Some(known) = PLACEHOLDERS.iter().find(|known| rest.starts_with(**known)) else {
                let unknown = rest.find('}').map_or(rest, |end| &rest[..=end]);
                return Err(format!(
                    "--subject {template:?}: {unknown:?} is no placeholder; those are {{tenantId}}, {{type}} and {{source}}"
                ));
            };
            rest = &rest[known.len()..];
        }
    }
    Ok(())
}

fn check(subject: String, template: &str) -> Result<String, String> {
    let tokens: Vec<&str> = subject.split('.').collect();
    let wrong = |what: &str| Err(format!("--subject {template:?}: {what}"));
    if tokens.iter().any(|token| token.is_empty()) {
        return wrong("it has an empty token");
    }
    if subject.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return wrong("white space and control characters are in no subject");
    }
    for (index, token) in tokens.iter().enumerate() {
        let last = index + 1 == tokens.len();
        if (token.contains('*') && *token != "*") || (token.contains('>') && *token != ">") {
            return wrong("a wildcard is a whole token");
        }
        if *token == ">" && !last {
            return wrong("'>' is the last token");
        }
    }
    Ok(subject)
}

/// Whether a subject is one of those that the filter names.
fn matches(filter: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in filter.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            (_, None) => return false,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// Whether some subject is one of both.
fn overlaps(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (None, Some(_)) | (Some(_), None) => return false,
            (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
            _ => return false,
        }
    }
}

/// `*` is any characters, none too; `?` is one.
fn is_like(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    let (mut g, mut t) = (0, 0);
    // Where the last star was, and how far its characters go.
    let mut star = None;
    while t < text.len() {
        match glob.get(g) {
            Some('*') => {
                star = Some((g, t));
                g += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                g += 1;
                t += 1;
            }
            _ => {
                let Some((at, taken)) = star else {
                    return false;
                };
                star = Some((at, taken + 1));
                g = at + 1;
                t = taken + 1;
            }
        }
    }
    glob[g..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(template: &str, tenants: &[&str]) -> Vec<String> {
        let tenants: Vec<String> = tenants.iter().map(ToString::to_string).collect();
        subjects(template, &tenants).unwrap().into_iter().collect()
    }

    #[test]
    fn a_glob_takes_whole_types() {
        for (glob, text) in [
            ("dev.cellos.*", "dev.cellos.cell.started"),
            ("*.destroyed", "a.b.destroyed"),
            ("*a*b*", "xxaxxbxab"),
            ("a?c", "aüc"),
            ("", ""),
            ("*", ""),
        ] {
            assert!(is_like(glob, text), "{glob} {text}");
        }
        for (glob, text) in [
            ("dev.cellos", "dev.cellos.x"),
            ("*.destroyed", "a.destroyed.v1"),
            ("a?c", "ac"),
            ("", "a"),
            ("*a", "ab"),
        ] {
            assert!(!is_like(glob, text), "{glob} {text}");
        }
        assert!(
            !is_like(&"*a".repeat(40), &"a".repeat(39)),
            "and takes no time"
        );
    }

    #[test]
    fn a_template_gives_the_tenants_subjects() {
        assert_eq!(of("e.{tenantId}", &["acme"]), ["e.acme"]);
        assert_eq!(of("e.{tenantId}", &[]), ["e.*"]);
        assert_eq!(of("e.{tenantId}.{type}", &["a", "b"]), ["e.a.*", "e.b.*"]);
        assert_eq!(of("e.t-{tenantId}.x-{source}", &["a"]), ["e.t-a.*"]);
        assert_eq!(of("e.{tenantId}", &["a.b"]), ["e.a%2Eb"]);
        assert_eq!(of("e.{tenantId}", &["50%"]), ["e.50%", "e.50%25"]);
        assert_eq!(of("e.>", &["acme"]), ["e.>"]);
        for wrong in ["", "a..b", "a b", "a.>.b", "a.b*", "e.{tenant}", ">a"] {
            assert!(subjects(wrong, &[]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_misspelt_placeholder_is_named_and_an_id_that_looks_like_one_is_none() {
        for (wrong, name) in [
            ("e.{tenantId}.{tyep}", "\"{tyep}\""),
            ("e.{tenant}", "\"{tenant}\""),
            ("e.{type}-{TYPE}.x", "\"{TYPE}\""),
            ("e.{tenantId}.{type", "\"{type\""),
            ("e.{te{type}nantId}", "\"{te{type}\""),
        ] {
            for tenants in [&[][..], &["a".to_owned()]] {
                let error = subjects(wrong, tenants).unwrap_err();
                assert!(error.contains(name), "{wrong}: {error}");
            }
        }
        let of_tenant = of("e.{tenantId}", &["{tenantId}"]);
        assert!(
            of_tenant.contains(&"e.{tenantId}".to_owned()),
            "{of_tenant:?}"
        );
        assert!(of("e.{tenantId}", &["{tyep}"]).contains(&"e.{tyep}".to_owned()));
    }

    #[test]
    fn subjects_are_matched_as_the_broker_does() {
        for (filter, subject) in [("a.>", "a.b.c"), ("a.*.c", "a.b.c"), ("a", "a"), (">", "a")] {
            assert!(matches(filter, subject), "{filter} {subject}");
        }
        for (filter, subject) in [("a.>", "a"), ("a.*", "a.b.c"), ("a.*", "a"), ("a", "b")] {
            assert!(!matches(filter, subject), "{filter} {subject}");
        }
    }

    #[test]
    fn the_broker_is_asked_for_subjects_that_do_not_overlap() {
        let filter = |subjects: &[&str]| Filter {
            subjects: subjects.iter().map(ToString::to_string).collect(),
            ..Filter::default()
        };
        assert_eq!(filter(&["e.a", "e.b.*"]).at_the_broker().len(), 2);
        for overlapping in [
            ["e.*", "e.a"],
            ["e.>", "e.a.b"],
            ["*.a", "e.*"],
            ["e.a", "e.a"],
        ] {
            assert!(
                filter(&overlapping).at_the_broker().is_empty(),
                "{overlapping:?}"
            );
        }
        assert_eq!(filter(&["e.>", "e"]).at_the_broker().len(), 2);
    }
}
