//! Memory goes back to the system after a wave of clients: a process must not stay as large as it once was.

use std::collections::HashMap;
use std::hash::Hash;

/// Fewer ends than these leave too little behind (some 5 KiB each) to look for it.
const MANY: usize = 500;
/// A table of fewer places than these is not worth a smaller one.
const FEW: usize = 1_024;

/// Counts what ends, and says when a wave of ends is over.
#[derive(Debug, Default)]
pub struct Ebb {
    ended: usize,
    seen: usize,
}

impl Ebb {
    /// Something ended that had memory of its own.
    pub fn ended(&mut self) {
        self.ended += 1;
    }

    /// Whether many ended since the last time that this was so, and hardly any lately. To be asked at
    /// regular intervals.
    pub fn is_over(&mut self) -> bool {
        let lately = self.ended - self.seen;
        self.seen = self.ended;
        let over = self.ended >= MANY && lately.saturating_mul(10) <= self.ended;
        if over {
            *self = Ebb::default();
        }
        over
    }
}

/// Gives free memory back to the system. glibc does so by itself only with what is free at the upper end
/// of a heap; whatever lives above the rest, however small, keeps it all. It may take some 200 ms for 300 MB
/// (measured on a busy machine), and whoever needs memory of the same arena meanwhile waits: not for a
/// thread that serves clients, not while many clients are there, and not to be done often.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes a number and touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Makes a table smaller that was much larger once.
pub fn shrink<K: Eq + Hash, V>(table: &mut HashMap<K, V>) {
    if table.capacity() > FEW && table.len() < table.capacity() / 8 {
        table.shrink_to(table.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(ebb: &mut Ebb, how_many: usize) {
        (0..how_many).for_each(|_| ebb.ended());
    }

    #[test]
    fn a_wave_is_over_once_and_only_when_it_has_ebbed() {
        let mut ebb = Ebb::default();
        assert!(!ebb.is_over());
        end(&mut ebb, 30_000);
        assert!(!ebb.is_over(), "it is at its height");
        end(&mut ebb, 10_000);
        assert!(!ebb.is_over());
        end(&mut ebb, 3);
        assert!(ebb.is_over(), "some always end");
        assert!(!ebb.is_over());
        end(&mut ebb, MANY - 1);
        assert!(!ebb.is_over() && !ebb.is_over(), "too few");
        end(&mut ebb, 1);
        assert!(ebb.is_over(), "by and by it is many");
    }

    #[test]
    fn a_table_gets_smaller_with_what_is_in_it() {
        let mut table: HashMap<u32, u32> = (0..100_000).map(|n| (n, n)).collect();
        let mut sizes = 0;
        for n in 0..100_000 {
            table.remove(&n);
            let before = table.capacity();
            shrink(&mut table);
            sizes += u32::from(table.capacity() != before);
        }
        assert!(table.capacity() <= FEW, "{}", table.capacity());
        assert!(sizes < 10, "not at every end: {sizes}");
    }
}
