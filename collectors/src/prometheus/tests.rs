//! Tests of the text format's reader.

use proptest::prelude::*;

use super::*;

fn samples(page: &str) -> Vec<Sample<'_>> {
    Lines::new(page.as_bytes())
        .filter_map(|line| match line {
            Line::Sample(sample) => Some(sample),
            _ => None,
        })
        .collect()
}

fn skipped(page: &str) -> (usize, u32) {
    let mut lines = Lines::new(page.as_bytes());
    let read = lines.by_ref().count();
    (read, lines.skipped())
}

#[test]
fn names_with_colons_labels_and_exponents_are_read() {
    let page =
        "# TYPE sglang:x histogram\nsglang:x_bucket{le=\"+Inf\",model_name=\"a b\",} 1.5e+03\n";
    let read = samples(page);
    assert_eq!(read.len(), 1);
    assert_eq!((read[0].name, read[0].value), ("sglang:x_bucket", 1500.0));
    let labels: Vec<_> = read[0].labels().collect();
    assert_eq!(
        labels,
        [("le", "+Inf".into()), ("model_name", "a b".into())]
    );
}

#[test]
fn help_and_type_lines_give_name_and_text() {
    let page = "# HELP a_b Some  text\n# TYPE a_b counter\n# just a comment\n#\n# EOF\n";
    let read: Vec<_> = Lines::new(page.as_bytes()).collect();
    let (name, text, kind) = ("a_b", "Some  text", "counter");
    assert_eq!(read, [Line::Help { name, text }, Line::Type { name, kind }]);
}

#[test]
fn not_a_number_and_infinities_are_values() {
    let read = samples("a NaN\nb +Inf\nc -Inf\n");
    assert!(read[0].value.is_nan());
    assert_eq!(read[1].value, f64::INFINITY);
    assert_eq!(read[2].value, f64::NEG_INFINITY);
}

#[test]
fn timestamps_are_kept_and_exemplars_ignored() {
    let page = "a 1 1700000000000\nb_bucket{le=\"1\"} 2 # {trace=\"}x\"} 0.5\nc{} 3 1700000000.25 # {a=\"b\"} 1\n";
    let read = samples(page);
    assert_eq!(read[0].timestamp_ms, Some(1_700_000_000_000));
    assert_eq!((read[1].value, read[1].timestamp_ms), (2.0, None));
    // OpenMetrics has seconds.
    let third = (read[2].value, read[2].timestamp_ms);
    assert_eq!(third, (3.0, Some(1_700_000_000_250)));
}

#[test]
fn windows_line_ends_blanks_and_tabs_are_taken() {
    let read = samples("a 1\r\n\r\n  b\t{ x = \"1\" , y=\"2\" }\t2 \r\n");
    assert_eq!(read.len(), 2);
    assert_eq!(read[1].value, 2.0);
    assert_eq!(read[1].labels().count(), 2);
}

#[test]
fn escapes_are_decoded_and_values_without_them_are_borrowed() {
    let page = "a{x=\"q\\\"\\\\n\\n\\d}\",y=\"plain, }={\"} 1\n";
    let labels: Vec<_> = samples(page)[0].labels().collect();
    assert_eq!(labels[0].1, "q\"\\n\n\\d}");
    assert!(matches!(labels[1].1, Cow::Borrowed("plain, }={")));
}

#[test]
fn garbage_is_skipped_and_counted() {
    for garbage in [
        "just words here",
        "1abc 2",
        "a",
        "a{",
        "a{x=\"1\" 2",
        "a{x=1} 2",
        "a{x=\"1\\",
        "a{=\"1\"} 2",
        "a{x=\"1\"y=\"2\"} 2",
        "a{x=\"1\"} ",
        "a 1.2.3",
        "a 1 later",
        "a 1 2 3",
        "<html>",
        "{\"a.b\"} 1",
    ] {
        let page = format!("ok 1\n{garbage}\nok 2\n");
        assert_eq!(skipped(&page), (2, 1), "{garbage}");
    }
}

#[test]
fn a_line_that_was_cut_off_is_no_sample() {
    assert_eq!(skipped("a 1\na 12345"), (1, 1));
    assert_eq!(skipped("a 1\n# EOF"), (1, 0));
    assert_eq!(skipped(""), (0, 0));
}

