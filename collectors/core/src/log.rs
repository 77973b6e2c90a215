//! The log: logfmt on stderr as go.d writes it, or short lines on a terminal. A thread says once which
//! module and job it works for.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::SystemTime;

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Longest message written; the rest is cut. Messages may quote what servers answered.
const MAX_MESSAGE_BYTES: usize = 2000;

thread_local! {
    static SCOPE: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

/// Says which module and job this thread's messages are about from now on.
pub fn set_scope(module: &str, job: &str) {
    SCOPE.with_borrow_mut(|scope| *scope = Some((module.to_owned(), job.to_owned())));
}

/// Says that this thread's messages are about the plugin as a whole.
pub fn clear_scope() {
    SCOPE.with_borrow_mut(|scope| *scope = None);
}

/// Starts logging to stderr at `level`, in logfmt unless a person reads it.
pub fn init(plugin: &'static str, level: LevelFilter, for_a_person: bool) {
    let logger = Box::leak(Box::new(Logger {
        plugin,
        for_a_person,
    }));
    // A second call (in tests) keeps the first logger.
    if log::set_logger(logger).is_ok() {
        log::set_max_level(level);
    }
    std::panic::set_hook(Box::new(|panic| {
        let location = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or("no message");
        log::error!("this is a bug in rs.d, please report it: panic at {location}: {what}");
    }));
}

/// Netdata's name of a level (`NETDATA_LOG_LEVEL`); unknown names mean info.
#[must_use]
pub fn level_from_netdata(name: Option<&str>) -> LevelFilter {
    match name.map(str::to_ascii_lowercase).as_deref() {
        Some("emergency" | "alert" | "critical" | "crit" | "error") => LevelFilter::Error,
        Some("warning" | "warn" | "notice") => LevelFilter::Warn,
        Some("debug") => LevelFilter::Debug,
        _ => LevelFilter::Info,
    }
}

struct Logger {
    plugin: &'static str,
    for_a_person: bool,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries' own chatter is of use to us only when it warns.
        metadata.level() <= Level::Warn
            || metadata.target().starts_with("rs_d_plugin")
            || metadata.target().starts_with("netdata_plugin")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let message = record.args().to_string();
        let line = SCOPE.with_borrow(|scope| {
            let scope = scope
                .as_ref()
                .map(|(module, job)| (module.as_str(), job.as_str()));
            if self.for_a_person {
                readable(record.level(), &message, scope)
            } else {
                logfmt(
                    SystemTime::now(),
                    record.level(),
                    &message,
                    self.plugin,
                    scope,
                )
            }
        });
        // Nobody is left to tell if stderr is gone.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

fn readable(level: Level, message: &str, scope: Option<(&str, &str)>) -> String {
    let mut line = format!("{:5} ", level.as_str().to_ascii_lowercase());
    if let Some((module, job)) = scope {
        let _ = write!(line, "{module}[{}] ", escape(job));
    }
    let _ = writeln!(line, "{}", escape(message));
    line
}

fn logfmt(
    time: SystemTime,
    level: Level,
    message: &str,
    plugin: &str,
    scope: Option<(&str, &str)>,
) -> String {
    let mut line = format!(
        "time={} level={} msg=\"{}\" plugin={plugin}",
        humantime::format_rfc3339_millis(time),
        match level {
            Level::Warn => "warning",
            Level::Trace | Level::Debug => "debug",
            Level::Error => "error",
            Level::Info => "info",
        },
        escape(message),
    );
    if let Some((module, job)) = scope {
        let _ = write!(line, " collector={module} job=\"{}\"", escape(job));
    }
    line.push('\n');
    line
}

/// One line, quotes and backslashes escaped, control characters spelled out, length bounded.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_MESSAGE_BYTES));
    for c in text.chars() {
        if out.len() >= MAX_MESSAGE_BYTES {
            out.push('…');
            break;
        }
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_message_stays_on_its_line_whatever_it_quotes() {
        let line = logfmt(
            UNIX_EPOCH,
            Level::Warn,
            "a \"model\"\nDISABLE \u{1b}[31m",
            "rs.d",
            Some(("sglang", "127.0.0.1:30000")),
        );
        assert_eq!(
            line,
            "time=1970-01-01T00:00:00.000Z level=warning \
             msg=\"a \\\"model\\\"\\nDISABLE \\u{1b}[31m\" plugin=rs.d collector=sglang \
             job=\"127.0.0.1:30000\"\n"
        );
    }

    #[test]
    fn a_long_message_is_cut() {
        assert!(escape(&"x".repeat(1_000_000)).len() < MAX_MESSAGE_BYTES + 10);
    }

    #[test]
    fn netdata_names_of_levels_are_understood() {
        assert_eq!(level_from_netdata(Some("notice")), LevelFilter::Warn);
        assert_eq!(level_from_netdata(Some("DEBUG")), LevelFilter::Debug);
        assert_eq!(level_from_netdata(None), LevelFilter::Info);
    }
}
