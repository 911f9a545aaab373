use super::*;

#[test]
fn resuming_at_the_first_message_names_the_beginning() {
    let behind = |next| resuming(Start::At(StreamStart::Sequence(next)));
    assert_eq!(behind(0), "resuming from the beginning");
    assert_eq!(behind(1), "resuming from the beginning");
    assert_eq!(behind(2), "resuming after message 1");
    assert_eq!(resuming(Start::Last(3)), "starting again");
}
