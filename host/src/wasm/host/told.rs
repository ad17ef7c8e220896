//! The resources `notification` and `ask`: what passes beside calls, and what servers ask.

use std::sync::Arc;

use wasmtime::component::Resource;

use super::super::bindings::lockgate::plugin::context::{
    Ask, Call, Doc, HostAsk, HostNotification, Notification, Outcome,
};
use super::super::store::{State, outcome_bytes};
use super::documents::{Access, Key};
use super::reserved::Reserved;
use super::subject::{Subject, absent};
use crate::filter::{self, NotificationView, QuestionView};

impl State {
    fn question_at(&mut self, handle: &Resource<Ask>) -> wasmtime::Result<Arc<QuestionView>> {
        self.touch(handle.rep())?;
        match &self.subject {
            Subject::Question(view) => Ok(view.clone()),
            _ => Err(absent()),
        }
    }

    fn notification_at(
        &mut self,
        handle: &Resource<Notification>,
    ) -> wasmtime::Result<Arc<NotificationView>> {
        self.touch(handle.rep())?;
        match &self.subject {
            Subject::Notification(view) => Ok(view.clone()),
            _ => Err(absent()),
        }
    }
}

impl HostAsk for State {
    fn call(&mut self, handle: Resource<Ask>) -> wasmtime::Result<Option<Resource<Call>>> {
        let view = self.question_at(&handle)?;
        Ok(view.call.is_some().then(|| Resource::new_own(self.rep(0))))
    }

    fn server(&mut self, handle: Resource<Ask>) -> wasmtime::Result<String> {
        let view = self.question_at(&handle)?;
        self.pull(&*view.server)
    }

    fn method(&mut self, handle: Resource<Ask>) -> wasmtime::Result<String> {
        let view = self.question_at(&handle)?;
        self.pull(&*view.method)
    }

    fn params(&mut self, handle: Resource<Ask>) -> wasmtime::Result<Resource<Doc>> {
        let view = self.question_at(&handle)?;
        let access = match view.answer {
            None => Access::Editable(Reserved::Told),
            Some(_) => Access::Lent("the question is asked: `params` can be edited in `on-ask` only"),
        };
        self.open(Key::Told, &view.params, access)
    }

    fn answer(&mut self, handle: Resource<Ask>) -> wasmtime::Result<Option<Outcome>> {
        let view = self.question_at(&handle)?;
        let Some(answer) = &view.answer else { return Ok(None) };
        let document = self.open(Key::Answer, outcome_bytes(answer), Access::Editable(Reserved::Nothing))?;
        Ok(Some(match answer {
            filter::Outcome::Success(_) => Outcome::Success(document),
            filter::Outcome::Failure(_) => Outcome::Failure(document),
        }))
    }

    fn drop(&mut self, _: Resource<Ask>) -> wasmtime::Result<()> {
        self.tick()
    }
}

impl HostNotification for State {
    fn call(&mut self, handle: Resource<Notification>) -> wasmtime::Result<Option<Resource<Call>>> {
        let view = self.notification_at(&handle)?;
        Ok(view.call.is_some().then(|| Resource::new_own(self.rep(0))))
    }

    fn server(&mut self, handle: Resource<Notification>) -> wasmtime::Result<String> {
        let view = self.notification_at(&handle)?;
        self.pull(&*view.server)
    }

    fn method(&mut self, handle: Resource<Notification>) -> wasmtime::Result<String> {
        let view = self.notification_at(&handle)?;
        self.pull(&*view.method)
    }

    fn down(&mut self, handle: Resource<Notification>) -> wasmtime::Result<bool> {
        Ok(self.notification_at(&handle)?.down)
    }

    fn params(&mut self, handle: Resource<Notification>) -> wasmtime::Result<Resource<Doc>> {
        let view = self.notification_at(&handle)?;
        self.open(Key::Told, &view.params, Access::Editable(Reserved::Told))
    }

    fn drop(&mut self, _: Resource<Notification>) -> wasmtime::Result<()> {
        self.tick()
    }
}
