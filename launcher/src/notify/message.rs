//! An alert in words. What it holds comes from charts and so from names of somebody else's making.

use std::env;

/// Longer texts are cut: a channel refuses them as a whole.
const LONGEST: usize = 500;

/// How urgent it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// It is over.
    Clear,
    /// Look at it.
    Warning,
    /// Look at it now.
    Critical,
}

impl Level {
    /// As Netdata calls it. None of its other states is told.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "CLEAR" => Some(Self::Clear),
            "WARNING" => Some(Self::Warning),
            "CRITICAL" => Some(Self::Critical),
            _ => None,
        }
    }

    /// The same, back.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clear => "CLEAR",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
        }
    }
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is about, the same for every message about it: node, chart and alert.
    pub key: String,
    /// How urgent.
    pub level: Level,
    /// One line.
    pub title: String,
    /// More.
    pub body: String,
}

impl Message {
    /// From what the script hands over. None for what is not told.
    pub fn from_environment() -> Option<Self> {
        let value = |name: &str| plain(&env::var(format!("ALERT_{name}")).unwrap_or_default());
        let level = Level::parse(&value("STATUS"))?;
        let (host, chart, name) = (value("HOST"), value("CHART"), value("NAME"));
        Some(Self::new(
            level,
            &host,
            &chart,
            &name,
            &value("VALUE"),
            &value("INFO"),
            &value("RAISED_FOR"),
        ))
    }

    fn new(
        level: Level,
        host: &str,
        chart: &str,
        name: &str,
        reading: &str,
        info: &str,
        raised_for: &str,
    ) -> Self {
        let lines = [info, &format!("{chart}: {reading}"), raised_for];
        let lines: Vec<&str> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        Self {
            key: format!("{host} {chart} {name}"),
            level,
            title: format!("{}: {name} on {host}", level.name()),
            body: lines.join("\n"),
        }
    }

    /// One that says that it is none.
    pub fn test(host: &str) -> Self {
        Self {
            key: String::new(),
            level: Level::Warning,
            title: format!("Test of alerts on {}", plain(host)),
            body: "Sent by `launcher notify test`: nothing is wrong.".to_owned(),
        }
    }
}

/// No control characters, and not too long.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(LONGEST)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_names_node_chart_value_and_what_it_means() {
        let message = Message::new(
            Level::Critical,
            "gpu-1",
            "nvidia.x",
            "xid",
            "79",
            "fell off the bus",
            "",
        );
        assert_eq!(message.title, "CRITICAL: xid on gpu-1");
        assert_eq!(message.body, "fell off the bus\nnvidia.x: 79");
    }

    #[test]
    fn a_name_of_somebody_elses_adds_no_line() {
        assert_eq!(plain("a\r\nBcc: x"), "aBcc: x");
        assert_eq!(plain(&"x".repeat(9000)).len(), LONGEST);
    }
}
