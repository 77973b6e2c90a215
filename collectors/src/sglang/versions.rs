//! Which version of SGLang a page comes from, by the metrics that it shows: no page names it.

/// The oldest version whose counters are known: there an absent one has counted nothing yet.
const SUPPORTED: &str = "0.4.6";

/// A metric that every page of a version shows from the start, and the version that added it; newest last.
const MILESTONES: &[(&str, &str)] = &[
    ("num_running_reqs", "0.4.0"),
    ("num_grammar_queue_reqs", SUPPORTED),
    ("num_paused_reqs", "0.5.2"),
    ("is_cuda_graph", "0.5.4"),
    ("max_total_num_tokens", "0.5.6"),
    ("decode_sum_seq_lens", "0.5.7"),
    ("num_unique_running_routing_keys", "0.5.8"),
    ("full_token_usage", "0.5.10"),
    ("kv_used_tokens", "0.5.11"),
    ("mamba_available_tokens", "0.5.12"),
    ("spec_num_steps", "0.5.14"),
    ("spec_cap_length", "0.5.16"),
    ("kv_cache_memory_usage_gb", "0.5.18"),
    ("scheduler_idle_seconds_total", "0.5.20"),
    ("num_decode_host_receive_queue_reqs", "0.5.22"),
];

/// The newest milestone so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Newest(usize);

impl Newest {
    /// Takes a metric's name, without its prefix.
    pub fn see(&mut self, name: &str) {
        let newer = MILESTONES.get(self.0..).unwrap_or_default();
        if let Some(at) = newer.iter().position(|(metric, _)| *metric == name) {
            self.0 += at + 1;
        }
    }

    /// Whether it is at least the oldest version whose counters are known.
    #[must_use]
    pub fn is_supported(self) -> bool {
        let at = MILESTONES.iter().position(|(_, it)| *it == SUPPORTED);
        at.is_some_and(|at| self.0 > at)
    }

    /// The version that added it: the server is of this one or a later one.
    #[must_use]
    pub fn version(self) -> Option<&'static str> {
        let at = self.0.checked_sub(1)?;
        MILESTONES.get(at).map(|(_, version)| *version)
    }
}
