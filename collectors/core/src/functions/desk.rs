//! Answers calls, each exactly once: with rows, or with why there are none. Calls run on a few threads of
//! their own, started when the first call comes, so that a slow function delays no chart; one more thread
//! watches the time. What is running, waiting and written has a bound.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::answer::{Wanted, error, framed, info, table, wanted};
use super::{Call, Function, Refusal, Transaction};
use crate::output::Output;
use crate::stdin::{Message, Request};

/// Calls that run at once. A function that never returns takes one of them for good.
const WORKERS: usize = 3;
/// Calls that run or wait.
const MAX_OPEN: usize = 32;
/// As for jobs.
const STACK_BYTES: usize = 1024 * 1024;
/// Longest time a caller is believed to wait.
const LONGEST: Duration = Duration::from_secs(600);
/// An answer that says that there was none comes this much before the caller stops waiting, whose seconds
/// the agent has rounded.
const EARLY: Duration = Duration::from_millis(500);
/// How long somebody waits who says again that he does; the agent's own value.
const WAITS_ON: Duration = Duration::from_secs(10);

/// Takes messages and answers calls.
#[derive(Clone)]
pub struct Desk(Arc<Shared>);

struct Shared {
    functions: Vec<Function>,
    output: Output,
    state: Mutex<State>,
    /// A call waits for a thread.
    work: Condvar,
    /// Another call is the first to run out of time.
    time: Condvar,
}

#[derive(Default)]
struct State {
    open: BTreeMap<Transaction, Open>,
    waiting: VecDeque<Waiting>,
    workers: usize,
    idle: usize,
    watched: bool,
}

/// A call that has no answer yet.
struct Open {
    call: Arc<Call>,
    function: usize,
    deadline: Instant,
}

struct Waiting {
    call: Arc<Call>,
    request: Request,
    function: usize,
}

impl Desk {
    /// Answers calls of `functions` on `output`.
    #[must_use]
    pub fn new(functions: Vec<Function>, output: Output) -> Self {
        Self(Arc::new(Shared {
            functions,
            output,
            state: Mutex::default(),
            work: Condvar::new(),
            time: Condvar::new(),
        }))
    }

    /// Takes a message that came at `now`. Never blocks for long: it is the thread that reads them all.
    pub fn take(&self, message: Message, now: Instant) {
        match message {
            Message::Call(request) => self.open(request, now),
            Message::Malformed(transaction, why) => {
                self.0.refuse(&transaction, &Refusal::bad_request(why));
            }
            Message::Cancel(transaction) => {
                let refusal = Refusal {
                    status: 499,
                    message: "The call was cancelled.".to_owned(),
                };
                self.0.settle(&transaction, &mut error(&refusal), 0);
            }
            Message::StillWaiting(transaction) => {
                if let Some(open) = self.0.state().open.get_mut(&transaction) {
                    open.deadline = open.deadline.max(now + WAITS_ON - EARLY);
                }
            }
        }
    }

    fn open(&self, request: Request, now: Instant) {
        let shared = &self.0;
        let transaction = request.transaction.clone();
        let known = shared
            .functions
            .iter()
            .position(|function| function.name == request.name);
        let Some(index) = known else {
            let refusal = Refusal {
                status: 404,
                message: "There is no function of this name here.".to_owned(),
            };
            return shared.refuse(&transaction, &refusal);
        };
        let function = &shared.functions[index];
        if !request.access.includes(function.access) {
            let refusal = Refusal {
                status: 403,
                message: "You may not see this: sign in to Netdata in the space of this agent."
                    .to_owned(),
            };
            return shared.refuse(&transaction, &refusal);
        }
        let waits = request.timeout.unwrap_or(function.timeout).min(LONGEST);
        let deadline = now + waits - EARLY.min(waits / 4);
        let mut state = shared.state();
        if state.open.contains_key(&transaction) {
            log::debug!("call {transaction} came twice and is answered once");
            return;
        }
        let ready = state.open.len() < MAX_OPEN && self.start_threads(&mut state);
        if !ready {
            drop(state);
            return shared.refuse(
                &transaction,
                &Refusal::unavailable("Too many calls at once: try again later."),
            );
        }
        let call = Arc::new(Call::default());
        let open = Open {
            call: Arc::clone(&call),
            function: index,
            deadline,
        };
        state.open.insert(transaction, open);
        state.waiting.push_back(Waiting {
            call,
            request,
            function: index,
        });
        shared.work.notify_one();
        shared.time.notify_one();
    }

