use super::*;

#[test]
fn a_limit_that_is_nearly_reached_is_reported_by_its_name() {
    let info = serde_json::json!({
        "storage": 90, "memory": 5, "streams": 3,
        "limits": { "max_storage": 100, "max_memory": -1, "max_streams": 10 },
    });
    let storage = AccountFinding::NearLimit {
        used: 90,
        limit: 100,
        unit: "bytes of file storage",
    };
    assert_eq!(limits(&info), [storage]);
}

#[test]
fn each_cause_of_a_failed_connection_has_its_finding() {
    use ConnectionFinding as F;
    let reason = || "reason".to_owned();
    for (cause, finding) in [
        (
            ConnectCause::UntrustedAuthority,
            F::UntrustedAuthority { reason: reason() },
        ),
        (
            ConnectCause::ClientCertificateRequired,
            F::ClientCertificateRequired { reason: reason() },
        ),
        (
            ConnectCause::LoginRefused,
            F::LoginRefused { reason: reason() },
        ),
        (
            ConnectCause::LoginUnusable,
            F::LoginRefused { reason: reason() },
        ),
    ] {
        for named in [false, true] {
            let found = login_failed(cause, reason(), named);
            assert_eq!(found.as_ref(), Some(&finding));
        }
    }
    for cause in [
        ConnectCause::TimedOut,
        ConnectCause::UnresolvedName,
        ConnectCause::Other,
    ] {
        let found = login_failed(cause, reason(), false);
        assert_eq!(found, Some(F::NoConnection { reason: reason() }));
        assert_eq!(login_failed(cause, reason(), true), None);
    }
}
