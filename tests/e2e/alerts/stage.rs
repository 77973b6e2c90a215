//! Where the conditions of alerts are played: an instance of Netdata with simulated GPUs whose scenario can be
//! changed, and what its log of alerts says.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::alerts::{self, Change};
use harness::instance::Instance;
use harness::place::Place;
use harness::wait_for;

use super::gpus::{Fate, scenario};

/// Longest time from the begin of a condition to its alert, and from its end to the end of the alert: two
/// minutes of looking back, an interval of the chart, and a busy machine.
const AT_MOST: Duration = Duration::from_secs(240);

/// An instance and the scenario of its GPUs.
pub struct Stage {
    /// Netdata.
    pub instance: Instance,
    place: Place,
    scenario: PathBuf,
}

impl Stage {
    /// Starts Netdata with six simulated GPUs, all well, and the user's own `files` below `state/config`.
    pub fn start(place: &Place, name: &str, files: &[(&str, &str)]) -> anyhow::Result<Self> {
        let stage = Self::prepare(place, name, files)?;
        stage.instance.start()?;
        Ok(stage)
    }

    /// The same, not started yet.
    pub fn prepare(place: &Place, name: &str, files: &[(&str, &str)]) -> anyhow::Result<Self> {
        let scenario_file = place.dir.join(format!("{name}.yaml"));
        place.write(&scenario_file, &scenario(Fate::Well))?;
        let library = place.dist.join("simulated/libnvidia-ml.so.1");
        let library = library.to_str().context("a path that is no text")?;
        let bind = format!("{}:/etc/fake-nvml.yaml", scenario_file.display());
        let flags = ["--nvml-library", library, "--bind", &bind];
        let instance = Instance::new(place, name, &flags)?;
        instance.configure(files)?;
        instance.leaves_the_machine_out()?;
        Ok(Self {
            instance,
            place: place.clone(),
            scenario: scenario_file,
        })
    }

    /// Changes how the GPUs fare. In place: what is bound into the container is the file, not its name.
    pub fn gpus(&self, fate: Fate) -> anyhow::Result<()> {
        self.place.write(&self.scenario, &scenario(fate))
    }

    /// Waits until `alert` is raised on a chart whose id begins with `chart`.
    pub fn raised(&self, alert: &str, chart: &str) -> anyhow::Result<()> {
        self.wait(alert, chart, "raised", Change::raises)
    }

    /// Waits until it is taken back.
    pub fn cleared(&self, alert: &str, chart: &str) -> anyhow::Result<()> {
        self.wait(alert, chart, "cleared", Change::clears)
    }

    fn wait(
        &self,
        alert: &str,
        chart: &str,
        how: &str,
        is: impl Fn(&Change) -> bool,
    ) -> anyhow::Result<()> {
        wait_for(&format!("{alert} {how} on {chart}"), AT_MOST, || {
            let log = alerts::log(&self.instance.api())?;
            let mut of_it = log
                .iter()
                .filter(|change| change.alert == alert && change.chart.starts_with(chart));
            let found = of_it.clone().any(&is);
            ensure!(found, "it went to {:?}", of_it.next_back().map(|it| &it.to));
            Ok(())
        })
    }
}
