//! Why a request of the API is refused: a status, and JSON that says it.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::source::SourceError;
use crate::view::parameter::ParameterError;

/// After how many seconds one who was refused for want of a place may come again.
const RETRY_SECONDS: &str = "2";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    #[error("the sockets of this node are being read for others; come again in {RETRY_SECONDS} s")]
    Busy,
    #[error("{limit} clients listen to events already, which is the most that are served at once")]
    TooManyListeners { limit: usize },
    #[error("this daemon cannot read the sockets of the node; its log says why")]
    NoSource,
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("the daemon stops")]
    Stopping,
    #[error("internal error: {0}")]
    Internal(String),
}

/// An error in JSON.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorAnswer {
    /// What is wrong and what is accepted.
    pub error: String,
    /// The parameter that is wrong, where one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let code = match &self {
            Self::Parameter(_) => StatusCode::BAD_REQUEST,
            Self::Busy | Self::TooManyListeners { .. } | Self::NoSource | Self::Stopping => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Source(_) | Self::Internal(_) => {
                tracing::error!(error = %self, "a request failed");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        let parameter =
            if let Self::Parameter(error) = &self { Some(error.parameter().to_owned()) } else { None };
        let retry = matches!(self, Self::Busy | Self::TooManyListeners { .. })
            .then_some([(header::RETRY_AFTER, RETRY_SECONDS)]);
        (code, retry, Json(ErrorAnswer { error: self.to_string(), parameter })).into_response()
    }
}
