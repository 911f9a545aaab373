//! Subjects and templates from any input.

use proptest::prelude::*;

use crate::message::subject::{
    MAX_SUBJECT, MAX_TENANT_ID, Subject, SubjectError, TenantPolicy, check_tenant_id, encode_token,
};
use crate::message::template::SubjectTemplate;

fn resolve(template: &str, tenant: &str, policy: TenantPolicy) -> Result<Subject, SubjectError> {
    let template: SubjectTemplate = template.parse()?;
    template.resolve(Some(tenant), policy, |_| Some("/s".into()))
}

/// With these attributes, and no tenant.
fn filled(template: &str, attributes: &[(&str, &str)]) -> Result<Subject, SubjectError> {
    let template: SubjectTemplate = template.parse()?;
    template.resolve(None, TenantPolicy::Refuse, |name| {
        let mut attributes = attributes.iter();
        attributes.find_map(|(n, value)| (*n == name).then_some((*value).into()))
    })
}

#[test]
fn subject_is_displayed_unchanged_and_has_a_length_limit() {
    let subject = Subject::new("events.acme").unwrap();
    assert_eq!(
        format!("{subject} {subject:?}"),
        r#"events.acme "events.acme""#
    );
    assert!(Subject::new("x".repeat(MAX_SUBJECT)).is_ok());
    let error = Subject::new("x".repeat(MAX_SUBJECT + 1)).unwrap_err();
    assert!(
        matches!(error, SubjectError::TooLong { bytes: 2_049, .. }),
        "{error}"
    );
    let template: SubjectTemplate = "e.{tenantId}".parse().unwrap();
    assert_eq!(
        format!("{template} {}", template.as_str()),
        "e.{tenantId} e.{tenantId}"
    );
}

#[test]
fn encoding_changes_invalid_characters_only_and_long_ids_are_refused() {
    for (text, token) in [
        ("acme", "acme"),
        ("a$b", "a$b"),
        ("$a", "%24a"),
        ("a.b", "a%2Eb"),
        ("", "%"),
    ] {
        assert_eq!(encode_token(text), token);
    }
    let encoded = |id: &str| resolve("e.{tenantId}", id, TenantPolicy::Encode);
    let longest = format!("{}.", "x".repeat(MAX_TENANT_ID - 1));
    assert!(encoded(&longest).unwrap().as_str().ends_with("x%2E"));
    let longer = "x".repeat(MAX_TENANT_ID + 1);
    let error = encoded(&longer).unwrap_err();
    assert!(
        matches!(error, SubjectError::TooLong { bytes: 129, .. }),
        "{error}"
    );
}

#[test]
fn tenant_id_that_is_not_a_token_is_refused_with_its_character() {
    let long = "x".repeat(MAX_TENANT_ID + 1);
    for (id, expected) in [
        ("a.b", "'.' at byte 1"),
        (".a", "'.' at byte 0"),
        ("a.", "'.' at byte 1"),
        ("*", "'*' at byte 0"),
        (">", "'>' at byte 0"),
        ("a b", "' ' at byte 1"),
        ("a\tb", "'\\t' at byte 1"),
        ("a\r\nb", "'\\r' at byte 1"),
        ("é\0", "'\\0' at byte 2"),
        ("$JS", "'$' at byte 0"),
        ("", "tenant id is empty"),
        (&long, "129 bytes long; the limit is 128"),
    ] {
        let error = resolve("e.{tenantId}", id, TenantPolicy::Refuse).unwrap_err();
        assert!(error.to_string().contains(expected), "{id:?}: {error}");
    }
    for id in ["acme", "a-b_c", "ü", "a$b", "a%2Eb", &long[1..]] {
        let subject = resolve("e.{tenantId}", id, TenantPolicy::Refuse).unwrap();
        assert_eq!(subject.as_str(), format!("e.{id}"));
    }
}

#[test]
fn tenant_is_ignored_by_a_template_without_its_placeholder() {
    let subject = resolve("e.all", "a.b", TenantPolicy::Refuse).unwrap();
    assert_eq!(subject.as_str(), "e.all");
}

