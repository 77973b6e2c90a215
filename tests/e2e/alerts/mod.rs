//! Every alert of the stock files, raised and cleared in the real Netdata by what it is about, and the benign
//! twins of those that page. Everything is played once, side by side; the tests judge what came of it.

mod gpus;
mod jobs;
mod servers;
mod stage;

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::thread::{ScopedJoinHandle, scope, sleep};
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use harness::alerts::{self, Alert, Change};
use harness::instance::{Instance, only};
use harness::place::Place;
use harness::processes;
use harness::server::Server;
use harness::wait_for;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use gpus::{BENIGN, Fate};
use servers::{PARTS, Part, TWINS};
use stage::Stage;

/// What is the user's own: thresholds, and windows short enough for a test.
const SGLANG_CONF: &str = "ends_window: 75\n\
    slo: {ttft_ms: 1000, itl_ms: 500, e2e_ms: 20000, objective: 95, burn_short: 20, burn_long: 60}\n";
const NVIDIA_CONF: &str = "held_idle_after: 20\n";

/// GPU alerts, the GPU and the chart on which each is raised.
const GPU_ALERTS: &[(&str, usize, &str)] = &[
    ("nvidia_gpu_lost", 0, "gpu_state"),
    ("nvidia_gpu_reset_required", 1, "gpu_state"),
    ("nvidia_gpu_stale", 2, "gpu_state"),
    ("nvidia_gpu_recovery_needed", 3, "recovery_action"),
    ("nvidia_ecc_uncorrected", 3, "ecc_errors"),
    ("nvidia_memory_repair_pending", 3, "memory_repair"),
    ("nvidia_memory_repair_failed", 3, "memory_repair"),
    ("nvidia_pcie_link_degraded", 3, "pcie_link"),
    ("nvidia_power_capped", 3, "throttle"),
    ("nvidia_thermal_throttling", 3, "throttle"),
    ("nvidia_power_brake", 3, "throttle"),
    ("nvidia_xid_fatal", 4, "xid_events"),
    ("nvidia_xid_hardware", 4, "xid_events"),
    ("nvidia_memory_held_idle", 4, "held_idle"),
    ("nvidia_xid_user", BENIGN, "xid_events"),
];

const PLUGIN_CHART: &str = "netdata.rs_d_plugin_resources_memory";

/// What came of it.
struct Outcome {
    stock: Vec<Alert>,
    /// Conditions that did not do what they should.
    failures: Vec<String>,
    /// Alerts that may be raised, and the charts.
    expected: BTreeSet<(String, String)>,
    log: Vec<Change>,
    /// Chart ids begin so of the servers that raise alerts.
    servers: Vec<String>,
    /// Chart ids begin so of what must page nobody.
    benign: Vec<String>,
}

