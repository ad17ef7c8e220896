//! The modern era (2026-07-28 and later): every request stands for itself and says who makes it.

pub mod envelope;
