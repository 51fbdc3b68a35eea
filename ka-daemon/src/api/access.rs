//! Who may see what. The addresses of a node's connections are sensitive: metrics and health follow the
//! listen address, everything else is for this machine alone unless `--web.expose-sockets` is given. And
//! a page of another site must not read it through a browser here: the `Host` header has to name this
//! machine, no answer allows another origin, and browsers are told to keep it so.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::uri::Authority;
use axum::http::{StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;

use super::routes::failure;
use crate::cli::settings::Settings;

/// What anybody may ask who can reach the listen address.
const OPEN: [&str; 3] = ["/metrics", "/-/healthy", "/-/ready"];

/// The two ends of a connection that a request came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// TCP.
    Tcp {
        /// The client's address.
        remote: SocketAddr,
        /// The address that it reached.
        local: SocketAddr,
    },
    /// The unix socket, whose mode says who may use it.
    Unix,
}

/// The rules in force.
#[derive(Clone, Debug)]
pub(super) struct Access {
    exposed: bool,
    /// Names of this machine, in lower case.
    names: Vec<String>,
}

impl Access {
    /// The rules of some settings on the machine of a name.
    pub(super) fn new(settings: &Settings, machine: &str) -> Self {
        let names =
            ["localhost", machine].into_iter().chain(settings.allowed_hosts.iter().map(String::as_str));
        let names = names.filter(|name| !name.is_empty()).map(normal).collect();
        Self { exposed: settings.expose_sockets, names }
    }

    /// Why a request for a path is refused, if it is.
    fn refusal(&self, peer: Option<Peer>, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        if OPEN.contains(&uri.path()) {
            return None;
        }
        match peer {
            // A browser cannot be brought to use it.
            Some(Peer::Unix) => None,
            Some(Peer::Tcp { remote, local }) => {
                self.far(uri.path(), remote, local).or_else(|| self.foreign(uri, headers))
            }
            None => Some("it is not known where this request came from".to_owned()),
        }
    }

    fn far(&self, path: &str, remote: SocketAddr, local: SocketAddr) -> Option<String> {
        let here = |address: SocketAddr| address.ip().to_canonical().is_loopback();
        if self.exposed || (here(remote) && here(local)) {
            return None;
        }
        Some(format!(
            "{path} is for this machine alone, as it shows the addresses of connections; this request came from \
             {remote} to {local}. Ask on this machine at a loopback address, or start the daemon with \
             --web.expose-sockets"
        ))
    }

    fn foreign(&self, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Some("a request needs one Host header, which names this machine".to_owned());
        };
        let host = host.to_str().unwrap_or_default();
        // A target in absolute form stands above the header.
        let target = uri.authority().map(Authority::as_str);
        let unknown = [Some(host), target].into_iter().flatten().find(|host| !self.is_this_machine(host))?;
        Some(format!(
            "the Host {unknown:?} is no name of this machine: a page of another site may be behind this request. Use \
             localhost or an IP address, or name the host by --web.allowed-host"
        ))
    }

    fn is_this_machine(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        // User names have no place here.
        if authority.as_str().contains('@') {
            return false;
        }
        let name = authority.host();
        let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        match literal.parse::<IpAddr>() {
            Ok(address) => self.exposed || address.to_canonical().is_loopback(),
            Err(_) => self.names.contains(&normal(name)),
        }
    }
}