/// Each alert of the stock files was raised by its condition and taken back after it.
pub fn raised_and_cleared(place: &Place) -> anyhow::Result<()> {
    let outcome = play(place)?;
    let mut wrong = outcome.failures.clone();
    for alert in &outcome.stock {
        let of_it = |change: &&Change| change.alert == alert.name;
        let raised = outcome
            .log
            .iter()
            .filter(of_it)
            .filter(|it| it.raises())
            .count();
        let cleared = outcome
            .log
            .iter()
            .filter(of_it)
            .filter(|it| it.clears())
            .count();
        eprintln!(
            "{:32} raised {raised} times, cleared {cleared} times",
            alert.name
        );
        if raised == 0 || cleared == 0 {
            wrong.push(format!(
                "{} was raised {raised} times, cleared {cleared} times",
                alert.name
            ));
        }
    }
    ensure!(!outcome.stock.is_empty(), "no alert in the stock files");
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

/// Nothing else pages: neither the benign twins nor anything beside the conditions that were played.
pub fn twins_are_silent(place: &Place) -> anyhow::Result<()> {
    let outcome = play(place)?;
    let pages = |name: &str| outcome.stock.iter().any(|it| it.name == name && it.pages());
    // Servers of other tests live and die on the same machine.
    let ours = |chart: &str| {
        let mut known = outcome.servers.iter().chain(&outcome.benign);
        !chart.starts_with("sglang_") || known.any(|prefix| chart.starts_with(prefix))
    };
    let unexpected: Vec<_> = outcome
        .log
        .iter()
        .filter(|change| ours(&change.chart))
        .filter(|change| change.raises() && pages(&change.alert))
        .filter(|change| {
            !outcome
                .expected
                .contains(&(change.alert.clone(), change.chart.clone()))
        })
        .collect();
    ensure!(
        outcome.benign.len() == TWINS.len() + 1,
        "{:?}",
        outcome.benign
    );
    for prefix in &outcome.benign {
        let seen = outcome
            .log
            .iter()
            .any(|change| change.chart.starts_with(prefix));
        ensure!(seen, "no alert ever looked at {prefix}");
    }
    ensure!(
        unexpected.is_empty(),
        "pages that nobody asked for: {unexpected:#?}"
    );
    Ok(())
}

/// Plays everything once.
fn play(place: &Place) -> anyhow::Result<&'static Outcome> {
    static OUTCOME: OnceLock<Result<Outcome, String>> = OnceLock::new();
    let outcome = OUTCOME.get_or_init(|| play_all(place).map_err(|error| format!("{error:#}")));
    outcome.as_ref().map_err(|error| anyhow!("{error}"))
}

fn play_all(place: &Place) -> anyhow::Result<Outcome> {
    let stock = alerts::stock(&place.dist.join("lib/netdata-launcher/conf.d/health.d"))?;
    let start = |part: &'static Part| {
        let server = Server::start(place, part.capture, part.options)?;
        anyhow::Ok((part, server))
    };
    let parts = PARTS
        .iter()
        .map(start)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let twins = TWINS
        .iter()
        .map(start)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let servers: Vec<_> = parts
        .iter()
        .chain(&twins)
        .map(|(_, server)| server)
        .collect();
    let only = only(&servers);
    let sglang = format!("{only}{SGLANG_CONF}");
    let files = [
        ("rs.d/sglang.conf", sglang.as_str()),
        ("rs.d/servers.conf", only.as_str()),
        ("rs.d/nvidia.conf", NVIDIA_CONF),
    ];
    let stage = Stage::start(place, "alerts", &files)?;
    // Every server is charted, and has been for long enough to have a rate.
    wait_for("the servers' charts", Duration::from_secs(60), || {
        let charts = stage.instance.api().charts()?;
        for (_, server) in parts.iter().chain(&twins) {
            let id = format!("sglang_{}.server_state", server.port);
            ensure!(charts.contains_key(&id), "no chart {id}");
        }
        Ok(())
    })?;
    sleep(Duration::from_secs(15));
    let mut failures = vec![];
    let mut log = vec![];
    scope(|scope| {
        let stage = &stage;
        let mut acts = vec![];
        for (part, server) in &twins {
            acts.push(scope.spawn(move || (part.begin)(server)));
        }
        for (part, server) in &parts {
            acts.push(scope.spawn(move || act(stage, part, server)));
        }
        acts.push(scope.spawn(move || gpus_fall_ill(stage)));
        let jobs = scope.spawn(move || jobs::fail(place));
        let plugin = scope.spawn(move || plugin_stops(place));
        for act in acts {
            failures.extend(
                act.join()
                    .unwrap_or_else(|_| Err(anyhow!("it panicked")))
                    .err(),
            );
        }
        log = alerts::log(&stage.instance.api()).unwrap_or_default();
        for act in [jobs, plugin] {
            match join(act) {
                Ok(more) => log.extend(more),
                Err(error) => failures.push(error),
            }
        }
    });
    let charts = |server: &Server| format!("sglang_{}.", server.port);
    let mut expected: BTreeSet<_> = parts
        .iter()
        .flat_map(|(part, server)| {
            part.alerts
                .iter()
                .map(|(alert, chart)| (*alert, charts(server) + chart))
        })
        .collect();
    expected.extend(
        GPU_ALERTS
            .iter()
            .map(|(alert, gpu, chart)| (*alert, gpus::prefix(*gpu) + chart)),
    );
    expected.extend([
        ("rs_d_plugin_silent", PLUGIN_CHART.to_owned()),
        ("rs_d_job_failing", jobs::GPU_JOB_CHART.to_owned()),
        ("rs_d_job_stuck", jobs::ENDPOINT_JOB_CHART.to_owned()),
    ]);
    let servers = parts.iter().map(|(_, server)| charts(server)).collect();
    let mut benign: Vec<_> = twins.iter().map(|(_, server)| charts(server)).collect();
    benign.push(gpus::prefix(BENIGN));
    Ok(Outcome {
        stock,
        failures: failures.iter().map(|error| format!("{error:#}")).collect(),
        expected: expected
            .into_iter()
            .map(|(alert, chart)| (alert.to_owned(), chart))
            .collect(),
        log,
        servers,
        benign,
    })
}

