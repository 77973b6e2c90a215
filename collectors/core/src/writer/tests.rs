use std::time::Duration;

use super::defined::OBSOLETE_DIM_AFTER_TICKS;
use super::*;
use crate::chart::{Chart, Dim, Instance, Kind};

static POWER: Chart = Chart {
    id: "power_draw",
    context: "nvidia_smi.gpu_power_draw",
    family: "power draw",
    title: "Power draw",
    units: "Watts",
    kind: Kind::Line,
    priority: 100,
    dims: &[Dim::milli("power_draw"), Dim::milli("limit").optional()],
    dynamic: None,
};

static MEMORY: Chart = Chart {
    id: "process_memory",
    context: "nvidia.process_memory",
    family: "processes",
    title: "Memory",
    units: "B",
    kind: Kind::Stacked,
    priority: 101,
    dims: &[Dim::new("other")],
    dynamic: Some(Dim::new("")),
};

struct Bench {
    writer: Writer,
    frame: Frame,
    instance: Arc<Instance>,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let instance = Arc::new(Instance::new("nvidia_smi", "gpu_gpu-1_").label("index", "0"));
        let writer = Writer::new("rs.d", "nvidia", "local", false);
        Self {
            writer,
            frame: Frame::default(),
            instance,
            now: Instant::now(),
        }
    }

    fn tick(&mut self, chart: &'static Chart, values: &[(&str, Option<f64>)]) -> String {
        self.frame.clear();
        let mut recorder = self.frame.chart(chart, &self.instance);
        for (name, value) in values {
            recorder.set(name, *value);
        }
        self.now += Duration::from_secs(1);
        String::from_utf8(self.writer.write(&self.frame, 1, self.now).to_vec()).unwrap()
    }

    fn idle_tick(&mut self) -> String {
        self.frame.clear();
        self.now += Duration::from_secs(1);
        String::from_utf8(self.writer.write(&self.frame, 1, self.now).to_vec()).unwrap()
    }
}

#[test]
fn the_first_tick_defines_and_the_next_only_updates() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.tick(&POWER, &[("power_draw", Some(98.7654))]),
        "CHART nvidia_smi.gpu_gpu-1_power_draw '' 'Power draw' 'Watts' 'power draw' \
         'nvidia_smi.gpu_power_draw' line 100 1 '' 'rs.d' 'nvidia'\n\
         CLABEL 'index' '0' 1\n\
         CLABEL _collect_job 'local' 1\n\
         CLABEL_COMMIT\n\
         DIMENSION 'power_draw' 'power_draw' absolute 1 1000 ''\n\
         BEGIN nvidia_smi.gpu_gpu-1_power_draw\n\
         SET 'power_draw' = 98765\n\
         END\n"
    );
    assert_eq!(
        bench.tick(&POWER, &[("power_draw", Some(1.0))]),
        "BEGIN nvidia_smi.gpu_gpu-1_power_draw 1000000\nSET 'power_draw' = 1000\nEND\n"
    );
}

#[test]
fn an_unknown_value_is_a_gap_and_never_zero() {
    let mut bench = Bench::new();
    assert_eq!(bench.tick(&POWER, &[("power_draw", None)]), "");
    bench.tick(&POWER, &[("power_draw", Some(1.0))]);
    assert_eq!(bench.tick(&POWER, &[("power_draw", None)]), "");
    let after = bench.tick(
        &POWER,
        &[("power_draw", Some(f64::NAN)), ("limit", Some(600.0))],
    );
    assert!(
        after.contains("BEGIN nvidia_smi.gpu_gpu-1_power_draw 2000000\n"),
        "{after}"
    );
    assert!(!after.contains("SET 'power_draw'"), "{after}");
}

