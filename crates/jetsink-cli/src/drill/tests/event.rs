use super::*;

#[test]
fn event_has_its_size_and_is_recognized() {
    let events = Events::new("d1".to_owned(), 512);
    let event = events.event(1, 7);
    assert_eq!(event.len(), 512);
    let binding = jetsink::Binding::new("drill.a".parse().unwrap());
    assert!(binding.envelope(event.clone().into()).is_ok());
    let stored = |intact| {
        Some(Stored {
            contender: 1,
            number: 7,
            intact,
        })
    };
    assert_eq!(events.recognize(&event), stored(true));
    let mut altered = event.clone();
    altered[500] = b'y';
    assert_eq!(events.recognize(&altered), stored(false));
    assert_eq!(Events::new("d2".to_owned(), 512).recognize(&event), None);
    assert_eq!(events.recognize(b"something else"), None);
}
