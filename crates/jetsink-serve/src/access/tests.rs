use super::*;
use axum::http::HeaderValue;
use jetsink::EventTenant;
use std::borrow::Cow;
use std::path::Path;

fn grant(subjects: &[&str], tenants: &[&str]) -> Caller {
    let patterns = subjects
        .iter()
        .map(|text| jetsink::SubjectPattern::new(*text).unwrap());
    Caller::Known(Arc::new(Grant {
        name: "n".into(),
        subjects: patterns.collect(),
        tenants: tenants.iter().map(|text| (*text).to_owned()).collect(),
    }))
}

fn choose(caller: &Caller, tenant: EventTenant<'static>) -> Result<Option<String>, ProblemKind> {
    choose_on(&["single"], caller, tenant)
}

/// On a route whose tenant placeholders have these defaults.
fn choose_on(
    defaults: &[&str],
    caller: &Caller,
    tenant: EventTenant<'static>,
) -> Result<Option<String>, ProblemKind> {
    let defaults: Vec<String> = defaults.iter().map(|text| (*text).to_owned()).collect();
    let mut choice = grant::TenantChoice {
        caller,
        defaults: &defaults,
        refusal: None,
    };
    let chosen = choice.choose(tenant).map(Cow::into_owned);
    match choice.refusal {
        None => Ok(chosen),
        Some(problem) => Err(problem.kind()),
    }
}

#[test]
fn tenant_of_a_credential_fills_in_and_another_is_forbidden() {
    use EventTenant::{Absent, Named, Unreadable};
    let acme = || Some("acme".to_owned());
    let one = grant(&[">"], &["acme"]);
    assert_eq!(choose(&one, Named("acme".into())), Ok(acme()));
    assert_eq!(
        choose(&one, Named("other".into())),
        Err(ProblemKind::Forbidden)
    );
    assert_eq!(choose(&one, Absent), Ok(acme()));
    assert_eq!(choose(&one, Unreadable), Ok(acme()));
    let two = grant(&[">"], &["acme", "other"]);
    assert_eq!(choose(&two, Named("acme".into())), Ok(acme()));
    assert_eq!(choose(&two, Absent), Err(ProblemKind::Forbidden));
    assert_eq!(choose(&two, Unreadable), Err(ProblemKind::EventRefused));
    assert_eq!(choose(&grant(&[">"], &["a", "single"]), Absent), Ok(None));
    let any = grant(&[">"], &[]);
    assert_eq!(choose(&any, Named("x".into())), Ok(Some("x".to_owned())));
    assert_eq!(choose(&any, Absent), Ok(None));
    assert_eq!(choose(&any, Unreadable), Err(ProblemKind::EventRefused));
}

// A reviewer's finding: the default of `{tenantId|shared}` was not checked, but `single` was.
#[test]
fn event_without_a_tenant_needs_the_right_to_each_default_of_its_route() {
    use EventTenant::{Absent, Named, Unreadable};
    let two = grant(&[">"], &["a", "shared"]);
    assert_eq!(choose_on(&["shared"], &two, Absent), Ok(None));
    assert_eq!(
        choose_on(&["single"], &two, Absent),
        Err(ProblemKind::Forbidden)
    );
    let both = ["shared", "a"];
    assert_eq!(choose_on(&both, &two, Absent), Ok(None));
    let more = ["shared", "other"];
    assert_eq!(choose_on(&more, &two, Absent), Err(ProblemKind::Forbidden));
    let single = grant(&[">"], &["single", "b"]);
    assert_eq!(
        choose_on(&["shared"], &single, Absent),
        Err(ProblemKind::Forbidden)
    );
    // Without a tenant in the subject.
    assert_eq!(choose_on(&[], &two, Absent), Ok(None));
    assert_eq!(choose_on(&[], &two, Unreadable), Ok(None));
    let other = Named("other".into());
    assert_eq!(choose_on(&[], &two, other), Err(ProblemKind::Forbidden));
}

#[test]
fn unreadable_data_is_never_filed_under_single_while_credentials_are_in_use() {
    let of = |share| choose(&Caller::Anonymous { share }, EventTenant::Unreadable);
    assert_eq!(of(None), Ok(None));
    assert_eq!(of(Some("".into())), Err(ProblemKind::EventRefused));
}

