//! The committed dashboards, as Grafana will read them: not the code that makes them, but their JSON.
//!
//! [`schema`] holds them against Grafana's own schemas, [`linter`] against the rules of Grafana's
//! dashboard-linter, [`known`] against the catalogue of metrics, [`house`] against what we ask of them besides.
//! That every query has data is the end-to-end tests' work (`e2e --boards`).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod boards;
mod house;
mod known;
mod linter;
mod promql;
mod schema;
