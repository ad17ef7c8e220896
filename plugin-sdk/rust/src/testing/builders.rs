//! Builders of what a hook is lent.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::fake::context as fake;
use super::fake::documents::{Access, Doc, PULL_BYTES};
use crate::{Ask, Call, Definitions, Exchange, Head, Items, Kind, Notification};

/// Makes a [`Call`], on the server `server` unless said otherwise.
#[derive(Debug)]
pub struct CallBuilder(fake::Call);

impl CallBuilder {
    /// A call of an MCP method, such as `tools/call`.
    pub fn new(method: &str) -> CallBuilder {
        CallBuilder(fake::Call {
            method: method.to_owned(),
            server: "server".to_owned(),
            name: None,
            visible_name: None,
            principal: None,
            headers: BTreeMap::new(),
            round: 0,
            answers: Vec::new(),
            definition: None,
            params: Rc::new(RefCell::new(Value::Object(Map::new()))),
            outcome: None,
            upstream_status: None,
            upstream_headers: BTreeMap::new(),
            state: Rc::default(),
            rerouted: Rc::default(),
            pull_bytes: PULL_BYTES,
        })
    }

    /// The server that will answer.
    pub fn server(mut self, server: &str) -> Self {
        self.0.server = server.to_owned();
        self
    }

    /// The tool or prompt name, or the resource URI; also in the `params`.
    pub fn name(mut self, name: &str) -> Self {
        let member = if self.0.method.starts_with("resources/") { "uri" } else { "name" };
        self.member(member, Value::from(name));
        self.0.name = Some(name.to_owned());
        self
    }

    /// The name that the client uses, where a `catalog` filter renamed.
    pub fn visible_name(mut self, name: &str) -> Self {
        self.0.visible_name = Some(name.to_owned());
        self
    }

    /// The `arguments` in the `params`.
    pub fn arguments(self, arguments: Value) -> Self {
        self.member("arguments", arguments);
        self
    }

    /// All of the `params`.
    pub fn params(self, params: Value) -> Self {
        self.0.params.replace(params);
        self
    }

    /// Who calls.
    pub fn principal(mut self, principal: PrincipalBuilder) -> Self {
        self.0.principal = Some(principal.0);
        self
    }

    /// A header of the downstream request.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.0.headers.insert(name.to_ascii_lowercase(), value.to_owned());
        self
    }

    /// `input_required` rounds so far.
    pub fn round(mut self, round: u32) -> Self {
        self.0.round = round;
        self
    }

    /// What the user said to the filter's questions, each an MCP `ElicitResult`. Belongs to a later
    /// [`round`](CallBuilder::round).
    pub fn answers(mut self, answers: &[Value]) -> Self {
        self.0.answers = answers.iter().map(Value::to_string).collect();
        self
    }

    /// The definition of what is called.
    pub fn definition(mut self, definition: Value) -> Self {
        self.0.definition = Some(Rc::new(RefCell::new(definition)));
        self
    }

    /// What a filter stored in an earlier round.
    pub fn state(self, key: &str, value: &[u8]) -> Self {
        self.0.state.borrow_mut().insert(key.to_owned(), value.to_vec());
        self
    }

    /// What came back: makes it a call for `response`.
    pub fn result(mut self, result: Value) -> Self {
        self.0.outcome = Some((true, Rc::new(RefCell::new(result))));
        self
    }

    /// The error that came back: makes it a call for `response`.
    pub fn error(mut self, code: i32, message: &str, data: Option<Value>) -> Self {
        let mut error = json!({ "code": code, "message": message });
        if let (Some(data), Some(members)) = (data, error.as_object_mut()) {
            members.insert("data".to_owned(), data);
        }
        self.0.outcome = Some((false, Rc::new(RefCell::new(error))));
        self
    }

    /// HTTP status and one header of the upstream's answer.
    pub fn upstream(mut self, status: u16, header: (&str, &str)) -> Self {
        self.0.upstream_status = Some(status);
        self.0.upstream_headers.insert(header.0.to_ascii_lowercase(), header.1.to_owned());
        self
    }

    /// `limits.pull_bytes`, 1 MiB unless said otherwise.
    pub fn pull_bytes(mut self, limit: usize) -> Self {
        self.0.pull_bytes = limit;
        self
    }

    /// The call.
    pub fn build(self) -> Call {
        Call(self.0)
    }

    fn member(&self, name: &str, value: Value) {
        if let Some(params) = self.0.params.borrow_mut().as_object_mut() {
            params.insert(name.to_owned(), value);
        }
    }
}

/// Makes a principal, vouched for by `test`.
#[derive(Debug)]
pub struct PrincipalBuilder(pub(super) fake::Principal);

impl PrincipalBuilder {
    /// A principal without claims.
    pub fn new(id: &str) -> PrincipalBuilder {
        let claims = Value::Object(Map::new());
        PrincipalBuilder(fake::Principal { id: id.to_owned(), issuer: "test".to_owned(), claims })
    }

    /// Its claims, an object.
    pub fn claims(mut self, claims: Value) -> Self {
        self.0.claims = claims;
        self
    }
}

/// Makes a [`Head`]: a `POST` to `/server/mcp`.
#[derive(Debug)]
pub struct HeadBuilder(fake::Head);

impl HeadBuilder {
    /// A head without headers.
    #[expect(clippy::new_without_default, reason = "as the other builders")]
    pub fn new() -> HeadBuilder {
        HeadBuilder(fake::Head {
            method: "POST".to_owned(),
            path: "/server/mcp".to_owned(),
            server: Some("server".to_owned()),
            headers: BTreeMap::new(),
        })
    }