#[test]
fn subjects_of_a_credential_bound_its_events() {
    let caller = grant(&["events.acme.>", "log.*"], &[]);
    let check = |subject: &str| caller.check_subject(&subject.parse().unwrap());
    assert!(check("events.acme.a.b").is_ok());
    assert!(check("log.x").is_ok());
    for other in ["events.other.a", "log.x.y", "events.acme"] {
        assert_eq!(
            check(other).unwrap_err().kind(),
            ProblemKind::Forbidden,
            "{other}"
        );
    }
}

fn parse(text: &str) -> Result<Table, AccessError> {
    Table::parse(Path::new("access.toml"), text)
}

#[test]
fn token_is_found_by_its_hash_and_no_other_is() {
    let token = token::NewToken::random().unwrap();
    let other = token::NewToken::random().unwrap();
    let entry = token.entry("ci \"x\"", &["a.>".to_owned()], &["acme".to_owned()]);
    assert!(!entry.contains(token.secret()));
    let table = parse(&entry).unwrap();
    let grant = table.by_token(token.secret().as_bytes()).unwrap();
    assert_eq!(
        (&*grant.name, &grant.tenants[..]),
        ("ci \"x\"", &["acme".to_owned()][..])
    );
    assert!(table.by_token(other.secret().as_bytes()).is_none());
    assert!(table.by_token(b"").is_none());
    assert!(!format!("{token:?}").contains(token.secret()));
}

#[test]
fn invalid_entries_are_refused_by_name() {
    let hash = "0".repeat(64);
    let entry = |rest: &str| format!("[[token]]\nname = \"n\"\n{rest}");
    for (text, part) in [
        (entry("sha256 = \"12\"\nsubjects = [\">\"]"), "64 hexadecimal digits"),
        (entry(&format!("sha256 = \"{hash}\"\nsubjects = []")), "must not be empty"),
        (entry(&format!("sha256 = \"{hash}\"\nsubjects = [\"a..b\"]")), "subjects"),
        (entry(&format!("sha256 = \"{hash}\"\nsubjects = [\">\"]\ntenants = [\"a.b\"]")), "tenants"),
        (entry(&format!("sha256 = \"{hash}\"\nsubject = [\">\"]")), "subject"),
        ("[[certificate]]\nname = \"n\"\nsan = \"host\"\nsubjects = [\">\"]".to_owned(), "dns:"),
        ("[[user]]\nname = \"n\"\nuid = 1\nsubjects = [\">\"]\n[[user]]\nname = \"m\"\nuid = 1\nsubjects = [\">\"]".to_owned(), "twice"),
        ("[[user]]\nname = \"n\"\nuid = 1\nsubjects = [\">\"]\n[[user]]\nname = \"n\"\nuid = 2\nsubjects = [\">\"]".to_owned(), "twice"),
        (["n", "m"].map(|name| format!("[[token]]\nname = \"{name}\"\nsha256 = \"{hash}\"\nsubjects = [\">\"]\n")).concat(), "token appears twice"),
        ("[[certificate]]\nname = \"n\"\nsan = \"dns:A\"\nsubjects = [\">\"]\n[[certificate]]\nname = \"m\"\nsan = \"dns:a\"\nsubjects = [\">\"]".to_owned(), "san appears twice"),
        ("nonsense".to_owned(), "access.toml: line 1: "),
        ("# é\n\n[[token]\n".to_owned(), "access.toml: line 3: "),
        (format!("{}subject = []", entry("")), "access.toml: line 3: unknown field"),
    ] {
        let error = parse(&text).err().unwrap().to_string();
        assert!(error.contains(part), "{text}: {error}");
        assert!(!error.contains('\n') && !error.contains(&hash), "{error}");
    }
}

