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

/// Marks without what they borrow from a page: the key is kept apart, and the engine's type is the page's.
#[derive(Clone, Copy, Debug)]
pub struct Remembered {
    rank: Rank,
    ranked: bool,
    one_priority: bool,
    streaming: Option<bool>,
    inference: bool,
    post: bool,
    status: Option<u8>,
    bound: Option<f64>,
    key: Option<usize>,
}

/// Keys remembered at most: pages of real servers have some dozens.
const MAX_KEYS: usize = 1024;

/// The keys of remembered marks, each once.
#[derive(Clone, Debug, Default)]
pub struct Keys(Vec<Box<str>>);

impl Keys {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn keep(&mut self, key: &str) -> Option<usize> {
        let known = self.0.iter().rposition(|it| **it == *key);
        if known.is_none() && self.0.len() < MAX_KEYS {
            self.0.push(key.into());
            return Some(self.0.len() - 1);
        }
        known
    }
}

impl Remembered {
    /// The marks again.
    #[must_use]
    pub fn recall<'a>(&self, keys: &'a Keys) -> Marks<'a> {
        let key = self.key.and_then(|at| keys.0.get(at));
        Marks {
            rank: self.rank,
            ranked: self.ranked,
            one_priority: self.one_priority,
            streaming: self.streaming,
            bound: self.bound,
            engine_type: None,
            inference: self.inference,
            post: self.post,
            status: self.status,
            key: key.map(|key| Cow::Borrowed(&**key)),
        }
    }
}

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

    /// What outlives the page; `None` where there are too many keys.
    #[must_use]
    pub fn remember(&self, keys: &mut Keys) -> Option<Remembered> {
        let key = match self.key.as_deref() {
            Some(key) => Some(keys.keep(key)?),
            None => None,
        };
        Some(Remembered {
            rank: self.rank,
            ranked: self.ranked,
            one_priority: self.one_priority,
            streaming: self.streaming,
            inference: self.inference,
            post: self.post,
            status: self.status,
            bound: self.bound,
            key,
        })
    }
}
