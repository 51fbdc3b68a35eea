//! The parameters of a request: every name and value is checked, and what is wrong is named.

use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::view::parameter::{ParameterError, once};
use crate::view::sort::Position;
use crate::view::{Filter, SortKey};

/// Sockets on a page.
pub(super) const PAGE: usize = 100;
/// Sockets on a page, at most.
pub(super) const PAGE_MAX: usize = 10_000;

/// What `/api/v1/sockets` is asked for.
#[derive(Debug, PartialEq)]
pub(super) struct PageQuery {
    pub(super) filter: Filter,
    pub(super) sort: SortKey,
    pub(super) limit: usize,
    pub(super) after: Option<Position>,
}

impl PageQuery {
    pub(super) fn parse(query: &str) -> Result<Self, ParameterError> {
        let mut filter = Filter::default();
        let (mut sort, mut limit, mut cursor) = (None, None, None);
        each(query, |name, value| {
            match name {
                "sort" => once(&mut sort, name, value, str::parse::<SortKey>)?,
                "limit" => once(&mut limit, name, value, number(1..=PAGE_MAX))?,
                "cursor" => once(&mut cursor, name, value, from_cursor)?,
                _ => return filter.set(name, value),
            }
            Ok(true)
        })
        .map_err(|error| with_known(error, &["sort", "limit", "cursor"]))?;
        let cursor_sort = cursor.as_ref().map(|(key, _)| *key);
        if let (Some(sort), Some(cursor)) = (sort, cursor_sort)
            && sort != cursor
        {
            return Err(ParameterError::Value {
                parameter: "sort".to_owned(),
                value: sort.to_string(),
                accepted: format!("expected {cursor}, the order that the cursor was given for"),
            });
        }
        Ok(Self {
            filter,
            sort: sort.or(cursor_sort).unwrap_or_default(),
            limit: limit.unwrap_or(PAGE),
            after: cursor.map(|(_, position)| position),
        })
    }
}

/// What `/api/v1/sockets.ndjson` is asked for.
pub(super) fn filter(query: &str) -> Result<Filter, ParameterError> {
    let mut filter = Filter::default();
    each(query, |name, value| filter.set(name, value)).map_err(|error| with_known(error, &[]))?;
    Ok(filter)
}

/// Hands on each pair of a query. `take` says whether it knows the name.
pub(super) fn each(
    query: &str,
    mut take: impl FnMut(&str, &str) -> Result<bool, ParameterError>,
) -> Result<(), ParameterError> {
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if !take(&name, &value)? {
            return Err(ParameterError::Unknown { parameter: name.into_owned(), known: String::new() });
        }
    }
    Ok(())
}

/// Puts the names that a filter and an endpoint know to the error that a name is unknown.
fn with_known(error: ParameterError, own: &[&str]) -> ParameterError {
    known(error, &[&Filter::PARAMETERS[..], own].concat())
}

/// Puts the names that are known to the error that one is not.
pub(super) fn known(error: ParameterError, names: &[&str]) -> ParameterError {
    match error {
        ParameterError::Unknown { parameter, .. } => {
            ParameterError::Unknown { parameter, known: names.join(", ") }
        }
        other @ (ParameterError::Repeated { .. } | ParameterError::Value { .. }) => other,
    }
}

/// Parses a number in a range.
pub(super) fn number(range: RangeInclusive<usize>) -> impl FnOnce(&str) -> Result<usize, String> {
    move |text| {
        let accepted = || format!("expected a whole number from {} to {}", range.start(), range.end());
        text.parse().ok().filter(|number| range.contains(number)).ok_or_else(accepted)
    }
}

/// Where a page ends, for the one who asks for the next: opaque, fit for a URL.
pub(super) fn to_cursor(sort: SortKey, position: &Position) -> String {
    let json = serde_json::to_vec(&(sort, position)).expect("a position has a JSON form");
    BASE64_URL_SAFE_NO_PAD.encode(json)
}

fn from_cursor(text: &str) -> Result<(SortKey, Position), String> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
    json.and_then(|json| serde_json::from_slice(&json).ok())
        .ok_or_else(|| "expected the next_cursor of an answer, unchanged".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::any_socket;
    use std::time::Duration;

    #[test]
    fn a_query_is_read_in_full() {
        let asked = PageQuery::parse("process=a%20b&state=estab&state=listen&sort=idle&limit=10000").unwrap();
        assert_eq!(asked.filter.process.as_deref(), Some("a b"));
        assert_eq!(asked.filter.states, ["ESTABLISHED", "LISTEN"]);
        assert_eq!((asked.sort, asked.limit, asked.after), (SortKey::Idle, 10_000, None));
        let asked = PageQuery::parse("").unwrap();
        assert_eq!((asked.sort, asked.limit, asked.filter), (SortKey::Local, 100, Filter::default()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, parameter, text) in [
            ("limit=0", "limit", "expected a whole number from 1 to 10000"),
            ("limit=10001", "limit", "invalid value \"10001\""),
            ("limit=1&limit=1", "limit", "more than once"),
            ("limit", "limit", "invalid value \"\""),
            ("sort=size", "sort", "expected one of local, remote"),
            ("sort=idle&sort=idle", "sort", "more than once"),
            ("cursor=!", "cursor", "expected the next_cursor of an answer"),
            ("cursor=e30", "cursor", "expected the next_cursor of an answer"),
            ("pid=1&pid=2", "pid", "more than once"),
            ("state=no", "state", "expected a TCP state"),
            ("color=red", "color", "known are process, pid"),
            ("=", "", "unknown parameter \"\""),
        ] {
            let error = PageQuery::parse(query).unwrap_err();
            assert_eq!(error.parameter(), parameter, "{query}");
            assert!(error.to_string().contains(text), "{query}: {error}");
        }
        assert!(filter("limit=1").unwrap_err().to_string().starts_with("unknown parameter \"limit\""));
        assert!(PageQuery::parse("x=1").unwrap_err().to_string().ends_with("text, sort, limit, cursor"));
    }

    proptest::proptest! {
        #[test]
        fn a_cursor_brings_back_its_place_and_order(socket in any_socket()) {
            for sort in SortKey::ALL {
                let position = sort.position(&socket, Duration::from_nanos(123_456_789_012_345));
                let cursor = to_cursor(sort, &position);
                let fit = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                proptest::prop_assert!(cursor.chars().all(fit), "{}", cursor);
                let asked = PageQuery::parse(&format!("cursor={cursor}")).unwrap();
                proptest::prop_assert_eq!((asked.sort, asked.after.as_ref()), (sort, Some(&position)));
                let other = SortKey::ALL.into_iter().find(|key| *key != sort).unwrap();
                let error = PageQuery::parse(&format!("sort={other}&cursor={cursor}")).unwrap_err();
                proptest::prop_assert_eq!(error.parameter(), "sort");
            }
        }

        #[test]
        fn no_query_makes_it_panic(query in ".{0,80}") {
            if let Err(error) = PageQuery::parse(&query) {
                proptest::prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
