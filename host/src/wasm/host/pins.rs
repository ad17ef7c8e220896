//! Memory that the host keeps for one filter: edited documents, values that it took, indexes. It counts like
//! memory of the filter's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes are kept.
#[derive(Clone, Default)]
pub(in super::super) struct Pins(Arc<AtomicUsize>);

/// Counts some bytes as kept until dropped.
pub(in super::super) struct Pin {
    bytes: usize,
    all: Pins,
}

impl Pins {
    pub(in super::super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn pin(&self, bytes: usize) -> Pin {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Pin { bytes, all: self.clone() }
    }
}

impl Pin {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.all.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
