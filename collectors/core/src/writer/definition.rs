//! Definitions: the lines that say what a chart and its host are.

use crate::chart::{Kind, LabelSource};
use crate::module::{Host, Settings};

use super::defined::Defined;
use super::dims::Store;
use super::put;
use super::words::{quoted, quoted_label};

/// Writes definitions.
pub(super) struct Definition<'a> {
    pub(super) plugin: &'static str,
    pub(super) module: &'a str,
    pub(super) heatmaps: bool,
    pub(super) settings: &'a Settings,
}

impl Definition<'_> {
    /// Chart, labels, variables and dimensions.
    pub(super) fn whole(&self, out: &mut Vec<u8>, store: &Store, defined: &Defined, job: &str) {
        self.chart(out, store, defined, "");
        for label in &defined.instance.labels {
            put(out, format_args!("CLABEL "));
            quoted_label(out, &label.key);
            out.push(b' ');
            quoted_label(out, &label.value);
            put(out, format_args!(" {}\n", label.source as u8));
        }
        for (key, value) in &self.settings.labels {
            put(out, format_args!("CLABEL "));
            quoted_label(out, key);
            out.push(b' ');
            quoted_label(out, value);
            put(out, format_args!(" {}\n", LabelSource::Config as u8));
        }
        put(out, format_args!("CLABEL _collect_job "));
        quoted_label(out, job);
        put(out, format_args!(" 1\nCLABEL_COMMIT\n"));
        for (name, value) in &defined.instance.variables {
            put(out, format_args!("VARIABLE CHART {name} = {value}\n"));
        }
        let chart = &defined.chart;
        defined.dims.define(store, out, chart, "", |_| true);
    }

    /// The chart's own line.
    pub(super) fn chart(&self, out: &mut Vec<u8>, store: &Store, defined: &Defined, options: &str) {
        let (id, chart) = (defined.id(store), defined.chart.view());
        put(out, format_args!("CHART {id} ''"));
        for field in [chart.title, chart.units, chart.family, chart.context] {
            out.push(b' ');
            quoted(out, field);
        }
        let kind = match chart.kind {
            Kind::Line => "line",
            Kind::Area => "area",
            Kind::Heatmap if self.heatmaps => "heatmap",
            Kind::Stacked | Kind::Heatmap => "stacked",
        };
        let priority = i64::from(chart.priority) + self.settings.priority_shift;
        let (priority, every) = (priority.max(1), defined.update_every);
        put(
            out,
            format_args!(" {kind} {priority} {every} '{options}' '{}' ", self.plugin),
        );
        quoted(out, self.module);
        out.push(b'\n');
    }
}

/// Introduces the virtual node `host` to the agent.
pub(super) fn host(out: &mut Vec<u8>, host: &Host) {
    put(out, format_args!("HOST_DEFINE {} ", host.guid));
    quoted(out, &host.hostname);
    out.push(b'\n');
    for (key, value) in &host.labels {
        put(out, format_args!("HOST_LABEL "));
        quoted_label(out, key);
        out.push(b' ');
        quoted_label(out, value);
        out.push(b'\n');
    }
    put(out, format_args!("HOST_DEFINE_END\n"));
}
