//! How parameters are put into a path. Pure.

/// `path` with its query, escaped.
pub(super) fn path(path: &str, pairs: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs);
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped() {
        assert_eq!(path("/x", []), "/x");
        let pairs = [("process", "a b&c=d".to_owned()), ("remote", "2001:db8::/32".to_owned())];
        assert_eq!(path("/x", pairs), "/x?process=a+b%26c%3Dd&remote=2001%3Adb8%3A%3A%2F32");
    }
}
