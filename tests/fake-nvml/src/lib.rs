//! A simulated NVML: the library `libnvidia-ml.so.1` for machines without an NVIDIA GPU.
//!
//! A scenario file (README.md) says which GPUs there are and how their readings move. Every
//! reading is a function of the wall clock, so independent processes read the same numbers.

mod call;
mod call_log;
mod exports;
mod ffi;
mod gpu;
mod machine;
mod parts;
mod processes;
mod record;
mod replay;
mod scenario;
mod session;
mod signal;
mod source;
