//! Module `prometheus`: custom application metrics, from any endpoint that the configuration names.

mod collector;
mod families;
mod group;
mod naming;
mod place;
mod profiles;
mod store;

use std::time::Duration;

use anyhow::bail;
use netdata_plugin::module::{Collector, Discover, Job};
use serde::Deserialize;

use crate::config::{
    self, Configured, FilePath, JobConfig, Kind, Live, Patterns, Seconds, Selection, Url, Whole,
};
use crate::http::endpoint::Access;
use crate::modules::{Context, Module};
use crate::prometheus::Sample;
use collector::{Limits, PageCollector};
use place::Style;
use store::Wanted;

#[cfg(test)]
pub use profiles::contexts;

/// The module's entry in the registry.
pub const MODULE: Module = Module {
    name: "prometheus",
    open: |context| Box::new(Endpoints::new(context)),
    config: Kind::of::<Options>(),
};

/// `rs.d/prometheus.conf`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The page.
    pub url: Url,
    /// Part of the charts' contexts, instead of a profile's or the job's name.
    #[serde(default)]
    pub app: Option<String>,
    /// Seconds after which an endpoint that has not answered is given up for this time.
    #[serde(default = "three")]
    pub timeout: Seconds,
    /// Seconds over which percentiles are taken.
    #[serde(default = "sixty")]
    pub window: Whole<10, 600>,
    /// Most series that are charted.
    #[serde(default = "two_thousand")]
    pub max_time_series: Whole<1, 50_000>,
    /// Series to chart; without any, all.
    #[serde(default)]
    pub include: Patterns,
    /// Series not to chart.
    #[serde(default)]
    pub exclude: Patterns,
    /// Labels whose values become lines of one chart.
    #[serde(default = "usual_dimensions")]
    pub dimensions: Vec<String>,
    /// Basic authentication: the name.
    #[serde(default)]
    pub username: Option<String>,
    /// Basic authentication: the file with the password.
    #[serde(default)]
    pub password_file: Option<FilePath>,
    /// The file with a bearer token.
    #[serde(default)]
    pub bearer_token_file: Option<FilePath>,
    /// The file with further headers.
    #[serde(default)]
    pub headers_file: Option<FilePath>,
    /// Certificates to trust instead of the system's.
    #[serde(default)]
    pub tls_ca: Option<FilePath>,
    /// Our own certificate.
    #[serde(default)]
    pub tls_cert: Option<FilePath>,
    /// Its key.
    #[serde(default)]
    pub tls_key: Option<FilePath>,
    /// Trust whatever certificate the endpoint shows.
    #[serde(default)]
    pub tls_skip_verify: bool,
}

fn three() -> Seconds {
    Seconds::new(3)
}

fn sixty() -> Whole<10, 600> {
    Whole::new(60)
}

fn two_thousand() -> Whole<1, 50_000> {
    Whole::new(2000)
}

/// Labels that part what is one thing: their values belong side by side.
fn usual_dimensions() -> Vec<String> {
    [
        "code",
        "direction",
        "finished_reason",
        "mode",
        "outcome",
        "reason",
        "result",
        "state",
        "status",
        "status_code",
        "type",
    ]
    .map(str::to_owned)
    .to_vec()
}

impl config::Options for Options {
    const MODULE: &'static str = "prometheus";
    const UPDATE_EVERY: u32 = 5;

    fn check(&self) -> Result<(), (&'static str, String)> {
        self.access().check()
    }
}

impl Options {
    fn access(&self) -> Access {
        let path = |file: &Option<FilePath>| file.as_ref().map(|it| it.as_path().to_owned());
        Access {
            url: self.url.uri().clone(),
            timeout: Duration::from_secs(self.timeout.get().into()),
            username: self.username.clone(),
            password_file: path(&self.password_file),
            bearer_token_file: path(&self.bearer_token_file),
            headers_file: path(&self.headers_file),
            tls_ca: path(&self.tls_ca),
            tls_cert: path(&self.tls_cert),
            tls_key: path(&self.tls_key),
            tls_skip_verify: self.tls_skip_verify,
        }
    }

    fn style(&self, job: &str) -> Style {
        Style {
            job: naming::clean(job),
            app: self.app.as_deref().map(naming::clean),
            dimensions: self.dimensions.clone(),
        }
    }

    /// Patterns are tried on a series' name, on each of its labels as `name="value"`, and on the whole
    /// series as the page has it: once, when it is new.
    fn wanted(&self) -> Wanted {
        let selection = Selection {
            include: self.include.clone(),
            exclude: self.exclude.clone(),
        };
        Box::new(move |sample: &Sample<'_>| {
            let labels: Vec<String> = sample
                .labels()
                .map(|(name, value)| format!("{name}=\"{value}\""))
                .collect();
            let whole = format!("{}{{{}}}", sample.name, sample.raw_labels());
            let mut texts = vec![sample.name, &whole];
            texts.extend(labels.iter().map(String::as_str));
            selection.lets_through(&texts)
        })
    }
}

/// The endpoints that are configured.
struct Endpoints {
    config: Live<Options>,
}

impl Endpoints {
    fn new(context: &Context) -> Self {
        Self {
            config: Live::new(&context.config),
        }
    }
}

impl Discover for Endpoints {
    fn discover(&mut self) -> anyhow::Result<Vec<Job>> {
        let configured = self.config.refresh();
        Ok(configured.map_or_else(Vec::new, jobs))
    }

    fn reconfigured(&mut self) -> bool {
        self.config.take_changed()
    }
}

fn jobs(configured: &Configured<Options>) -> Vec<Job> {
    let listed = configured.jobs.iter().enumerate();
    listed
        .map(|(at, config)| job(config, &configured.jobs[..at]))
        .collect()
}

/// The job of `config`; `before` are those that stand above it.
fn job(config: &JobConfig<Options>, before: &[JobConfig<Options>]) -> Job {
    let options = config.options.clone();
    let style = options.style(&config.name);
    let same = before
        .iter()
        .find(|other| other.options.style(&other.name).job == style.job)
        .map(|other| other.name.clone());
    config.job(&config.name, move || {
        if let Some(same) = same {
            bail!("its charts would have the ids of job {same:?}: give it another name");
        }
        let limits = Limits {
            max_series: options.max_time_series.get() as usize,
            window: Duration::from_secs(options.window.get().into()),
        };
        let collector = PageCollector::new(options.access(), style, options.wanted(), limits)?;
        Ok(Box::new(collector) as Box<dyn Collector>)
    })
}

#[cfg(test)]
mod tests;
