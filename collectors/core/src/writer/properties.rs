//! Whatever a process says of itself, the agent reads back what was meant, and nothing else. What the agent
//! makes of a line is `agent-model`'s business, which knows nothing of the writer.

use std::time::Duration;

use agent_model::{Agent, Dialect, MAX_ID};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::chart::{Chart, Dim, Instance, Kind};

/// What the agent gives a meaning, and what it might trip over.
const HOSTILE: &[&str] = &[
    "\n",
    "\r\n",
    "\0",
    "'",
    "\"",
    "\\",
    "\\'",
    "=",
    ";",
    ",",
    " ",
    "\t",
    "\u{b}",
    "\u{85}",
    "\u{2028}",
    "\u{1b}[2J",
    "DISABLE",
    "\nDISABLE\n",
    "FUNCTION GLOBAL",
    "' \nBEGIN netdata.x\n",
    "END",
    "CLABEL_COMMIT",
    "HOST",
    "a",
    "b",
    "é",
    "🦀",
    "{}",
    "%s",
    "#",
    "~2",
    "/",
    ".",
];

static FIXED: Chart = chart("fixed", &[Dim::milli("a"), Dim::new("b").optional()], None);
static NAMED: Chart = chart("named", &[Dim::new("other")], Some(Dim::milli("")));

const fn chart(id: &'static str, dims: &'static [Dim], dynamic: Option<Dim>) -> Chart {
    Chart {
        id,
        context: "it's",
        family: "f\n",
        title: "A \\",
        units: "a=b",
        kind: Kind::Heatmap,
        priority: 1,
        dims,
        dynamic,
    }
}

fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => select(HOSTILE).prop_map(str::to_owned),
        2 => any::<String>(),
        1 => "[a-z0-9_.-]{1,12}",
    ];
    let short = vec(piece, 0..12).prop_map(|pieces| pieces.concat());
    let long = (select(HOSTILE), 1_usize..1_048_576).prop_map(|(piece, len)| {
        let times = len / piece.len();
        piece.repeat(times)
    });
    prop_oneof![60 => short.clone(), 6 => short.prop_map(|text| text.repeat(40)), 1 => long]
}

/// What one server says on one tick: its name, its labels, and named values.
#[derive(Clone, Debug)]
struct Said {
    name: String,
    labels: Vec<(String, String)>,
    values: Vec<(String, Option<f64>)>,
}

fn said() -> impl Strategy<Value = Said> {
    let value = prop_oneof![
        Just(None),
        any::<f64>().prop_map(Some),
        (-1e6..1e6).prop_map(Some)
    ];
    let parts = (
        text(),
        vec((text(), text()), 0..4),
        vec((text(), value), 0..6),
    );
    parts.prop_map(|(name, labels, values)| Said {
        name,
        labels,
        values,
    })
}

fn instance(said: &Said) -> Arc<Instance> {
    let mut instance = Instance::new(&said.name, "p_");
    for (key, value) in &said.labels {
        instance.labels.push(crate::chart::Label {
            key: key.clone().into(),
            value: value.clone(),
            source: crate::chart::LabelSource::Config,
        });
    }
    Arc::new(instance)
}

/// What is left of a text, by the rules that the protocol imposes.
fn meant(text: &str, label: bool) -> String {
    let mut left = String::new();
    for c in text.chars() {
        let c = match c {
            '\0' => continue,
            '\'' | '"' if label => '_',
            '\'' | '"' => continue,
            '\\' => '/',
            ';' | '=' if label => ':',
            ',' if label => '.',
            c if c.is_control() => ' ',
            c => c,
        };
        if left.len() + c.len_utf8() > MAX_ID {
            break;
        }
        left.push(c);
    }
    if left.trim_matches(' ').is_empty() {
        "unknown".to_owned()
    } else {
        left
    }
}

fn run(dialect: Dialect, job: &str, ticks: &[Vec<Said>]) -> Result<(), TestCaseError> {
    let (mut agent, mut now) = (Agent::new(dialect), Instant::now());
    let mut writer = Writer::new("rs.d", "mod'ule\n", job, dialect.modern);
    let mut frame = Frame::default();
    for tick in ticks {
        now += Duration::from_secs(1);
        frame.clear();
        let before = agent.clone();
        for said in tick {
            let instance = instance(said);
            frame
                .chart(&FIXED, &instance)
                .set("a", 1.5)
                .set("b", None)
                .set("c\nEND", 3.0);
            let mut recorder = frame.chart(&NAMED, &instance);
            for (name, value) in &said.values {
                recorder.set(name, *value);
            }
        }
        let output = writer.write(&frame, 1, now).to_vec();
        agent.read(&output).map_err(TestCaseError::fail)?;
        let mut drawn = std::collections::BTreeSet::new();
        for said in tick {
            // Of two whose names differ only in what an id cannot have the first is drawn.
            if drawn.insert(instance(said).chart_type.clone()) {
                holds(&before, &agent, said, job)?;
            }
        }
    }
    agent
        .read(writer.obsolete_all())
        .map_err(TestCaseError::fail)?;
    prop_assert!(agent.charts.values().all(|chart| chart.obsolete));
    prop_assert!(agent.functions.is_empty() && agent.variables.is_empty());
    Ok(())
}

