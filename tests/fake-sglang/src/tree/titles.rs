//! Command lines and names as real servers show them in /proc.

use std::ffi::CString;

/// Bytes of a retitled process's command line: what Python's `spawn_main` needed, whose place the
/// title takes (136 to 140 in the captures).
pub const RETITLED_BYTES: usize = 140;
/// Title of the schedulers' parent when there are several replicas.
pub const CONTROLLER: &str = "sglang::data_parallel_controller";
/// Title of the detokenizer.
pub const DETOKENIZER: &str = "sglang::detokenizer";

/// The main process's arguments.
pub fn server_argv(
    model: &str,
    host: &str,
    port: u16,
    tp: u16,
    dp: u16,
    metrics: bool,
) -> Vec<String> {
    let port = port.to_string();
    let (tp, dp) = (tp.to_string(), dp.to_string());
    let mut argv = vec![
        "python3",
        "-m",
        "sglang.launch_server",
        "--model-path",
        model,
    ];
    argv.extend(["--host", host, "--port", &port, "--tp", &tp]);
    if dp != "1" {
        argv.extend(["--dp", &dp]);
    }
    if metrics {
        argv.push("--enable-metrics");
    }
    argv.into_iter().map(ToOwned::to_owned).collect()
}

/// The resource tracker's arguments.
pub fn tracker_argv() -> Vec<String> {
    let code = "from multiprocessing.resource_tracker import main;main(6)";
    ["python3", "-c", code].map(ToOwned::to_owned).to_vec()
}

/// A retitled process's arguments: the title, then empty ones, which /proc shows as the NULs that
/// remain of the longer command line it had.
pub fn retitled_argv(title: &str, bytes: usize) -> Vec<String> {
    let mut argv = vec![title.to_owned()];
    argv.resize(bytes.saturating_sub(title.len()).max(1), String::new());
    argv
}

/// Titles of the schedulers, one a rank.
pub fn scheduler_titles(tp: u16, dp: u16) -> Vec<String> {
    let ranks = |letters: &str, size: u16| -> Vec<String> {
        match size {
            0 | 1 => vec![String::new()],
            _ => (0..size).map(|rank| format!("_{letters}{rank}")).collect(),
        }
    };
    let (tps, dps) = (ranks("TP", tp), ranks("DP", dp));
    let of = |dp: &String| {
        tps.iter()
            .map(|tp| format!("sglang::scheduler{dp}{tp}"))
            .collect()
    };
    dps.iter()
        .flat_map(|dp| -> Vec<String> { of(dp) })
        .collect()
}

/// The name the kernel shows; it cuts after 15 bytes. For a script such as `sglang`, started
/// through its `#!` line, the kernel takes the script's name and not Python's.
pub fn comm(argv: &[String]) -> CString {
    let base = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let first = argv.first().map(String::as_str).unwrap_or_default();
    let script = argv
        .get(1)
        .map(|path| base(path))
        .filter(|name| name == "sglang");
    let name = script.unwrap_or_else(|| base(first));
    CString::new(name).unwrap_or_default()
}

/// Splits `--cmdline` into arguments at white space outside single or double quotes.
///
/// # Errors
/// If a quote is not closed or nothing remains.
pub fn words(line: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match (quote, words.is_empty()) {
        (Some(open), _) => Err(format!("--cmdline: {open} is not closed")),
        (None, true) => Err("--cmdline: give at least one word".to_owned()),
        (None, false) => Ok(words),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn captured(path: &str) -> Vec<u8> {
        let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/sglang/");
        fs::read(format!("{fixtures}{path}_cmdline.bin")).unwrap()
    }

    /// As the kernel shows arguments.
    fn shown(argv: &[String]) -> Vec<u8> {
        argv.iter()
            .flat_map(|arg| [arg.as_bytes(), b"\0"].concat())
            .collect()
    }

    #[test]
    fn a_retitled_command_line_is_padded_as_the_captured_ones_are() {
        for (path, title) in [
            ("0.4.6.post5/proc_3522", "sglang::scheduler"),
            ("0.5.12/proc_1731", DETOKENIZER),
            ("0.5.23/proc_25437", "sglang::scheduler"),
            ("0.5.23-dp2-auth/proc_32304", CONTROLLER),
            ("0.5.23-dp2-auth/proc_32654", "sglang::scheduler_DP1"),
        ] {
            let captured = captured(path);
            assert_eq!(
                shown(&retitled_argv(title, captured.len())),
                captured,
                "{path}"
            );
        }
    }

    #[test]
    fn schedulers_are_named_by_the_ranks_that_differ() {
        assert_eq!(scheduler_titles(1, 1), ["sglang::scheduler"]);
        assert_eq!(
            scheduler_titles(2, 1),
            ["sglang::scheduler_TP0", "sglang::scheduler_TP1"]
        );
        assert_eq!(
            scheduler_titles(1, 2),
            ["sglang::scheduler_DP0", "sglang::scheduler_DP1"]
        );
        assert_eq!(scheduler_titles(2, 2)[3], "sglang::scheduler_DP1_TP1");
    }

    #[test]
    fn a_server_says_enable_metrics_only_when_it_has_them() {
        let with = server_argv("m", "127.0.0.1", 30000, 4, 1, true).join(" ");
        let line =
            "python3 -m sglang.launch_server --model-path m --host 127.0.0.1 --port 30000 --tp 4";
        assert_eq!(with, format!("{line} --enable-metrics"));
        assert_eq!(
            server_argv("m", "127.0.0.1", 30000, 4, 1, false).join(" "),
            line
        );
    }

    #[test]
    fn the_name_is_that_of_the_program_or_of_the_sglang_script() {
        let name = |line| comm(&words(line).unwrap()).into_string().unwrap();
        assert_eq!(name("/usr/bin/python3 -m sglang.launch_server"), "python3");
        assert_eq!(name("/opt/bin/python /opt/bin/sglang serve m"), "sglang");
        assert_eq!(name("sglang::detokenizer ''"), "sglang::detokenizer");
    }

    #[test]
    fn quoted_words_stay_together() {
        assert_eq!(words("a 'b c'  \"d\"e ''").unwrap(), ["a", "b c", "de", ""]);
        assert!(words("a 'b").is_err());
        assert!(words("  ").is_err());
    }
}
