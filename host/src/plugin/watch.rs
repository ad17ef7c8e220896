//! When to look at the watched directory again. Content decides what changed; this only says when.

mod notify;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::config;

/// This long without a further sign before anyone looks.
pub const QUIET: Duration = Duration::from_millis(150);
/// Constant signs put a look off no longer than this.
pub const CEILING: Duration = Duration::from_secs(1);
/// How often one looks without any sign, for events that got lost.
const SLOW: Duration = Duration::from_secs(10);
/// How often one looks where there are no events.
const POLL: Duration = Duration::from_secs(1);

/// Where signs come from that something may have changed.
pub trait Source: Send + 'static {
    /// Waits for the next sign. Signs that come while nobody waits are kept as one.
    fn sign(&mut self) -> BoxFuture<'_, ()>;
    /// Called before each look: the place to renew what may have gone stale.
    fn renew(&mut self) {}
}

/// Why it is time to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Something changed in the directory.
    Changed,
    /// It was quiet for a while.
    Routine,
    /// Somebody asked (SIGHUP, a command, a file that was not finished).
    Asked,
}

/// Says when to look. One task owns it.
pub struct Watch {
    source: Box<dyn Source>,
    trigger: Trigger,
    every: Option<Duration>,
    last: Instant,
}

/// Asks for a look from anywhere. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Trigger(Arc<Notify>);

impl Trigger {
    /// Asks for a look at once. Asking twice before the look is asking once.
    pub fn look_again(&self) {
        self.0.notify_one();
    }
}

impl Watch {
    /// Watches a directory, which may be missing or come and go.
    pub fn new(dir: Option<&Path>, how: config::Watch) -> Watch {
        let (source, every): (Box<dyn Source>, _) = match (dir, how) {
            (None, _) | (_, config::Watch::Off) => (Box::new(Never), None),
            (Some(_), config::Watch::Poll) => (Box::new(Never), Some(POLL)),
            (Some(dir), config::Watch::Notify) => (Box::new(notify::Events::new(dir)), Some(SLOW)),
        };
        Watch::with_source(source, every)
    }

    /// Takes signs from `source`, and looks without any after `every`.
    pub fn with_source(source: Box<dyn Source>, every: Option<Duration>) -> Watch {
        Watch { source, trigger: Trigger::default(), every, last: Instant::now() }
    }

    /// The way to ask for a look.
    pub fn trigger(&self) -> Trigger {
        self.trigger.clone()
    }

    /// Waits until it is time to look. Cancel-safe: a sign that was taken is at worst looked at by the
    /// next routine look.
    pub async fn look(&mut self) -> Look {
        let look = self.wait().await;
        self.source.renew();
        self.last = Instant::now();
        look
    }

    async fn wait(&mut self) -> Look {
        let routine = self.every.map(|every| self.last + every);
        tokio::select! {
            biased;
            () = self.trigger.0.notified() => return Look::Asked,
            () = self.source.sign() => {}
            () = at(routine) => return Look::Routine,
        }
        let ceiling = Instant::now() + CEILING;
        loop {
            let quiet = (Instant::now() + QUIET).min(ceiling);
            tokio::select! {
                biased;
                () = self.trigger.0.notified() => return Look::Asked,
                further = timeout_at(quiet, self.source.sign()) => {
                    if further.is_err() {
                        return Look::Changed;
                    }
                }
            }
            if Instant::now() >= ceiling {
                return Look::Changed;
            }
        }
    }
}

/// No signs at all.
struct Never;

impl Source for Never {
    fn sign(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio::time::sleep;

    use super::*;

    struct Fake(mpsc::Receiver<()>);

    impl Source for Fake {
        fn sign(&mut self) -> BoxFuture<'_, ()> {
            Box::pin(async {
                if self.0.recv().await.is_none() {
                    std::future::pending::<()>().await;
                }
            })
        }
    }

    fn fake(every: Option<Duration>) -> (mpsc::Sender<()>, Watch) {
        let (signs, source) = mpsc::channel(1024);
        (signs, Watch::with_source(Box::new(Fake(source)), every))
    }

    async fn timed(watch: &mut Watch) -> (Look, Duration) {
        let start = Instant::now();
        let look = watch.look().await;
        (look, start.elapsed())
    }

    fn about(took: Duration, expected: Duration) -> bool {
        took >= expected && took < expected + Duration::from_millis(5)
    }

    #[tokio::test(start_paused = true)]
    async fn one_sign_is_looked_at_after_the_quiet_time() {
        let (signs, mut watch) = fake(Some(SLOW));
        signs.send(()).await.unwrap();
        let (look, took) = timed(&mut watch).await;
        assert!(look == Look::Changed && about(took, QUIET), "{look:?} {took:?}");
        let (look, took) = timed(&mut watch).await;
        assert!(look == Look::Routine && about(took, SLOW), "{look:?} {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_one_look_and_constant_signs_do_not_starve_it() {
        let (signs, mut watch) = fake(None);
        let writer = tokio::spawn(async move {
            for _ in 0..5 {
                signs.send(()).await.unwrap();
                sleep(QUIET / 2).await;
            }
            sleep(QUIET * 2).await;
            loop {
                signs.send(()).await.unwrap();
                sleep(QUIET / 2).await;
            }
        });
        let (look, took) = timed(&mut watch).await;
        assert!(look == Look::Changed && about(took, QUIET * 3), "{took:?}");
        let (look, took) = timed(&mut watch).await;
        let waited_for_the_first = QUIET * 3 / 2;
        assert!(look == Look::Changed && about(took, waited_for_the_first + CEILING), "{took:?}");
        writer.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_does_not_wait() {
        let (signs, mut watch) = fake(None);
        let trigger = watch.trigger();
        trigger.look_again();
        trigger.look_again();
        let (look, took) = timed(&mut watch).await;
        assert!(look == Look::Asked && about(took, Duration::ZERO));
        signs.send(()).await.unwrap();
        let asker = tokio::spawn(async move {
            sleep(QUIET / 3).await;
            trigger.look_again();
        });
        let (look, took) = timed(&mut watch).await;
        assert!(look == Look::Asked && about(took, QUIET / 3), "asked twice is asked once: {took:?}");
        asker.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn off_looks_only_when_asked_and_poll_every_second() {
        let dir = tempfile::tempdir().unwrap();
        let mut off = Watch::new(Some(dir.path()), config::Watch::Off);
        tokio::time::timeout(Duration::from_secs(3600), off.look()).await.unwrap_err();
        off.trigger().look_again();
        assert_eq!(off.look().await, Look::Asked);
        let mut poll = Watch::new(Some(dir.path()), config::Watch::Poll);
        assert!(about(timed(&mut poll).await.1, POLL) && about(timed(&mut poll).await.1, POLL));
    }
}
