use super::*;
use crate::fixtures;

fn read(page: impl AsRef<[u8]>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    read_into(&mut Reader::default(), page.as_ref(), &mut snapshot);
    snapshot
}

fn read_into(reader: &mut Reader, page: &[u8], snapshot: &mut Snapshot) {
    let (mut readings, mut unlisted) = (Readings::default(), Unlisted::default());
    reader.read(page, snapshot, &mut readings, &mut unlisted);
}

/// What a plain reading of the page gives: the sum of every sample whose line holds all `parts`.
fn sum(page: &[u8], parts: &[&str]) -> Option<f64> {
    let text = std::str::from_utf8(page).unwrap();
    text.lines()
        .filter(|line| parts.iter().all(|part| line.contains(part)))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .reduce(|a, b| a + b)
}

#[test]
fn every_capture_is_read_whole() {
    for (name, page) in fixtures::pages() {
        let snapshot = read(&page);
        assert!(snapshot.series > 0, "{name}");
        assert_eq!(snapshot.skipped_lines, 0, "{name}");
        assert_eq!(snapshot.engine_type.as_deref(), Some("unified"), "{name}");
    }
}

#[test]
fn values_under_load_are_those_of_the_page() {
    for version in fixtures::VERSIONS {
        let page = fixtures::page(version, "load_t10");
        let snapshot = read(&page);
        let total = |counter: Option<Counter>| counter.map(|counter| counter.total);
        let expected = |name: &str| sum(&page, &[&format!("\nsglang:{name}{{")[1..]]);
        assert_eq!(snapshot.running, expected("num_running_reqs"), "{version}");
        assert_eq!(
            snapshot.used_tokens,
            expected("num_used_tokens"),
            "{version}"
        );
        assert_eq!(
            snapshot.capacity_tokens,
            expected("max_total_num_tokens"),
            "{version}"
        );
        assert_eq!(
            total(snapshot.generation_tokens),
            expected("generation_tokens_total"),
            "{version}"
        );
        assert_eq!(
            total(snapshot.realtime.decode),
            sum(&page, &["sglang:realtime_tokens_total{", "mode=\"decode\""]),
            "{version}"
        );
        assert_eq!(
            total(snapshot.histogram(Measure::E2eLatency).all.count),
            expected("e2e_request_latency_seconds_count"),
            "{version}"
        );
    }
}

#[test]
fn streaming_requests_are_told_apart_where_the_server_does() {
    for version in fixtures::VERSIONS {
        let page = fixtures::page(version, "load_t10");
        let snapshot = read(&page);
        let histogram = snapshot.histogram(Measure::TimeToFirstToken);
        let name = "sglang:time_to_first_token_seconds_count{";
        let streaming = sum(&page, &[name, "is_streaming=\"true\""]);
        assert_eq!(histogram.split, version.starts_with("0.5.23"), "{version}");
        let expected = streaming.or_else(|| sum(&page, &[name]));
        let count = snapshot.buckets(Measure::TimeToFirstToken).count;
        assert_eq!(count.map(|count| count.total), expected, "{version}");
    }
}

#[test]
fn what_a_page_lacks_is_unknown() {
    let page = read("sglang:num_running_reqs{engine_type=\"unified\"} 3.0\n");
    assert_eq!((page.running, page.queued), (Some(3.0), None));
    assert_eq!(page.realtime, Default::default());
    assert!(page.histogram(Measure::E2eLatency).all.is_empty());
    assert!(!page.counts_http);
}

#[test]
fn garbage_between_samples_costs_only_itself() {
    let page = b"\xff\xfe\nsglang:num_running_reqs 3.0\n{]\nsglang:num_queue_reqs{a=\"} 1\n\
        sglang:token_usage NaN\nsglang:num_used_tokens 7\nsglang:num_paused_reqs 12";
    let page = read(page);
    assert_eq!((page.running, page.used_tokens), (Some(3.0), Some(7.0)));
    assert_eq!((page.queued, page.highest_usage), (None, None));
    assert_eq!(page.paused, None, "a line without its end");
    assert_eq!(page.skipped_lines, 4);
}

#[test]
fn a_page_of_something_else_has_no_series_of_ours() {
    assert_eq!(read("vllm:num_requests_running 3\nup 1\n").series, 0);
    assert_eq!(read("<html>not found</html>\n").series, 0);
    assert_eq!(read("").series, 0);
}

