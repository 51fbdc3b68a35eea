//! Numbers, names and addresses as people read them. Pure; used by sentences, tables and `top`.

use std::borrow::Cow;
use std::net::SocketAddr;

/// A length of time in a sentence: `45 ms`, `1.5 s`, `15 s`, `5 min 52 s`, `2 h`, `3 d 4 h`. Two units at
/// most; the jiffies behind 1.024 s are nobody's concern.
#[must_use]
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 0.0005 {
        "0 s".to_owned()
    } else if seconds < 0.95 {
        format!("{:.0} ms", seconds * 1e3)
    } else if seconds < 9.95 {
        let text = format!("{seconds:.1}");
        format!("{} s", text.strip_suffix(".0").unwrap_or(&text))
    } else if seconds < 59.5 {
        format!("{seconds:.0} s")
    } else if seconds < 3_599.5 {
        two_units(seconds, (60, "min"), (1, "s"))
    } else if seconds < 86_370.0 {
        two_units(seconds, (3_600, "h"), (60, "min"))
    } else {
        two_units(seconds, (86_400, "d"), (3_600, "h"))
    }
}

/// What is left until something happens, which is watched as it shrinks: `12.3 s`, `4 s`, `1 h 59 min`.
#[must_use]
pub fn remaining(seconds: f64) -> String {
    if seconds < 59.95 {
        let text = format!("{:.1}", seconds.max(0.0));
        format!("{} s", text.strip_suffix(".0").unwrap_or(&text))
    } else {
        duration(seconds)
    }
}

/// `seconds` in a large unit and the rest in a small one, of which `large` holds a whole number.
fn two_units(seconds: f64, large: (u64, &str), small: (u64, &str)) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "not negative; a time that does not fit is cut to u64::MAX; 3600 is exact"
    )]
    let smalls = (seconds / small.0 as f64).round() as u64;
    let each = large.0 / small.0;
    match (smalls / each, smalls % each) {
        (many, 0) => format!("{many} {}", large.1),
        (many, rest) => format!("{many} {} {rest} {}", large.1, small.1),
    }
}

/// A round trip with three digits: `45.0 µs`, `1.23 ms`, `1.02 s`.
#[must_use]
pub fn round_trip(seconds: f64) -> String {
    let (value, unit) = if seconds < 999.5e-6 {
        (seconds * 1e6, "µs")
    } else if seconds < 0.9995 {
        (seconds * 1e3, "ms")
    } else {
        (seconds, "s")
    };
    if value < 9.995 {
        format!("{value:.2} {unit}")
    } else if value < 99.95 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// `1 byte`, `2 bytes`: a count and what is counted.
#[must_use]
pub fn count(number: impl Into<u64>, one: &str, many: &str) -> String {
    let number = number.into();
    format!("{number} {}", if number == 1 { one } else { many })
}

/// `once`, `twice`, `3 times`.
#[must_use]
pub fn times(number: u8) -> Cow<'static, str> {
    match number {
        1 => "once".into(),
        2 => "twice".into(),
        more => format!("{more} times").into(),
    }
}

/// An end of a connection. An IPv4 address that a program reached through an IPv6 socket is shown as
/// the IPv4 address that it is.
#[must_use]
pub fn address(end: SocketAddr) -> String {
    SocketAddr::new(end.ip().to_canonical(), end.port()).to_string()
}

/// Text that others chose (a process may name itself as it likes) without anything that a terminal
/// would obey.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(unprintable) {
        text.chars().map(|c| if unprintable(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
    } else {
        text.into()
    }
}

/// Control characters, and the ones that turn the direction of writing.
fn unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_for_people() {
        for (seconds, text) in [
            (-1.0, "0 s"),
            (0.0, "0 s"),
            (0.045, "45 ms"),
            (0.94, "940 ms"),
            (0.96, "1 s"),
            (1.024, "1 s"),
            (1.5, "1.5 s"),
            (9.96, "10 s"),
            (15.36, "15 s"),
            (59.4, "59 s"),
            (59.6, "1 min"),
            (90.0, "1 min 30 s"),
            (352.1, "5 min 52 s"),
            (3_599.6, "1 h"),
            (7_200.0, "2 h"),
            (7_500.0, "2 h 5 min"),
            (86_380.0, "1 d"),
            (273_600.0, "3 d 4 h"),
        ] {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn what_is_left_keeps_its_tenths() {
        for (seconds, text) in [
            (-3.0, "0 s"),
            (0.2, "0.2 s"),
            (4.0, "4 s"),
            (12.34, "12.3 s"),
            (59.96, "1 min"),
            (7_140.0, "1 h 59 min"),
        ] {
            assert_eq!(remaining(seconds), text);
        }
    }

    #[test]
    fn round_trips_have_three_digits() {
        for (seconds, text) in [
            (0.000_000_5, "0.50 µs"),
            (0.000_045, "45.0 µs"),
            (0.000_999_6, "1.00 ms"),
            (0.001_234, "1.23 ms"),
            (0.673, "673 ms"),
            (1.024, "1.02 s"),
        ] {
            assert_eq!(round_trip(seconds), text);
        }
    }

    #[test]
    fn counts_agree_with_their_nouns() {
        assert_eq!([count(1_u8, "byte", "bytes"), count(2_u32, "byte", "bytes")], ["1 byte", "2 bytes"]);
        assert_eq!([times(1), times(2), times(15)], ["once", "twice", "15 times"]);
    }

    #[test]
    fn addresses_are_shown_as_what_they_are() {
        for (end, text) in [
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
            ("[::ffff:10.0.0.1]:80", "10.0.0.1:80"),
            ("[::]:80", "[::]:80"),
        ] {
            assert_eq!(address(end.parse().unwrap()), text);
        }
    }

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        assert_eq!(printable("nginx: worker"), "nginx: worker");
        assert_eq!(printable("a\x1b[2Jb\u{9b}c\u{202e}\n"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}\u{fffd}");
    }
}
