//! netdata.conf: the launcher's defaults, then the user's own file, then what was asked for on the
//! command line or in the environment. Netdata takes the last value of an option, so each later
//! part wins, option by option, and what nobody mentions stays closed.

use std::path::{Path, PathBuf};

use crate::settings::{DEFAULT_PORT, History, Listen, Settings};

/// What netdata.conf is made from.
#[derive(Debug, Default)]
pub struct Input<'a> {
    /// The user running Netdata: the image's own name for it does not exist here.
    pub user: &'a str,
    /// `state/config/netdata.conf`, if there is one.
    pub own: Option<&'a str>,
    /// Directories of the container that are no disks of the machine.
    pub not_disks: &'a [PathBuf],
    /// What streaming needs: more of `[web]`, or nothing.
    pub streaming: &'a str,
    /// Mount points of the machine as the container sees them: read-only there, charted anyway.
    pub disks: &'a [PathBuf],
}

/// The file, and what it says about the web server.
#[derive(Debug, PartialEq, Eq)]
pub struct NetdataConf {
    /// Its text.
    pub text: String,
    /// Where the dashboard answers. An address that is no IP address counts as all of them.
    pub listen: Listen,
    /// On which port.
    pub port: u16,
    /// Whether the plugin may run.
    pub plugin_enabled: bool,
}

/// Netdata 1.37 logs more than its default allowance (200 lines in 20 minutes) while it starts,
/// and would hide the one error that matters.
const LOG_LINES_ALLOWED: u32 = 2000;

/// Puts the parts together.
pub fn generate(input: &Input<'_>, settings: &Settings) -> NetdataConf {
    let own = input.own.unwrap_or_default();
    let own_endpoint = value(own, "web", "bind to").and_then(first_endpoint);
    let own_port = value(own, "web", "default port").and_then(|port| port.parse().ok());
    let listen = settings
        .listen
        .or(own_endpoint.map(|(listen, _)| listen))
        .unwrap_or(Listen::All);
    let port = settings
        .port
        .or(own_endpoint.and_then(|(_, port)| port))
        .or(own_port)
        .unwrap_or(DEFAULT_PORT);
    let mut text = defaults(input);
    text += &history(settings.history);
    text += input.streaming;
    if !own.is_empty() {
        text += "\n# ---- state/config/netdata.conf\n";
        text += own.trim_end();
        text.push('\n');
    }
    let asked = settings.listen.is_some() || settings.port.is_some();
    if asked || own_endpoint.is_none() {
        text += &format!(
            "\n# ---- settings\n[web]\n    bind to = {}\n",
            bind_to(listen, port, input.streaming.contains(TLS_KEY))
        );
    } else if matches!(listen, Listen::One(address) if !address.is_loopback()) {
        // Status and start ask over loopback.
        let own = value(own, "web", "bind to").unwrap_or_default();
        text +=
            &format!("\n# ---- loopback as well\n[web]\n    bind to = {own} 127.0.0.1:{port}\n");
    }
    if let Some(hostname) = &settings.hostname {
        text += &format!("[global]\n    hostname = {hostname}\n");
    }
    let plugin_enabled = !matches!(
        value(&text, "plugins", "rs.d"),
        Some("no" | "off" | "false")
    );
    NetdataConf {
        text,
        listen,
        port,
        plugin_enabled,
    }
}

