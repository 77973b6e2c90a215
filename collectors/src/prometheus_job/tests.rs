//! The module from its file to its jobs.

use super::*;
use crate::config::Source;
use crate::prometheus::{Line, Lines};

/// The jobs' configuration in `text`, and its mistakes.
fn read(text: &str) -> (Vec<JobConfig<Options>>, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("rs.d")).unwrap();
    std::fs::write(dir.path().join("rs.d/prometheus.conf"), text).unwrap();
    let source = Source {
        user: Some(dir.path().to_owned()),
        stock: None,
        update_every: 1,
    };
    let (configured, problems) = source.module::<Options>();
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let jobs = configured.map_or_else(Vec::new, |it| it.jobs);
    (jobs, problems.join("\n"))
}

fn one(options: &str) -> (Option<Options>, String) {
    let options = options.replace('\n', "\n    ");
    let text = format!("jobs:\n  - name: a\n    url: http://127.0.0.1:1/metrics\n    {options}\n");
    let (jobs, problems) = read(&text);
    (jobs.first().map(|job| job.options.clone()), problems)
}

#[test]
fn a_url_is_all_that_a_job_needs() {
    let (options, problems) = one("");
    assert_eq!(problems, "");
    let options = options.unwrap();
    assert_eq!(options.max_time_series.get(), 2000);
    assert!(options.dimensions.contains(&"code".to_owned()));
    let (jobs, problems) = read("jobs:\n  - name: a\n");
    assert!(jobs.is_empty() && problems.contains("url"), "{problems}");
}

#[test]
fn options_that_need_or_exclude_each_other_are_told() {
    for (options, key) in [
        ("username: me", "username: needs password_file"),
        ("password_file: /p", "password_file: needs username"),
        (
            "username: me\npassword_file: /p\nbearer_token_file: /t",
            "bearer_token_file: cannot stand beside username",
        ),
        ("tls_ca: /ca.pem", "tls_ca: needs a url with https://"),
        ("tls_skip_verify: yes", "tls_skip_verify: needs a url"),
        ("tls_cert: /c.pem", "tls_cert: needs tls_key"),
    ] {
        let (read, problems) = one(options);
        assert!(read.is_none(), "{options}");
        assert!(problems.contains(key), "{problems}");
    }
}

#[test]
fn credentials_in_a_url_are_refused_and_not_repeated() {
    let (jobs, problems) = read("jobs:\n  - name: a\n    url: http://me:hunter2@h/metrics\n");
    assert!(jobs.is_empty());
    assert!(!problems.contains("hunter2"), "{problems}");
}

#[test]
fn series_are_selected_by_name_label_and_whole() {
    let (options, _) =
        one("include: ['http_.*', up]\nexclude: ['code=\"4..\"', 'http_x\\{.*a.*\\}']");
    let wanted = options.unwrap().wanted();
    let page =
        b"http_a{code=\"200\"} 1\nhttp_a{code=\"404\"} 1\nup 1\nupper 1\nhttp_x{q=\"a\"} 1\n";
    let kept: Vec<_> = Lines::new(page)
        .filter_map(|line| match line {
            Line::Sample(sample) => Some(wanted(&sample)),
            _ => None,
        })
        .collect();
    assert_eq!(kept, [true, false, true, false, false]);
}

#[test]
fn two_names_that_would_share_chart_ids_do_not() {
    let page = "http://127.0.0.1:1/metrics";
    let (jobs, problems) = read(&format!(
        "jobs:\n  - {{name: a.b, url: '{page}'}}\n  - {{name: a_b, url: '{page}'}}\n"
    ));
    assert_eq!((jobs.len(), problems.as_str()), (2, ""));
    assert!((job(&jobs[0], &[]).start)().is_ok());
    let error = (job(&jobs[1], &jobs[..1]).start)().err().unwrap();
    assert!(error.to_string().contains("a.b"), "{error}");
}

#[test]
fn a_job_is_named_in_ids_and_an_app_in_contexts() {
    let (options, _) = one("app: my shop");
    let style = options.unwrap().style("a.b");
    assert_eq!(style.chart_type(), "prometheus_a_b");
    assert_eq!(style.app.as_deref(), Some("my_shop"));
}
