//! The charts of a server, along the path of a request. Each names the metrics it is made of; most are made by
//! the table, the others in [`super::record`].

pub mod cache;
pub mod engine;
pub mod features;
pub mod latency;
pub mod requests;
pub mod state;
pub mod tokens;

use super::table::spec::Spec;

/// Position of the first chart of each file; charts within a file follow each other.
const STATE: u32 = 70_300;
const REQUESTS: u32 = 70_310;
const LATENCY: u32 = 70_330;
const TOKENS: u32 = 70_350;
const CACHE: u32 = 70_360;
const ENGINE: u32 = 70_380;
const FEATURES: u32 = 70_390;

/// All charts that are made by the table.
pub const TABLE: &[&[Spec]] = &[
    requests::TABLE,
    latency::TABLE,
    tokens::TABLE,
    cache::TABLE,
    engine::TABLE,
    features::TABLE,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use netdata_plugin::chart::Chart;

    use super::*;
    use crate::sglang::unlisted;

    fn all() -> Vec<Chart> {
        let mut charts = vec![
            state::SERVER_STATE.clone(),
            state::SERVER_ENDS.clone(),
            state::STARTING.clone(),
            state::LOADING.clone(),
            state::SCRAPE.clone(),
            state::SCRAPE_INTERVAL.clone(),
            state::SCRAPE_SHARE.clone(),
            requests::HTTP_RESPONSES.clone(),
            requests::HTTP_REQUESTS_ACTIVE.clone(),
            requests::HEADROOM.clone(),
            latency::SLO_ATTAINMENT.clone(),
            latency::SLO_BURN_RATE.clone(),
            latency::REQUEST_LENGTH.clone(),
            tokens::PREFIX_CACHE_HIT_RATE.clone(),
            tokens::SECONDS_SINCE_LAST_TOKEN.clone(),
        ];
        let specs = TABLE.iter().copied().flatten();
        charts.extend(specs.map(|spec| spec.chart.clone()));
        for latency in latency::LATENCIES {
            charts.extend([
                latency.percentiles.clone(),
                latency.distribution.clone(),
                latency.observations.clone(),
            ]);
        }
        charts
    }

    #[test]
    fn every_chart_has_an_id_a_context_and_a_place_of_its_own() {
        let charts = all();
        let unique = |part: fn(&Chart) -> String| charts.iter().map(part).collect::<BTreeSet<_>>();
        assert_eq!(unique(|chart| chart.id.to_owned()).len(), charts.len());
        assert_eq!(unique(|chart| chart.title.to_owned()).len(), charts.len());
        let places = unique(|chart| chart.priority.to_string());
        assert_eq!(places.len(), charts.len());
        for chart in &charts {
            assert_eq!(chart.context, format!("sglang.{}", chart.id));
            assert!(chart.priority < unlisted::OTHER_GAUGE.priority);
        }
    }

    #[test]
    fn the_states_are_the_dimensions() {
        let dims = state::SERVER_STATE.dims.iter().map(|dim| dim.id);
        let states = super::super::state::State::ALL.map(super::super::state::State::name);
        assert!(dims.eq(states));
    }

    #[test]
    fn what_it_was_doing_is_the_dimension() {
        let dims = state::SERVER_ENDS.dims.iter().map(|dim| dim.id);
        let doing = super::super::ends::Doing::ALL.map(super::super::ends::Doing::name);
        assert!(dims.eq(doing));
    }
}