fn defaults(input: &Input<'_>) -> String {
    let join = |paths: &[PathBuf]| {
        paths
            .iter()
            .filter(|path| fits(path))
            .map(|p| p.display().to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut text = format!(
        "# Written by launcher at each start: edits here are lost.\n\
         # Put your own options into state/config/netdata.conf, which is read after these.\n\
         [global]\n    run as user = {user}\n    OOM score = keep\n    \
         process scheduling policy = keep\n\
         [logs]\n    error = stderr\n    daemon = stderr\n    collector = stderr\n    \
         health = stderr\n    access = none\n    debug = none\n    \
         errors to trigger flood protection = {LOG_LINES_ALLOWED}\n    \
         logs to trigger flood protection = {LOG_LINES_ALLOWED}\n\
         [web]\n    allow mcp from = localhost\n    allow streaming from = localhost\n    \
         allow badges from = localhost\n    allow netdata.conf from = localhost\n    \
         allow management from = localhost\n\
         [plugin:proc:diskspace]\n    exclude space metrics on paths = /proc/* /sys/* /dev /dev/* \
         /run/user/* /snap/* /var/lib/docker/* /var/lib/containers/storage/* /host/proc/* \
         /host/sys/* /host/root/proc/* /host/root/sys/* /host/root/dev /host/root/dev/* {not_disks}\n",
        user = input.user,
        not_disks = join(input.not_disks),
    );
    for disk in input.disks.iter().filter(|disk| fits(disk)) {
        let disk = disk.display();
        text += &format!(
            "[plugin:proc:diskspace:{disk}]\n    space usage = yes\n    inodes usage = yes\n"
        );
    }
    text
}

/// Per cent of the room for values a second, a minute and an hour.
const TIERS: [u32; 3] = [60, 25, 15];

/// Both ways to say it: agents before 2.0 know a size in MB only, and each passes over what it does not know.
fn history(history: History) -> String {
    let mut text = "[db]\n".to_owned();
    for (tier, share) in TIERS.iter().enumerate() {
        let mib = history.mib * share / 100;
        let older = match tier {
            0 => "dbengine multihost disk space MB".to_owned(),
            _ => format!("dbengine tier {tier} multihost disk space MB"),
        };
        text +=
            &format!("    {older} = {mib}\n    dbengine tier {tier} retention size = {mib}MiB\n");
        if let Some(days) = history.days {
            text += &format!("    dbengine tier {tier} retention time = {days}d\n");
        }
    }
    text
}

/// Others may mount something of theirs under a name of their choice; a line break in it would be
/// an option of their choice.
fn fits(path: &Path) -> bool {
    !path.to_string_lossy().chars().any(char::is_control)
}

/// The option that gives the web server a certificate.
const TLS_KEY: &str = "ssl key";
/// With a certificate Netdata sends every browser to https, unless each endpoint says otherwise; and what an
/// endpoint serves has to be said before that.
const TLS_OPTIONAL: &str =
    "=dashboard|registry|badges|management|streaming|netdata.conf^SSL=optional";

fn bind_to(listen: Listen, port: u16, tls: bool) -> String {
    let tls = if tls { TLS_OPTIONAL } else { "" };
    match listen {
        Listen::All => format!("*:{port}{tls}"),
        Listen::One(ip) => {
            let ip_text = if ip.is_ipv6() {
                format!("[{ip}]")
            } else {
                ip.to_string()
            };
            let and_local = if ip.is_loopback() {
                String::new()
            } else {
                format!(" 127.0.0.1:{port}{tls}")
            };
            format!("{ip_text}:{port}{tls}{and_local}")
        }
    }
}

/// The last value of an option, as Netdata takes it.
fn value<'a>(conf: &'a str, section: &str, option: &str) -> Option<&'a str> {
    let mut current = "";
    let mut found = None;
    for line in conf
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
    {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            current = name.trim();
        } else if let Some((name, value)) = line.split_once('=')
            && current == section
            && name.trim() == option
        {
            found = Some(value.trim());
        }
    }
    found
}

