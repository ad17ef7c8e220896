//! The resource `exchange`: one outgoing HTTP exchange, and the headers that a filter may set.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use wasmtime::component::Resource;

use super::super::bindings::lockgate::plugin::context::{Call, Doc, Exchange, HostExchange, Principal};
use super::super::bindings::lockgate::plugin::types::AccessError;
use super::super::store::State;
use super::context::joined;
use super::documents::{Access, Key};
use super::subject::{Subject, absent};
use crate::filter::ExchangeView;

/// What Lockgate writes itself, from the final message: a header set by a filter would contradict
/// it, and some servers believe the header.
const OWN: [&str; 14] = [
    "host",
    "content-length",
    "content-type",
    "accept",
    "last-event-id",
    "connection",
    "proxy-connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl State {
    pub(super) fn exchange_at(&mut self, handle: &Resource<Exchange>) -> wasmtime::Result<Arc<ExchangeView>> {
        self.touch(handle.rep())?;
        match &self.subject {
            Subject::Exchange { view, .. } => Ok(view.clone()),
            _ => Err(absent()),
        }
    }

    /// Sets a header that passed [`header_name`].
    pub(super) fn put_header(&mut self, name: HeaderName, value: HeaderValue) {
        if let Subject::Exchange { set, remove, .. } = &mut self.subject {
            remove.retain(|removed| *removed != name);
            set.insert(name, value);
        }
    }
}

/// A header name that a filter may set.
pub(super) fn header_name(name: &str) -> Result<HeaderName, AccessError> {
    let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
        return Err(AccessError::Denied(format!("`{}` is not a header name", name.escape_debug())));
    };
    if OWN.contains(&name.as_str()) || name.as_str().starts_with("mcp-") {
        return Err(AccessError::Denied(format!("Lockgate writes the header `{name}` itself")));
    }
    Ok(name)
}

impl HostExchange for State {
    fn server(&mut self, handle: Resource<Exchange>) -> wasmtime::Result<String> {
        let view = self.exchange_at(&handle)?;
        self.pull(&*view.server)
    }

    fn purpose(&mut self, handle: Resource<Exchange>) -> wasmtime::Result<String> {
        Ok(self.exchange_at(&handle)?.purpose.to_owned())
    }

    fn method(&mut self, handle: Resource<Exchange>) -> wasmtime::Result<String> {
        Ok(self.exchange_at(&handle)?.method.to_owned())
    }

    fn url(&mut self, handle: Resource<Exchange>) -> wasmtime::Result<String> {
        let view = self.exchange_at(&handle)?;
        self.pull(&*view.url)
    }

    fn message(&mut self, handle: Resource<Exchange>) -> wasmtime::Result<Option<Resource<Doc>>> {
        let view = self.exchange_at(&handle)?;
        let Some(message) = &view.message else { return Ok(None) };
        self.open(Key::Message, message, Access::Lent("the message is final in `upstream`")).map(Some)
    }

    fn call(&mut self, handle: Resource<Exchange>) -> wasmtime::Result<Option<Resource<Call>>> {
        let view = self.exchange_at(&handle)?;
        Ok(view.call.is_some().then(|| Resource::new_own(self.rep(0))))
    }

    fn principal(&mut self, handle: Resource<Exchange>) -> wasmtime::Result<Option<Resource<Principal>>> {
        self.exchange_at(&handle)?;
        Ok(self.principal_of_exchange().map(Resource::new_own))
    }

    fn header(&mut self, handle: Resource<Exchange>, name: String) -> wasmtime::Result<Option<String>> {
        let view = self.exchange_at(&handle)?;
        let name = name.to_ascii_lowercase();
        let value = match &self.subject {
            Subject::Exchange { remove, .. } if remove.iter().any(|removed| removed.as_str() == name) => None,
            Subject::Exchange { set, .. } if set.contains_key(&name) => joined(set, &name),
            _ => joined(&view.headers, &name),
        };
        value.map(|value| self.pull(value)).transpose()
    }

    fn set_header(
        &mut self,
        handle: Resource<Exchange>,
        name: String,
        value: String,
    ) -> wasmtime::Result<Result<(), AccessError>> {
        self.exchange_at(&handle)?;
        self.output(name.len().saturating_add(value.len()))?;
        let name = match header_name(&name) {
            Ok(name) => name,
            Err(error) => return Ok(Err(error)),
        };
        let Ok(value) = HeaderValue::from_str(&value) else {
            return Ok(Err(AccessError::Denied(format!(
                "the value for header `{name}` holds characters that no header may hold"
            ))));
        };
        self.put_header(name, value);
        Ok(Ok(()))
    }

    fn remove_header(
        &mut self,
        handle: Resource<Exchange>,
        name: String,
    ) -> wasmtime::Result<Result<(), AccessError>> {
        self.exchange_at(&handle)?;
        self.output(name.len())?;
        let name = match header_name(&name) {
            Ok(name) => name,
            Err(error) => return Ok(Err(error)),
        };
        if let Subject::Exchange { set, remove, .. } = &mut self.subject {
            set.remove(&name);
            if !remove.contains(&name) {
                remove.push(name);
            }
        }
        Ok(Ok(()))
    }

    fn drop(&mut self, _: Resource<Exchange>) -> wasmtime::Result<()> {
        self.tick()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lockgate_writes_itself_is_refused() {
        for name in
            ["Host", "content-length", "ACCEPT", "Mcp-Session-Id", "mcp-anything", "te", "bad name", ""]
        {
            assert!(matches!(header_name(name), Err(AccessError::Denied(_))), "{name}");
        }
        for name in ["Authorization", "x-api-key", "Cookie", "accept-language"] {
            assert!(header_name(name).is_ok(), "{name}");
        }
    }
}
