//! The configuration: its schema, and how it is read, expanded and checked.

pub mod schema;

pub use schema::*;
