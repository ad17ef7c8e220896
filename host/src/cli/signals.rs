//! Signals, and what a serving process does about them: drain first, end at once when told again.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A signal that means something to `serve`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// Asked to end.
    Terminate,
    /// Asked to look at configuration and plugins again.
    Hangup,
}

/// What a signal led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Look again.
    LookAgain,
    /// No more new calls; those in flight get their time.
    Draining(Signal),
}

/// How serving came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, drained if it was asked to end.
    Finished,
    /// By a second signal, whatever was in flight.
    Cut(Signal),
}

/// The signals of this process from now on.
///
/// # Errors
/// The operating system lets none be received.
pub fn receive() -> std::io::Result<mpsc::Receiver<Signal>> {
    let (sender, receiver) = mpsc::channel(8);
    for (kind, what) in [
        (SignalKind::interrupt(), Signal::Interrupt),
        (SignalKind::terminate(), Signal::Terminate),
        (SignalKind::hangup(), Signal::Hangup),
    ] {
        let mut stream = signal(kind)?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                // Full means that nobody could keep up with eight signals: one more changes nothing.
                if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send(what) {
                    break;
                }
            }
        });
    }
    Ok(receiver)
}

/// Runs `serving` to its end. The first interrupt or termination cancels `shutdown`, the second
/// returns at once; hang-ups are only told.
pub async fn supervise(
    serving: impl Future<Output = ()>,
    mut signals: mpsc::Receiver<Signal>,
    shutdown: &CancellationToken,
    mut tell: impl FnMut(Event),
) -> End {
    tokio::pin!(serving);
    loop {
        let signal = tokio::select! {
            () = &mut serving => return End::Finished,
            Some(signal) = signals.recv() => signal,
        };
        match signal {
            Signal::Hangup => tell(Event::LookAgain),
            _ if shutdown.is_cancelled() => return End::Cut(signal),
            _ => {
                shutdown.cancel();
                tell(Event::Draining(signal));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves until `shutdown`, and then for as long as `rest` is not cancelled.
    async fn serve(shutdown: CancellationToken, rest: CancellationToken) {
        shutdown.cancelled().await;
        rest.cancelled().await;
    }

    async fn run(signals: &[Signal], drained: bool) -> (End, Vec<Event>) {
        let (sender, receiver) = mpsc::channel(8);
        for signal in signals {
            sender.send(*signal).await.unwrap();
        }
        let (shutdown, rest) = (CancellationToken::new(), CancellationToken::new());
        let mut events = Vec::new();
        let end = supervise(serve(shutdown.clone(), rest.clone()), receiver, &shutdown, |event| {
            events.push(event);
            if drained && matches!(event, Event::Draining(_)) {
                rest.cancel();
            }
        })
        .await;
        (end, events)
    }

    #[tokio::test]
    async fn the_first_signal_drains() {
        for signal in [Signal::Interrupt, Signal::Terminate] {
            assert_eq!(run(&[signal], true).await, (End::Finished, vec![Event::Draining(signal)]));
        }
    }

    #[tokio::test]
    async fn the_second_signal_ends_at_once() {
        let (end, events) = run(&[Signal::Terminate, Signal::Interrupt], false).await;
        assert_eq!(end, End::Cut(Signal::Interrupt));
        assert_eq!(events, [Event::Draining(Signal::Terminate)]);
    }

    #[tokio::test]
    async fn a_hangup_ends_nothing() {
        let (end, events) = run(&[Signal::Hangup, Signal::Hangup, Signal::Terminate], true).await;
        assert_eq!(end, End::Finished);
        assert_eq!(events, [Event::LookAgain, Event::LookAgain, Event::Draining(Signal::Terminate)]);
    }

    #[tokio::test]
    async fn it_ends_when_serving_ends() {
        let (_sender, receiver) = mpsc::channel(1);
        let shutdown = CancellationToken::new();
        assert_eq!(supervise(async {}, receiver, &shutdown, |_| ()).await, End::Finished);
        assert!(!shutdown.is_cancelled());
    }
}
