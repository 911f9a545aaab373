//! Subject templates and tenant ids.

use trial::{Dice, Trial};

use crate::message::subject::{
    MAX_SUBJECT, MAX_TENANT_ID, TenantPolicy, check_tenant_id, encode_token,
};
use crate::tests::trials::fuzz::bounded;
use crate::tests::trials::fuzz::mutate::mutated_text;
use crate::{Subject, SubjectTemplate};

const TEMPLATES: [&str; 7] = [
    "cellos.events.{tenantId}",
    "cellos.events.{tenantId}.{type}",
    "events.{source}.{type:levels}",
    "events.x{tenantId}y.{subject:levels|a.b}.{source}",
    "events.{partitionkey|none}",
    "events",
    "$x.{tenantId}",
];

const TENANTS: [&str; 6] = ["acme", "a-b_c", "Müller & Söhne", "a.b", "$SYS", "%2E%"];

const WORDS: [&str; 27] = [
    "{tenantId}",
    "{type}",
    "{source}",
    "{type:levels}",
    "{x|y}",
    "{subject:levels|a.b}",
    ":levels",
    "|",
    "{",
    "}",
    "{}",
    "{x}",
    ".",
    "..",
    "*",
    ">",
    "$",
    " ",
    "\t",
    "\0",
    "\r\n",
    "\u{85}",
    "\u{a0}",
    "\u{2028}",
    "%",
    "%2E",
    "é",
];

/// A subject that a server takes, said in other words than `subject.rs` does.
fn is_publishable(subject: &str) -> bool {
    let token = |token: &str| {
        !token.is_empty()
            && token.chars().all(|c| {
                !matches!(c, '*' | '>' | '\0'..=' ' | '\u{7f}'..='\u{9f}') && !c.is_whitespace()
            })
    };
    subject.len() <= MAX_SUBJECT && !subject.starts_with('$') && subject.split('.').all(token)
}

fn is_token(text: &str) -> bool {
    is_publishable(text) && !text.contains('.')
}

fn value(dice: &mut Dice) -> String {
    let mut text = mutated_text(dice, &TENANTS, &WORDS);
    while dice.coin() && text.len() > 100 {
        text = text.chars().step_by(2).collect();
    }
    text
}

fn look_at_template(dice: &mut Dice) {
    let text = mutated_text(dice, &TEMPLATES, &WORDS);
    let made = bounded(text.len(), 64, || SubjectTemplate::new(text.as_str()));
    assert_eq!(Subject::new(text.as_str()).is_ok(), is_publishable(&text));
    let Ok(template) = made else { return };
    // An event never chooses the first token.
    let first = text.split('.').next().unwrap();
    assert!(!first.contains('{'), "{text:?}");
    let values = [value(dice), value(dice), value(dice)];
    let tenant = dice.coin().then(|| value(dice));
    let lacks = dice.index(12);
    let attribute = |name: &str| {
        let place = name.len() % 12;
        (place != lacks).then(|| values[place % values.len()].as_str().into())
    };
    let policy = *dice.one_of(&[TenantPolicy::Refuse, TenantPolicy::Encode]);
    let lengths = values.iter().map(String::len).sum::<usize>();
    let length = text.len() * (1 + tenant.as_ref().map_or(0, String::len) + lengths);
    let resolved = bounded(length, 8, || {
        template.resolve(tenant.as_deref(), policy, attribute)
    });
    let Ok(subject) = resolved else { return };
    // A value adds no level, except by `:levels`, and reaches into no other token.
    assert!(is_publishable(subject.as_str()), "{subject:?}");
    let levels = |text: &str| text.matches('.').count();
    if !text.contains(":levels") {
        assert_eq!(levels(subject.as_str()), levels(&text), "{subject:?}");
    }
    assert_eq!(
        subject.as_str().split('.').next(),
        Some(first),
        "{subject:?}"
    );
    if template.has_tenant() && policy == TenantPolicy::Refuse {
        let Some(tenant) = &tenant else { return };
        assert!(is_token(tenant), "{tenant:?}");
        assert!(subject.as_str().contains(tenant.as_str()));
    }
}

fn look_at_tenant(dice: &mut Dice) {
    let id = value(dice);
    let checked = bounded(id.len(), 1, || check_tenant_id(&id));
    assert_eq!(
        checked.is_ok(),
        id.len() <= MAX_TENANT_ID && is_token(&id),
        "{id:?}: {checked:?}"
    );
    let token = bounded(id.len(), 8, || encode_token(&id).into_owned());
    if token.len() <= MAX_SUBJECT {
        assert!(is_token(&token), "{id:?} gives {token:?}");
    }
    if id.is_empty() {
        assert_eq!(token, "%");
    } else {
        // And back: no two ids give one token.
        let back = percent_encoding::percent_decode_str(&token);
        assert_eq!(back.decode_utf8().unwrap(), id);
    }
}

#[test]
fn no_template_panics_and_nothing_filled_in_adds_a_level() {
    Trial::new("fuzz-templates", 2_000).run(look_at_template);
}

#[test]
fn a_tenant_id_is_one_token_or_refused() {
    Trial::new("fuzz-tenants", 2_000).run(look_at_tenant);
}
