//! The program as others use it: started, asked, commanded, ended.

#![allow(clippy::unwrap_used, reason = "an unmet expectation is a failed test")]

mod control;
mod fake;
mod growth;
mod tree;
