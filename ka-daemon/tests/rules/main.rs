//! The rules for Prometheus against what stands elsewhere: every metric and label in the catalogue, every
//! value among those that exist, a runbook and two tests for each alert, the operator's copy the same.
//! That the rules do what they say is for `promtool test rules` (`cargo xtask test --only rules`).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod alerts;
mod files;
mod known;
mod operator;
mod promql;
mod selectors;
