//! The committed dashboards, as Grafana will read them: not the code that makes them, but their JSON.
//!
//! [`linter`] holds them against the rules of Grafana's dashboard-linter, [`known`] against the catalogue of
//! metrics, [`house`] against what we ask of them besides. That they are what Grafana's own model of a dashboard
//! allows is shown by Grafana's Foundation SDK (`cargo xtask test --only schema`), and that every query has data
//! by the end-to-end tests (`e2e --boards`).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod boards;
mod house;
mod known;
mod linter;
mod promql;
