//! Every module's jobs in this process, a tick every tenth of a second instead of every second: memory that
//! grows with ticks shows ten times as fast. Run by `make soak`, which starts what is charted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use agent_model::{Agent, Dialect};
use netdata_plugin::frame::Frame;
use netdata_plugin::module::{Collector, Tick};
use netdata_plugin::writer::Writer;

use crate::modules::{Context, MODULES};
use crate::{config, engine, host_probe};

/// A tenth of the shortest interval.
const EVERY: Duration = Duration::from_millis(100);
/// Ticks between two passes of discovery, which come every four seconds.
const DISCOVERY_TICKS: u64 = 40;
/// Length, unless SOAK_SECONDS says otherwise.
const SECONDS: u64 = 1800;
/// What the median of the last sixth may lie above that of the second: pages that an allocator keeps.
const MAY_GROW_KIB: u64 = 256;

struct Running {
    collector: Box<dyn Collector>,
    writer: Writer,
    frame: Frame,
    failures: u32,
}

#[test]
#[ignore = "takes half an hour; `make soak` runs it"]
fn memory_does_not_grow_at_ten_times_the_speed() {
    let seconds = std::env::var("SOAK_SECONDS").map_or(SECONDS, |text| text.parse().unwrap());
    let context = Context {
        proc_root: "/proc".into(),
        census: Arc::new(engine::Census::new("/proc".as_ref())),
        gpu_usage: Arc::default(),
        host_probe: Arc::new(host_probe::HostProbe::new(None)),
        inference: Arc::default(),
        config: config::Source {
            update_every: 1,
            ..config::Source::default()
        },
    };
    let mut modules: Vec<_> = MODULES
        .iter()
        .map(|module| (module.name, (module.open)(&context)))
        .collect();
    let (mut jobs, mut agent) = (
        BTreeMap::<String, Running>::new(),
        Agent::new(Dialect::V1_37),
    );
    let (began, mut rss_kib, mut most_jobs, mut outputs) = (Instant::now(), vec![], 0, 0_u64);
    for count in 0.. {
        let now = Instant::now();
        if now - began >= Duration::from_secs(seconds) {
            break;
        }
        if count % DISCOVERY_TICKS == 0 {
            for (module, discover) in &mut modules {
                for job in discover.discover().unwrap() {
                    let name = format!("{module} {}", job.name);
                    if jobs.contains_key(&name) {
                        continue;
                    }
                    let Ok(collector) = (job.start)() else {
                        continue;
                    };
                    let running = Running {
                        collector,
                        writer: Writer::new("rs.d", module, &job.name, false),
                        frame: Frame::default(),
                        failures: 0,
                    };
                    jobs.insert(name, running);
                }
            }
            most_jobs = most_jobs.max(jobs.len());
        }
        jobs.retain(|name, job| {
            job.frame.clear();
            let tick = Tick {
                now,
                every: EVERY,
                count,
            };
            let outcome = job.collector.collect(tick, &mut job.frame);
            job.failures = outcome.map_or(job.failures + 1, |()| 0);
            let output = job.writer.write(&job.frame, 1, now);
            outputs += u64::from(!output.is_empty());
            assert_eq!(agent.read(output), Ok(()), "{name}");
            if job.failures < 10 {
                return true;
            }
            assert_eq!(agent.read(job.writer.obsolete_all()), Ok(()), "{name}");
            false
        });
        if count % 10 == 0 {
            rss_kib.push(rss_now_kib());
        }
        thread::sleep(EVERY.saturating_sub(now.elapsed()));
    }
    let sixth = rss_kib.len() / 6;
    let (early, late) = (
        median(&rss_kib[sixth..2 * sixth]),
        median(&rss_kib[5 * sixth..]),
    );
    println!(
        "soak: {seconds} s, at most {most_jobs} jobs, {outputs} ticks with values, {} charts; \
         RSS {early} KiB early, {late} KiB late",
        agent.charts.len()
    );
    assert!(
        most_jobs >= 3 && agent.charts.len() > 100,
        "nothing to chart"
    );
    assert!(late <= early + MAY_GROW_KIB, "memory grows");
}

fn rss_now_kib() -> u64 {
    let process = procfs::process::Process::myself().unwrap();
    process.statm().unwrap().resident * procfs::page_size() / 1024
}

fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}
