//! `rs.d.plugin`: charts GPUs and inference servers in Netdata.

mod gpu_usage;
mod modules;

fn main() {}
