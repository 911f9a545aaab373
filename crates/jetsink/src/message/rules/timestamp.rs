//! Timestamps by RFC 3339, section 5.6.

const MINUTES_OF_A_DAY: i32 = 24 * 60;

/// Whether `text` is a `date-time`.
///
/// `t` and `z` may be lower-case. Second 60 exists only where a leap second can be: in the last minute of a month,
/// in UTC.
pub(crate) fn is_timestamp(text: &str) -> bool {
    date_time(text.as_bytes()).is_some()
}

fn date_time(text: &[u8]) -> Option<()> {
    let (start, rest) = text.split_first_chunk::<19>()?;
    let separated = start[4] == b'-'
        && start[7] == b'-'
        && start[10].eq_ignore_ascii_case(&b'T')
        && start[13] == b':'
        && start[16] == b':';
    if !separated {
        return None;
    }
    let year = number(start[0], start[1])? * 100 + number(start[2], start[3])?;
    let month = number(start[5], start[6])?;
    let day = number(start[8], start[9])?;
    let hour = number(start[11], start[12])?;
    let minute = number(start[14], start[15])?;
    let second = number(start[17], start[18])?;
    let last_day = last_day_of(year, month)?;
    if day == 0 || day > last_day || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let offset = offset(after_fraction(rest)?)?;
    if second == 60 {
        let of_day = hour * 60 + minute - offset;
        let day = day + of_day.div_euclid(MINUTES_OF_A_DAY);
        // The day before the first is the last of the month before.
        let ends_month = day == last_day || day == 0;
        if of_day.rem_euclid(MINUTES_OF_A_DAY) != MINUTES_OF_A_DAY - 1 || !ends_month {
            return None;
        }
    }
    Some(())
}

fn number(tens: u8, ones: u8) -> Option<i32> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| i32::from(byte - b'0'));
    Some(digit(tens)? * 10 + digit(ones)?)
}

fn last_day_of(year: i32, month: i32) -> Option<i32> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 if is_leap => Some(29),
        2 => Some(28),
        _ => None,
    }
}

/// The text behind the optional fraction of a second.
fn after_fraction(rest: &[u8]) -> Option<&[u8]> {
    let Some(fraction) = rest.strip_prefix(b".") else {
        return Some(rest);
    };
    let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
    (digits > 0).then(|| &fraction[digits..])
}

/// The offset from UTC in minutes.
fn offset(zone: &[u8]) -> Option<i32> {
    match *zone {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(h1, h2)?, number(m1, m2)?);
            let offset = hours * 60 + minutes;
            (hours <= 23 && minutes <= 59).then_some(if sign == b'-' { -offset } else { offset })
        }
        _ => None,
    }
}
