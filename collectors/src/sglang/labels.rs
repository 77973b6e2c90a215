//! The labelled instances that a server's charts are about, made again only when what they say changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use netdata_plugin::chart::Instance;

use super::history::History;
use super::measure::Measure;
use super::slo::{Edges, Slo};
use super::snapshot::Snapshot;
use super::throughput::Source;
use crate::engine::Server;

/// Data-parallel ranks that get charts of their own.
const MAX_RANKS: usize = 64;

/// Kept so that a tick allocates none.
#[derive(Debug, Default)]
pub struct Instances {
    server: Option<(Server, Arc<Instance>)>,
    without_metrics: Option<Arc<Instance>>,
    page: Option<(Said, PageInstances)>,
}

/// What a page adds to the labels.
#[derive(Clone, Debug, PartialEq)]
struct Said {
    engine_type: Option<String>,
    version: Option<&'static str>,
    counters: Option<Source>,
    /// Whether a measure that others would make wrong is of streaming requests only.
    streaming_only: [bool; Measure::ALL.len()],
    slo: Slo,
    edges: Edges,
    dp_ranks: Vec<u32>,
}

/// The instances of a server with metrics.
#[derive(Debug)]
pub struct PageInstances {
    /// Most charts.
    pub plain: Arc<Instance>,
    /// Of token throughput: says which counters are behind it.
    pub tokens: Arc<Instance>,
    /// Of a measure that includes requests which do not stream, and would be better without.
    mixed: Arc<Instance>,
    streaming_only: [bool; Measure::ALL.len()],
    /// Of SLO attainment: says which thresholds are in use.
    pub slo: Arc<Instance>,
    /// Each dp rank if there are several.
    pub ranks: Vec<(u32, Arc<Instance>)>,
    /// Of metrics that no chart knows, by their names.
    unlisted: BTreeMap<String, Arc<Instance>>,
}

impl PageInstances {
    /// Of a measure.
    #[must_use]
    pub fn of(&self, measure: Measure) -> &Arc<Instance> {
        if measure.of_streaming() && !self.streaming_only[measure as usize] {
            &self.mixed
        } else {
            &self.plain
        }
    }

    /// Of a metric that no chart knows.
    pub fn unlisted(&mut self, metric: &str) -> Arc<Instance> {
        if let Some(known) = self.unlisted.get(metric) {
            return Arc::clone(known);
        }
        let mut instance = (*self.plain).clone().label("metric", metric);
        instance.prefix = Instance::new("", &format!("{metric}_")).prefix;
        let instance = Arc::new(instance);
        self.unlisted
            .insert(metric.to_owned(), Arc::clone(&instance));
        instance
    }

    fn new(base: &Instance, said: &Said) -> Self {
        let mut plain = base.clone().label("source", "metrics");
        if let Some(engine_type) = &said.engine_type {
            plain = plain.label("engine_type", engine_type.as_str());
        }
        if let Some(version) = said.version {
            plain = plain.label("version", format!("{version} or newer"));
        }
        let mut ranks = vec![];
        if said.dp_ranks.len() > 1 {
            for rank in said.dp_ranks.iter().take(MAX_RANKS) {
                let mut instance = plain.clone().label("dp_rank", rank.to_string());
                instance.prefix = format!("dp{rank}_");
                ranks.push((*rank, Arc::new(instance)));
            }
            plain = plain.label("dp_rank", "all");
        }
        let tokens = match said.counters {
            Some(counters) => plain.clone().label("counters", counters.name()),
            None => plain.clone(),
        };
        Self {
            tokens: Arc::new(tokens),
            mixed: Arc::new(plain.clone().label("includes_nonstreaming", "yes")),
            streaming_only: said.streaming_only,
            slo: Arc::new(said.slo.describe(plain.clone(), &said.edges)),
            plain: Arc::new(plain),
            ranks,
            unlisted: BTreeMap::new(),
        }
    }
}

impl Instances {
    /// The server's own, which needs no page.
    pub fn of_server(&mut self, server: &Server) -> Arc<Instance> {
        match &self.server {
            Some((known, instance)) if known == server => Arc::clone(instance),
            _ => {
                let instance = Arc::new(base(server));
                self.server = Some((server.clone(), Arc::clone(&instance)));
                (self.page, self.without_metrics) = (None, None);
                instance
            }
        }
    }

    /// The same of a server without metrics: says how it is started with them.
    pub fn without_metrics(&mut self, server: &Server) -> Arc<Instance> {
        let base = self.of_server(server);
        let Some(start) = server.start_with_metrics() else {
            return base;
        };
        let make = || Arc::new((*base).clone().label("start_with_metrics", start));
        Arc::clone(self.without_metrics.get_or_insert_with(make))
    }

    /// The server's own, if one was recorded.
    #[must_use]
    pub fn known_server(&self) -> Option<&Arc<Instance>> {
        self.server.as_ref().map(|(_, instance)| instance)
    }

    /// Those of a page.
    pub fn of_page(
        &mut self,
        base: &Instance,
        page: &Snapshot,
        history: &History,
        slo: Slo,
    ) -> &mut PageInstances {
        let edges = slo.edges(history.latencies());
        let known = self.page.take().filter(|(said, _)| {
            said.engine_type == page.engine_type
                && said.version == page.version
                && said.counters == history.counters()
                && said.streaming_only == streaming_only(page)
                && (said.slo, said.edges) == (slo, edges)
                && said.dp_ranks == page.dp_ranks
        });
        let page = match known {
            Some(known) => known,
            None => {
                let said = Said {
                    engine_type: page.engine_type.clone(),
                    version: page.version,
                    counters: history.counters(),
                    streaming_only: streaming_only(page),
                    slo,
                    edges,
                    dp_ranks: page.dp_ranks.clone(),
                };
                let instances = PageInstances::new(base, &said);
                (said, instances)
            }
        };
        &mut self.page.insert(page).1
    }
}

fn streaming_only(page: &Snapshot) -> [bool; Measure::ALL.len()] {
    Measure::ALL.map(|measure| page.histogram(measure).split)
}

fn base(server: &Server) -> Instance {
    let mut instance = server
        .instance("sglang", "")
        .label("server", server.name())
        .label("engine", server.engine)
        .label("tp", server.tp.to_string())
        .label("dp", server.dp.to_string())
        .label("pp", server.pp.to_string());
    if let Some(model) = &server.model {
        instance = instance.label("model", model.as_str());
    }
    instance
}
