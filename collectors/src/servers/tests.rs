//! The module over a made-up /proc.
