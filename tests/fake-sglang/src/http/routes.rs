//! Which path gets which answer.

use serde_json::json;

use super::message::{Answer, Request};
use crate::server::Server;

/// The answer to `request`.
pub fn answer(server: &Server, request: &Request) -> Answer {
    if let Some(status) = server.faults.status.forced() {
        return Answer::detail(status);
    }
    if request.method != "GET" {
        return Answer::detail(405);
    }
    // A real one lets only these through without its key.
    let open = matches!(request.path.as_str(), "/metrics" | "/health" | "/ready");
    if !open && server.config.api_key.is_some() && server.config.api_key != request.key {
        return Answer::json(401, "{\"error\":\"Unauthorized\"}");
    }
    match request.path.trim_end_matches('/') {
        "/metrics" if server.config.metrics => Answer {
            status: 200,
            content_type: "text/plain; version=0.0.4",
            body: server.page(),
            chunked: true,
        },
        path if let Some(body) = server.captured(path) => Answer::json(200, body),
        "/v1/models" => Answer::json(200, models(server.model())),
        "/get_model_info" | "/model_info" => Answer::json(200, model_info(server.model())),
        // A real one runs a generation here: the product must not ask, and `requests` shows it.
        "/health" => Answer {
            status: 200,
            content_type: "text/plain",
            body: String::new(),
            chunked: false,
        },
        _ => Answer::detail(404),
    }
}

fn models(model: &str) -> String {
    let card = json!({"id": model, "object": "model", "owned_by": "sglang", "root": model, "max_model_len": 4096});
    json!({"object": "list", "data": [card]}).to_string()
}

fn model_info(model: &str) -> String {
    json!({"model_path": model, "served_model_name": model, "is_generation": true}).to_string()
}
