//! What the labels of a sample say, read once for everything that wants to know.

use std::borrow::Cow;

use super::ranks::Rank;
use crate::prometheus::Sample;
pub use crate::prometheus::identity;

/// The labels that mean something.
#[derive(Clone, Debug, Default)]
pub struct Marks<'a> {
    /// `dp_rank`, `pp_rank`, `tp_rank`; absent ones are 0.
    pub rank: Rank,
    /// Whether there is a `tp_rank`.
    pub ranked: bool,
    /// Whether it is of one priority. The empty one stands for all of them on gauges, and for none on counters.
    pub one_priority: bool,
    /// `is_streaming`.
    pub streaming: Option<bool>,
    /// `le`.
    pub bound: Option<f64>,
    /// `engine_type`.
    pub engine_type: Option<Cow<'a, str>>,
    /// `endpoint` is one whose requests wait for the engine. Our own scrape is a request too.
    pub inference: bool,
    /// `method` is POST.
    pub post: bool,
    /// The first digit of `status_code`.
    pub status: Option<u8>,
    /// The label that tells this metric's samples apart.
    pub key: Option<Cow<'a, str>>,
}

/// Endpoints whose requests wait for the engine.
const INFERENCE: &[&str] = &[
    "/generate",
    "/encode",
    "/classify",
    "/vertex_generate",
    "/invocations",
    "/api/chat",
    "/api/generate",
    "/v1/audio/transcriptions",
    "/v1/chat/completions",
    "/v1/classify",
    "/v1/completions",
    "/v1/decisions",
    "/v1/embeddings",
    "/v1/messages",
    "/v1/rerank",
    "/v1/responses",
    "/v1/score",
    "/v1/systemone",
];

impl<'a> Marks<'a> {
    /// Reads the labels; `key` names the one that tells the metric's samples apart.
    #[must_use]
    pub fn read(sample: &Sample<'a>, key: Option<&str>) -> Self {
        let mut marks = Self::default();
        for (name, value) in sample.labels() {
            if Some(name) == key {
                marks.key = Some(value.clone());
            }
            let number = || value.parse().unwrap_or(0);
            match name {
                "dp_rank" => marks.rank.dp = number(),
                "pp_rank" => marks.rank.pp = number(),
                "tp_rank" => (marks.rank.tp, marks.ranked) = (number(), true),
                "priority" => marks.one_priority = !value.is_empty(),
                "is_streaming" => marks.streaming = Some(value == "true"),
                "le" => marks.bound = value.parse().ok().filter(|it: &f64| !it.is_nan()),
                "endpoint" => marks.inference = INFERENCE.contains(&&*value),
                "method" => marks.post = value == "POST",
                "status_code" => marks.status = value.bytes().next(),
                "engine_type" => marks.engine_type = Some(value),
                _ => {}
            }
        }
        marks
    }
}
