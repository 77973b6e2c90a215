use serde::Deserialize;

use super::switches::Switches;
use super::*;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    url: Url,
    #[serde(default = "three")]
    timeout: Seconds,
    #[serde(default)]
    token_file: Option<FilePath>,
    #[serde(default)]
    include: Patterns,
    #[serde(default)]
    limits: Limits,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Limits {
    low: Option<f64>,
    high: Option<f64>,
}

fn three() -> Seconds {
    Seconds::new(3)
}

impl Options for Example {
    const MODULE: &'static str = "example";
    const UPDATE_EVERY: u32 = 10;

    fn check(&self) -> Result<(), (&'static str, String)> {
        match (self.limits.low, self.limits.high) {
            (Some(low), Some(high)) if low > high => {
                Err(("limits", "low is above high".to_owned()))
            }
            _ => Ok(()),
        }
    }
}

/// A directory with these files, as the user's.
fn source(files: &[(&str, &str)]) -> (tempfile::TempDir, Source) {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let source = Source {
        user: Some(root.path().to_owned()),
        stock: None,
        update_every: 2,
    };
    (root, source)
}

/// What a module's file gives, and its problems without the directory.
fn read(text: &str) -> (Option<Configured<Example>>, Vec<String>) {
    let (root, source) = source(&[("rs.d/example.conf", text)]);
    let (configured, problems) = source.module();
    let dir = format!("{}/", root.path().display());
    let lines = problems.iter().map(|it| it.to_string().replace(&dir, ""));
    (configured, lines.collect())
}

#[test]
fn a_job_inherits_what_stands_above_it_and_wins_over_it() {
    let (read, problems) = read(
        "timeout: 7\nupdate_every: 30\nlabels: {site: a, rack: b}\nlimits: {low: 1}\njobs:\n\
         \x20 - name: one\n    url: http://h:1/m\n    labels: {rack: c}\n    limits: {high: 5}\n\
         \x20 - name: two\n    url: http://h/\n    timeout: 1\n    update_every: 1\n",
    );
    assert_eq!(problems, [""; 0]);
    let read = read.unwrap();
    let [one, two] = &read.jobs[..] else { panic!() };
    assert_eq!((one.options.timeout.get(), one.update_every()), (7, 30));
    assert_eq!(
        (one.options.limits.low, one.options.limits.high),
        (Some(1.0), Some(5.0))
    );
    let settings = one.job("one", || anyhow::bail!("")).settings;
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(settings.labels, [label("rack", "c"), label("site", "a")]);
    // Never below the interval that the agent asks for, which is 2.
    assert_eq!((two.options.timeout.get(), two.update_every()), (1, 2));
    // A URL is missing outside the jobs, where it need not be.
    assert_eq!(read.base, None);
}

#[test]
fn one_bad_job_stops_alone_and_all_its_mistakes_are_told() {
    let (read, problems) = read(
        "jobs:\n  - name: bad\n    url: ftp://h/\n    timeot: 3\n    update_every: 0\n\
         \x20 - name: good\n    url: http://h/\n",
    );
    let read = read.unwrap();
    assert_eq!(read.jobs.len(), 1);
    assert_eq!(read.broken, ["bad"]);
    assert_eq!(
        problems,
        [
            "rs.d/example.conf:3:10: job \"bad\": url: a URL begins with http:// or https://",
            "rs.d/example.conf:4:5: job \"bad\": unknown key \"timeot\": did you mean timeout?",
            "rs.d/example.conf:5:19: job \"bad\": update_every: must be a whole number from 1 to 86400, not 0",
        ]
    );
}

#[test]
fn a_mistake_outside_the_jobs_stops_the_module() {
    let (read, problems) = read("timeout: soon\njobs:\n  - name: a\n    url: http://h/\n");
    assert_eq!(read, None);
    assert_eq!(
        problems,
        ["rs.d/example.conf:1:10: timeout: expected a whole number from 1 to 86400, found text"]
    );
}

#[test]
fn a_nested_key_is_named_with_its_path_and_a_list_element_with_its_place() {
    let (_, problems) = read("limits:\n  low: much\ninclude:\n  - a\n  - '('\n");
    assert_eq!(
        problems,
        [
            "rs.d/example.conf:2:8: limits.low: expected a number, found text",
            "rs.d/example.conf:5:5: include: no regular expression: unclosed group",
        ]
    );
}

#[test]
fn a_key_that_is_missing_is_named() {
    let (_, problems) = read("jobs:\n  - name: a\n    timeout: 3\n");
    assert_eq!(
        problems,
        ["rs.d/example.conf:2:5: job \"a\": url is missing"]
    );
}