#[test]
fn an_optional_dimension_appears_with_its_first_value() {
    let mut bench = Bench::new();
    let first = bench.tick(&POWER, &[("power_draw", Some(1.0)), ("limit", None)]);
    assert!(!first.contains("limit"), "{first}");
    let second = bench.tick(&POWER, &[("power_draw", Some(1.0)), ("limit", Some(600.0))]);
    assert!(
        second.contains("DIMENSION 'limit' 'limit' absolute 1 1000 ''\n"),
        "{second}"
    );
}

#[test]
fn changed_labels_are_sent_again() {
    let mut bench = Bench::new();
    bench.tick(&POWER, &[("power_draw", Some(1.0))]);
    bench.instance = Arc::new((*bench.instance).clone());
    assert!(
        !bench
            .tick(&POWER, &[("power_draw", Some(1.0))])
            .contains("CLABEL")
    );
    bench.instance = Arc::new((*bench.instance).clone().label("model", "a=b;c,'d'"));
    let text = bench.tick(&POWER, &[("power_draw", Some(1.0))]);
    assert!(text.contains("CLABEL 'model' 'a:b:c._d_' 1\n"), "{text}");
}

#[test]
fn variables_follow_the_labels_and_are_sent_again_when_they_change() {
    let mut bench = Bench::new();
    let with =
        |bench: &Bench, value| Arc::new((*bench.instance).clone().variable("ttft_ms", value));
    let plain = Arc::clone(&bench.instance);
    bench.instance = with(&bench, 450.5);
    let text = bench.tick(&POWER, &[("power_draw", Some(1.0))]);
    let expected = "CLABEL_COMMIT\nVARIABLE CHART ttft_ms = 450.5\nDIMENSION";
    assert!(text.contains(expected), "{text}");
    let text = bench.tick(&POWER, &[("power_draw", Some(1.0))]);
    assert!(!text.contains("VARIABLE"), "{text}");
    bench.instance = plain;
    bench.instance = with(&bench, 500.0);
    let text = bench.tick(&POWER, &[("power_draw", Some(1.0))]);
    assert!(text.contains("VARIABLE CHART ttft_ms = 500\n"), "{text}");
}

#[test]
fn a_hostile_name_stays_a_word() {
    let mut bench = Bench::new();
    let text = bench.tick(&MEMORY, &[("evil'\nDISABLE\n", Some(5.0))]);
    assert!(text.lines().all(|line| {
        let first = line.split(' ').next().unwrap();
        [
            "CHART",
            "CLABEL",
            "CLABEL_COMMIT",
            "DIMENSION",
            "BEGIN",
            "SET",
            "END",
        ]
        .contains(&first)
    }));
    assert!(text.contains("SET 'evil DISABLE ' = 5\n"), "{text}");
}

#[test]
fn a_name_the_chart_does_not_allow_is_refused() {
    let mut bench = Bench::new();
    let text = bench.tick(
        &POWER,
        &[("power_draw", Some(1.0)), ("surprise", Some(1.0))],
    );
    assert!(!text.contains("surprise"), "{text}");
}

#[test]
fn a_chart_not_begun_for_ten_ticks_is_obsoleted_once() {
    let mut bench = Bench::new();
    bench.tick(&POWER, &[("power_draw", Some(1.0))]);
    for _ in 0..9 {
        assert_eq!(bench.idle_tick(), "");
    }
    let text = bench.idle_tick();
    assert!(
        text.contains(" line 100 1 'obsolete' 'rs.d' 'nvidia'\n"),
        "{text}"
    );
    assert_eq!(bench.idle_tick(), "");
    assert!(
        bench
            .tick(&POWER, &[("power_draw", Some(1.0))])
            .starts_with("CHART")
    );
}

#[test]
fn a_chart_of_gaps_is_kept() {
    let mut bench = Bench::new();
    bench.tick(&POWER, &[("power_draw", Some(1.0))]);
    for _ in 0..50 {
        assert_eq!(bench.tick(&POWER, &[("power_draw", None)]), "");
    }
}

