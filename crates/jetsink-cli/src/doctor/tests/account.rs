use super::*;

#[test]
fn a_limit_that_is_nearly_reached_is_reported_by_its_name() {
    let info = serde_json::json!({
        "storage": 90, "memory": 5, "streams": 3,
        "limits": { "max_storage": 100, "max_memory": -1, "max_streams": 10 },
    });
    let found = limits(&info);
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].text,
        "the account uses 90 of 100 bytes of file storage"
    );
}

#[test]
fn each_cause_of_a_failed_connection_has_its_finding() {
    for (cause, code) in [
        (ConnectCause::UntrustedAuthority, "tls.untrusted"),
        (
            ConnectCause::ClientCertificateRequired,
            "tls.client-certificate",
        ),
        (ConnectCause::LoginRefused, "login.refused"),
        (ConnectCause::LoginUnusable, "login.refused"),
    ] {
        for named in [false, true] {
            let finding = login_failed(cause, "reason", named).unwrap();
            assert_eq!((finding.code, finding.text.as_str()), (code, "reason"));
        }
    }
    for cause in [
        ConnectCause::TimedOut,
        ConnectCause::UnresolvedName,
        ConnectCause::Other,
    ] {
        let finding = login_failed(cause, "reason", false).unwrap();
        assert_eq!(finding.code, "connect.failed");
        assert_eq!(login_failed(cause, "reason", true), None);
    }
}
