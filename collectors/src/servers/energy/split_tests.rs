//! Cases by hand, and that whatever the processes are, nothing is lost or invented.

use proptest::prelude::*;

use super::*;

const GIB: u64 = 1 << 30;

/// 100 J, of which 30 J are idle.
const INTERVAL: Interval = Interval {
    energy_mj: 100_000,
    idle_mj: Some(30_000),
    ran: Some(true),
    processes_known: true,
};

fn row(owner: Owner, gib: u64, sm_pct: f64) -> Row {
    Row {
        owner,
        mem_bytes: Some(gib * GIB),
        sm_pct: Some(sm_pct),
        mps: false,
    }
}

fn part(active_mj: u64, idle_mj: u64) -> Part {
    Part {
        active_mj,
        idle_mj,
        undivided_mj: 0,
    }
}

#[test]
fn a_server_alone_uses_all_and_needs_no_samples() {
    let mut rows = [row(Owner::Server(3), 10, 0.0); 2];
    rows[1].sm_pct = None;
    rows[1].mem_bytes = None;
    let it = split(&INTERVAL, &rows);
    assert_eq!(
        it.servers,
        [(3, Attribution::Exclusive, part(70_000, 30_000))]
    );
    assert_eq!((it.others_mj, it.idle_mj, it.unattributed_mj), (0, 0, 0));
}

#[test]
fn what_runs_goes_by_sm_time_and_what_idles_by_memory() {
    let rows = [
        row(Owner::Server(0), 60, 20.0),
        row(Owner::Server(1), 20, 60.0),
        row(Owner::Other, 10, 10.0),
        row(Owner::Unknown, 10, 10.0),
    ];
    let it = split(&INTERVAL, &rows);
    assert_eq!(
        it.servers[0],
        (0, Attribution::Estimate, part(14_000, 18_000))
    );
    assert_eq!(
        it.servers[1],
        (1, Attribution::Estimate, part(42_000, 6_000))
    );
    assert_eq!(
        (it.others_mj, it.unattributed_mj, it.idle_mj),
        (10_000, 10_000, 0)
    );
}

#[test]
fn while_nothing_runs_all_is_idle_though_the_idle_power_is_unknown() {
    let interval = Interval {
        idle_mj: None,
        ran: Some(false),
        ..INTERVAL
    };
    let it = split(&interval, &[row(Owner::Server(0), 1, 0.0)]);
    assert_eq!(it.servers[0].2, part(0, 100_000));
    let empty = split(&interval, &[]);
    assert_eq!((empty.idle_mj, empty.unattributed_mj), (100_000, 0));
}

#[test]
fn without_an_idle_power_what_runs_stays_undivided() {
    let interval = Interval {
        idle_mj: None,
        ran: None,
        ..INTERVAL
    };
    let it = split(
        &interval,
        &[row(Owner::Server(0), 1, 50.0), row(Owner::Other, 9, 50.0)],
    );
    assert_eq!(it.servers[0].2.undivided_mj, 50_000);
    assert_eq!(it.servers[0].2.total_mj(), 50_000);
}

#[test]
fn what_nobody_ran_is_unattributed_and_what_nobody_holds_is_idle() {
    let none = split(&INTERVAL, &[]);
    assert_eq!((none.idle_mj, none.unattributed_mj), (30_000, 70_000));
    let rows = [row(Owner::Server(0), 1, 0.0), row(Owner::Other, 1, 0.0)];
    let it = split(&INTERVAL, &rows);
    assert_eq!(
        (it.unattributed_mj, it.servers[0].2),
        (70_000, part(0, 15_000))
    );
}

#[test]
fn the_multi_process_service_instances_and_missing_samples_attribute_nothing() {
    let alone = [row(Owner::Server(0), 1, 90.0)];
    let mut served = alone;
    served[0].mps = true;
    let split_board = Interval {
        processes_known: false,
        ..INTERVAL
    };
    let mut unsampled = [alone[0], row(Owner::Other, 1, 5.0)];
    unsampled[1].sm_pct = None;
    for (interval, rows) in [
        (INTERVAL, &served[..]),
        (split_board, &alone),
        (INTERVAL, &unsampled),
    ] {
        let it = split(&interval, rows);
        assert_eq!(it.servers, [(0, Attribution::None, Part::default())]);
        assert_eq!(it.unattributed_mj, 100_000);
    }
}

#[test]
fn a_server_that_is_unknown_elsewhere_gives_back_its_part() {
    let mut it = split(&INTERVAL, &[row(Owner::Server(0), 1, 90.0)]);
    it.disown(0);
    assert_eq!(it.servers, [(0, Attribution::None, Part::default())]);
    assert_eq!(it.total_mj(), INTERVAL.energy_mj);
    assert_eq!(it.unattributed_mj, INTERVAL.energy_mj);
}

fn any_row() -> impl Strategy<Value = Row> {
    let owner = prop_oneof![
        (0_usize..4).prop_map(Owner::Server),
        Just(Owner::Other),
        Just(Owner::Unknown)
    ];
    let sm = prop_oneof![
        9 => prop::option::weighted(0.9, 0.0..100.0),
        1 => prop::option::of(prop::num::f64::ANY),
    ];
    let memory = prop_oneof![9 => 0_u64..1 << 38, 1 => any::<u64>()];
    let row = (
        owner,
        prop::option::weighted(0.9, memory),
        sm,
        prop::bool::weighted(0.05),
    );
    row.prop_map(|(owner, mem_bytes, sm_pct, mps)| Row {
        owner,
        mem_bytes,
        sm_pct,
        mps,
    })
}

fn any_interval() -> impl Strategy<Value = Interval> {
    let energy = prop_oneof![9 => 0_u64..1_000_000_000, 1 => 0..u64::MAX / 2];
    let idle = prop::option::of(0_u64..2_000_000);
    (
        energy,
        idle,
        any::<Option<bool>>(),
        prop::bool::weighted(0.9),
    )
        .prop_map(|(energy_mj, idle_mj, ran, processes_known)| Interval {
            energy_mj,
            idle_mj,
            ran,
            processes_known,
        })
}

proptest! {
    #[test]
    fn not_a_millijoule_is_lost_or_invented(
        interval in any_interval(),
        rows in prop::collection::vec(any_row(), 0..8),
        disowned in 0_usize..4,
    ) {
        let mut it = split(&interval, &rows);
        prop_assert_eq!(it.total_mj(), interval.energy_mj);
        it.disown(disowned);
        prop_assert_eq!(it.total_mj(), interval.energy_mj);
    }

    #[test]
    fn a_server_has_a_part_only_where_it_can_be_known(
        interval in any_interval(),
        rows in prop::collection::vec(any_row(), 0..8),
    ) {
        let it = split(&interval, &rows);
        let on = |index| rows.iter().any(|row| row.owner == Owner::Server(index));
        for (index, attribution, part) in &it.servers {
            prop_assert!(on(*index));
            let alone = rows.iter().all(|row| row.owner == Owner::Server(*index));
            let sampled = rows.iter().all(|row| row.sm_pct.is_some() && row.mem_bytes.is_some());
            let told = interval.processes_known && !rows.iter().any(|row| row.mps);
            let expected = match (told, alone, sampled) {
                (true, true, _) => Attribution::Exclusive,
                (true, false, true) => Attribution::Estimate,
                _ => Attribution::None,
            };
            prop_assert_eq!(*attribution, expected);
            prop_assert!(*attribution != Attribution::None || part.total_mj() == 0);
        }
    }
}
