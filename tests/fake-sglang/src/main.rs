//! A replayed SGLang server.
fn main() {}
