//! Decides which messages are shown. Pure.

use std::collections::BTreeSet;
use std::time::SystemTime;

use jetsink::{
    StoredEvent, SubjectPattern, SubjectTemplate, TENANT_ID_DEFAULT_TOKEN, check_tenant_id,
    encode_token,
};

use super::content::Content;

/// With more subjects the request for a consumer would be large; then messages are only filtered here.
const MAX_FILTER_SUBJECTS: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Filter {
    pub(super) tenants: Vec<String>,
    pub(super) types: Vec<String>,
    pub(super) subjects: Vec<SubjectPattern>,
    pub(super) since: Option<SystemTime>,
    pub(super) until: Option<SystemTime>,
}

impl Filter {
    /// The subjects for the broker's filter; none if they overlap, which the broker refuses.
    pub(super) fn at_the_broker(&self) -> &[SubjectPattern] {
        let subjects = &self.subjects;
        let any_overlap = (1..subjects.len()).any(|i| {
            subjects[..i]
                .iter()
                .any(|other| other.overlaps(&subjects[i]))
        });
        if any_overlap || subjects.len() > MAX_FILTER_SUBJECTS {
            return &[];
        }
        subjects
    }

    pub(super) fn passes(&self, message: &StoredEvent, content: &Content) -> bool {
        fn any_or<T>(all: &[T], passes: impl Fn(&T) -> bool) -> bool {
            all.is_empty() || all.iter().any(passes)
        }
        self.since.is_none_or(|since| message.stored_at >= since)
            && self.until.is_none_or(|until| message.stored_at <= until)
            && any_or(&self.subjects, |pattern| pattern.matches(&message.subject))
            && match content {
                Content::Event(event) => {
                    let tenant = event.tenant.as_deref().unwrap_or(TENANT_ID_DEFAULT_TOKEN);
                    any_or(&self.tenants, |wanted| wanted == tenant)
                        && any_or(&self.types, |glob| is_like(glob, &event.event_type))
                }
                // It has neither a tenant nor a type.
                Content::Other => self.tenants.is_empty() && self.types.is_empty(),
            }
    }
}

/// The subjects of `template` for `tenants`, or for all tenants if the list is empty. A token with another
/// placeholder becomes `*`. Wildcards may stand between the placeholders.
pub(super) fn subjects(
    template: &str,
    tenants: &[String],
) -> Result<BTreeSet<SubjectPattern>, String> {
    let pattern = |text: String| {
        SubjectPattern::new(text).map_err(|error| format!("--subject {template:?}: {error}"))
    };
    if !template.contains('{') {
        return pattern(template.to_owned()).map(|subject| [subject].into());
    }
    let (tokens, ends_open) = match template.strip_suffix(".>") {
        Some(tokens) => (tokens, true),
        None => (template, false),
    };
    let parsed = SubjectTemplate::new(without_stars(tokens))
        .map_err(|error| format!("--subject {template:?}: {error}"))?;
    let mut ids = BTreeSet::new();
    for tenant in tenants {
        // Encoded, as by `--tenant-policy encode`; and unencoded, for ids that contain a %.
        ids.insert(Some(encode_token(tenant).into_owned()));
        if check_tenant_id(tenant).is_ok() {
            ids.insert(Some(tenant.clone()));
        }
    }
    if ids.is_empty() {
        ids.insert(None);
    }
    let filters = ids.into_iter().map(|id| {
        let filter = parsed.filter(id.as_deref());
        if ends_open && !filter.ends_with('>') {
            return filter + ".>";
        }
        filter
    });
    filters.map(pattern).collect()
}

/// Replaces each token `*` by a placeholder, whose filter is `*`.
fn without_stars(template: &str) -> String {
    let tokens = template.split('.').map(|token| match token {
        "*" => "{any}",
        token => token,
    });
    tokens.collect::<Vec<_>>().join(".")
}

/// Matches a glob: `*` is any number of characters, `?` is one.
fn is_like(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    let (mut g, mut t) = (0, 0);
    // The position of the last star, and the end of the characters that it matches.
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
#[path = "tests/filter.rs"]
mod tests;
