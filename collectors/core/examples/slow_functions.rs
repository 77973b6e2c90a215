//! A whole plugin on this library: one chart that ticks every second, and three functions of which one takes
//! its time, one is quick and one fails. For tests of what functions do to charts, and to copy from.

use std::sync::Arc;
use std::time::{Duration, Instant};

use netdata_plugin::chart::{Chart, Dim, Instance, Kind};
use netdata_plugin::env::Agent;
use netdata_plugin::frame::Frame;
use netdata_plugin::functions::column::Column;
use netdata_plugin::functions::table::{Row, Severity, View};
use netdata_plugin::functions::{Access, Call, Function, Refusal, Rows};
use netdata_plugin::module::{Collector, Discover, Job, Settings, Tick};
use netdata_plugin::output::Output;
use netdata_plugin::supervisor::{self, OpenModule, Options};

/// How long the slow function takes, unless nobody waits for it any longer.
const SLOW: Duration = Duration::from_secs(20);

static TICKS: Chart = Chart {
    id: "ticks",
    context: "example.ticks",
    family: "example",
    title: "Ticks",
    units: "ticks",
    kind: Kind::Line,
    priority: 1000,
    dims: &[Dim::new("count")],
    dynamic: None,
};

static COLUMNS: [Column; 2] = [
    Column::text("Name", "What it is called").unique(),
    Column::quantity("Size", "How large it is", "MiB"),
];

struct Ticks(Arc<Instance>);

impl Collector for Ticks {
    fn collect(&mut self, tick: Tick, frame: &mut Frame) -> anyhow::Result<()> {
        // Exact for some hundred million years.
        #[allow(clippy::cast_precision_loss)]
        frame.chart(&TICKS, &self.0).set("count", tick.count as f64);
        Ok(())
    }
}

struct One;

impl Discover for One {
    fn discover(&mut self) -> anyhow::Result<Vec<Job>> {
        let start = || {
            let ticks = Ticks(Arc::new(Instance::new("example", "")));
            Ok(Box::new(ticks) as Box<dyn Collector>)
        };
        Ok(vec![Job {
            name: "one".to_owned(),
            update_every: 1,
            settings: Settings::default(),
            start: Box::new(start),
        }])
    }
}

fn row() -> Row {
    Row {
        cells: vec!["a row".into(), Some(1.5).into()],
        severity: Severity::Normal,
    }
}

fn slow(call: &Call) -> Result<Vec<Row>, Refusal> {
    let began = Instant::now();
    while began.elapsed() < SLOW && !call.is_over() {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(vec![row()])
}

fn function(name: &'static str, rows: Rows) -> Function {
    Function {
        name,
        help: "A row, sooner or later.",
        access: Access::ANYBODY,
        timeout: Duration::from_secs(10),
        view: View {
            columns: &COLUMNS,
            sorted_by: "Name",
            charts: &[],
            grouped_by: &[],
            update_every: 1,
        },
        rows,
    }
}

fn main() -> anyhow::Result<()> {
    netdata_plugin::log::init("example", log::LevelFilter::Info, false);
    let options = Options {
        plugin: "example",
        agent: Agent::read(|name| std::env::var(name).ok()),
        output: Output::new(std::io::stdout()),
        input: Some(Box::new(std::io::stdin())),
        functions: vec![
            function("slow", Box::new(slow)),
            function("quick", Box::new(|_| Ok(vec![row()]))),
            function("broken", Box::new(|_| panic!("it fails"))),
        ],
        once: false,
    };
    supervisor::run(options, vec![OpenModule::new("ticks", Box::new(One))])
}
