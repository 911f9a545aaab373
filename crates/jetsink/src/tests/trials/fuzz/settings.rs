//! Settings: the `nats` command's contexts and variables, and the settings of a sink and its spool.

use std::cell::OnceCell;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use trial::{Dice, Trial};

use crate::tests::trials::fuzz::bounded;
use crate::tests::trials::fuzz::mutate::{mutated, mutated_text};
use crate::{ConnectSettings, MessageId, SinkSettings, SpoolSettings, WindowSize};

const SECRET: &str = "hunter2secret";

const CONTEXTS: [&[u8]; 3] = [
    br#"{"description":"","url":"nats://127.0.0.1:4222","user":"me","password":"hunter2secret"}"#,
    br#"{"url":"tls://h","token":"hunter2secret","ca":"~/ca.pem","cert":"c","key":"k","tls_first":true,"inbox_prefix":"_I.x","jetstream_domain":"hub"}"#,
    br#"{"url":"","creds":"/x.creds","nkey":"","user_jwt":"","socks_proxy":"","nsc":""}"#,
];

const WORDS: [&[u8]; 16] = [
    b"{",
    b"}",
    b"[",
    b"\"",
    b",",
    b":",
    b"null",
    b"true",
    b"\"url\":1",
    b"\"tls_first\":\"x\"",
    b"\"nsc\":\"a\"",
    b"\"jetstream_domain\":\"a.b\"",
    b"\\u0000",
    b"\n",
    b"\xff",
    b"\"nkey\":\"/dev/null\"",
];

const VARIABLES: [&str; 9] = [
    "NATS_URL",
    "NATS_CREDS",
    "NATS_NKEY",
    "NATS_TOKEN",
    "NATS_USER",
    "NATS_PASSWORD",
    "NATS_CA",
    "NATS_CERT",
    "NATS_KEY",
];

const VALUES: [&str; 7] = [
    "",
    "a",
    "nats://h:1",
    "/nowhere/x",
    "~/x",
    "hunter2secret",
    "../context",
];

fn environment(dice: &mut Dice, folder: &Path) {
    let context = mutated(dice, &CONTEXTS, &WORDS);
    std::fs::write(folder.join("nats/context/fuzz.json"), &context).unwrap();
    let mut set: Vec<(&str, String)> = Vec::new();
    for variable in VARIABLES {
        if dice.once_in(6) {
            set.push((
                variable,
                mutated_text(dice, &VALUES, &["\0", "/", ":", "@", "é", " "]),
            ));
        }
    }
    let length = context.len() + set.iter().map(|(_, value)| value.len()).sum::<usize>();
    let lookup = |name: &str| match name {
        "NATS_CONTEXT" => Some("fuzz".to_owned()),
        "XDG_CONFIG_HOME" => Some(folder.display().to_string()),
        "HOME" => Some("/nowhere".to_owned()),
        _ => {
            let value = set.iter().find(|(variable, _)| *variable == name);
            value.map(|(_, value)| value.clone())
        }
    };
    // A text that a mutation moved out of a secret's field is no secret.
    let in_place = SECRETS_PLACES.iter().any(|place| contains(&context, place));
    let elsewhere = set.iter().any(|(_, value)| value.contains(SECRET));
    let once = count(&context, SECRET.as_bytes()) == 1;
    let shown = bounded(length, 256, || {
        match ConnectSettings::from_environment(None, lookup) {
            Ok(settings) => format!("{settings:?}"),
            Err(error) => format!("{error} {error:?}"),
        }
    });
    let hides = in_place && once && !elsewhere;
    assert!(!hides || !shown.contains(SECRET), "{shown}");
}

const SECRETS_PLACES: [&[u8]; 2] = [
    br#""password":"hunter2secret""#,
    br#""token":"hunter2secret""#,
];

fn contains(text: &[u8], part: &[u8]) -> bool {
    count(text, part) > 0
}

fn count(text: &[u8], part: &[u8]) -> usize {
    text.windows(part.len())
        .filter(|window| *window == part)
        .count()
}

fn of_the_sink(dice: &mut Dice) {
    let nanos = dice.next() >> dice.below(64);
    let deadline = Duration::from_nanos(nanos).saturating_mul(1 + dice.below(1_000) as u32);
    let taken = SinkSettings::default().deadline(deadline).is_ok();
    let in_range = (1_000_000..=3_600_000_000_000).contains(&deadline.as_nanos());
    assert_eq!(taken, in_range, "{deadline:?}");
    let id = mutated_text(
        dice,
        &["sink", "a-b"],
        &["\r", "\n", "\0", " ", "é", "\u{85}"],
    );
    let named = SinkSettings::default().sink_id(id.as_str());
    assert_eq!(named.is_ok(), MessageId::new(id.as_str()).is_ok());
    if named.is_ok() {
        // It goes on the wire as a header's value.
        assert!(!id.is_empty() && !id.contains(['\r', '\n', '\0']), "{id:?}");
    }
    let number = dice.next() >> dice.below(65).min(63);
    let spool = || SpoolSettings::new("x");
    assert_eq!(spool().limit_bytes(number).is_ok(), number > 0);
    assert_eq!(
        spool().max_age(Duration::from_nanos(number)).is_ok(),
        number > 0
    );
    assert_eq!(
        spool().events_per_second(number as u32).is_ok(),
        number as u32 > 0
    );
    let window = WindowSize::new(number as usize);
    assert_eq!(window.is_some(), (1..=16_384).contains(&number));
}

#[test]
fn no_setting_panics_or_shows_a_secret() {
    thread_local! {
        static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
    }
    Trial::new("fuzz-settings", 2_000).run(|dice| {
        FOLDER.with(|folder| {
            let folder = folder.get_or_init(|| {
                let folder = crate::tests::trials::fuzz::in_memory();
                std::fs::create_dir_all(folder.path().join("nats/context")).unwrap();
                folder
            });
            environment(dice, folder.path());
        });
        of_the_sink(dice);
    });
}
