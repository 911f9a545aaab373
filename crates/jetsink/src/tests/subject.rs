//! Subjects from whatever comes in.

use proptest::prelude::*;

use crate::message::subject::{
    LONGEST_SUBJECT, LONGEST_TENANT_ID, Subject, SubjectError, SubjectTemplate, TemplateValues,
    TenantPolicy, check_tenant_id, encode_token,
};

fn resolve(template: &str, tenant: &str, policy: TenantPolicy) -> Result<Subject, SubjectError> {
    let template: SubjectTemplate = template.parse()?;
    let values = TemplateValues {
        tenant: Some(tenant),
        event_type: "t",
        source: "/s",
    };
    template.resolve(&values, policy)
}

#[test]
fn a_subject_is_shown_as_it_is_and_has_a_longest() {
    let subject = Subject::new("events.acme").unwrap();
    assert_eq!(
        format!("{subject} {subject:?}"),
        r#"events.acme "events.acme""#
    );
    assert!(Subject::new("x".repeat(LONGEST_SUBJECT)).is_ok());
    let error = Subject::new("x".repeat(LONGEST_SUBJECT + 1)).unwrap_err();
    assert!(error.to_string().contains("2049 bytes long"), "{error}");
    let template: SubjectTemplate = "e.{tenantId}".parse().unwrap();
    assert_eq!(
        format!("{template} {}", template.as_str()),
        "e.{tenantId} e.{tenantId}"
    );
}

#[test]
fn only_what_offends_is_encoded_and_what_is_too_long_for_an_id_is_none() {
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
    let longest = format!("{}.", "x".repeat(LONGEST_TENANT_ID - 1));
    assert!(encoded(&longest).unwrap().as_str().ends_with("x%2E"));
    let longer = "x".repeat(LONGEST_TENANT_ID + 1);
    let error = encoded(&longer).unwrap_err();
    assert!(error.to_string().contains("129 bytes long"), "{error}");
}

#[test]
fn a_tenant_id_that_is_no_token_is_refused_by_its_character() {
    let long = "x".repeat(LONGEST_TENANT_ID + 1);
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
fn a_tenant_that_the_template_does_not_name_is_not_looked_at() {
    let subject = resolve("e.all", "a.b", TenantPolicy::Refuse).unwrap();
    assert_eq!(subject.as_str(), "e.all");
}

#[test]
fn a_template_that_can_give_no_subject_is_refused() {
    for (template, expected) in [
        ("", "subject is empty"),
        ("e.", "empty token at byte 2"),
        (".e", "empty token at byte 0"),
        ("e..f", "empty token at byte 2"),
        ("e.*", "wildcards"),
        ("e.>", "wildcards"),
        ("e f", "white space"),
        ("$JS.{tenantId}", "the server's own subjects"),
        ("e.{tenant}", "unknown placeholder {tenant}"),
        ("e.{}", "unknown placeholder {}"),
        ("é.{tenantId", "'{' at byte 3 that is never closed"),
    ] {
        let error = SubjectTemplate::new(template).unwrap_err().to_string();
        assert!(error.contains(expected), "{template:?}: {error}");
    }
}

proptest! {
    #[test]
    fn whatever_fills_a_template_stays_in_its_token(tenant: String, event_type: String, source: String) {
        let template = SubjectTemplate::new("a.{tenantId}.{type}.b.{source}").unwrap();
        let values = TemplateValues { tenant: Some(&tenant), event_type: &event_type, source: &source };
        match template.resolve(&values, TenantPolicy::Encode) {
            Ok(subject) => {
                let tokens: Vec<_> = subject.as_str().split('.').collect();
                prop_assert_eq!(tokens.len(), 5);
                prop_assert_eq!((tokens[0], tokens[3]), ("a", "b"));
            }
            Err(error) => prop_assert!(matches!(error, SubjectError::TooLong { .. }), "{}", error),
        }
    }

    #[test]
    fn two_tenants_never_share_a_subject(one in "[a.%$ E2]{0,4}", other in "[a.%$ E2]{0,4}") {
        let encoded = |id: &str| resolve("e.{tenantId}", id, TenantPolicy::Encode).unwrap();
        prop_assert_eq!(encoded(&one) == encoded(&other), one == other);
    }

    #[test]
    fn what_passes_the_check_is_one_token_as_it_stands(id in "\\PC{1,8}") {
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