/// Names are the same in any case, and with the dot that ends a full one.
fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Refuses what the rules do, and tells browsers to be careful with the answer.
pub(super) async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let mut response = match access.refusal(peer, request.uri(), request.headers()) {
        None => next.run(request).await,
        Some(text) => failure(StatusCode::FORBIDDEN, request.uri().path(), &format!("{text}\n")),
    };
    let headers = response.headers_mut();
    for (name, value) in CAREFUL {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// What every answer says to a browser, unless it says something else: no script, no frame, no guess at
/// the type, no copy kept, no use by another site.
const CAREFUL: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn access(exposed: bool) -> Access {
        Access { exposed, names: vec!["localhost".to_owned(), normal("Node-1."), normal("ka.example")] }
    }

    fn tcp(remote: &str, local: &str) -> Peer {
        Peer::Tcp { remote: remote.parse().unwrap(), local: local.parse().unwrap() }
    }

    fn refused(access: &Access, peer: impl Into<Option<Peer>>, uri: &str, hosts: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, host.parse().unwrap());
        }
        access.refusal(peer.into(), &uri.parse().unwrap(), &headers)
    }

    #[test]
    fn only_this_machine_sees_sockets_unless_exposed() {
        for (remote, local, here) in [
            ("127.0.0.1:9", "127.0.0.1:1", true),
            ("127.1.2.3:9", "127.0.0.1:1", true),
            ("[::1]:9", "[::1]:1", true),
            ("[::ffff:127.0.0.1]:9", "[::ffff:127.0.0.1]:1", true),
            ("10.0.0.1:9", "10.0.0.2:1", false),
            // By a route that should not be, or a proxy on this machine.
            ("10.0.0.1:9", "127.0.0.1:1", false),
            ("127.0.0.1:9", "10.0.0.2:1", false),
            ("[fe80::1]:9", "[::1]:1", false),
        ] {
            for path in ["/", "/api/v1/sockets", "/api/v1/status", "/nothing", "/metrics/", "//metrics"] {
                let hosts = ["localhost"];
                let refusal = refused(&access(false), tcp(remote, local), path, &hosts);
                assert_eq!(refusal.is_none(), here, "{remote} {local} {path}");
                let named =
                    refusal.is_none_or(|text| text.contains("--web.expose-sockets") && text.contains(remote));
                assert!(named, "{remote} {local} {path}");
                assert_eq!(refused(&access(true), tcp(remote, local), path, &hosts), None);
            }
            for path in OPEN {
                assert_eq!(refused(&access(false), tcp(remote, local), path, &["evil.example"]), None);
            }
        }
        assert_eq!(refused(&access(false), Peer::Unix, "/", &[]), None);
        assert!(refused(&access(true), None, "/", &["localhost"]).is_some());
        assert_eq!(refused(&access(false), None, "/metrics", &[]), None);
    }

    #[test]
    fn the_host_must_be_this_machine() {
        let here = tcp("127.0.0.1:9", "127.0.0.1:10435");
        for (host, local, exposed) in [
            ("localhost", true, true),
            ("LocalHost:10435", true, true),
            ("127.0.0.1:10435", true, true),
            ("127.9.9.9", true, true),
            ("[::1]:10435", true, true),
            ("[::ffff:127.0.0.1]", true, true),
            ("node-1", true, true),
            ("NODE-1.:80", true, true),
            ("ka.example:443", true, true),
            ("10.0.0.1:10435", false, true),
            ("[2001:db8::1]", false, true),
            ("evil.example", false, false),
            ("localhost.evil.example", false, false),
            ("127.0.0.1.evil.example", false, false),
            ("ka.example@evil.example", false, false),
            ("evil.example@localhost", false, false),
            ("", false, false),
            (":10435", false, false),
            ("[::1", false, false),
            ("localhost/", false, false),
            ("0x7f.1", false, false),
        ] {
            for (exposure, allowed) in [(false, local), (true, exposed)] {
                let refusal = refused(&access(exposure), here, "/", &[host]);
                assert_eq!(refusal.is_none(), allowed, "{host:?} exposed {exposure}: {refusal:?}");
                assert!(refusal.is_none_or(|text| text.contains("--web.allowed-host")));
            }
        }
        for hosts in [&[][..], &["localhost", "localhost"], &["localhost", "evil.example"]] {
            assert!(refused(&access(false), here, "/", hosts).unwrap().contains("one Host header"));
        }
        assert!(refused(&access(false), here, "http://evil.example/", &["localhost"]).is_some());
        assert_eq!(refused(&access(false), here, "http://localhost/", &["localhost"]), None);
    }
}
