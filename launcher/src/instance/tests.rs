//! The states of an instance, on laid-out process tables.

use std::os::unix::fs::symlink;

use super::*;
use crate::process::fake;

const BOOT: &str = "8a3f0000-boot";

struct Fixture {
    root: tempfile::TempDir,
    instance: Instance,
}

fn fixture() -> Fixture {
    let root = tempfile::tempdir().unwrap();
    fake::boot(root.path(), BOOT);
    let paths = Paths::new(&root.path().join("home")).unwrap();
    paths.create().unwrap();
    let instance = Instance::new(&Proc::at(root.path()), &paths, "gpu-1");
    Fixture { root, instance }
}

fn record() -> Record {
    Record {
        pid: 500,
        start_ticks: 9000,
        boot_id: BOOT.to_owned(),
        host: "gpu-1".to_owned(),
        listen: "127.0.0.1".to_owned(),
        port: 19999,
        image: "/h/netdata.sif".into(),
        image_id: Some(FileId {
            device: 1,
            inode: 2,
        }),
    }
}

fn pids(state: &State) -> Vec<i32> {
    match state {
        State::Crashed(_, left) => left.iter().map(|process| process.pid).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_record_is_read_as_it_was_written_and_begins_with_the_pid() {
    let record = record();
    assert_eq!(Record::parse(&record.to_string()), Some(record.clone()));
    assert!(record.to_string().starts_with("500\n"));
}

#[test]
fn a_pid_alone_is_no_record() {
    assert_eq!(Record::parse("500\n"), None);
    assert_eq!(
        Record::parse(&record().to_string().replacen("500", "1", 1)),
        None
    );
    assert_eq!(Record::parse(""), None);
}

#[test]
fn without_a_pid_file_it_is_stopped() {
    assert_eq!(fixture().instance.state().unwrap(), State::Stopped);
}

#[test]
fn it_runs_while_its_first_process_lives() {
    let f = fixture();
    fake::process(f.root.path(), 500, 500, 9000, 'S');
    f.instance.write(&record()).unwrap();
    assert_eq!(f.instance.state().unwrap(), State::Running(record()));
}

#[test]
fn a_zombie_does_not_run() {
    let f = fixture();
    fake::process(f.root.path(), 500, 500, 9000, 'Z');
    f.instance.write(&record()).unwrap();
    assert_eq!(
        f.instance.state().unwrap(),
        State::Gone(Some(record()), Cause::Ended)
    );
}

#[test]
fn a_pid_that_is_now_somebody_elses_is_left_alone_with_its_session() {
    let f = fixture();
    fake::process(f.root.path(), 500, 500, 9999, 'S');
    fake::process(f.root.path(), 501, 500, 9999, 'S');
    f.instance.write(&record()).unwrap();
    assert_eq!(
        f.instance.state().unwrap(),
        State::Gone(Some(record()), Cause::Ended)
    );
    assert!(f.instance.members(&record()).is_empty());
}

#[test]
fn orphans_are_found_by_the_container_they_live_in() {
    let f = fixture();
    let plugin = fake::process(f.root.path(), 510, 500, 9100, 'S');
    fake::process(f.root.path(), 511, 500, 9100, 'S');
    fake::process(f.root.path(), 600, 600, 9100, 'S');
    fs::create_dir_all(plugin.join("root/var/cache")).unwrap();
    symlink(
        f.root.path().join("home/state/cache"),
        plugin.join("root/var/cache/netdata"),
    )
    .unwrap();
    f.instance.write(&record()).unwrap();
    let mut left = pids(&f.instance.state().unwrap());
    left.sort_unstable();
    assert_eq!(left, [510, 511]);
}

#[test]
fn an_orphaned_image_mount_is_found_by_the_image_it_holds() {
    let f = fixture();
    let mount = fake::process(f.root.path(), 510, 500, 9100, 'S');
    let image = f.root.path().join("netdata.sif");
    fs::write(&image, "").unwrap();
    symlink(&image, mount.join("fd/3")).unwrap();
    let record = Record {
        image_id: FileId::of(&image),
        ..record()
    };
    f.instance.write(&record).unwrap();
    assert_eq!(pids(&f.instance.state().unwrap()), [510]);
}

#[test]
fn a_session_without_leader_or_mark_is_somebody_elses() {
    let f = fixture();
    fake::process(f.root.path(), 510, 500, 9100, 'S');
    f.instance.write(&record()).unwrap();
    assert_eq!(
        f.instance.state().unwrap(),
        State::Gone(Some(record()), Cause::Ended)
    );
}

#[test]
fn after_a_reboot_nothing_of_it_is_left_even_if_the_numbers_fit() {
    let f = fixture();
    fake::process(f.root.path(), 500, 500, 9000, 'S');
    f.instance
        .write(&Record {
            boot_id: "another".to_owned(),
            ..record()
        })
        .unwrap();
    assert!(matches!(
        f.instance.state().unwrap(),
        State::Gone(_, Cause::Rebooted)
    ));
}

#[test]
fn a_shared_home_does_not_hide_another_machines_instance() {
    let f = fixture();
    let other = Record {
        boot_id: "another".to_owned(),
        host: "gpu-2".to_owned(),
        ..record()
    };
    f.instance.write(&other).unwrap();
    assert_eq!(f.instance.state().unwrap(), State::Elsewhere(other));
}

#[test]
fn a_machine_that_was_renamed_knows_its_instance_by_the_boot() {
    let f = fixture();
    fake::process(f.root.path(), 500, 500, 9000, 'S');
    let renamed = Record {
        host: "old-name".to_owned(),
        ..record()
    };
    f.instance.write(&renamed).unwrap();
    assert_eq!(f.instance.state().unwrap(), State::Running(renamed));
}
