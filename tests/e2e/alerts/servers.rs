//! What replayed servers do to raise an alert and to end it, and what they do that must raise none.

use std::thread::sleep;
use std::time::Duration;

use harness::server::Server;

/// Time in which a process is noticed, and its end.
const NOTICED: Duration = Duration::from_secs(13);

/// One server's part.
pub struct Part {
    /// Capture that it replays.
    pub capture: &'static str,
    /// Its options.
    pub options: &'static [&'static str],
    /// Alerts that it raises and ends, with the last part of the chart's id.
    pub alerts: &'static [(&'static str, &'static str)],
    /// Begins it.
    pub begin: fn(&Server) -> anyhow::Result<()>,
    /// Ends it.
    pub end: fn(&Server) -> anyhow::Result<()>,
}

const BUSY: &[&str] = &["--growth", "10", "--scheduler-cpu", "0"];
const LOADING: &[&str] = &["--growth", "10", "--scheduler-cpu", "0", "--loading"];

/// Those that raise alerts.
pub const PARTS: &[Part] = &[
    Part {
        capture: "0.5.23",
        options: BUSY,
        alerts: &[("sglang_server_stalled", "server_state")],
        begin: |server| tell(server, &["stop-scheduler"]),
        end: |server| tell(server, &["cont-scheduler"]),
    },
    // Killed under load, and not started again.
    Part {
        capture: "0.5.12",
        options: BUSY,
        alerts: &[("sglang_server_died", "server_ends")],
        begin: |server| tell(server, &["kill"]),
        end: nothing,
    },
    // Dies while it loads, again and again.
    Part {
        capture: "0.5.23",
        options: LOADING,
        alerts: &[("sglang_server_crash_loop", "server_ends")],
        begin: |server| {
            for _ in 0..3 {
                sleep(NOTICED);
                tell(server, &["restart loading"])?;
            }
            Ok(())
        },
        end: |server| tell(server, &["listen"]),
    },
    Part {
        capture: "0.5.23",
        options: BUSY,
        alerts: &[("sglang_server_unreachable", "server_state")],
        begin: |server| tell(server, &["hang on"]),
        end: |server| tell(server, &["hang off"]),
    },
    Part {
        capture: "0.4.6.post5",
        options: LOADING,
        alerts: &[("sglang_server_loading", "server_state")],
        begin: nothing,
        end: |server| tell(server, &["listen"]),
    },
    // A planned stop soon after its load has ended, while the gauges still speak of requests.
    Part {
        capture: "0.5.12",
        options: BUSY,
        alerts: &[("sglang_server_stopped", "server_ends")],
        begin: |server| {
            tell(server, &["page after"])?;
            sleep(NOTICED);
            tell(server, &["kill"])
        },
        end: nothing,
    },
    // A saturated batch: a full cache and a long queue, and tokens flow.
    Part {
        capture: "0.5.23",
        options: BUSY,
        alerts: &[
            ("sglang_kv_cache_full", "kv_cache_usage"),
            ("sglang_requests_queued", "requests_in_flight"),
        ],
        begin: |server| {
            tell(
                server,
                &[
                    "set sglang:num_used_tokens{=97",
                    "set sglang:max_total_num_tokens{=100",
                    "set sglang:num_queue_reqs{=50",
                ],
            )
        },
        end: |server| {
            tell(
                server,
                &[
                    "set sglang:num_used_tokens{=1",
                    "set sglang:num_queue_reqs{=0",
                ],
            )
        },
    },
    Part {
        capture: "0.5.23",
        options: BUSY,
        alerts: &[
            ("sglang_slo_burn_ttft", "slo_burn_rate"),
            ("sglang_slo_burn_itl", "slo_burn_rate"),
            ("sglang_slo_burn_e2e", "slo_burn_rate"),
        ],
        begin: |server| tell(server, &["late on"]),
        end: |server| tell(server, &["late off"]),
    },
];

/// Those that must page nobody, whatever else they show: benign twins of what does.
pub const TWINS: &[Part] = &[
    // The load has ended and the gauges are stale for ever.
    stale("0.4.6.post5"),
    stale("0.5.12"),
    stale("0.5.23"),
    // A prompt that takes minutes to compute.
    Part {
        capture: "0.5.23",
        options: BUSY,
        alerts: &[],
        begin: |server| tell(server, &["prefill on"]),
        end: nothing,
    },
    // A server that is restarted on purpose three times, between loads.
    Part {
        capture: "0.5.23",
        options: BUSY,
        alerts: &[],
        begin: |server| {
            for _ in 0..3 {
                tell(server, &["page idle"])?;
                sleep(NOTICED);
                tell(server, &["restart"])?;
            }
            tell(server, &["page idle"])
        },
        end: nothing,
    },
    // A model that takes as long to load as the whole play.
    Part {
        capture: "0.5.12",
        options: LOADING,
        alerts: &[],
        begin: nothing,
        end: nothing,
    },
];

const fn stale(capture: &'static str) -> Part {
    Part {
        capture,
        options: BUSY,
        alerts: &[],
        begin: |server| tell(server, &["page after"]),
        end: nothing,
    }
}

fn tell(server: &Server, commands: &[&str]) -> anyhow::Result<()> {
    for command in commands {
        server.tell(command)?;
    }
    Ok(())
}

fn nothing(_: &Server) -> anyhow::Result<()> {
    Ok(())
}