/// `127.0.0.1:19999=dashboard *:8080` gives 127.0.0.1 and 19999.
fn first_endpoint(text: &str) -> Option<(Listen, Option<u16>)> {
    let first = text.split_whitespace().next()?.split('=').next()?;
    let first = first.strip_prefix("tcp:").unwrap_or(first);
    let (host, port) = match first.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, port.parse().ok())
        }
        _ => (first, None),
    };
    Some((host.parse().unwrap_or(Listen::All), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::StartFlags;
    use crate::settings::Layers;

    fn settings(port: Option<&str>, listen: Option<&str>) -> Settings {
        let flags = StartFlags {
            port: port.map(str::to_owned),
            listen: listen.map(str::to_owned),
            hostname: Some("gpu-1".to_owned()),
            ..StartFlags::default()
        };
        Settings::resolve(&flags, &Layers::default()).unwrap()
    }

    fn conf(own: Option<&str>, settings: &Settings) -> NetdataConf {
        generate(
            &Input {
                user: "ann",
                own,
                ..Input::default()
            },
            settings,
        )
    }

    #[test]
    fn by_default_the_dashboard_is_open_and_the_rest_is_closed() {
        let conf = conf(None, &settings(None, None));
        assert_eq!((conf.listen, conf.port), (Listen::All, 19999));
        for feature in ["mcp", "streaming", "badges", "netdata.conf", "management"] {
            let option = format!("allow {feature} from");
            assert_eq!(
                value(&conf.text, "web", &option),
                Some("localhost"),
                "{feature}"
            );
        }
        assert_eq!(value(&conf.text, "web", "bind to"), Some("*:19999"));
        assert_eq!(value(&conf.text, "global", "run as user"), Some("ann"));
        assert_eq!(value(&conf.text, "global", "hostname"), Some("gpu-1"));
    }

    #[test]
    fn the_users_own_file_wins_option_by_option() {
        let own =
            "[web]\n  bind to = 127.0.0.1:8080\n  allow badges from = *\n[plugins]\n rs.d = no";
        let conf = conf(Some(own), &settings(None, None));
        assert!(conf.listen.is_loopback());
        assert_eq!(conf.port, 8080);
        assert_eq!(value(&conf.text, "web", "bind to"), Some("127.0.0.1:8080"));
        assert_eq!(value(&conf.text, "web", "allow badges from"), Some("*"));
        assert_eq!(
            value(&conf.text, "web", "allow mcp from"),
            Some("localhost")
        );
        assert!(!conf.plugin_enabled);
    }

    #[test]
    fn a_port_asked_for_keeps_the_users_closed_address() {
        let own = "[web]\n  bind to = 127.0.0.1:8080\n";
        let conf = conf(Some(own), &settings(Some("9000"), None));
        assert_eq!(value(&conf.text, "web", "bind to"), Some("127.0.0.1:9000"));
    }

    #[test]
    fn a_flag_wins_over_the_users_file() {
        let own = "[web]\n  bind to = *:8080\n";
        let conf = conf(Some(own), &settings(None, Some("127.0.0.1")));
        assert!(conf.listen.is_loopback());
        assert_eq!(value(&conf.text, "web", "bind to"), Some("127.0.0.1:8080"));
    }

    #[test]
    fn one_network_address_answers_on_loopback_too() {
        let listen = |text: &str| bind_to(text.parse().unwrap(), 1, false);
        assert_eq!(listen("192.0.2.7"), "192.0.2.7:1 127.0.0.1:1");
        assert_eq!(listen("::1"), "[::1]:1");
    }

    #[test]
    fn with_a_certificate_browsers_are_not_sent_to_https() {
        let input = Input {
            streaming: "[web]\n    ssl key = /k\n",
            ..Input::default()
        };
        let text = generate(&input, &settings(None, None)).text;
        let endpoint = value(&text, "web", "bind to").unwrap();
        assert!(endpoint.starts_with("*:19999=dashboard|"), "{endpoint}");
        assert!(endpoint.ends_with("^SSL=optional"), "{endpoint}");
    }

    #[test]
    fn endpoints_are_read_as_netdata_writes_them() {
        assert_eq!(
            first_endpoint("[::1]:5"),
            Some(("::1".parse().unwrap(), Some(5)))
        );
        assert_eq!(first_endpoint("::1"), Some(("::1".parse().unwrap(), None)));
        assert_eq!(
            first_endpoint("tcp:localhost:7=dashboard x"),
            Some(("localhost".parse().unwrap(), Some(7)))
        );
        assert_eq!(first_endpoint("unix:/run/x"), Some((Listen::All, None)));
    }

    #[test]
    fn a_mount_with_a_line_break_in_its_name_sets_no_option() {
        let named = [PathBuf::from("/mnt/a\n[web]\nbind to = *:1")];
        let input = Input {
            disks: &named,
            not_disks: &named,
            ..Input::default()
        };
        let text = generate(&input, &settings(None, Some("127.0.0.1"))).text;
        assert!(!text.contains("*:1"), "{text}");
    }

    #[test]
    fn the_room_for_history_is_shared_out_among_its_resolutions() {
        let text = conf(None, &settings(None, None)).text;
        let sizes = ["", "tier 1 ", "tier 2 "].map(|tier| {
            value(
                &text,
                "db",
                &format!("dbengine {tier}multihost disk space MB"),
            )
        });
        assert_eq!(sizes, [Some("1228"), Some("512"), Some("307")]);
        let tier = "dbengine tier 2 retention size";
        assert_eq!(value(&text, "db", tier), Some("307MiB"));
        assert!(!text.contains("retention time"));
        let flags = StartFlags {
            history_days: Some("30".to_owned()),
            ..StartFlags::default()
        };
        let settings = Settings::resolve(&flags, &Layers::default()).unwrap();
        let tier = "dbengine tier 0 retention time";
        assert_eq!(value(&conf(None, &settings).text, "db", tier), Some("30d"));
    }

    #[test]
    fn comments_are_no_options() {
        assert_eq!(value("[web]\n# bind to = *\n", "web", "bind to"), None);
    }
}
