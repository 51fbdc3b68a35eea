//! Where a daemon is asked: an address of HTTP, or a unix socket.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hyper::Uri;

const EXPECTED: &str = "expected http://HOST:PORT, such as http://127.0.0.1:10435, or unix:PATH, such as \
                        unix:/run/ka/ka.sock";

/// Where a daemon is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `http://HOST:PORT`.
    Http {
        /// `HOST:PORT`, an IPv6 address in brackets.
        authority: String,
    },
    /// `unix:PATH`.
    Unix {
        /// The socket.
        path: PathBuf,
    },
}

impl Default for Endpoint {
    /// Where `ka-daemon run` serves when it is told nothing else.
    fn default() -> Self {
        Self::Http { authority: "127.0.0.1:10435".to_owned() }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { authority } => write!(f, "http://{authority}"),
            Self::Unix { path } => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Endpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() {
                Err(EXPECTED)
            } else {
                Ok(Self::Unix { path: Path::new(path).into() })
            };
        }
        let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = url.parse().map_err(|_| EXPECTED)?;
        let plain =
            uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/") && uri.query().is_none();
        match uri.authority() {
            Some(authority)
                if plain && authority.port_u16().is_some() && !authority.as_str().contains('@') =>
            {
                Ok(Self::Http { authority: authority.to_string() })
            }
            Some(_) | None => Err(EXPECTED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_sockets_are_read_and_written_alike() {
        for (text, shown) in [
            ("http://127.0.0.1:10435", "http://127.0.0.1:10435"),
            ("http://[::1]:10435/", "http://[::1]:10435"),
            ("node-7:10435", "http://node-7:10435"),
            ("unix:/run/ka/ka.sock", "unix:/run/ka/ka.sock"),
            ("unix:///run/ka/ka.sock", "unix:/run/ka/ka.sock"),
            ("unix:ka.sock", "unix:ka.sock"),
        ] {
            assert_eq!(text.parse::<Endpoint>().map(|endpoint| endpoint.to_string()), Ok(shown.to_owned()));
        }
        assert_eq!(Endpoint::default().to_string().parse(), Ok(Endpoint::default()));
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in [
            "",
            "unix:",
            "https://x:1",
            "http://x",
            "http://x:1/api",
            "http://x:1/?a",
            "http://u@x:1",
            "x:99999",
            "ftp://x:1",
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(EXPECTED), "{text}");
        }
    }
}
