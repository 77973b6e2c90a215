//! The module's energy over made-up readings of GPUs and pages of servers.

use std::time::Instant;

use super::charts::{
    COST, ELECTRICITY_COST, ENERGY_PER_COMPUTED_TOKEN, ENERGY_PER_OUTPUT_TOKEN, ENERGY_PER_REQUEST,
    GPU_ENERGY, GPU_MEMORY, GPU_POWER, GPU_UTILIZATION, UNATTRIBUTED_ENERGY,
};
use super::*;
use crate::functions::power::tests::{gpu, process};
use crate::gpu_usage::{Kind, Process, Snapshot};
use crate::histogram::Counter;
use crate::inference_status::{Done, tests::reading};
use netdata_plugin::chart::Chart;

const SECOND: Duration = Duration::from_secs(1);

/// Servers on a machine with two GPUs of 600 W, of which the first is idle at 100 W.
struct Host {
    energy: Energy,
    frame: Frame,
    start: Instant,
    second: u64,
    energy_mj: [u64; 2],
    rows: Vec<Process>,
    watts: u64,
    ran: bool,
    tokens: f64,
}

impl Host {
    fn new(rows: Vec<Process>, prices: Prices) -> Self {
        let mut energy = Energy::new(Arc::default(), Arc::default(), prices);
        energy.serve(vec![server("a", &[1, 2]), server("b", &[3])]);
        Self {
            energy,
            frame: Frame::default(),
            start: Instant::now(),
            second: 0,
            energy_mj: [7_000_000, 9_000_000],
            rows,
            watts: 600,
            ran: true,
            tokens: 0.0,
        }
    }

    fn now(&self) -> Instant {
        self.start + SECOND * u32::try_from(self.second).unwrap()
    }

    fn snapshot(&self) -> Snapshot {
        let boards = (0..2_u32).map(|index| {
            let mut board = gpu(index);
            board.energy_mj = Some(self.energy_mj[index as usize]);
            board.ran = Some(self.ran);
            board
        });
        Snapshot {
            taken: self.now(),
            every: SECOND,
            gpus: boards.collect(),
            processes: self.rows.clone(),
        }
    }

    fn tick(&mut self, snapshot: Snapshot) {
        self.energy.gpu_usage.publish(snapshot);
        self.frame.clear();
        let tick = Tick {
            now: self.now(),
            every: SECOND,
            count: self.second,
        };
        self.energy.tick(tick, &mut self.frame);
    }

    /// Server `a` makes 1,000 tokens a second and tells it every five.
    fn run(&mut self, seconds: u64, change: impl Fn(&mut Snapshot)) {
        for _ in 0..seconds {
            self.second += 1;
            self.energy_mj
                .iter_mut()
                .for_each(|it| *it += self.watts * 1000);
            self.tokens += 1000.0;
            if self.second.is_multiple_of(5) {
                let mut page = reading(self.now());
                let counter = |total| Some(Counter { total, series: 1 });
                page.done = Some(Done {
                    at: self.now(),
                    counters: "realtime",
                    output: counter(self.tokens),
                    computed: counter(self.tokens * 4.0),
                    requests: counter(self.tokens / 100.0),
                });
                self.energy.inference.read("a", page);
            }
            let mut snapshot = self.snapshot();
            change(&mut snapshot);
            self.tick(snapshot);
        }
    }

    fn value(&self, id: &str, chart: &'static Chart, dim: &str) -> Option<f64> {
        let found = self.frame.charts().find(|recorded| {
            let instance = recorded.instance();
            let its = format!("{}.{}", instance.chart_type, instance.prefix);
            recorded.chart() == chart && its == id
        });
        found?.values().find(|(name, _)| *name == dim)?.1
    }

    fn a(&self, chart: &'static Chart, dim: &str) -> Option<f64> {
        self.value("server_a.", chart, dim)
    }

    fn labels(&self, chart: &'static Chart) -> Vec<(String, String)> {
        let found = self
            .frame
            .charts()
            .find(|it| it.chart() == chart)
            .expect("the chart");
        let labels = found.instance().labels.iter();
        labels
            .map(|it| (it.key.to_string(), it.value.clone()))
            .collect()
    }

    /// Everything charted in Watts: that of servers and that of boards.
    fn charted_watts(&self) -> f64 {
        let charts = self.frame.charts();
        let charts = charts.filter(|it| [&GPU_ENERGY, &UNATTRIBUTED_ENERGY].contains(&it.chart()));
        charts
            .flat_map(|it| {
                it.values()
                    .filter_map(|(_, value)| value)
                    .collect::<Vec<_>>()
            })
            .sum()
    }
}