/// The rule that a template breaks, and the part of it that does.
fn broken_rule(template: &str) -> (&'static str, String) {
    match SubjectTemplate::new(template).unwrap_err() {
        SubjectError::Empty { .. } => ("empty", String::new()),
        SubjectError::EmptyToken { position } => ("empty token", position.to_string()),
        SubjectError::Character { character, .. } => ("character", character.to_string()),
        SubjectError::UnknownPlaceholder { name } => ("placeholder", name),
        SubjectError::UnclosedPlaceholder { position } => ("unclosed", position.to_string()),
        SubjectError::Default { placeholder, .. } => ("default", placeholder),
        // Its reasons are in the snapshots of the texts.
        SubjectError::Template { .. } => ("tokens", String::new()),
        other => panic!("{template:?}: {other:?}"),
    }
}

#[test]
fn template_without_a_valid_subject_is_refused() {
    for (template, rule, part) in [
        ("", "empty", ""),
        ("e.", "empty token", "2"),
        (".e", "empty token", "0"),
        ("e..f", "empty token", "2"),
        ("e.*", "character", "*"),
        ("e.>", "character", ">"),
        ("e f", "character", " "),
        ("$JS.{tenantId}", "character", "$"),
        ("e.{Tenant}", "placeholder", "Tenant"),
        ("e.{data_base64}", "placeholder", "data_base64"),
        ("e.{data}", "placeholder", "data"),
        ("e.{tenantId:levels}", "placeholder", "tenantId:levels"),
        ("e.{type:level}", "placeholder", "type:level"),
        (
            "e.{type:levels:levels}",
            "placeholder",
            "type:levels:levels",
        ),
        ("e.{}", "placeholder", ""),
        ("e.{type|}", "default", "type|"),
        ("e.{type|a.b}", "default", "type|a.b"),
        ("e.{type|*}", "default", "type|*"),
        ("e.{type|a b}", "default", "type|a b"),
        ("e.{type:levels|a..b}", "default", "type:levels|a..b"),
        ("e.{type:levels|>}", "default", "type:levels|>"),
        ("é.{tenantId", "unclosed", "3"),
        ("{tenantId}", "tokens", ""),
        ("{type}.e", "tokens", ""),
        ("e{type}.e", "tokens", ""),
        ("{type:levels}", "tokens", ""),
        ("{type}e", "tokens", ""),
        ("e.{tenantId}{type}", "tokens", ""),
        ("e.{tenantId}-{type}", "tokens", ""),
        ("e.{type:levels}{tenantId}", "tokens", ""),
        ("e.x{type:levels}", "tokens", ""),
        ("e.{type:levels}x", "tokens", ""),
        ("e.{type:levels}.{tenantId}.{subject:levels}", "tokens", ""),
    ] {
        assert_eq!(
            broken_rule(template),
            (rule, part.to_owned()),
            "{template:?}"
        );
    }
}

#[test]
fn attributes_fill_one_token_each_or_one_for_each_level() {
    for (template, value, subject) in [
        ("e.{x}", "a.b", "e.a%2Eb"),
        ("e.{x}", "", "e.%"),
        ("e.{x}.f", "$SYS >", "e.%24SYS%20%3E.f"),
        ("e.p-{x}-s", "a*", "e.p-a%2A-s"),
        (
            "e.{x:levels}",
            "com.example.created",
            "e.com.example.created",
        ),
        ("e.{x:levels}.f", "com.example", "e.com.example.f"),
        ("e.{x:levels}", ".a..b.", "e.%.a.%.b.%"),
        ("e.{x:levels}", "a.*.>", "e.a.%2A.%3E"),
        ("e.{x:levels}", "$JS.API", "e.%24JS.API"),
        ("e.{x:levels}", "a b.c%", "e.a%20b.c%25"),
        ("e.{x:levels}", "", "e.%"),
        ("e.{x|none}", "v", "e.v"),
    ] {
        assert_eq!(
            filled(template, &[("x", value)]).unwrap().as_str(),
            subject,
            "{template}"
        );
    }
}

#[test]
fn an_absent_attribute_needs_a_default() {
    for (template, subject) in [
        ("e.{x|none}", "e.none"),
        ("e.{x:levels|a.b}.c", "e.a.b.c"),
        ("e.{tenantId|nobody}", "e.nobody"),
        ("e.{tenantId}", "e.single"),
    ] {
        assert_eq!(
            filled(template, &[]).unwrap().as_str(),
            subject,
            "{template}"
        );
    }
    for template in ["e.{x}", "e.{x:levels}"] {
        let error = filled(template, &[]).unwrap_err();
        let name = "x".to_owned();
        assert_eq!(error, SubjectError::MissingAttribute { name });
    }
}

