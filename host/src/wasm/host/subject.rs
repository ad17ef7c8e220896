//! What a hook is asked about, and what it did to it so far.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};

use super::super::fault::fault;
use super::super::store::State;
use crate::filter::{
    CallView, Caller, DefinitionsView, ExchangeView, FailureKind, HeadReads, ItemsView, NotificationView,
    Principal, QuestionView, RequestHead,
};

/// The one thing that a hook is lent.
#[derive(Default)]
pub(in super::super) enum Subject {
    /// `lifecycle` has none.
    #[default]
    None,
    Head {
        head: Arc<RequestHead>,
        reads: HeadReads,
    },
    Definitions {
        view: Arc<DefinitionsView>,
        renamed: BTreeMap<usize, String>,
        order: Option<Vec<usize>>,
    },
    Items(Arc<ItemsView>),
    Call {
        view: Arc<CallView>,
        /// `request`, and not `response`.
        up: bool,
        state: Option<BTreeMap<String, Bytes>>,
        reroute: Option<String>,
    },
    Exchange {
        view: Arc<ExchangeView>,
        set: HeaderMap,
        remove: Vec<HeaderName>,
    },
    /// Asked if it has no answer yet, else answered.
    Question(Arc<QuestionView>),
    Notification(Arc<NotificationView>),
}

/// Which of an exchange's principals a handle means: its own may be another than its call's.
const OF_CALLER: u16 = 0;
const OF_EXCHANGE: u16 = 1;

impl Subject {
    /// The call of the hook, or the one its exchange is made for or its message belongs to.
    pub(super) fn call(&self) -> Option<&Arc<CallView>> {
        match self {
            Subject::Call { view, .. } => Some(view),
            Subject::Exchange { view, .. } => view.call.as_ref(),
            Subject::Question(view) => view.call.as_ref(),
            Subject::Notification(view) => view.call.as_ref(),
            _ => None,
        }
    }

    pub(super) fn caller(&self) -> Option<&Arc<Caller>> {
        match self {
            Subject::Items(items) => Some(&items.caller),
            other => other.call().map(|call| &call.caller),
        }
    }

    fn principal(&self, which: u16) -> Option<&Arc<Principal>> {
        match (which, self) {
            (OF_CALLER, _) => self.caller()?.principal.as_ref(),
            (OF_EXCHANGE, Subject::Exchange { view, .. }) => view.principal.as_ref(),
            _ => None,
        }
    }
}

impl State {
    /// Charges a host call on the subject and says what it is. Handles to it all have number 0.
    pub(super) fn touch(&mut self, rep: u32) -> wasmtime::Result<()> {
        self.tick()?;
        match self.index(rep)? {
            0 => Ok(()),
            _ => Err(absent()),
        }
    }

    pub(super) fn call_at(&mut self, rep: u32) -> wasmtime::Result<Arc<CallView>> {
        self.touch(rep)?;
        self.subject.call().cloned().ok_or_else(absent)
    }

    pub(super) fn caller_at(&mut self, rep: u32) -> wasmtime::Result<Arc<Caller>> {
        self.touch(rep)?;
        self.subject.caller().cloned().ok_or_else(absent)
    }

    pub(super) fn principal_at(&mut self, rep: u32) -> wasmtime::Result<Arc<Principal>> {
        self.tick()?;
        let which = self.index(rep)?;
        self.subject.principal(which).cloned().ok_or_else(absent)
    }

    /// The number of a handle on the caller's principal, if there is one.
    pub(super) fn principal_of_caller(&self) -> Option<u32> {
        self.subject.principal(OF_CALLER).map(|_| self.rep(OF_CALLER))
    }

    /// The same for an exchange.
    pub(super) fn principal_of_exchange(&self) -> Option<u32> {
        self.subject.principal(OF_EXCHANGE).map(|_| self.rep(OF_EXCHANGE))
    }
}

/// A handle to what this hook is not about; the type system of components makes that unlikely.
pub(super) fn absent() -> wasmtime::Error {
    fault(FailureKind::BadOutput, "it used a handle that this hook was not given")
}
