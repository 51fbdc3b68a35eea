//! `/api/v1/openapi.json`: the API described for programs, made from the handlers and from the types of
//! their answers.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{self, ContentBuilder, Ref, RefOr, ResponseBuilder, Schema};
use utoipa::{Modify, OpenApi as _};

use super::error::ErrorAnswer;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "ka",
        description = "Watches the TCP keepalive timers of a Linux node. Served to this machine alone unless `--web.expose-sockets` is given. What is unknown is null. Fields and kinds of events may be added; what is here stays.",
        version = "1",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    paths(
        super::routes::status,
        super::sockets::sockets,
        super::sockets::ndjson,
        super::drops::drops,
        super::idle_timeouts::idle_timeouts,
        super::events::events,
        serve,
    ),
    components(schemas(ErrorAnswer)),
    modifiers(&Refusals, &Complete),
)]
struct Document;

/// What any of them may answer.
struct Refusals;

impl Modify for Refusals {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let schema = Ref::from_schema_name("ErrorAnswer");
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let answer = |text: &str| {
            ResponseBuilder::new().description(text).content("application/json", content.clone()).build()
        };
        let operations = document.paths.paths.values_mut().filter_map(|item| item.get.as_mut());
        for Operation { responses, parameters, tags, .. } in operations {
            // They would be names of this program's modules.
            *tags = None;
            if parameters.is_some() {
                let text = "A parameter is wrong; the answer names it";
                responses.responses.insert("400".to_owned(), answer(text).into());
            }
            let text = "Not for this client, or the Host header does not name this machine";
            responses.responses.insert("403".to_owned(), answer(text).into());
        }
    }
}

/// What is unknown is null and there: every field is, save the parameter of an error that has none.
struct Complete;

impl Modify for Complete {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let schemas = document.components.iter_mut().flat_map(|components| &mut components.schemas);
        for (_, schema) in schemas.filter(|(name, _)| *name != "ErrorAnswer") {
            if let RefOr::T(Schema::Object(object)) = schema {
                object.required = object.properties.keys().cloned().collect();
            }
        }
    }
}

/// The document.
#[must_use]
pub fn document() -> openapi::OpenApi {
    Document::openapi()
}

/// The document as JSON, as it is served.
#[must_use]
pub fn json() -> &'static str {
    static JSON: LazyLock<String> = LazyLock::new(|| {
        let document = document().to_pretty_json().expect("the document has a JSON form");
        // The registry of formats has no hyphen there.
        document.replace("\"format\": \"u-int", "\"format\": \"uint") + "\n"
    });
    &JSON
}

/// This document.
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    operation_id = "openapi",
    responses((status = 200, description = "The document, OpenAPI 3.1", body = Object)),
)]
pub(super) async fn serve() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], json())
}
