//! The resource `head`: the head of a downstream HTTP request, as `authenticate` sees it.

use std::sync::Arc;

use wasmtime::component::Resource;

use super::super::bindings::lockgate::plugin::context::{Head, HostHead};
use super::super::store::State;
use super::context::joined_all;
use super::subject::{Subject, absent};
use crate::filter::{HeadReads, RequestHead};

impl State {
    /// The head, once it is written down what of it is looked at.
    fn head_at(
        &mut self,
        handle: &Resource<Head>,
        read: impl FnOnce(&mut HeadReads),
    ) -> wasmtime::Result<Arc<RequestHead>> {
        self.touch(handle.rep())?;
        match &mut self.subject {
            Subject::Head { head, reads } => {
                read(reads);
                Ok(head.clone())
            }
            _ => Err(absent()),
        }
    }
}

impl HostHead for State {
    fn method(&mut self, handle: Resource<Head>) -> wasmtime::Result<String> {
        let head = self.head_at(&handle, |reads| reads.method = true)?;
        self.pull(head.method.as_str())
    }

    fn path(&mut self, handle: Resource<Head>) -> wasmtime::Result<String> {
        let head = self.head_at(&handle, |reads| reads.path = true)?;
        self.pull(head.path.as_str())
    }

    fn server(&mut self, handle: Resource<Head>) -> wasmtime::Result<Option<String>> {
        let head = self.head_at(&handle, |_| {})?;
        head.server.as_deref().map(|server| self.pull(server)).transpose()
    }

    fn header(&mut self, handle: Resource<Head>, name: String) -> wasmtime::Result<Option<String>> {
        let name = name.to_ascii_lowercase();
        // Names are kept until the hook is over, so they count like anything else that the guest hands over.
        self.output(name.len())?;
        // What it looked at is a credential now, present or not, readable or not.
        let head = self.head_at(&handle, |reads| _ = reads.headers.insert(name.clone()))?;
        joined_all(&head.headers, &name).map(|value| self.pull(value)).transpose()
    }

    fn header_names(&mut self, handle: Resource<Head>) -> wasmtime::Result<Vec<String>> {
        let head = self.head_at(&handle, |reads| reads.header_names = true)?;
        let names: Vec<String> = head.headers.keys().map(|name| name.as_str().to_owned()).collect();
        self.pulled(names.iter().map(String::len).sum())?;
        Ok(names)
    }

    fn address(&mut self, handle: Resource<Head>) -> wasmtime::Result<Option<String>> {
        let head = self.head_at(&handle, |reads| reads.address = true)?;
        Ok(head.address.map(|address| address.to_string()))
    }

    fn drop(&mut self, _: Resource<Head>) -> wasmtime::Result<()> {
        self.tick()
    }
}