/// The agent has what `said` meant.
fn holds(before: &Agent, agent: &Agent, said: &Said, job: &str) -> Result<(), TestCaseError> {
    let id = format!("{}.p_fixed", instance(said).chart_type);
    let takes = id.len() <= MAX_ID && !id.starts_with('.');
    let Some(chart) = agent.charts.get(&id) else {
        prop_assert!(!takes, "{} is not charted", id);
        return Ok(());
    };
    prop_assert_eq!(&chart.fields[..4], ["A /", "a=b", "f ", "its"]);
    prop_assert_eq!(chart.values.get("a"), Some(&1500));
    prop_assert_eq!(&chart.dims, &["a"]);
    for (key, value) in &said.labels {
        let key = meant(key, true);
        let same = |other: &&(String, String)| meant(&other.0, true) == key;
        if said.labels.iter().filter(same).count() == 1 && key != "_collect_job" {
            prop_assert_eq!(chart.labels.get(&key), Some(&meant(value, true)));
        }
    }
    prop_assert_eq!(chart.labels.get("_collect_job"), Some(&meant(job, true)));
    let id = format!("{}.p_named", instance(said).chart_type);
    let known: Vec<_> = said
        .values
        .iter()
        .filter(|(_, value)| value.is_some_and(f64::is_finite))
        .map(|(name, value)| (name, value.unwrap_or(f64::NAN)))
        .collect();
    let names: std::collections::BTreeSet<_> = known.iter().map(|(name, _)| name).collect();
    let Some(chart) = agent.charts.get(&id).filter(|_| !known.is_empty()) else {
        prop_assert!(
            known.is_empty() || id.len() > MAX_ID,
            "{} is not charted",
            id
        );
        return Ok(());
    };
    let updates = before.charts.get(&id).map_or(0, |chart| chart.updates);
    prop_assert_eq!(chart.updates, updates + 1);
    let fits = |value: f64, steps: f64| (value * steps).round().abs() < 9e18;
    // One value for each name, under that name or, where it is another's, under one with a number.
    for (name, value) in &known {
        let once = known.iter().filter(|(other, _)| other == name).count() == 1;
        let left = meant(name, false);
        let alone = names
            .iter()
            .filter(|other| meant(other, false) == left)
            .count()
            == 1;
        if before.charts.contains_key(&id)
            || !once
            || !alone
            || left == "other"
            || name.contains('~')
        {
            continue;
        }
        let steps = if *name == "other" { 1.0 } else { 1000.0 };
        let expected = fits(*value, steps).then(|| (value * steps).round() as i64);
        prop_assert_eq!(chart.values.get(&left), expected.as_ref(), "{:?}", name);
    }
    let drawn = names
        .iter()
        .filter(|name| name.len() <= crate::frame::MAX_NAME_BYTES);
    let drawn = drawn.filter(|name| {
        let first = known.iter().find(|(other, _)| other == **name);
        first.is_some_and(|(_, value)| fits(*value, 1000.0))
    });
    prop_assert!(chart.values.len() >= drawn.count(), "two names became one");
    Ok(())
}

/// A chart made from what an endpoint says of its metrics.
fn made() -> impl Strategy<Value = (Arc<Chart<String>>, [String; 5])> {
    [text(), text(), text(), text(), text()].prop_map(|texts| {
        let [id, context, family, title, units] = texts.clone();
        let chart = Chart {
            id,
            context,
            family,
            title,
            units,
            kind: Kind::Line,
            priority: 1,
            dims: &[],
            dynamic: Some(Dim::milli("")),
        };
        (Arc::new(chart), texts)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agents_read_back_what_was_meant_and_no_command_more(
        job in text(),
        ticks in vec(vec(said(), 0..4), 1..4),
    ) {
        run(Dialect::V1_37, &job, &ticks)?;
        run(Dialect::V2, &job, &ticks)?;
    }

    #[test]
    fn the_same_things_named_again_keep_their_dimensions(said in said(), ticks in 2_usize..5) {
        run(Dialect::V1_37, "job", &vec![vec![said]; ticks])?;
    }

    #[test]
    fn what_an_endpoint_says_of_its_metrics_stays_within_its_fields((chart, texts) in made()) {
        let mut agent = Agent::new(Dialect::V1_37);
        let (mut writer, mut frame) = (Writer::new("rs.d", "m", "j", false), Frame::default());
        frame.chart(&chart, &Arc::new(Instance::new("t", ""))).set(&texts[3], 1.0);
        let output = writer.write(&frame, 1, Instant::now()).to_vec();
        agent.read(&output).map_err(TestCaseError::fail)?;
        let [id, context, family, title, units] = texts;
        if let Some(chart) = agent.charts.get(&format!("t.{id}")) {
            let meant = [&title, &units, &family, &context].map(|text| meant(text, false));
            prop_assert_eq!(&chart.fields[..4], &meant[..]);
            prop_assert_eq!(chart.values.len(), 1);
        }
        prop_assert!(agent.charts.len() <= 1);
    }
}