#[test]
fn a_dimension_named_while_running_is_obsoleted_when_it_stays_away() {
    let mut bench = Bench::new();
    bench.tick(&MEMORY, &[("python3", Some(5.0)), ("other", Some(0.0))]);
    let mut obsoleted = 0;
    for _ in 0..=OBSOLETE_DIM_AFTER_TICKS {
        let text = bench.tick(&MEMORY, &[("other", Some(0.0))]);
        obsoleted += text
            .matches("DIMENSION 'python3' 'python3' absolute 1 1 'obsolete'")
            .count();
        assert!(!text.contains("DIMENSION 'other' 'other' absolute 1 1 'obsolete'"));
    }
    assert_eq!(obsoleted, 1);
}

#[test]
fn a_job_that_ends_obsoletes_every_chart() {
    let mut bench = Bench::new();
    bench.tick(&POWER, &[("power_draw", Some(1.0))]);
    let text = String::from_utf8(bench.writer.obsolete_all().to_vec()).unwrap();
    assert_eq!(text.matches("'obsolete'").count(), 1);
    assert_eq!(bench.writer.obsolete_all(), b"");
}

#[test]
fn a_chart_made_while_running_is_defined_like_any_other() {
    let chart = Arc::new(Chart {
        id: "queue_depth".to_owned(),
        context: "prometheus.shop.queue_depth".to_owned(),
        family: "queue".to_owned(),
        title: "Jobs waiting".to_owned(),
        units: "jobs".to_owned(),
        kind: Kind::Line,
        priority: 7,
        dims: &[],
        dynamic: Some(Dim::milli("")),
    });
    let instance = Arc::new(Instance::new("prometheus_shop", "").suffix("-name=a"));
    let mut bench = Bench::new();
    bench.frame.chart(&chart, &instance).set("queue_depth", 1.5);
    let text = bench.writer.write(&bench.frame, 1, bench.now).to_vec();
    assert_eq!(
        String::from_utf8(text).unwrap(),
        "CHART prometheus_shop.queue_depth-name_a '' 'Jobs waiting' 'jobs' 'queue' \
         'prometheus.shop.queue_depth' line 7 1 '' 'rs.d' 'nvidia'\n\
         CLABEL _collect_job 'local' 1\n\
         CLABEL_COMMIT\n\
         DIMENSION 'queue_depth' 'queue_depth' absolute 1 1000 ''\n\
         BEGIN prometheus_shop.queue_depth-name_a\n\
         SET 'queue_depth' = 1500\n\
         END\n"
    );
}

#[test]
fn a_chart_that_becomes_another_is_defined_anew_and_leaves_nothing_behind() {
    const PLAIN: &[Dim] = &[Dim::new("value")];
    const COUNTED: &[Dim] = &[Dim::new("value").incremental()];
    let made = |title: &str, dims: &'static [Dim]| {
        let [id, context, family, units] = ["depth", "p.depth", "f", "u"].map(str::to_owned);
        Arc::new(Chart {
            id,
            context,
            family,
            title: title.to_owned(),
            units,
            kind: Kind::Line,
            priority: 7,
            dims,
            dynamic: None,
        })
    };
    let instance = Arc::new(Instance::new("t", ""));
    let mut bench = Bench::new();
    let mut tick = |chart: &Arc<Chart<String>>| {
        bench.frame.clear();
        bench.frame.chart(chart, &instance).set("value", 1.0);
        bench.now += Duration::from_secs(1);
        let text = bench.writer.write(&bench.frame, 1, bench.now).to_vec();
        let slots = bench.writer.charts.slots();
        (String::from_utf8(text).unwrap(), slots)
    };
    tick(&made("first", PLAIN));
    let (same, _) = tick(&made("first", PLAIN));
    assert!(!same.contains("CHART"), "{same}");
    let (renamed, _) = tick(&made("second", PLAIN));
    assert!(
        renamed.starts_with("CHART t.depth '' 'second'"),
        "{renamed}"
    );
    assert!(!renamed.contains("obsolete"), "{renamed}");
    for turn in 0..3000 {
        let dims = [COUNTED, PLAIN][turn % 2];
        let (text, slots) = tick(&made("second", dims));
        let old = text.find("DIMENSION 'value' 'value'").unwrap();
        assert!(text[old..].lines().next().unwrap().ends_with("'obsolete'"));
        let (_, new) = text[old..].split_once("CHART t.depth ").unwrap();
        assert!(!new.contains("'obsolete'"), "{text}");
        assert!(new.contains("SET 'value' = 1\n"), "{text}");
        assert!(slots < 1000, "{slots} after {turn}");
    }
}