    /// A header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.0.headers.insert(name.to_ascii_lowercase(), value.to_owned());
        self
    }

    /// The head.
    pub fn build(self) -> Head {
        Head(self.0)
    }
}

/// Makes [`Items`], as a list asks for them.
#[derive(Debug)]
pub struct ItemsBuilder(fake::Items);

impl ItemsBuilder {
    /// No items yet.
    pub fn new(kind: Kind) -> ItemsBuilder {
        ItemsBuilder(fake::Items {
            server: "server".to_owned(),
            kind,
            method: "tools/list".to_owned(),
            items: Vec::new(),
            principal: None,
            headers: BTreeMap::new(),
            crossings: Cell::new(0),
        })
    }

    /// An item and its definition; null if the server does not list it.
    pub fn item(mut self, name: &str, definition: Value) -> Self {
        let definition = Some(definition).filter(|definition| !definition.is_null());
        self.0.items.push((name.to_owned(), name.to_owned(), definition));
        self
    }

    /// Who asks.
    pub fn principal(mut self, principal: PrincipalBuilder) -> Self {
        self.0.principal = Some(principal.0);
        self
    }

    /// The MCP method that asks.
    pub fn method(mut self, method: &str) -> Self {
        self.0.method = method.to_owned();
        self
    }

    /// The items.
    pub fn build(self) -> Items {
        Items(self.0)
    }
}

/// Makes [`Definitions`].
#[derive(Debug)]
pub struct DefinitionsBuilder(fake::Definitions);

impl DefinitionsBuilder {
    /// No definitions yet.
    pub fn new(kind: Kind) -> DefinitionsBuilder {
        DefinitionsBuilder(fake::Definitions {
            server: "server".to_owned(),
            kind,
            items: Vec::new(),
            renamed: RefCell::default(),
            order: RefCell::default(),
        })
    }

    /// One definition.
    pub fn item(mut self, name: &str, definition: Value) -> Self {
        self.0.items.push((name.to_owned(), Doc::of(definition, Access::Definition)));
        self
    }

    /// The definitions.
    pub fn build(self) -> Definitions {
        Definitions(self.0)
    }
}

/// Makes an [`Exchange`] with the purpose `call`.
#[derive(Debug)]
pub struct ExchangeBuilder(fake::Exchange);

impl ExchangeBuilder {
    /// An exchange with a server, of Lockgate's own.
    pub fn new(server: &str) -> ExchangeBuilder {
        ExchangeBuilder(fake::Exchange {
            server: server.to_owned(),
            purpose: "call".to_owned(),
            call: None,
            principal: None,
            message: None,
            headers: RefCell::default(),
            secrets: BTreeMap::new(),
        })
    }

    /// Why it is made.
    pub fn purpose(mut self, purpose: &str) -> Self {
        self.0.purpose = purpose.to_owned();
        self
    }

    /// The call it is made for, and with it the principal.
    pub fn call(mut self, call: CallBuilder) -> Self {
        self.0.principal = call.0.principal.clone();
        self.0.call = Some(call.0);
        self
    }

    /// The body.
    pub fn message(mut self, message: Value) -> Self {
        self.0.message = Some(message);
        self
    }

    /// Grants a secret that may go to these servers.
    pub fn secret(mut self, name: &str, value: &str, servers: &[&str]) -> Self {
        let servers = servers.iter().map(|server| (*server).to_owned()).collect();
        self.0.secrets.insert(name.to_owned(), (value.to_owned(), servers));
        self
    }

    /// The exchange.
    pub fn build(self) -> Exchange {
        Exchange(self.0)
    }
}

/// Makes a [`Notification`], from the server `server` down to the client unless said otherwise.
#[derive(Debug)]
pub struct NotificationBuilder(fake::Notification);

impl NotificationBuilder {
    /// A notification, such as `notifications/message`, and its `params`.
    pub fn new(method: &str, params: Value) -> NotificationBuilder {
        NotificationBuilder(fake::Notification {
            server: "server".to_owned(),
            method: method.to_owned(),
            down: true,
            call: None,
            params: Rc::new(RefCell::new(params)),
        })
    }

    /// From the client up to the server.
    pub fn up(mut self) -> Self {
        self.0.down = false;
        self
    }

    /// The call that it belongs to.
    pub fn call(mut self, call: CallBuilder) -> Self {
        self.0.call = Some(call.0);
        self
    }

    /// The notification.
    pub fn build(self) -> Notification {
        Notification(self.0)
    }
}

/// Makes an [`Ask`], from the server `server`.
#[derive(Debug)]
pub struct AskBuilder(fake::Ask);

impl AskBuilder {
    /// A question, such as `elicitation/create`, and its `params`.
    pub fn new(method: &str, params: Value) -> AskBuilder {
        AskBuilder(fake::Ask {
            server: "server".to_owned(),
            method: method.to_owned(),
            call: None,
            params: Rc::new(RefCell::new(params)),
            answer: None,
        })
    }

    /// The call that it belongs to.
    pub fn call(mut self, call: CallBuilder) -> Self {
        self.0.call = Some(call.0);
        self
    }

    /// The client's answer: makes it a question for `on_answer`.
    pub fn answer(mut self, result: Value) -> Self {
        self.0.answer = Some((true, Rc::new(RefCell::new(result))));
        self
    }

    /// The client's error instead of an answer: makes it a question for `on_answer`.
    pub fn refused(mut self, code: i32, message: &str) -> Self {
        let error = json!({ "code": code, "message": message });
        self.0.answer = Some((false, Rc::new(RefCell::new(error))));
        self
    }

    /// The question.
    pub fn build(self) -> Ask {
        Ask(self.0)
    }
}