#[test]
fn pages_that_a_router_passes_on_add_up_over_its_servers() {
    let page = read(
        "sglang_num_running_reqs{dp_rank=\"0\",worker_addr=\"http://127.0.0.1:1\"} 3\n\
         sglang_num_running_reqs{dp_rank=\"0\",worker_addr=\"http://127.0.0.1:2\"} 4\n\
         sglangs_num_queue_reqs 9\nsglang.num_queue_reqs 9\n",
    );
    assert_eq!((page.running, page.queued), (Some(7.0), None));
}

#[test]
fn only_inference_counts_as_waiting_for_the_engine() {
    let page = read(
        "sglang:http_requests_active{endpoint=\"/metrics\",method=\"GET\"} 1\n\
         sglang:http_requests_active{endpoint=\"/v1/completions\",method=\"POST\"} 4\n\
         sglang:http_requests_active{endpoint=\"/update_weights_from_disk\",method=\"POST\"} 2\n",
    );
    assert_eq!(
        (page.http_inference, page.http_control),
        (Some(4.0), Some(2.0))
    );
}

#[test]
fn a_second_page_leaves_nothing_of_the_first() {
    let (mut reader, mut snapshot) = (Reader::default(), Snapshot::default());
    read_into(
        &mut reader,
        &fixtures::page("0.5.23", "load_t10"),
        &mut snapshot,
    );
    read_into(&mut reader, b"sglang:num_queue_reqs 2\n", &mut snapshot);
    assert_eq!((snapshot.running, snapshot.queued), (None, Some(2.0)));
    assert!(snapshot.histogram(Measure::TimeToFirstToken).all.is_empty());
    assert_eq!(snapshot.generation_tokens, None);
}

/// `page` with other values, and one metric that nobody knows.
fn changed(page: &[u8], by: usize) -> Vec<u8> {
    let text = std::str::from_utf8(page).unwrap();
    let mut out = String::new();
    for (i, line) in text.lines().enumerate() {
        match line.rsplit_once(' ') {
            Some((series, value)) if !line.starts_with('#') => {
                let value: f64 = value.parse().unwrap();
                let value = value + (i % 7 * by) as f64 / 8.0;
                out += &format!("{series} {value}\n");
            }
            _ => out += &format!("{line}\n"),
        }
    }
    out += &format!(
        "# TYPE sglang:strange_total counter\nsglang:strange_total{{kind=\"a\"}} {by}\n\
         sglang:strange_total{{kind=\"b\"}} NaN\n"
    );
    out.into()
}

/// Whatever came before, a page reads as it does alone.
#[test]
fn a_page_that_is_followed_reads_as_one_that_is_not() {
    let (mut reader, mut followed) = (Reader::default(), 0);
    for (name, page) in fixtures::pages() {
        let first = changed(&page, 0);
        let without_a_line = |nth: usize| {
            let lines = first.split_inclusive(|byte| *byte == b'\n').enumerate();
            let lines = lines.filter(|(i, _)| i % 97 != nth);
            lines
                .flat_map(|(_, line)| line.to_vec())
                .collect::<Vec<_>>()
        };
        let pages = [
            first.clone(),
            changed(&page, 1),
            without_a_line(5),
            changed(&page, 2),
            changed(&page, 33),
            page,
        ];
        for (i, page) in pages.iter().enumerate() {
            let both = [&mut reader, &mut Reader::default()].map(|reader| {
                let (mut readings, mut unlisted) = (Readings::default(), Unlisted::default());
                let mut snapshot = Snapshot::default();
                followed +=
                    u32::from(reader.follow(page, &mut snapshot, &mut readings, &mut unlisted));
                reader.read(page, &mut snapshot, &mut readings, &mut unlisted);
                format!("{snapshot:?}\n{readings:?}\n{unlisted:?}")
            });
            assert!(both[0] == both[1], "page {i} of {name}");
        }
    }
    let pages = u32::try_from(fixtures::pages().count()).unwrap();
    // Of each capture the second page and the fifth at least.
    assert!(
        followed >= 2 * pages,
        "{followed} pages of {pages} captures"
    );
}