#[test]
fn options_that_contradict_each_other_are_told_at_one_of_them() {
    let (_, problems) =
        read("jobs:\n  - name: a\n    url: http://h/\n    limits: {low: 2, high: 1}\n");
    assert_eq!(
        problems,
        ["rs.d/example.conf:4:13: job \"a\": limits: low is above high"]
    );
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    const SECRET: &str = "sk-1234567890";
    for text in [
        format!("token_file: {SECRET}\n"),
        format!("token_file: [{SECRET}]\n"),
        format!("timeout: {SECRET}\n"),
        format!("include: '({SECRET}'\n"),
        format!("limits: {SECRET}\n"),
        format!("labels: {SECRET}\n"),
        format!("{SECRET}\n"),
        format!("jobs: {SECRET}\n"),
        format!("jobs:\n  - {SECRET}\n"),
        format!("jobs:\n  - name: a\n    url: http://u:{SECRET}@h/\n"),
        format!("token_file: \"{SECRET}\n"),
    ] {
        let (_, problems) = read(&text);
        assert!(!problems.is_empty(), "{text}");
        assert!(!problems.concat().contains(SECRET), "{problems:?}");
    }
}

#[test]
fn the_users_file_replaces_the_stock_one() {
    let (_user, mut both) = source(&[("rs.d.conf", "modules:\n  nvidia: no\n")]);
    let (_stock, stock) = source(&[
        ("rs.d.conf", "modules:\n  sglang: no\n"),
        (
            "rs.d/example.conf",
            "timeout: 9\njobs: [{name: a, url: 'http://h/'}]\n",
        ),
    ]);
    both.stock = stock.user;
    let mut switches = Switches::new(&both, vec!["nvidia", "sglang"]);
    assert!(!switches.runs("nvidia") && switches.runs("sglang"));
    assert_eq!(
        both.module::<Example>().0.unwrap().jobs[0]
            .options
            .timeout
            .get(),
        9
    );
}

#[test]
fn no_file_and_a_file_of_comments_are_the_same() {
    let (_root, none) = source(&[]);
    assert_eq!(
        none.module::<Example>(),
        (Some(read("").0.unwrap()), vec![])
    );
    let (_root, plugin) = source(&[("rs.d.conf", "# enabled: no\n---\n#modules:\n")]);
    assert!(Switches::new(&plugin, vec!["nvidia"]).runs("nvidia"));
}

#[test]
fn a_heading_whose_lines_are_commented_out_counts_as_absent() {
    let (read, problems) = read("labels:\n#  a: b\nlimits:\njobs:\n#  - name: a\n");
    assert_eq!(problems, [""; 0]);
    assert_eq!(read.unwrap().jobs, []);
}

#[test]
fn what_is_off_by_default_can_be_switched_on_alone() {
    let (_root, source) = source(&[("rs.d.conf", "default_run: no\nmodules: {sglang: yes}\n")]);
    let mut switches = Switches::new(&source, vec!["nvidia", "sglang"]);
    assert!(switches.runs("sglang") && !switches.runs("nvidia"));
}

#[test]
fn a_file_of_virtual_nodes_with_comments_only_is_no_mistake() {
    let comments = "## It contains a list of virtual nodes.\n\n#- hostname: a\n#  guid: b\n";
    let files = [("vnodes/vnodes.conf", comments), ("rs.d/example.conf", "")];
    let (_root, source) = source(&files);
    let (_, problems) = source.module::<Example>();
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn a_job_is_put_on_a_virtual_node_by_name() {
    const VNODES: &str =
        "- hostname: far\n  guid: 3B241101-E2BB-4255-8CAF-4136C566A962\n  labels: {a: b}\n";
    let text = "jobs:\n  - name: a\n    url: http://h/\n    vnode: far\n  - name: b\n    url: http://h/\n    vnode: fra\n";
    let (root, source) = source(&[("vnodes/vnodes.conf", VNODES), ("rs.d/example.conf", text)]);
    let (read, problems) = source.module::<Example>();
    let host = read.unwrap().jobs[0]
        .job("a", || anyhow::bail!(""))
        .settings
        .host
        .unwrap();
    assert_eq!(host.guid, "3b241101-e2bb-4255-8caf-4136c566a962");
    let file = root.path().join("rs.d/example.conf");
    assert_eq!(
        problems[0].to_string(),
        format!(
            "{}:7:12: job \"b\": vnode: vnodes/vnodes.conf has no \"fra\": did you mean far?",
            file.display()
        )
    );
}