#[test]
fn lines_and_label_sets_beyond_the_bounds_are_skipped() {
    let long = format!("a{{x=\"{}\"}} 1\n", "y".repeat(MAX_LINE));
    assert_eq!(skipped(&long), (0, 1));
    let many = |n: usize| format!("a{{{}}} 1\n", "x=\"1\",".repeat(n));
    assert_eq!(skipped(&many(MAX_LABELS)), (1, 0));
    assert_eq!(skipped(&many(MAX_LABELS + 1)), (0, 1));
}

#[test]
fn a_line_that_is_no_utf8_costs_only_itself() {
    let mut lines = Lines::new(b"a 1\nb{x=\"\xff\"} 2\nc 3\n");
    assert_eq!(lines.by_ref().count(), 2);
    assert_eq!(lines.skipped(), 1);
}

#[test]
fn every_line_of_the_captured_pages_is_understood() {
    let mut pages = 0;
    for (path, page) in crate::fixtures::pages() {
        let lines = page.iter().filter(|&&b| b == b'\n').count();
        let mut read = Lines::new(&page);
        let understood = read.by_ref().count();
        assert_eq!((understood, read.skipped()), (lines, 0), "{path}");
        pages += 1;
    }
    assert!(pages >= 16, "only {pages} captured pages");
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

proptest! {
    #[test]
    fn a_number_is_what_the_standard_library_reads(
        text in "[+-]?[0-9]{0,18}[.]?[0-9]{0,18}(e[+-]?[0-9]{1,3})?",
        value in any::<f64>(),
    ) {
        prop_assert_eq!(number(&text), text.parse().ok(), "{}", text);
        for text in [format!("{value}"), format!("{value:e}"), format!("{value:.3}")] {
            let (ours, theirs) = (number(&text), text.parse::<f64>().ok());
            prop_assert_eq!(ours.map(f64::to_bits), theirs.map(f64::to_bits), "{}", text);
        }
    }

    #[test]
    fn a_value_ends_at_its_first_quote_wherever_that_is(
        value in r#"[^"\\\n]{0,40}"#, rest in "[^\n]{0,20}",
    ) {
        let text = format!("{value}\"{rest}");
        prop_assert_eq!(quote_or_backslash(text.as_bytes(), 0), Some(value.len()));
    }

    #[test]
    fn nothing_makes_it_panic(page in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut lines = Lines::new(&page);
        for line in lines.by_ref() {
            if let Line::Sample(sample) = line {
                sample.labels().for_each(drop);
            }
        }
        prop_assert!(lines.skipped() <= 401);
    }

    #[test]
    fn nothing_like_a_sample_makes_it_panic(page in "([a{}=\",\\\\#\n 1.e+é\t]){0,80}") {
        for line in Lines::new(page.as_bytes()) {
            if let Line::Sample(sample) = line {
                sample.labels().for_each(drop);
            }
        }
    }

    #[test]
    fn what_is_written_is_read_back(
        name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,20}",
        labels in proptest::collection::vec(("[a-zA-Z_][a-zA-Z0-9_]{0,8}", "[^\r]{0,12}"), 0..6),
        value in any::<f64>(),
        // Milliseconds from 1973 on, as far as a double is exact.
        time in proptest::option::of(100_000_000_000_i64..9_007_199_254_740_992),
    ) {
        let inside: Vec<_> = labels.iter().map(|(n, v)| format!("{n}=\"{}\"", escape(v))).collect();
        let time_text = time.map_or(String::new(), |t| format!(" {t}"));
        let page = format!("{name}{{{}}} {value:e}{time_text}\n", inside.join(","));
        let read = samples(&page);
        prop_assert_eq!(read.len(), 1, "{}", page);
        prop_assert_eq!(read[0].name, &name);
        prop_assert_eq!(read[0].timestamp_ms, time);
        prop_assert!(read[0].value == value || value.is_nan());
        let back: Vec<_> = read[0].labels().map(|(n, v)| (n.to_owned(), v.into_owned())).collect();
        prop_assert_eq!(back, labels);
    }
}