// A reviewer's finding: entries that could never match, and a second entry for one token, were accepted.
#[test]
fn certificate_is_found_however_its_name_is_written() {
    let table = |san: &str| {
        parse(&format!(
            "[[certificate]]\nname = \"c\"\nsan = \"{san}\"\nsubjects = [\">\"]\n"
        ))
    };
    for (written, name) in [
        ("ip:2001:DB8:0::1", san::ip("2001:db8::1".parse().unwrap())),
        ("ip:::ffff:10.0.0.1", san::ip("10.0.0.1".parse().unwrap())),
        ("dns:Billing.Example.COM", san::dns("billing.example.com")),
        ("dns:billing.example.com.", san::dns("BILLING.example.com")),
        ("email:Ann@Example.com", san::email("Ann@eXample.com")),
        ("uri:spiffe://a/B", san::uri("spiffe://a/B")),
    ] {
        let table = table(written).unwrap();
        assert!(table.by_certificate(&name).is_some(), "{written}");
    }
    let email = table("email:ann@example.com").unwrap();
    assert!(
        email
            .by_certificate(&san::email("Ann@example.com"))
            .is_none()
    );
    for wrong in [
        "ip:10.0.0",
        "ip:10.0.0.0/8",
        "ip:",
        "dns:bücher.example",
        "dns:a b",
        "cn:a",
        "a",
    ] {
        assert!(table(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn file_that_others_can_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let file = tempfile::NamedTempFile::new().unwrap();
    let mode = |mode| {
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap()
    };
    mode(0o622);
    assert!(matches!(
        Access::from_file(file.path()),
        Err(AccessError::Writable { .. })
    ));
    mode(0o644);
    assert!(Access::from_file(file.path()).is_ok());
}

#[test]
fn credential_is_looked_up_by_token_certificate_and_user_and_a_wrong_token_is_final() {
    let token = token::NewToken::random().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let rest = "[[certificate]]\nname = \"c\"\nsan = \"dns:c.example\"\nsubjects = [\">\"]\n\
                [[user]]\nname = \"u\"\nuid = 7\nsubjects = [\">\"]\n";
    let text = token.entry("t", &[">".to_owned()], &[]) + rest;
    std::fs::write(file.path(), text).unwrap();
    let access = Access::from_file(file.path()).unwrap();
    let name = |header: Option<&str>, client: &Client| {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(AUTHORIZATION, HeaderValue::from_str(header).unwrap());
        }
        let caller = access.caller(&headers, client);
        caller
            .map(|caller| caller.name().unwrap().to_string())
            .map_err(|problem| problem.kind())
    };
    let nobody = Client::default();
    let certified = Client {
        names: vec!["uri:x".to_owned(), "dns:c.example".to_owned()].into(),
        ..Client::default()
    };
    let local = Client {
        uid: Some(7),
        ..Client::default()
    };
    let bearer = format!("bEARER {}", token.secret());
    assert_eq!(name(Some(&bearer), &nobody).as_deref(), Ok("t"));
    assert_eq!(name(None, &certified).as_deref(), Ok("c"));
    assert_eq!(name(None, &local).as_deref(), Ok("u"));
    assert_eq!(name(None, &nobody), Err(ProblemKind::Unauthenticated));
    for wrong in ["Bearer x", "Bearer ", "Basic eDp5", token.secret()] {
        assert_eq!(
            name(Some(wrong), &certified),
            Err(ProblemKind::Unauthenticated),
            "{wrong}"
        );
    }
    // The text says what to change.
    let detail = |values: &[&str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        let problem = access.caller(&headers, &nobody).unwrap_err();
        problem.detail().to_owned()
    };
    for (values, part) in [
        (&["Bearer x"][..], "the bearer token is not known"),
        (&["Basic eDp5"], "no bearer token"),
        (&[token.secret()], "no bearer token"),
        (&[&bearer, &bearer], "several Authorization headers"),
    ] {
        let detail = detail(values);
        assert!(detail.contains(part), "{detail}");
        assert!(!detail.contains(token.secret()), "{detail}");
    }
    // A reload takes effect, and a broken file leaves all as it was.
    std::fs::write(file.path(), "nonsense").unwrap();
    assert!(access.reload().is_err());
    assert_eq!(name(Some(&bearer), &nobody).as_deref(), Ok("t"));
    std::fs::write(file.path(), rest).unwrap();
    access.reload().unwrap();
    assert_eq!(
        name(Some(&bearer), &nobody),
        Err(ProblemKind::Unauthenticated)
    );
}

#[test]
fn error_of_an_entry_keeps_quotes_and_escapes_control_characters() {
    let parse = |subject: &str| {
        let hash = "0".repeat(64);
        let text = format!("[[token]]\nname = \"n\"\nsha256 = \"{hash}\"\nsubjects = [{subject}]");
        file::Table::parse(Path::new("f"), &text)
            .map(|_| ())
            .unwrap_err()
    };
    for (subject, reason) in [
        ("\"a b\"", "has ' ' at"),
        ("\"a\\u0007b\"", "has '\\u{7}' at"),
    ] {
        let text = parse(subject).to_string();
        assert!(text.contains(reason), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
