//! Names as the configuration gives them: a name itself, or a glob such as `nginx*`. Presets name processes
//! so, policies the owners of sockets.

/// The longest name that `/proc/PID/comm` shows, in bytes.
const COMM_MAX: usize = 15;

/// Whether this is a glob rather than the name itself.
pub(crate) fn is_glob(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// Checks a name or glob that is not empty.
///
/// # Errors
/// What is wrong with the glob.
pub(crate) fn check(name: &str) -> Result<(), String> {
    if !is_glob(name) {
        return Ok(());
    }
    glob::Pattern::new(name)
        .map(drop)
        .map_err(|error| format!("{name:?} is no glob: {} at character {}", error.msg, error.pos + 1))
}

/// Checks the name of a process.
///
/// # Errors
/// What is wrong with the glob; also a name that no process can have.
pub(crate) fn check_process(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err(
            "a process has a name: expected it as in /proc/PID/comm, or a glob such as `nginx*`".into()
        );
    }
    if !is_glob(name) && name.len() > COMM_MAX {
        let mut end = COMM_MAX;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        return Err(format!(
            "{name:?} never matches: /proc/PID/comm holds the first {COMM_MAX} bytes of a name, here {:?}",
            &name[..end]
        ));
    }
    check(name)
}

/// Names, of which any will do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patterns {
    names: Vec<Box<str>>,
    globs: Vec<glob::Pattern>,
}

impl Patterns {
    /// Of names that were checked. What is no glob by its syntax can only match itself.
    pub(crate) fn new<'a>(all: impl IntoIterator<Item = &'a str>) -> Self {
        let mut patterns = Self::default();
        for name in all {
            match is_glob(name).then(|| glob::Pattern::new(name)) {
                Some(Ok(glob)) => patterns.globs.push(glob),
                Some(Err(_)) | None => patterns.names.push(name.into()),
            }
        }
        patterns
    }

    /// Whether a name is one of these. One that is not known never is.
    pub(crate) fn matches(&self, name: &str) -> bool {
        !name.is_empty()
            && (self.names.iter().any(|own| **own == *name)
                || self.globs.iter().any(|glob| glob.matches(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_matches_itself_and_a_glob_what_it_says() {
        let patterns = Patterns::new(["api", "work*", "db-[ab]", "x?"]);
        for (name, expected) in [
            ("api", true),
            ("apis", false),
            ("work", true),
            ("worker/1", true),
            ("db-a", true),
            ("db-c", false),
            ("xy", true),
            ("x", false),
            ("", false),
        ] {
            assert_eq!(patterns.matches(name), expected, "{name}");
        }
        assert!(Patterns::new(["*"]).matches("anything"));
        assert!(!Patterns::new(["*"]).matches(""), "what is not known matches nothing");
    }

    #[test]
    fn what_is_no_glob_is_told() {
        assert_eq!(check("[a").unwrap_err(), "\"[a\" is no glob: invalid range pattern at character 1");
        assert!(check("a***").is_err() && check("a*").is_ok() && check("").is_ok());
        assert!(check_process("a-very-long-nam*").is_ok(), "a glob may be as long as it likes");
    }
}
