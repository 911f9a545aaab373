//! Replaces characters in a record's texts that escaping does not make harmless.

use crate::drill::record::Record;

/// A copy of the record without control characters: XML does not allow them. Characters that change the
/// direction of the text around them are replaced, too.
pub(super) fn printable(record: &Record) -> Record {
    let mut record = record.clone();
    let about = &mut record.about;
    let mut texts = vec![
        &mut about.command,
        &mut about.started,
        &mut about.jetsink,
        &mut about.nats_server,
    ];
    texts.extend(record.faults.iter_mut().map(|fault| &mut fault.name));
    for contender in &mut record.contenders {
        texts.push(&mut contender.name);
        for check in &mut contender.checks {
            texts.extend([&mut check.name, &mut check.seen]);
            texts.extend(&mut check.bound);
        }
    }
    for text in texts {
        if text.contains(is_unprintable) {
            *text = text.replace(is_unprintable, "\u{fffd}");
        }
    }
    record
}

fn is_unprintable(letter: char) -> bool {
    match letter {
        '\t' | '\n' | '\r' => false,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => true,
        letter => letter.is_control(),
    }
}

#[cfg(test)]
#[path = "tests/printable.rs"]
mod tests;
