//! Turns the ledger into charts.

use std::time::{Duration, Instant};

use netdata_plugin::frame::Frame;

use super::account::{Account, Watts, watts};
use super::charts::{
    COST, ELECTRICITY_COST, ENERGY_PER_COMPUTED_TOKEN, ENERGY_PER_OUTPUT_TOKEN, ENERGY_PER_REQUEST,
    GPU_ENERGY, GPU_MEMORY, GPU_POWER, GPU_UTILIZATION, UNATTRIBUTED_ENERGY,
};
use super::ledger::Ledger;
use super::prices::Prices;

/// Records what is known at `now`; a window that ended longer ago than `fresh` says nothing any more.
pub fn record(
    ledger: &mut Ledger,
    prices: &Prices,
    now: Instant,
    fresh: Duration,
    frame: &mut Frame,
) {
    let gpus = ledger.gpus;
    for account in &mut ledger.accounts {
        server(account, prices, gpus, now, fresh, frame);
    }
    // Without a server there is nothing that its energy could be told from.
    if ledger.accounts.is_empty() {
        return;
    }
    for board in ledger.boards.values() {
        let Some((split, seconds)) = &board.divided else {
            continue;
        };
        frame
            .chart(&UNATTRIBUTED_ENERGY, &board.instance)
            .set("other_programs", watts(split.others_mj, *seconds))
            .set("idle", watts(split.idle_mj, *seconds))
            .set("unattributed", watts(split.unattributed_mj, *seconds));
    }
}

fn server(
    account: &mut Account,
    prices: &Prices,
    gpus: usize,
    now: Instant,
    fresh: Duration,
    frame: &mut Frame,
) {
    for gpu in &account.gpus {
        // Exact up to 8 PiB.
        #[allow(clippy::cast_precision_loss)]
        let bytes = gpu.mem_bytes.map(|bytes| bytes as f64);
        frame.chart(&GPU_MEMORY, &gpu.instance).set("held", bytes);
        frame
            .chart(&GPU_UTILIZATION, &gpu.instance)
            .set("sm", gpu.sm_pct);
        let power = gpu
            .used
            .map(|(part, seconds)| watts(part.total_mj(), seconds));
        frame.chart(&GPU_POWER, &gpu.instance).set("power", power);
    }
    let now_used = account.watts();
    let gain = account.window.gain(now, fresh);
    let Some(instance) = account.instance() else {
        return;
    };
    let Watts {
        active,
        idle,
        undivided,
    } = now_used.unwrap_or_default();
    frame
        .chart(&GPU_ENERGY, instance)
        .set("active", active)
        .set("idle", idle)
        .set("undivided", undivided);
    let Some(gain) = gain else { return };
    for (chart, tokens) in [
        (&ENERGY_PER_OUTPUT_TOKEN, gain.output),
        (&ENERGY_PER_COMPUTED_TOKEN, gain.computed),
    ] {
        frame
            .chart(chart, instance)
            .set("all_in", tokens.map(|tokens| gain.all_j / tokens))
            .set(
                "active",
                tokens
                    .zip(gain.active_j)
                    .map(|(tokens, joules)| joules / tokens),
            );
    }
    frame.chart(&ENERGY_PER_REQUEST, instance).set(
        "finished",
        gain.requests.map(|requests| gain.all_j / requests),
    );
    frame
        .chart(&ELECTRICITY_COST, instance)
        .set("electricity", prices.electricity(&gain, gpus));
    frame
        .chart(&COST, instance)
        .set("gpu_time", prices.gpu_time(&gain));
}