#[test]
fn a_template_reports_the_tenants_of_an_event_without_one() {
    for (template, defaults) in [
        ("e.{type}", &[][..]),
        ("e.{tenantId}", &["single"]),
        ("e.{tenantId|shared}.{type|none}", &["shared"]),
        ("e.{tenantId|a}.{tenantId}", &["a", "single"]),
    ] {
        let template: SubjectTemplate = template.parse().unwrap();
        assert!(template.tenant_defaults().eq(defaults.iter().copied()));
    }
}

#[test]
fn a_template_reports_its_attributes_and_its_filter() {
    for (template, attributes, filter) in [
        ("e", &[][..], "e"),
        ("e.{tenantId}", &[], "e.*"),
        ("e.x{type}y.f", &["type"], "e.*.f"),
        ("e.{type:levels}", &["type"], "e.>"),
        ("e.{a}.{type:levels}.f.{a}", &["a", "type"], "e.*.>"),
        ("e.{tenantId|no}.{b|c}.g", &["b"], "e.*.*.g"),
    ] {
        let template: SubjectTemplate = template.parse().unwrap();
        assert_eq!(template.attributes(), attributes);
        assert_eq!(template.filter(None), filter);
    }
    for (template, filter) in [
        ("e.{tenantId}", "e.*a"),
        ("e.t-{tenantId}-x.{type:levels}", "e.t-*a-x.>"),
        ("e.{type}.{tenantId}", "e.*.*a"),
    ] {
        let template: SubjectTemplate = template.parse().unwrap();
        assert_eq!(template.filter(Some("*a")), filter, "the token as it is");
    }
}

proptest! {
    #[test]
    fn filled_values_stay_within_their_token(tenant: String, event_type: String, source: String) {
        let template = SubjectTemplate::new("a.{tenantId}.{type}.b.{source}").unwrap();
        let attribute = |name: &str| Some(if name == "type" { &*event_type } else { &*source }.into());
        match template.resolve(Some(&tenant), TenantPolicy::Encode, attribute) {
            Ok(subject) => {
                let tokens: Vec<_> = subject.as_str().split('.').collect();
                prop_assert_eq!(tokens.len(), 5);
                prop_assert_eq!((tokens[0], tokens[3]), ("a", "b"));
            }
            Err(error) => prop_assert!(matches!(error, SubjectError::TooLong { .. }), "{}", error),
        }
    }

    #[test]
    fn levels_do_not_shift_other_tokens(
        tenant in "[a.%$ >*]{0,4}", value in "[a.%$ >*]{0,6}", other in "[a.%$ >*]{0,6}",
    ) {
        let template = SubjectTemplate::new("a.b.{x:levels}.c.{tenantId}").unwrap();
        let of = |value: &str| {
            template.resolve(Some(&tenant), TenantPolicy::Encode, |_| Some(value.to_owned().into())).unwrap()
        };
        let subject = of(&value);
        let tokens: Vec<_> = subject.as_str().split('.').collect();
        prop_assert!(tokens.iter().all(|token| !token.is_empty()));
        prop_assert_eq!(tokens.len(), 5 + value.matches('.').count());
        prop_assert_eq!(&tokens[..2], &["a", "b"]);
        prop_assert_eq!(tokens[tokens.len() - 2], "c");
        prop_assert_eq!(tokens[tokens.len() - 1], encode_token(&tenant));
        prop_assert_eq!(subject == of(&other), value == other);
    }

    #[test]
    fn two_tenants_never_share_a_subject(one in "[a.%$ E2]{0,4}", other in "[a.%$ E2]{0,4}") {
        let encoded = |id: &str| resolve("e.{tenantId}", id, TenantPolicy::Encode).unwrap();
        prop_assert_eq!(encoded(&one) == encoded(&other), one == other);
    }

    #[test]
    fn valid_tenant_id_is_one_token_unchanged(id in "\\PC{1,8}") {
        if check_tenant_id(&id).is_ok() {
            let subject = resolve("e.{tenantId}.f", &id, TenantPolicy::Refuse).unwrap();
            prop_assert_eq!(subject.as_str().split('.').nth(1), Some(id.as_str()));
        } else {
            let encoded = resolve("e.{tenantId}", &id, TenantPolicy::Encode).unwrap();
            prop_assert_ne!(encoded.as_str(), format!("e.{id}"));
        }
    }

    #[test]
    fn any_text_is_a_template_or_an_error(text: String) {
        let _ = SubjectTemplate::new(text);
    }
}