fn server(name: &str, pids: &[u32]) -> Server {
    Server {
        name: name.to_owned(),
        instance: Arc::new(Instance::new(&format!("server_{name}"), "").label("server", name)),
        main: (pids[0], 100 + u64::from(pids[0])),
        processes: pids
            .iter()
            .map(|pid| (*pid, 100 + u64::from(*pid)))
            .collect(),
    }
}

fn near(value: Option<f64>, expected: f64) {
    assert!(
        value.is_some_and(|it| (it - expected).abs() < 1e-6),
        "{value:?} is not {expected}"
    );
}

/// Server `a` on both boards, alone.
fn alone() -> Vec<Process> {
    vec![process(0, 1, Some(90.0)), process(1, 2, None)]
}

#[test]
fn a_server_alone_on_its_boards_has_all_their_energy_in_its_tokens() {
    let mut host = Host::new(alone(), Prices::default());
    host.run(70, |_| {});
    near(host.a(&GPU_ENERGY, "undivided"), 1200.0);
    assert_eq!(host.a(&GPU_ENERGY, "active"), None);
    near(host.a(&ENERGY_PER_OUTPUT_TOKEN, "all_in"), 1.2);
    assert_eq!(host.a(&ENERGY_PER_OUTPUT_TOKEN, "active"), None);
    near(host.a(&ENERGY_PER_COMPUTED_TOKEN, "all_in"), 0.3);
    near(host.a(&ENERGY_PER_REQUEST, "finished"), 120.0);
    let labels = host.labels(&ENERGY_PER_OUTPUT_TOKEN);
    let expected = [
        ("server", "a"),
        ("attribution", "exclusive"),
        ("counters", "realtime"),
    ];
    assert_eq!(
        labels,
        expected.map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
    assert_eq!(
        (
            host.a(&ELECTRICITY_COST, "electricity"),
            host.a(&COST, "gpu_time")
        ),
        (None, None)
    );
}

#[test]
fn idle_power_is_learnt_and_told_apart_from_then_on() {
    let mut host = Host::new(alone(), Prices::default());
    (host.watts, host.ran) = (100, false);
    host.run(20, |_| {});
    near(host.a(&GPU_ENERGY, "idle"), 200.0);
    near(host.a(&GPU_ENERGY, "active"), 0.0);
    (host.watts, host.ran) = (600, true);
    host.run(70, |_| {});
    near(host.a(&GPU_ENERGY, "idle"), 200.0);
    near(host.a(&GPU_ENERGY, "active"), 1000.0);
    near(host.a(&ENERGY_PER_OUTPUT_TOKEN, "all_in"), 1.2);
    near(host.a(&ENERGY_PER_OUTPUT_TOKEN, "active"), 1.0);
}

#[test]
fn what_is_shared_is_an_estimate_and_the_charts_add_up_to_the_boards() {
    let rows = vec![
        process(0, 1, Some(60.0)),
        process(0, 3, Some(20.0)),
        process(0, 99, Some(20.0)),
        process(1, 99, Some(50.0)),
    ];
    let mut host = Host::new(rows, Prices::default());
    host.run(70, |_| {});
    near(host.a(&GPU_ENERGY, "undivided"), 360.0);
    near(host.value("server_b.", &GPU_ENERGY, "undivided"), 120.0);
    near(
        host.value(
            "inference.gpu_gpu-0_",
            &UNATTRIBUTED_ENERGY,
            "other_programs",
        ),
        120.0,
    );
    near(
        host.value(
            "inference.gpu_gpu-1_",
            &UNATTRIBUTED_ENERGY,
            "other_programs",
        ),
        600.0,
    );
    near(Some(host.charted_watts()), 1200.0);
    near(host.a(&ENERGY_PER_OUTPUT_TOKEN, "all_in"), 0.36);
    assert!(
        host.labels(&GPU_ENERGY)
            .contains(&("attribution".to_owned(), "estimate".to_owned()))
    );
    near(
        host.value("server_a.gpu_gpu-0_", &GPU_UTILIZATION, "sm"),
        60.0,
    );
    near(
        host.value("server_a.gpu_gpu-0_", &GPU_MEMORY, "held"),
        f64::from(1 << 20),
    );
    near(
        host.value("server_a.gpu_gpu-0_", &GPU_POWER, "power"),
        360.0,
    );
}

#[test]
fn the_multi_process_service_and_instances_leave_no_value_for_tokens() {
    let mps = |snapshot: &mut Snapshot| snapshot.processes[0].kind = Kind::Mps;
    let mig = |snapshot: &mut Snapshot| snapshot.gpus[0].split = true;
    let unlisted = |snapshot: &mut Snapshot| {
        snapshot.processes.remove(0);
        snapshot.gpus[0].processes_known = false;
    };
    let lost = |snapshot: &mut Snapshot| {
        snapshot.processes.remove(0);
        snapshot.gpus.remove(0);
    };
    let changes: [&dyn Fn(&mut Snapshot); 4] = [&mps, &mig, &unlisted, &lost];
    for (number, change) in changes.into_iter().enumerate() {
        let mut host = Host::new(alone(), Prices::default());
        host.run(70, |_| {});
        assert!(host.a(&ENERGY_PER_OUTPUT_TOKEN, "all_in").is_some());
        host.run(30, change);
        assert_eq!(host.a(&ENERGY_PER_OUTPUT_TOKEN, "all_in"), None, "{number}");
        assert_eq!(host.a(&GPU_ENERGY, "undivided"), None, "{number}");
        assert!(
            host.labels(&GPU_ENERGY)
                .contains(&("attribution".to_owned(), "none".to_owned()))
        );
        let answered = if number == 3 { 600.0 } else { 1200.0 };
        near(Some(host.charted_watts()), answered);
        // As before once it is as before, after a window.
        host.run(62, |_| {});
        assert_eq!(host.a(&ENERGY_PER_OUTPUT_TOKEN, "all_in"), None, "{number}");
        host.run(10, |_| {});
        near(host.a(&ENERGY_PER_OUTPUT_TOKEN, "all_in"), 1.2);
    }
}

#[test]
fn without_samples_a_shared_board_attributes_nothing() {
    let mut rows = alone();
    rows.push(process(0, 99, None));
    let mut host = Host::new(rows, Prices::default());
    host.run(80, |_| {});
    assert_eq!(host.a(&ENERGY_PER_OUTPUT_TOKEN, "all_in"), None);
    near(
        host.value("inference.gpu_gpu-0_", &UNATTRIBUTED_ENERGY, "unattributed"),
        600.0,
    );
    near(Some(host.charted_watts()), 1200.0);
}

#[test]
fn a_counter_that_was_not_read_once_loses_nothing() {
    let mut host = Host::new(alone(), Prices::default());
    host.run(70, |_| {});
    host.run(1, |snapshot| snapshot.gpus[1].energy_mj = None);
    assert_eq!(host.a(&GPU_ENERGY, "undivided"), None);
    near(host.a(&ENERGY_PER_OUTPUT_TOKEN, "all_in"), 1.2);
    host.run(20, |_| {});
    near(host.a(&ENERGY_PER_OUTPUT_TOKEN, "all_in"), 1.2);
    host.run(80, |_| {});
    near(host.a(&ENERGY_PER_OUTPUT_TOKEN, "all_in"), 1.2);
}

#[test]
fn another_process_on_the_same_address_counts_anew() {
    let mut host = Host::new(alone(), Prices::default());
    host.run(70, |_| {});
    host.energy.serve(vec![server("a", &[1, 2])]);
    host.run(1, |_| {});
    assert!(host.a(&ENERGY_PER_OUTPUT_TOKEN, "all_in").is_some());
    let mut other = server("a", &[1, 2]);
    other.main = (1, 555);
    host.energy.serve(vec![other]);
    host.run(1, |_| {});
    assert_eq!(host.a(&ENERGY_PER_OUTPUT_TOKEN, "all_in"), None);
}

#[test]
fn prices_make_costs() {
    let prices = Prices {
        per_kwh: Some(0.36),
        pue: Some(1.5),
        host_watts: Some(800.0),
        gpu_hour: Some(1.8),
    };
    let mut host = Host::new(alone(), prices);
    host.run(70, |_| {});
    // 1,000 s for a million tokens: 2,000 W with the host, times 1.5, are 0.8333 kWh.
    near(host.a(&ELECTRICITY_COST, "electricity"), 0.3);
    near(host.a(&COST, "gpu_time"), 1.0);
}

#[test]
fn a_page_that_never_came_and_one_of_long_ago_give_no_value() {
    let mut host = Host::new(alone(), Prices::default());
    host.run(70, |_| {});
    for _ in 0..80 {
        host.second += 1;
        host.energy_mj.iter_mut().for_each(|it| *it += 600_000);
        let snapshot = host.snapshot();
        host.tick(snapshot);
    }
    assert_eq!(host.a(&ENERGY_PER_OUTPUT_TOKEN, "all_in"), None);
    near(host.a(&GPU_ENERGY, "undivided"), 1200.0);
}
