//! `/api/v1/drops`: the last dropped connections.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ApiError;
use super::feed::DROPS;
use super::query::{each, known, number};
use super::routes::Shared;
use crate::table::Cause;
use crate::view::DropView;
use crate::view::filter::is_process;
use crate::view::parameter::{self, ParameterError, once};

/// Drops in an answer.
const LIMIT: usize = 100;
const PARAMETERS: [&str; 6] = ["limit", "after", "cause", "process", "namespace", "pod"];

/// The last dropped connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DropsAnswer {
    /// Newest first.
    pub drops: Vec<DropView>,
    /// How many of the last 1,000 drops match.
    pub total: u64,
    /// The number of the newest drop of all, whether it matches or not: `after` for the next time.
    pub newest_id: u64,
}

#[derive(Debug, Default)]
struct DropsQuery {
    limit: Option<usize>,
    after: Option<u64>,
    cause: Option<Cause>,
    process: Option<String>,
    namespace: Option<String>,
    pod: Option<String>,
}

impl DropsQuery {
    fn parse(query: &str) -> Result<Self, ParameterError> {
        let mut asked = Self::default();
        each(query, |name, value| {
            match name {
                "limit" => once(&mut asked.limit, name, value, number(1..=DROPS))?,
                "after" => once(&mut asked.after, name, value, |text| {
                    text.parse().map_err(|_| "expected the id of a drop, or 0".to_owned())
                })?,
                "cause" => once(&mut asked.cause, name, value, cause)?,
                "process" => once(&mut asked.process, name, value, parameter::name)?,
                "namespace" => once(&mut asked.namespace, name, value, parameter::name)?,
                "pod" => once(&mut asked.pod, name, value, parameter::name)?,
                _ => return Ok(false),
            }
            Ok(true)
        })
        .map_err(|error| known(error, &PARAMETERS))?;
        Ok(asked)
    }

    fn matches(&self, drop: &DropView) -> bool {
        let same = |asked: &Option<String>, has: &str| asked.as_deref().is_none_or(|asked| asked == has);
        self.after.is_none_or(|after| drop.id > after)
            && self.cause.is_none_or(|cause| drop.cause == cause.label())
            && self.process.as_deref().is_none_or(|process| is_process(&drop.owner, process))
            && same(&self.namespace, &drop.owner.namespace)
            && same(&self.pod, &drop.owner.pod)
    }
}

fn cause(text: &str) -> Result<Cause, String> {
    let found = Cause::ALL.iter().copied().find(|cause| cause.label() == text);
    found.ok_or_else(|| {
        let names: Vec<_> = Cause::ALL.iter().map(|cause| cause.label()).collect();
        format!("expected one of {}", names.join(", "))
    })
}

/// The last dropped connections, newest first.
///
/// The daemon keeps 1,000 of them. Their numbers count up from 1 since it started: what is missing
/// between two numbers was not asked for, or was too long ago.
#[utoipa::path(
    get,
    path = "/api/v1/drops",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Drops in the answer. Default: 100"),
        ("after" = Option<u64>, Query, description = "Only those with a larger `id`"),
        ("cause" = Option<String>, Query, description = "Only this cause, as in `ka_connections_dropped_total`"),
        ("process" = Option<String>, Query, description = "The name of the process, or of its executable's file"),
        ("namespace" = Option<String>, Query, description = "The Kubernetes namespace"),
        ("pod" = Option<String>, Query, description = "The Kubernetes pod's name"),
    ),
    responses((status = 200, description = "The drops", body = DropsAnswer)),
)]
pub(super) async fn drops(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Json<DropsAnswer>, ApiError> {
    let asked = DropsQuery::parse(query.as_deref().unwrap_or_default())?;
    // Before the drops: one that comes meanwhile is told of again rather than never.
    let newest_id = shared.app.feed.newest();
    let mut kept = shared.app.feed.drops();
    kept.retain(|drop| asked.matches(drop));
    let total = kept.len() as u64;
    let shown = kept.iter().take(asked.limit.unwrap_or(LIMIT));
    let drops = shown.map(|drop| DropView::clone(drop)).collect();
    Ok(Json(DropsAnswer { drops, total, newest_id }))
}
