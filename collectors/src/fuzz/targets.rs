//! The targets. Each one checks what must hold of whatever it is given.

use std::cell::LazyCell;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_model::{Agent, Dialect};
use netdata_plugin::chart::{Chart, Dim, Instance, Kind};
use netdata_plugin::frame::Frame;
use netdata_plugin::stdin::Messages;
use netdata_plugin::writer::Writer;

use crate::config::Source;
use crate::engine::{self, Server};
use crate::modules::MODULES;
use crate::prometheus::{Line, Lines, MAX_LABELS, MAX_LINE};
use crate::sglang::replay::Replay;

/// Parts texts in an input: no UTF-8 holds it.
const END: u8 = 0xff;
/// Ticks of one input.
const MAX_TICKS: usize = 8;

/// What an agent knows after the plugin's output; panics if the plugin harmed itself with it.
struct Judge {
    writer: Writer,
    agent: Agent,
    frame: Frame,
    now: Instant,
}

impl Judge {
    fn new(job: &str) -> Self {
        Self {
            writer: Writer::new("rs.d", "fuzz", job, false),
            agent: Agent::new(Dialect::V1_37),
            frame: Frame::default(),
            now: Instant::now(),
        }
    }

    fn tick(&mut self, record: impl FnOnce(&mut Frame, Instant)) {
        self.now += Duration::from_secs(5);
        self.frame.clear();
        record(&mut self.frame, self.now);
        let output = self.writer.write(&self.frame, 5, self.now);
        let judged = self.agent.read(output);
        assert_eq!(judged, Ok(()), "{}", String::from_utf8_lossy(output));
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.agent.read(self.writer.obsolete_all()), Ok(()));
        }
    }
}

/// Texts that name jobs, instances, labels, charts and dimensions.
pub fn writer(input: &[u8]) {
    static NAMED: Chart = Chart {
        id: "named",
        context: "fuzz.named",
        family: "fuzz",
        title: "Named",
        units: "B",
        kind: Kind::Heatmap,
        priority: 1,
        dims: &[Dim::new("other")],
        dynamic: Some(Dim::milli("")),
    };
    let texts: Vec<_> = input
        .split(|byte| *byte == END)
        .map(String::from_utf8_lossy)
        .collect();
    let mut judge = Judge::new(&texts[0]);
    for texts in texts.chunks(8).take(MAX_TICKS) {
        judge.tick(|frame, _| {
            let text = |at: usize| texts.get(at).map_or("", |text| text);
            let instance = Instance::new(text(0), text(1)).suffix(text(2));
            let instance = Arc::new(instance.label("model", text(3)));
            let mut recorder = frame.chart(&NAMED, &instance);
            texts.iter().for_each(|text| {
                recorder.set(text, text.len() as f64);
            });
            let made = Arc::new(Chart {
                id: text(4).to_owned(),
                context: text(5).to_owned(),
                family: text(6).to_owned(),
                title: text(7).to_owned(),
                units: text(3).to_owned(),
                kind: Kind::Line,
                priority: 1,
                dims: &[],
                dynamic: Some(Dim::milli("")),
            });
            frame.chart(&made, &instance).set(text(3), 1.0);
        });
    }
}

/// A page of metrics.
pub fn page(input: &[u8]) {
    let mut lines = Lines::new(input);
    for line in lines.by_ref() {
        let Line::Sample(sample) = line else { continue };
        assert!(!sample.name.is_empty() && sample.name.len() <= MAX_LINE);
        let mut labels = 0;
        for (name, value) in sample.labels() {
            assert!(!name.is_empty() && value.len() <= MAX_LINE);
            labels += 1;
        }
        assert!(labels <= MAX_LABELS, "{labels} labels");
    }
    assert!(lines.skipped() as usize <= input.len());
}

/// Pages that one server sends one after the other; an empty one is none.
pub fn sglang(input: &[u8]) {
    let mut judge = Judge::new("127.0.0.1:30000");
    let mut replay = Replay::of(Server::new("sglang", "127.0.0.1", 30000));
    for page in input.split(|byte| *byte == END).take(MAX_TICKS) {
        let page = (!page.is_empty()).then_some(page);
        judge.tick(|frame, now| replay.tick(page, now, frame));
    }
}

/// The command line of a process, which then serves.
pub fn command_line(input: &[u8]) {
    let Some(identity) = engine::identify(input) else {
        return;
    };
    let _ = format!("{identity:?}");
    if let engine::Identity::Server(server) = identity {
        let mut judge = Judge::new(&server.name());
        let _ = server.address();
        let mut replay = Replay::of(*server);
        let page = b"sglang:num_running_reqs{engine_type=\"unified\"} 1.0\n";
        judge.tick(|frame, now| replay.tick(Some(page), now, frame));
    }
}

/// What the agent writes to our standard input.
pub fn calls(input: &[u8]) {
    let messages = Messages::new(input).count();
    assert!(messages <= input.len(), "{messages} messages");
}

/// A configuration file, as each of ours.
pub fn config(input: &[u8]) {
    const MODULES_DIR: &str = "rs.d";
    thread_local! {
        static DIR: LazyCell<tempfile::TempDir> = LazyCell::new(|| {
            let dir = tempfile::tempdir().expect("a temporary directory");
            fs::create_dir(dir.path().join(MODULES_DIR)).expect("a directory can be made there");
            dir
        });
    }
    let names: Vec<_> = MODULES.iter().map(|module| module.name).collect();
    DIR.with(|dir| {
        let source = Source {
            user: Some(dir.path().to_owned()),
            stock: None,
            update_every: 1,
        };
        let file = |name: &str| dir.path().join(name);
        fs::write(file("rs.d.conf"), input).expect("a file can be written there");
        let mut problems = source.plugin(&names).1;
        for module in MODULES {
            let file = file(&format!("{MODULES_DIR}/{}.conf", module.name));
            fs::write(file, input).expect("a file can be written there");
            problems.extend((module.config.check)(&source));
        }
        for problem in problems {
            let line = problem.to_string();
            assert!(!line.contains('\n'), "{line}");
        }
    });
}