#[test]
fn numbers_are_written_as_any_formatter_writes_them() {
    for number in [0, 7, -7, 10, 99, 100, -1_000_001, i64::MAX, i64::MIN] {
        let mut out = vec![];
        put_integer(&mut out, number);
        assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
    }
}

#[test]
fn charts_in_another_order_keep_their_values_and_their_definitions() {
    let mut writer = Writer::new("rs.d", "m", "j", false);
    let gpus: Vec<Arc<Instance>> = ["a", "b", "c"]
        .map(|id| Arc::new(Instance::new("t", &format!("{id}_"))))
        .into();
    let mut now = Instant::now();
    for (tick, order) in [[0, 1, 2], [0, 1, 2], [2, 0, 1], [1, 1, 2], [0, 1, 2]]
        .iter()
        .enumerate()
    {
        let mut frame = Frame::default();
        for gpu in order {
            let value = u32::try_from(*gpu).map(f64::from).unwrap();
            frame.chart(&POWER, &gpus[*gpu]).set("power_draw", value);
        }
        let text = String::from_utf8(writer.write(&frame, 1, now).to_vec()).unwrap();
        now += Duration::from_secs(1);
        assert_eq!(text.contains("CHART "), tick == 0, "{text}");
        for (gpu, name) in ["a", "b", "c"].iter().enumerate() {
            let begun = text.matches(&format!("BEGIN t.{name}_power_draw")).count();
            assert_eq!(begun, usize::from(order.contains(&gpu)), "{text}");
            if begun == 1 {
                let (_, values) = text
                    .split_once(&format!("BEGIN t.{name}_power_draw"))
                    .unwrap();
                let set = values.lines().nth(1).unwrap();
                assert_eq!(set, format!("SET 'power_draw' = {}", gpu * 1000));
            }
        }
    }
}

#[test]
fn a_chart_with_an_interval_of_its_own_says_so_and_is_gone_after_ten_of_them() {
    let mut bench = Bench::new();
    let mut seldom = |every, recorded: bool| {
        bench.frame.clear();
        bench.frame.every(5);
        if recorded {
            let instance = &bench.instance;
            bench.frame.chart(&POWER, instance).set("power_draw", 1.0);
        }
        bench.now += Duration::from_secs(1);
        String::from_utf8(bench.writer.write(&bench.frame, every, bench.now).to_vec()).unwrap()
    };
    let first = seldom(1, true);
    assert!(first.contains(" line 100 5 '' 'rs.d'"), "{first}");
    for _ in 0..49 {
        assert_eq!(seldom(1, false), "");
    }
    let again = seldom(1, true);
    assert!(
        again.starts_with("BEGIN nvidia_smi.gpu_gpu-1_power_draw 50000000\n"),
        "{again}"
    );
    // A job that ticks less often than that has its own interval in all its charts.
    let stretched = seldom(7, true);
    assert!(stretched.contains(" line 100 7 '' 'rs.d'"), "{stretched}");
    assert!(seldom(1, true).contains(" line 100 5 '' 'rs.d'"));
    let gone: Vec<_> = (0..50).map(|_| seldom(1, false)).collect();
    assert!(gone[49].contains("'obsolete'"), "{}", gone[49]);
    assert!(gone[..49].iter().all(String::is_empty));
}
