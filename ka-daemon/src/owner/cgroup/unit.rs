//! systemd units among the components of a control group path.

use std::borrow::Cow;

/// What a unit's name ends in.
pub(super) fn kind(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(name, kind)| if name.is_empty() { "" } else { kind })
}

/// The unit that a component stands for, below `slice` and the unit `outer`. Slices are none: they hold
/// units.
///
/// Names that never come again would make a new owner each time, so they are told by what stays: a session
/// by the user's slice, a service that was started for one connection by its template. The latter has the
/// connection's addresses in its name, and those are no metric's business.
pub(super) fn of(component: &str, slice: &str, outer: &str) -> Option<String> {
    // A name that the kernel could take for one of its own files has a `_` before it.
    let name = component.strip_prefix('_').unwrap_or(component);
    match kind(name) {
        // The manager's own group: of the system at the top, else of the user's manager, which is a service.
        "scope" if name == "init.scope" && !outer.is_empty() => None,
        "scope" if name.starts_with("session-") && !slice.is_empty() => Some(slice.to_owned()),
        "service" => Some(per_connection(name).unwrap_or_else(|| name.to_owned())),
        "scope" | "socket" | "mount" | "swap" => Some(name.to_owned()),
        _ => None,
    }
}

/// `sshd@.service` for `sshd@3-192.0.2.1:22-192.0.2.2:54321.service`. The instance of a service with
/// `Accept=yes` is a number, then both ends of a connection over IP, or numbers for one over a unix socket.
fn per_connection(name: &str) -> Option<String> {
    let (template, instance) = name.strip_suffix(".service")?.split_once('@')?;
    let (number, rest) = instance.split_once('-')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_connection = rest.contains(':') || (rest.contains('-') && rest.split(['-', '_']).all(digits));
    (digits(number) && is_connection).then(|| format!("{template}@.service"))
}

/// Undoes systemd's escapes: `\x2d` is `-`. What is no escape, or no UTF-8 afterwards, stays.
pub(super) fn unescape(name: &str) -> Cow<'_, str> {
    if !name.contains('\\') {
        return Cow::Borrowed(name);
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if let Some(byte) = escape(rest) {
            bytes.push(byte);
            rest = rest.get(4..).unwrap_or_default();
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(name), Cow::Owned)
}

fn escape(text: &[u8]) -> Option<u8> {
    let [b'\\', b'x', high, low, ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(*high)? << 4 | digit(*low)?)
}
