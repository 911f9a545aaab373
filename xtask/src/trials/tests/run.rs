use super::*;

#[test]
fn parts_are_as_many_histories_as_the_whole() {
    assert_eq!(split(260, 2), [130, 130]);
    assert_eq!(split(7, 3), [3, 2, 2]);
    assert_eq!((split(1, 2), split(0, 2)), (vec![1], vec![0]));
}
