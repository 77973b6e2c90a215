//! When a call is answered: at once, late, cancelled, never.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::functions::tests::{LONG, Wire, desk, message, rows};
use crate::functions::{Access, Transaction};

#[test]
fn a_panic_is_an_error_of_that_call_alone() {
    let calls = Mutex::new(0);
    let wire = desk(Access::ANYBODY, move |_| {
        let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
        *calls += 1;
        assert!(*calls > 1, "the first call fails");
        Ok(rows())
    });
    wire.say("FUNCTION t1 10 \"f\" \"0x8\"\n");
    assert_eq!(wire.answer().1, 500);
    wire.say("FUNCTION t2 10 \"f\" \"0x8\"\n");
    assert_eq!(wire.answer().1, 200);
}

/// A function that returns once its call is over, and says so.
fn patient() -> (Wire, Receiver<()>) {
    let (ended, ends) = channel();
    let ended = Mutex::new(ended);
    let wire = desk(Access::ANYBODY, move |call| {
        let began = Instant::now();
        while !call.is_over() && began.elapsed() < LONG {
            std::thread::yield_now();
        }
        let _ = ended.lock().unwrap().send(());
        Ok(rows())
    });
    (wire, ends)
}

#[test]
fn a_cancelled_call_is_answered_at_once_and_once() {
    let (wire, _ends) = patient();
    wire.say("FUNCTION t1 10 \"f\" \"0x8\"\nFUNCTION_CANCEL t1\n");
    let (transaction, status, _) = wire.answer();
    assert_eq!((transaction.as_str(), status), ("t1", 499));
    wire.say("FUNCTION_CANCEL t1\nFUNCTION_CANCEL other\n");
    assert!(wire.silent());
}

#[test]
fn a_call_without_rows_in_time_is_answered_before_its_caller_leaves() {
    let (wire, ends) = patient();
    let began = Instant::now();
    wire.say_at("FUNCTION t1 1 \"f\" \"0x8\"\n", began);
    let (_, status, body) = wire.answer();
    let took = began.elapsed();
    assert_eq!(
        (status, message(&body)),
        (504, "There was no answer in time.")
    );
    assert!(took >= Duration::from_millis(700), "{took:?}");
    ends.recv_timeout(LONG).expect("the function is told");
    assert!(wire.silent());
}

#[test]
fn who_still_waits_gets_ten_seconds_more_and_never_less() {
    let (wire, _ends) = patient();
    let began = Instant::now();
    wire.say_at(
        "FUNCTION short 5 \"f\" \"0x8\"\nFUNCTION long 60 \"f\" \"0x8\"\n",
        began,
    );
    let lasts = |id: &str| {
        let transaction = Transaction::parse(id).unwrap();
        wire.desk.0.state().open[&transaction].deadline - began
    };
    assert_eq!(lasts("short"), Duration::from_millis(4500));
    let later = began + Duration::from_secs(2);
    wire.say_at(
        "FUNCTION_PROGRESS short\nFUNCTION_PROGRESS long\nFUNCTION_PROGRESS gone\n",
        later,
    );
    assert_eq!(lasts("short"), Duration::from_millis(11_500));
    assert_eq!(lasts("long"), Duration::from_millis(59_500));
}

#[test]
fn calls_without_number_are_refused_and_hanging_ones_time_out_in_the_queue() {
    let wire = desk(Access::ANYBODY, |_| {
        loop {
            std::thread::park();
        }
    });
    for call in 0..40 {
        wire.say(&format!("FUNCTION t{call} 1 \"f\" \"0x8\"\n"));
    }
    let mut statuses = vec![];
    for _ in 0..40 {
        statuses.push(wire.answer().1);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 8);
    assert_eq!(statuses.iter().filter(|status| **status == 504).count(), 32);
    // Those that hang hold their threads, and nothing else.
    wire.say("FUNCTION again 1 \"f\" \"0x8\"\n");
    assert_eq!(wire.answer().1, 504);
}

#[test]
fn a_call_that_comes_twice_is_answered_once() {
    let release = Arc::new(Mutex::new(()));
    let held = release.lock().unwrap();
    let theirs = Arc::clone(&release);
    let wire = desk(Access::ANYBODY, move |_| {
        drop(theirs.lock());
        Ok(rows())
    });
    wire.say("FUNCTION t1 10 \"f\" \"0x8\"\nFUNCTION t1 10 \"f\" \"0x8\"\n");
    drop(held);
    assert_eq!(wire.answer().1, 200);
    wire.say("FUNCTION t2 10 \"f\" \"0x8\"\n");
    assert_eq!(wire.answer().0, "t2");
}

#[test]
fn a_slow_call_does_not_hold_up_the_next() {
    let (block, blocked) = channel::<()>();
    let blocked = Mutex::new(Some(blocked));
    let wire = desk(Access::ANYBODY, move |_| {
        // The first call waits until the test has seen the second one answered.
        let first = blocked.lock().unwrap().take();
        if let Some(blocked) = first {
            let _ = blocked.recv_timeout(LONG);
        }
        Ok(rows())
    });
    wire.say("FUNCTION a 10 \"f\" \"0x8\"\n");
    wire.say("FUNCTION b 10 \"f\" \"0x8\"\n");
    let first = wire.answer().0;
    drop(block);
    let second = wire.answer().0;
    let mut both = [first, second];
    both.sort();
    assert_eq!(both, ["a", "b"]);
}
