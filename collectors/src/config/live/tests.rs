use std::path::PathBuf;

use serde::Deserialize;

use super::*;
use crate::config::Whole;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Example {
    depth: Whole<0, 9>,
}

impl Default for Example {
    fn default() -> Self {
        Self {
            depth: Whole::new(1),
        }
    }
}

impl Options for Example {
    const MODULE: &'static str = "example";
    const UPDATE_EVERY: u32 = 1;
}

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> (Self, Live<Example>) {
        let dir = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(dir.0.path().join("rs.d")).unwrap();
        let live = Live::new(&Source {
            user: Some(dir.0.path().to_owned()),
            ..Source::default()
        });
        (dir, live)
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("rs.d/example.conf")
    }

    /// Replaces the file: another inode, so that the change shows however coarse the clock is.
    fn write(&self, text: &str) {
        let new = self.0.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.file()).unwrap();
    }
}

/// Names, depths and revisions of the jobs after the two passes that a change takes.
fn after_two_passes(live: &mut Live<Example>) -> Vec<(String, u32, u64)> {
    live.refresh();
    let Some(configured) = live.refresh() else {
        return vec![];
    };
    let jobs = configured.jobs.iter();
    jobs.map(|job| {
        let revision = job.job("x", || anyhow::bail!("")).settings.revision;
        (job.name.clone(), job.options.depth.get(), revision)
    })
    .collect()
}

#[test]
fn a_change_is_taken_at_the_second_look_and_concerns_only_its_job() {
    let (dir, mut live) = Dir::new();
    dir.write("jobs: [{name: a}, {name: b}]\n");
    let before = after_two_passes(&mut live);
    assert!(
        !live.take_changed(),
        "reading for the first time is no change"
    );
    dir.write("# more\njobs: [{name: a}, {name: b, depth: 5}]\n");
    assert_eq!(live.refresh().unwrap().jobs[1].options.depth.get(), 1);
    let after = after_two_passes(&mut live);
    assert!(live.take_changed() && !live.take_changed());
    assert_eq!(before[0], after[0]);
    assert_eq!((&*after[1].0, after[1].1), ("b", 5));
    assert_ne!(before[1].2, after[1].2);
}

#[test]
fn a_file_that_becomes_bad_leaves_what_runs_alone_until_it_is_corrected() {
    let (dir, mut live) = Dir::new();
    dir.write("jobs: [{name: a, depth: 2}]\n");
    let before = after_two_passes(&mut live);
    dir.write("jobs: [\n");
    assert_eq!(after_two_passes(&mut live), before);
    assert!(!live.take_changed());
    dir.write("jobs: [{name: a, depth: 3}]\n");
    assert_eq!(after_two_passes(&mut live)[0].1, 3);
    assert!(live.take_changed());
}

#[test]
fn a_job_that_becomes_bad_goes_on_while_its_sibling_changes() {
    let (dir, mut live) = Dir::new();
    dir.write("jobs: [{name: a, depth: 2}, {name: b, depth: 2}]\n");
    after_two_passes(&mut live);
    dir.write("jobs: [{name: a, depth: 99}, {name: b, depth: 3}]\n");
    let mut depths: Vec<_> = after_two_passes(&mut live);
    depths.sort();
    assert_eq!((depths[0].1, depths[1].1), (2, 3));
}

#[test]
fn a_file_that_is_bad_from_the_beginning_is_taken_once_corrected() {
    let (dir, mut live) = Dir::new();
    dir.write("jobs: {}\nx\n");
    assert_eq!(after_two_passes(&mut live), []);
    dir.write("jobs: [{name: a}]\n");
    assert_eq!(after_two_passes(&mut live).len(), 1);
}

#[test]
fn a_file_that_is_taken_away_leaves_the_defaults() {
    let (dir, mut live) = Dir::new();
    dir.write("jobs: [{name: a}]\n");
    assert_eq!(after_two_passes(&mut live).len(), 1);
    std::fs::remove_file(dir.file()).unwrap();
    assert_eq!(after_two_passes(&mut live), []);
    assert!(live.take_changed());
}
