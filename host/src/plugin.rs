//! Plugins: reading, checking, preparing, watching.
