//! What the plugin charts, in a few words: the GPUs by product, the servers by model.

use std::collections::BTreeMap;

use crate::api::{Chart, PLUGIN};

/// More than these are counted, not listed.
const LISTED: usize = 4;
/// A name longer than this is cut: it is somebody's path or prompt.
const NAME: usize = 60;

/// What is charted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Charted {
    /// How many GPUs of each product.
    pub gpus: BTreeMap<String, usize>,
    /// Each inference server.
    pub servers: Vec<String>,
    /// All charts of the plugin.
    pub charts: usize,
}

impl Charted {
    /// From Netdata's list.
    pub fn of(charts: &[Chart]) -> Self {
        let mut charted = Self::default();
        for chart in charts.iter().filter(|chart| chart.plugin == PLUGIN) {
            charted.charts += 1;
            let label = |name: &str| chart.labels.get(name).map(|value| plain(value));
            match chart.context.as_str() {
                "nvidia_smi.gpu_utilization" => {
                    let product = label("product_name").unwrap_or_else(|| "NVIDIA GPU".to_owned());
                    *charted.gpus.entry(product).or_default() += 1;
                }
                "sglang.server_state" => {
                    let server = label("server")
                        .unwrap_or_else(|| plain(chart.id.split('.').next().unwrap_or(&chart.id)));
                    charted.servers.push(match label("model") {
                        Some(model) => format!("{model} ({server})"),
                        None => server,
                    });
                }
                _ => {}
            }
        }
        charted.servers.sort();
        charted
    }

    /// One line a kind.
    pub fn lines(&self) -> Vec<String> {
        let gpus = self
            .gpus
            .iter()
            .map(|(product, count)| format!("{count} x {product}"));
        let gpus = listed(&gpus.collect::<Vec<_>>());
        vec![
            if self.gpus.is_empty() {
                "no NVIDIA GPU".to_owned()
            } else {
                format!("GPUs: {gpus}")
            },
            if self.servers.is_empty() {
                "no SGLang server (one that starts is found by itself)".to_owned()
            } else {
                format!("SGLang servers: {}", listed(&self.servers))
            },
        ]
    }

    /// Whether there is anything to wait for no longer.
    pub fn complete(&self, gpus_expected: bool, servers_expected: bool) -> bool {
        (!gpus_expected || !self.gpus.is_empty()) && (!servers_expected || !self.servers.is_empty())
    }
}

fn listed(items: &[String]) -> String {
    let mut text = items
        .iter()
        .take(LISTED)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if items.len() > LISTED {
        text += &format!(" and {} more", items.len() - LISTED);
    }
    text
}

/// Model names and the like come from outside: no control characters reach the terminal.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(NAME)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(context: &str, labels: &[(&str, &str)]) -> Chart {
        Chart {
            id: "sglang_30000.server_state".to_owned(),
            context: context.to_owned(),
            plugin: PLUGIN.to_owned(),
            labels: labels
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            ..Chart::default()
        }
    }

    #[test]
    fn gpus_are_counted_by_product_and_servers_named_by_model() {
        let gpu = || {
            chart(
                "nvidia_smi.gpu_utilization",
                &[("product_name", "NVIDIA H200 NVL")],
            )
        };
        let server = chart(
            "sglang.server_state",
            &[("model", "qwen"), ("server", "127.0.0.1:30000")],
        );
        let charted = Charted::of(&[gpu(), gpu(), server]);
        assert_eq!(
            charted.lines(),
            [
                "GPUs: 2 x NVIDIA H200 NVL",
                "SGLang servers: qwen (127.0.0.1:30000)"
            ]
        );
        assert!(charted.complete(true, true));
    }

    #[test]
    fn a_server_without_labels_has_the_name_of_its_charts() {
        assert_eq!(
            Charted::of(&[chart("sglang.server_state", &[])]).servers,
            ["sglang_30000"]
        );
    }

    #[test]
    fn an_escape_sequence_in_a_model_name_does_not_reach_the_terminal() {
        let server = chart("sglang.server_state", &[("server", "a\u{1b}[2Jb")]);
        assert_eq!(Charted::of(&[server]).servers, ["a[2Jb"]);
    }

    #[test]
    fn charts_of_other_plugins_do_not_count() {
        let other = Chart {
            plugin: "go.d".to_owned(),
            ..chart("nvidia_smi.gpu_utilization", &[])
        };
        assert_eq!(Charted::of(&[other]), Charted::default());
    }

    #[test]
    fn nothing_yet_is_complete_only_where_nothing_is_expected() {
        assert!(Charted::default().complete(false, false));
        assert!(!Charted::default().complete(true, false));
    }
}
