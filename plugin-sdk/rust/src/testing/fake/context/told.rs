//! Notifications and questions in memory.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::Value as Json;

use super::super::documents::{Access, Doc, PULL_BYTES};
use super::{Call, Outcome};

#[derive(Debug)]
pub(crate) struct Notification {
    pub(crate) server: String,
    pub(crate) method: String,
    pub(crate) down: bool,
    pub(crate) call: Option<Call>,
    pub(crate) params: Rc<RefCell<Json>>,
}

impl Notification {
    pub(crate) fn call(&self) -> Option<Call> {
        self.call.clone()
    }

    pub(crate) fn server(&self) -> String {
        self.server.clone()
    }

    pub(crate) fn method(&self) -> String {
        self.method.clone()
    }

    pub(crate) fn down(&self) -> bool {
        self.down
    }

    pub(crate) fn params(&self) -> Doc {
        Doc::new(self.params.clone(), Access::Told, PULL_BYTES)
    }
}

#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) server: String,
    pub(crate) method: String,
    pub(crate) call: Option<Call>,
    pub(crate) params: Rc<RefCell<Json>>,
    /// True if it is a result.
    pub(crate) answer: Option<(bool, Rc<RefCell<Json>>)>,
}

impl Ask {
    pub(crate) fn call(&self) -> Option<Call> {
        self.call.clone()
    }

    pub(crate) fn server(&self) -> String {
        self.server.clone()
    }

    pub(crate) fn method(&self) -> String {
        self.method.clone()
    }

    pub(crate) fn params(&self) -> Doc {
        let access = if self.answer.is_none() { Access::Told } else { Access::ReadOnly };
        Doc::new(self.params.clone(), access, PULL_BYTES)
    }

    pub(crate) fn answer(&self) -> Option<Outcome> {
        let (success, root) = self.answer.as_ref()?;
        let doc = Doc::new(root.clone(), Access::Editable, PULL_BYTES);
        Some(if *success { Outcome::Success(doc) } else { Outcome::Failure(doc) })
    }
}
