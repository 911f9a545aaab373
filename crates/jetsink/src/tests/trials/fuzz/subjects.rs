//! Subject templates and tenant ids.

use trial::{Dice, Trial};

use crate::message::subject::{
    LONGEST_SUBJECT, LONGEST_TENANT_ID, TemplateValues, TenantPolicy, check_tenant_id, encode_token,
};
use crate::tests::trials::fuzz::bounded;
use crate::tests::trials::fuzz::mutate::mutated_text;
use crate::{Subject, SubjectTemplate};

const TEMPLATES: [&str; 6] = [
    "cellos.events.{tenantId}",
    "cellos.events.{tenantId}.{type}",
    "{source}.{type}",
    "events.x{tenantId}y.{type}{source}",
    "events",
    "$x.{tenantId}",
];

const TENANTS: [&str; 6] = ["acme", "a-b_c", "Müller & Söhne", "a.b", "$SYS", "%2E%"];

const WORDS: [&str; 22] = [
    "{tenantId}",
    "{type}",
    "{source}",
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
    subject.len() <= LONGEST_SUBJECT && !subject.starts_with('$') && subject.split('.').all(token)
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
    let (tenant, event_type, source) = (value(dice), value(dice), value(dice));
    let values = TemplateValues {
        tenant: dice.coin().then_some(tenant.as_str()),
        event_type: &event_type,
        source: &source,
    };
    let policy = *dice.one_of(&[TenantPolicy::Refuse, TenantPolicy::Encode]);
    let length = text.len() * (1 + tenant.len() + event_type.len() + source.len());
    let Ok(subject) = bounded(length, 8, || template.resolve(&values, policy)) else {
        return;
    };
    // Whatever is filled in adds no level, and reaches into no other.
    assert!(is_publishable(subject.as_str()), "{subject:?}");
    let levels = |text: &str| text.matches('.').count();
    assert_eq!(levels(subject.as_str()), levels(&text), "{subject:?}");
    if template.names_tenant() && policy == TenantPolicy::Refuse {
        assert!(is_token(values.tenant.unwrap_or("single")), "{values:?}");
        assert!(subject.as_str().contains(values.tenant.unwrap_or("single")));
    }
}

fn look_at_tenant(dice: &mut Dice) {
    let id = value(dice);
    let checked = bounded(id.len(), 1, || check_tenant_id(&id));
    assert_eq!(
        checked.is_ok(),
        id.len() <= LONGEST_TENANT_ID && is_token(&id),
        "{id:?}: {checked:?}"
    );
    let token = bounded(id.len(), 8, || encode_token(&id).into_owned());
    if token.len() <= LONGEST_SUBJECT {
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
