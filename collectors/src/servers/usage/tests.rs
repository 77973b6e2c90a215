//! What is summed over the processes of a role, and what is then unknown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::FromOutside;
use crate::engine::{Census, Role};
use crate::host_probe::HostProbe;
use crate::processes::tests::FakeProc;
use crate::servers::outside::Reading;
use crate::servers::watch::Watch;

const SERVER: &[&str] = &["python", "-m", "sglang.launch_server"];

fn watch(proc: &FakeProc) -> Watch {
    Watch::new(
        Arc::new(Census::new(proc.path())),
        1000,
        Arc::new(HostProbe::new(None)),
        crate::config::Selection::default(),
    )
}

fn stat(proc: &FakeProc, pid: u32, start: u64, (minor, major): (u64, u64), threads: u64) {
    let text = format!(
        "{pid} (x) S 1 1 1 0 -1 0 {minor} 7 {major} 7 0 0 0 0 20 0 {threads} 0 {start} 4096 9 0\n"
    );
    proc.file(&format!("{pid}/stat"), text);
}

fn sum(readings: &[Option<Reading>]) -> FromOutside {
    let mut sum = FromOutside::default();
    for (i, reading) in readings.iter().enumerate() {
        sum.add(*reading, i == 0);
    }
    sum
}

#[test]
fn faults_are_rates_and_threads_are_counted() {
    let (proc, start) = (FakeProc::new(), Instant::now());
    proc.process(10, 1, "python", 'S', SERVER);
    stat(&proc, 10, 110, (1000, 5), 12);
    let mut watch = watch(&proc);
    watch.look(start).unwrap();
    let usage = watch.read(start)[0].roles[&Role::Main].usage;
    assert_eq!((usage.threads, usage.faults.minor), (12, None));
    stat(&proc, 10, 110, (1200, 15), 13);
    let usage = watch.read(start + Duration::from_secs(2))[0].roles[&Role::Main].usage;
    assert_eq!(usage.threads, 13);
    assert_eq!(
        (usage.faults.minor, usage.faults.major),
        (Some(100.0), Some(5.0))
    );
}

#[test]
fn another_process_on_the_same_address_is_a_restart() {
    let (proc, start) = (FakeProc::new(), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    proc.process(10, 1, "python", 'S', SERVER);
    let mut watch = watch(&proc);
    watch.look(at(0)).unwrap();
    assert_eq!(watch.read(at(0))[0].restarts, 0);
    proc.remove(10);
    watch.look(at(10)).unwrap();
    assert!(watch.read(at(10)).is_empty());
    proc.process(20, 1, "python", 'S', SERVER);
    watch.look(at(20)).unwrap();
    assert_eq!(watch.read(at(20))[0].restarts, 1);
    // The same pid, and another process all the same.
    proc.started(20, 1, "python", 'S', SERVER, 9999);
    watch.look(at(30)).unwrap();
    assert_eq!(watch.read(at(30))[0].restarts, 2);
    watch.look(at(40)).unwrap();
    assert_eq!(watch.read(at(40))[0].restarts, 2);
}

#[test]
fn a_sum_with_a_part_that_could_not_be_read_is_unknown() {
    let reading = |files, rate, pss| {
        Some(Reading {
            open_files: Some(files),
            read_rate: rate,
            write_rate: rate,
            pss_bytes: pss,
        })
    };
    let both = sum(&[
        reading(5, Some(1.0), Some(100)),
        reading(7, Some(2.0), Some(50)),
    ]);
    let expected = FromOutside {
        pss_bytes: Some(150),
        open_files: Some(12),
        read_rate: Some(3.0),
        write_rate: Some(3.0),
    };
    assert_eq!(both, expected);
    // New: its rates are nothing yet, its memory is not read yet.
    let one_is_new = sum(&[reading(5, Some(1.0), Some(100)), reading(7, None, None)]);
    assert_eq!(
        (one_is_new.read_rate, one_is_new.pss_bytes),
        (Some(1.0), None)
    );
    for unread in [
        &[None, reading(5, Some(1.0), Some(1))],
        &[reading(5, Some(1.0), Some(1)), None],
    ] {
        assert_eq!(sum(unread), FromOutside::default());
    }
}
