//! A limit for every wait of these tests, in real time: many of them stop the clock of the runtime.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Nothing in these tests takes this long unless it is broken.
const LONG: Duration = Duration::from_secs(20);
/// How often somebody who waits looks at the clock.
const TICK: Duration = Duration::from_millis(250);

/// Fails the test instead of hanging it.
pub async fn soon<T>(what: &str, waited_for: impl Future<Output = T>) -> T {
    let late = Instant::now() + LONG;
    let mut ticks = ticks();
    let overdue = async {
        while Instant::now() < late {
            ticks.changed().await.expect("the clock never ends");
        }
    };
    tokio::select! {
        biased;
        came = waited_for => came,
        () = overdue => panic!("waited {LONG:?} for {what}"),
    }
}

/// A thread of its own: timers of a runtime whose clock is stopped fire as soon as all else waits, for a
/// socket too.
fn ticks() -> watch::Receiver<()> {
    static CLOCK: OnceLock<watch::Sender<()>> = OnceLock::new();
    let clock = CLOCK.get_or_init(|| {
        let clock = watch::Sender::new(());
        let ticking = clock.clone();
        std::thread::spawn(move || {
            loop {
                std::thread::park_timeout(TICK);
                ticking.send_replace(());
            }
        });
        clock
    });
    clock.subscribe()
}