    /// Sees to it that calls are run and timed; false if the system has no threads to give.
    fn start_threads(&self, state: &mut State) -> bool {
        let start = |name: &str, run: fn(&Shared)| {
            let shared = Arc::clone(&self.0);
            let thread = thread::Builder::new()
                .name(name.to_owned())
                .stack_size(STACK_BYTES);
            let started = thread.spawn(move || run(&shared));
            started
                .inspect_err(|error| log::error!("cannot start a thread for functions: {error}"))
                .is_ok()
        };
        state.watched = state.watched || start("functions", watch_time);
        if state.idle <= state.waiting.len() && state.workers < WORKERS && start("function", work) {
            state.workers += 1;
        }
        state.watched && state.workers > 0
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a call that was never opened.
    fn refuse(&self, transaction: &Transaction, refusal: &Refusal) {
        self.output
            .write(framed(transaction, &mut error(refusal), 0).as_bytes());
    }

    /// Answers an open call, unless that was done already.
    fn settle(&self, transaction: &Transaction, answer: &mut Value, fresh_for: u32) {
        let mut state = self.state();
        let Some(open) = state.open.remove(transaction) else {
            return;
        };
        // It may never have been its turn.
        state
            .waiting
            .retain(|waiting| !Arc::ptr_eq(&waiting.call, &open.call));
        drop(state);
        open.call.end();
        self.output
            .write(framed(transaction, answer, fresh_for).as_bytes());
    }

    fn next(&self) -> Waiting {
        let mut state = self.state();
        loop {
            if let Some(waiting) = state.waiting.pop_front() {
                if waiting.call.is_over() {
                    continue;
                }
                return waiting;
            }
            state.idle += 1;
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}

/// Runs calls, one after the other.
fn work(shared: &Shared) {
    loop {
        let Waiting {
            call,
            request,
            function,
        } = shared.next();
        let function = &shared.functions[function];
        crate::log::set_scope("functions", function.name);
        let answered = catch_unwind(AssertUnwindSafe(|| answer(function, &request, &call)));
        let answered = answered.unwrap_or_else(|_| {
            Err(Refusal {
                status: 500,
                message: "The function failed: see the agent's log of its collectors.".to_owned(),
            })
        });
        let fresh_for = answered.as_ref().map_or(0, |_| function.view.update_every);
        let mut answer = answered.unwrap_or_else(|refusal| error(&refusal));
        shared.settle(&request.transaction, &mut answer, fresh_for);
    }
}

fn answer(function: &Function, request: &Request, call: &Call) -> Result<Value, Refusal> {
    match wanted(function, request)? {
        Wanted::Info => Ok(info(function)),
        Wanted::Rows(chosen) => Ok(table(function, (function.rows)(call)?, &chosen)),
    }
}

/// Answers the calls whose time is up.
fn watch_time(shared: &Shared) {
    let mut state = shared.state();
    loop {
        let now = Instant::now();
        let next = state.open.iter().min_by_key(|(_, open)| open.deadline);
        state = match next
            .map(|(transaction, open)| (transaction.clone(), open.deadline, open.function))
        {
            None => shared
                .time
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner),
            Some((transaction, deadline, function)) if deadline <= now => {
                drop(state);
                let name = shared.functions[function].name;
                log::warn!("function {name} had no answer in the time that its caller waits");
                let refusal = Refusal {
                    status: 504,
                    message: "There was no answer in time.".to_owned(),
                };
                shared.settle(&transaction, &mut error(&refusal), 0);
                shared.state()
            }
            Some((_, deadline, _)) => {
                let (state, _) = shared
                    .time
                    .wait_timeout(state, deadline - now)
                    .unwrap_or_else(PoisonError::into_inner);
                state
            }
        };
    }
}

#[cfg(test)]
mod tests;
