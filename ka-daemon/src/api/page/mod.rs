//! The page at `/`: one file without outside resources, which reads the API like anybody else.
//!
//! It shows names and addresses that others choose. Beside writing them as text alone, it is served
//! under a policy by which a browser runs this file's script and style, known by their hashes
//! (`build.rs`), and loads nothing from elsewhere.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::IntoResponse;

/// What a browser may do with the page.
pub const POLICY: &str = concat!(
    "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; ",
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'; ",
    env!("KA_PAGE_SOURCES")
);

/// Answers with the page.
pub async fn page() -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // A daemon that was updated must not be shown by the page of the one before.
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, include_str!("index.html"))
}
