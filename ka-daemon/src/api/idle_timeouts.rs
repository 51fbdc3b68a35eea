//! `/api/v1/idle-timeouts`: limits on the way that nobody documented, as far as connections told.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::routes::Shared;
use crate::learn::Learned;
use crate::view::IdleTimeoutView;

/// Suspected idle timeouts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IdleTimeoutsAnswer {
    /// That with the most evidence first.
    pub idle_timeouts: Vec<IdleTimeoutView>,
    /// Parts of the network that were watched, whether or not a limit is suspected on the way there.
    pub remote_prefixes: u64,
    /// Connections that survived a silence of 5 s or longer.
    pub survived: u64,
    /// Connections that died of one.
    pub died: u64,
    /// The longest silence that was survived, of those that were seen from begin to end; null: none.
    pub longest_survived_seconds: Option<f64>,
}

impl From<&Learned> for IdleTimeoutsAnswer {
    fn from(learned: &Learned) -> Self {
        Self {
            idle_timeouts: learned.suspected.iter().map(IdleTimeoutView::from).collect(),
            remote_prefixes: learned.prefixes as u64,
            survived: learned.silent.survived.into(),
            died: learned.silent.died.into(),
            longest_survived_seconds: learned.longest.map(|longest| longest.as_secs_f64()),
        }
    }
}

/// Idle timeouts on the way, as far as connections told.
///
/// For each part of the network that a limit is suspected on the way to: the silences between which it lies,
/// with the counts behind that. What was observed more than 12 to 24 hours ago is forgotten.
#[utoipa::path(
    get,
    path = "/api/v1/idle-timeouts",
    responses((status = 200, description = "The idle timeouts", body = IdleTimeoutsAnswer)),
)]
pub(super) async fn idle_timeouts(State(shared): State<Arc<Shared>>) -> Json<IdleTimeoutsAnswer> {
    shared.app.reader.refresh().await;
    Json(IdleTimeoutsAnswer::from(&*shared.app.reader.snapshot().learned))
}
