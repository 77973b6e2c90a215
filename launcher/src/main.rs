//! The launcher: Netdata, rootless, in Apptainer.
fn main() {}
