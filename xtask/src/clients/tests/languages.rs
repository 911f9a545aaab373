use super::*;

#[test]
fn nodes_version_is_compared_by_its_first_number() {
    assert_eq!(major("v20.20.2"), Some(20));
    assert_eq!(major("v4.0.0"), Some(4));
    assert_eq!(major("unknown"), None);
    assert!(major("unknown") < Some(OLDEST_NODE));
}