fn join<T>(act: ScopedJoinHandle<'_, anyhow::Result<T>>) -> anyhow::Result<T> {
    act.join().unwrap_or_else(|_| Err(anyhow!("it panicked")))
}

/// Begins what a server does, waits for its alerts, ends it, and waits for their end.
fn act(stage: &Stage, part: &Part, server: &Server) -> anyhow::Result<()> {
    let chart = |name: &str| format!("sglang_{}.{name}", server.port);
    (part.begin)(server)?;
    for (alert, name) in part.alerts {
        stage.raised(alert, &chart(name))?;
    }
    (part.end)(server)?;
    for (alert, name) in part.alerts {
        stage.cleared(alert, &chart(name))?;
    }
    Ok(())
}

fn gpus_fall_ill(stage: &Stage) -> anyhow::Result<()> {
    stage.gpus(Fate::Ill)?;
    for (alert, gpu, chart) in GPU_ALERTS {
        stage.raised(alert, &(gpus::prefix(*gpu) + chart))?;
    }
    stage.gpus(Fate::Well)?;
    for (alert, gpu, chart) in GPU_ALERTS {
        stage.cleared(alert, &(gpus::prefix(*gpu) + chart))?;
    }
    Ok(())
}

/// On a machine without a GPU the whole plugin stands still for a while. The user's own file takes the place
/// of a stock one there.
fn plugin_stops(place: &Place) -> anyhow::Result<Vec<Change>> {
    let own = " template: my_own_alert\n       on: netdata.rs_d_job_status\n     calc: $ok\n    \
               every: 10s\n     warn: $this < 0\n       to: silent\n";
    let instance = Instance::new(place, "alerts-plugin", &[])?;
    instance.configure(&[("health.d/sglang.conf", own)])?;
    instance.leaves_the_machine_out()?;
    instance.start()?;
    // The job of the GPUs, of which there are none, has long enough to be taken for one that fails.
    sleep(Duration::from_secs(90));
    let linked = alerts::linked(&instance.api())?;
    let names: BTreeSet<_> = linked.iter().map(|(name, _)| name.as_str()).collect();
    ensure!(
        names.contains("my_own_alert"),
        "the user's own file is not read: {names:?}"
    );
    ensure!(
        names.contains("rs_d_job_failing"),
        "nor are the others: {names:?}"
    );
    let plugin = processes::children(instance.netdata_pid()?, "rs.d.plugin");
    let plugin = Pid::from_raw(*plugin.first().context("the plugin does not run")?);
    let is = |what: &str, is: fn(&Change) -> bool| {
        wait_for(what, Duration::from_secs(120), || {
            let log = alerts::log(&instance.api())?;
            let found = log
                .iter()
                .any(|it| it.alert == "rs_d_plugin_silent" && is(it));
            ensure!(found, "not in the log");
            Ok(())
        })
    };
    kill(plugin, Signal::SIGSTOP)?;
    let raised = is("rs_d_plugin_silent raised", Change::raises);
    kill(plugin, Signal::SIGCONT)?;
    raised?;
    is("rs_d_plugin_silent cleared", Change::clears)?;
    alerts::log(&instance.api())
}
