use super::*;

fn words(line: &str) -> Vec<String> {
    let words = split(line.as_bytes(), usize::MAX).into_iter();
    words.map(|word| String::from_utf8(word).unwrap()).collect()
}

const CHART: &str = "CHART t.c '' 'Title' 'B' 'f' 'x.y' line 1 1 '' 'rs.d' 'm'\n";
const DIM: &str = "DIMENSION 'a' 'a' absolute 1 1 ''\n";

fn judged(text: &str) -> Result<Agent, String> {
    let mut agent = Agent::new(Dialect::V1_37);
    agent.read(text.as_bytes()).map(|()| agent)
}

#[test]
fn a_line_splits_at_white_space_and_equals_signs() {
    assert_eq!(words("SET a = 5\n"), ["SET", "a", "5"]);
    assert_eq!(
        words("  X  'a b'\t\"c'd\" e'f '' g\n"),
        ["X", "a b", "c'd", "e'f", "", "g"]
    );
    assert_eq!(words("a\0b c\n"), ["a"]);
}

#[test]
fn a_backslash_before_the_quote_swallows_the_rest() {
    assert_eq!(
        words(r"CLABEL 'model' 'C:\' 1"),
        ["CLABEL", "model", r"C:\' 1"]
    );
    assert_eq!(words(r"X 'a\\' b"), ["X", r"a\\", "b"]);
}

#[test]
fn a_sound_update_is_taken() {
    let agent = judged(&format!(
        "{CHART}CLABEL 'k' 'v' 1\nCLABEL_COMMIT\n{DIM}BEGIN t.c\nSET 'a' = 7\nEND\n"
    ))
    .unwrap();
    let chart = &agent.charts["t.c"];
    assert_eq!(chart.fields[..2], ["Title", "B"]);
    assert_eq!(chart.labels["k"], "v");
    assert_eq!((chart.values["a"], chart.updates), (7, 1));
}

#[test]
fn what_disables_a_plugin_is_an_error() {
    let first = format!("{CHART}{DIM}BEGIN t.c\nSET 'a' = 1\nEND\n");
    for (text, why) in [
        ("DISABLE\n".to_owned(), "not a command"),
        ("SET 'a' = 1\n".to_owned(), "outside of BEGIN"),
        (
            format!("{CHART}BEGIN t.c\nSET 'b' = 1\nEND\n"),
            "unknown dimension",
        ),
        (CHART.replace("t.c", "tc"), "without type.id"),
        (format!("{CHART}CLABEL 'k' 'v' 1\n"), "not committed"),
        (
            format!("{CHART}CLABEL 'k' 'v\\' 1\nCLABEL_COMMIT\n"),
            "not with these words",
        ),
        (
            format!("{first}BEGIN t.c\nSET 'a' = 1\nSET 'a' = 1\nEND\n"),
            "time since the last",
        ),
        (
            format!("{CHART}{DIM}BEGIN t.c\nSET 'a' = 1\nSET 'a' = 1\nEND\n"),
            "twice",
        ),
        (CHART.replace("line", "heatmap"), "kind of chart"),
        ("HOST ''\n".to_owned(), "not a command"),
        (format!("X{}\n", " y".repeat(20)), "words"),
        (format!("X '{}'\n", "y".repeat(16_000)), "a line of"),
        ("END".to_owned(), "no end"),
    ] {
        let error = judged(&text).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn a_functions_result_is_kept_apart_from_commands() {
    let agent = judged(
        "FUNCTION_RESULT_BEGIN t1 200 application/json 0\n{}\nDISABLE\nFUNCTION_RESULT_END\n",
    )
    .unwrap();
    assert_eq!(agent.results["t1"], b"{}\nDISABLE\n");
}
