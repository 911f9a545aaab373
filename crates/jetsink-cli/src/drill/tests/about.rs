use super::*;

#[test]
fn command_line_can_be_repeated_and_contains_no_secret() {
    let typed = [
        "/usr/bin/jetsink",
        "drill",
        "--server",
        "nats://me:hidden@n1:4222,hidden@n2,nats://n3",
        "--password",
        "hidden",
        "--user",
        "hidden",
        "--token=hidden",
        "--server=hidden@n4",
        "-shidden@n5",
        "--subject",
        "a.{tenantId}",
    ];
    assert_eq!(
        command_line(typed.iter().map(OsString::from)),
        "jetsink drill --server ***@n1:4222,***@n2,nats://n3 --password *** --user *** --token=*** \
         --server=***@n4 -s***@n5 --subject 'a.{tenantId}'"
    );
}
