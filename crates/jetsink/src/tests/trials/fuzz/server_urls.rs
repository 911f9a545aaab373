//! Server URLs, with passwords in them.

use trial::{Dice, Trial};

use crate::ConnectSettings;
use crate::tests::trials::fuzz::bounded;
use crate::tests::trials::fuzz::mutate::mutated_text;

const SECRET: &str = "hunter2secret";

const URLS: [&str; 8] = [
    "nats://127.0.0.1:4222",
    "localhost",
    "tls://user:hunter2secret@broker.example:4443",
    "nats://hunter2secret@broker",
    "nats://a:hunter2secret@one,nats://a:hunter2secret@two:1",
    "ws://h:80/path?q=1",
    "wss://[::1]:443",
    "nats://u%20:hunter2secret%2F@h",
];

const WORDS: [&str; 20] = [
    "nats://", "tls://", "ws://", "http://", "://", ":", "@", "/", ",", "[", "]", "::1", "%",
    "%zz", "%00", " ", "\n", "é", "65536", "#",
];

fn look_at(dice: &mut Dice) {
    let text = mutated_text(dice, &URLS, &WORDS);
    // The text before an @ may be the end of a login.
    let plain = text.replace(['\t', '\r', '\n'], "").to_lowercase();
    let hides = plain.split(',').all(|url| {
        let mut places = url.match_indices(SECRET);
        places.all(|(at, _)| url[at + SECRET.len()..].contains('@'))
    });
    let shown = bounded(text.len(), 256, || match ConnectSettings::new(&text) {
        Ok(settings) => {
            let addresses = settings.addresses();
            assert!(!addresses.is_empty());
            assert!(addresses.iter().all(|address| !address.host.is_empty()));
            format!("{settings:?} {addresses:?}")
        }
        Err(error) => format!("{error} {error:?}"),
    });
    assert!(!hides || !shown.contains(SECRET), "{text:?}: {shown}");
}

#[test]
fn no_url_panics_or_shows_its_password() {
    Trial::new("fuzz-server-urls", 2_000).run(look_at);
}
