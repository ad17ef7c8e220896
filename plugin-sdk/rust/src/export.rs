//! What the expansion of `export!` stands on: the configured filter, and conversions to the contract.

use std::cell::RefCell;
use std::rc::Rc;

use crate::raw::{context, types};
use crate::{
    Ask, Call, Definitions, Exchange, Failure, Filter, Head, Items, Notification, Rejection, Verdict,
};

/// Holds the configured filter of this instance.
pub struct Slot<T>(RefCell<Option<Rc<T>>>);

impl<T: Filter> Slot<T> {
    /// Nothing configured yet.
    pub const fn empty() -> Self {
        Slot(RefCell::new(None))
    }

    /// Parses the configuration and keeps the filter it makes.
    pub fn configure(&self, config: &str) -> Result<(), types::Failure> {
        report_panics();
        let filter = crate::config::parse(config).and_then(T::configure).map_err(failure)?;
        self.0.replace(Some(Rc::new(filter)));
        Ok(())
    }

    /// Runs a hook of the configured filter.
    pub fn with<R>(&self, hook: impl FnOnce(&T) -> Result<R, Failure>) -> Result<R, types::Failure> {
        let filter = self.0.borrow().clone();
        let Some(filter) = filter else {
            return Err(types::Failure::Internal("a hook was called before `configure`".into()));
        };
        hook(&filter).map_err(failure)
    }
}

/// Writes a panic to the log before it becomes a trap, which by itself says nothing.
fn report_panics() {
    #[cfg(feature = "log-panics")]
    std::panic::set_hook(Box::new(|info| crate::log::error(&info.to_string())));
}

/// No value of the `extra` resources exists in this version.
pub enum Never {}

/// A failure as the contract has it.
pub fn failure(failure: Failure) -> types::Failure {
    match failure {
        Failure::InvalidConfig(text) => types::Failure::InvalidConfig(text),
        Failure::Unavailable(text) => types::Failure::Unavailable(text),
        Failure::Internal(text) => types::Failure::Internal(text),
    }
}

/// A verdict as the contract has it.
pub fn verdict(verdict: Verdict) -> types::Verdict {
    match verdict {
        Verdict::Proceed => types::Verdict::Proceed,
        Verdict::Respond(json) => types::Verdict::Respond(json),
        Verdict::Reject(refusal) => types::Verdict::Reject(rejection(refusal)),
        Verdict::Ask(questions) => types::Verdict::Ask(questions.into_iter().map(question).collect()),
    }
}

fn question(question: crate::Question) -> types::Question {
    types::Question { message: question.message, schema: question.schema }
}

/// A rejection as the contract has it.
pub fn rejection(rejection: Rejection) -> types::Rejection {
    types::Rejection { code: rejection.code, message: rejection.message, data: rejection.data, extra: None }
}

macro_rules! lend {
    ($($name:ident: $wrapper:ident),+) => {$(
        /// The lent handle as the type of the SDK.
        pub fn $name(raw: &context::$wrapper) -> &$wrapper {
            // SAFETY: the wrapper is `repr(transparent)` over exactly this type.
            unsafe { &*std::ptr::from_ref(raw).cast() }
        }
    )+};
}

lend!(
    ask: Ask,
    call: Call,
    definitions: Definitions,
    exchange: Exchange,
    head: Head,
    items: Items,
    notification: Notification
);
