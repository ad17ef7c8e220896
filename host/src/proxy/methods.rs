//! The table of MCP methods: what each is about, and so which hooks judge it.
//!
//! `docs/wit.md` shows the same table to people; a test walks both.

use std::borrow::Cow;

use crate::filter::ItemKind;
use crate::jsonrpc::{self, Message};

/// One MCP request method.
#[derive(Debug)]
pub struct Row {
    /// The method; `*` for all that are not in the table.
    pub method: &'static str,
    /// What `access` is asked about.
    pub subject: Subject,
    /// In which eras it exists.
    pub eras: Eras,
    /// Whether it reaches a server, and so passes `request`, `upstream` and `response`. What does
    /// not is answered by Lockgate itself.
    pub forwarded: bool,
}

/// In which eras of the protocol a method exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Eras {
    Both,
    Legacy,
    Modern,
}

impl Eras {
    /// Whether a client of that era has it.
    pub fn include(self, modern: bool) -> bool {
        match self {
            Eras::Both => true,
            Eras::Legacy => !modern,
            Eras::Modern => modern,
        }
    }
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Nothing that has a name.
    None,
    /// Every item of a list.
    List(List),
    /// The item that a string member of `params` names.
    Named(ItemKind, &'static str),
    /// The prompt or resource that `params.ref` names.
    Reference,
    /// Every resource and task that a subscription names.
    Listen,
}

/// How a list result is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List {
    /// What it lists.
    pub kind: ItemKind,
    /// The method.
    pub method: &'static str,
    /// The member of `result` that holds the items.
    pub member: &'static str,
    /// The member of an item that identifies it.
    pub key: &'static str,
}

impl List {
    /// What is wrong with a result that has no such list.
    pub fn missing(&self) -> String {
        format!("an answer to `{}` without the array `{}`", self.method, self.member)
    }
}

/// The list of tools.
pub const TOOLS: List = List { kind: ItemKind::Tool, method: "tools/list", member: "tools", key: "name" };
/// The list of prompts.
pub const PROMPTS: List =
    List { kind: ItemKind::Prompt, method: "prompts/list", member: "prompts", key: "name" };
/// The list of resources.
pub const RESOURCES: List =
    List { kind: ItemKind::Resource, method: "resources/list", member: "resources", key: "uri" };
/// The list of resource templates.
pub const TEMPLATES: List = List {
    kind: ItemKind::ResourceTemplate,
    method: "resources/templates/list",
    member: "resourceTemplates",
    key: "uriTemplate",
};
/// The list of tasks (2025-11-25).
const TASKS: List = List { kind: ItemKind::Task, method: "tasks/list", member: "tasks", key: "taskId" };

const fn row(method: &'static str, eras: Eras, subject: Subject) -> Row {
    Row { method, eras, subject, forwarded: true }
}

const fn local(method: &'static str, eras: Eras) -> Row {
    Row { method, eras, subject: Subject::None, forwarded: false }
}

/// Every method of the protocol, in both eras.
pub static TABLE: &[Row] = &[
    local("initialize", Eras::Legacy),
    local("ping", Eras::Legacy),
    local("server/discover", Eras::Modern),
    row("tools/list", Eras::Both, Subject::List(TOOLS)),
    row("tools/call", Eras::Both, Subject::Named(ItemKind::Tool, "name")),
    row("prompts/list", Eras::Both, Subject::List(PROMPTS)),
    row("prompts/get", Eras::Both, Subject::Named(ItemKind::Prompt, "name")),
    row("resources/list", Eras::Both, Subject::List(RESOURCES)),
    row("resources/templates/list", Eras::Both, Subject::List(TEMPLATES)),
    row("resources/read", Eras::Both, Subject::Named(ItemKind::Resource, "uri")),
    row("resources/subscribe", Eras::Legacy, Subject::Named(ItemKind::Resource, "uri")),
    row("resources/unsubscribe", Eras::Legacy, Subject::Named(ItemKind::Resource, "uri")),
    row("completion/complete", Eras::Both, Subject::Reference),
    row("logging/setLevel", Eras::Legacy, Subject::None),
    row("tasks/list", Eras::Legacy, Subject::List(TASKS)),
    row("tasks/get", Eras::Both, Subject::Named(ItemKind::Task, "taskId")),
    row("tasks/result", Eras::Legacy, Subject::Named(ItemKind::Task, "taskId")),
    row("tasks/cancel", Eras::Both, Subject::Named(ItemKind::Task, "taskId")),
    row("tasks/update", Eras::Modern, Subject::Named(ItemKind::Task, "taskId")),
    row("subscriptions/listen", Eras::Modern, Subject::Listen),
];

/// Stands for every method that is not in the table: forwarded where no `access` filter judges the
/// server, refused where one does, because nobody could say what it reaches.
pub static UNKNOWN: Row = row("*", Eras::Both, Subject::None);

/// What a message without an id may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notification {
    /// One that clients send (2025-11-25): passes to the server.
    Known,
    /// One of an extension: passes where no `access` filter judges the server.
    Extension,
    /// None at all. A request whose id was left out is still executed by some servers, so it must
    /// not pass: no filter has seen it.
    None,
}

/// Tells notifications from requests whose id was left out.
pub fn notification(method: &str) -> Notification {
    match method {
        "notifications/roots/list_changed" | "notifications/progress" | "notifications/tasks/status" => {
            Notification::Known
        }
        _ if method.starts_with("notifications/") => Notification::Extension,
        _ => Notification::None,
    }
}

/// The row of a method.
pub fn find(method: &str) -> &'static Row {
    TABLE.iter().find(|row| row.method == method).unwrap_or(&UNKNOWN)
}

/// The list that defines items of a kind; none for tasks, which are not defined but made.
pub fn definitions_of(kind: ItemKind) -> Option<List> {
    match kind {
        ItemKind::Tool => Some(TOOLS),
        ItemKind::Prompt => Some(PROMPTS),
        ItemKind::Resource => Some(RESOURCES),
        ItemKind::ResourceTemplate => Some(TEMPLATES),
        ItemKind::Task => None,
    }
}

/// The kinds of items that a method can be about.
pub fn kinds_of(row: &Row) -> &'static [ItemKind] {
    use ItemKind::{Prompt, Resource, ResourceTemplate, Task, Tool};
    match row.subject {
        Subject::None => &[],
        Subject::Reference => &[Prompt, Resource, ResourceTemplate],
        Subject::Listen => &[Resource, Task],
        Subject::List(List { kind, .. }) | Subject::Named(kind, _) => match kind {
            Tool => &[Tool],
            Prompt => &[Prompt],
            Resource => &[Resource],
            ResourceTemplate => &[ResourceTemplate],
            Task => &[Task],
        },
    }
}

/// The item that a request names: its kind and the name as the client wrote it. None for requests
/// about nothing in particular; an error text where the name that must be there is not.
pub fn named(row: &Row, request: &Message) -> Result<Option<(ItemKind, String)>, &'static str> {
    match row.subject {
        Subject::None | Subject::List(_) | Subject::Listen => Ok(None),
        Subject::Named(kind, param) => match request.param_text(param) {
            Some(name) => Ok(Some((kind, name.into_owned()))),
            None => Err(match param {
                "uri" => "`params.uri` must be a string",
                "taskId" => "`params.taskId` must be a string",
                _ => "`params.name` must be a string",
            }),
        },
        Subject::Reference => reference(request).map(Some),
    }
}

/// Where in `params` of a request about a reference its name stands. The type decides, as it does for
/// [`named`]: a reference may have a `name` beside its `uri`.
pub fn reference_at(request: &Message) -> &'static str {
    let kind = request.param("ref").and_then(|reference| jsonrpc::get(reference, "/type"));
    match kind.and_then(jsonrpc::unescape).as_deref() {
        Some("ref/prompt") => "/ref/name",
        _ => "/ref/uri",
    }
}

fn reference(request: &Message) -> Result<(ItemKind, String), &'static str> {
    const WRONG: &str =
        "`params.ref` must be `{type: \"ref/prompt\", name}` or `{type: \"ref/resource\", uri}`";
    let reference = request.param("ref").ok_or(WRONG)?;
    let text = |at: &str| -> Option<Cow<'_, str>> { jsonrpc::unescape(jsonrpc::get(reference, at)?) };
    match text("/type").as_deref() {
        Some("ref/prompt") => Ok((ItemKind::Prompt, text("/name").ok_or(WRONG)?.into_owned())),
        Some("ref/resource") => {
            let uri = text("/uri").ok_or(WRONG)?.into_owned();
            let kind = if uri.contains('{') { ItemKind::ResourceTemplate } else { ItemKind::Resource };
            Ok((kind, uri))
        }
        _ => Err(WRONG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_stands_once() {
        for (i, row) in TABLE.iter().enumerate() {
            assert!(TABLE.iter().skip(i + 1).all(|other| other.method != row.method), "{}", row.method);
            assert!(std::ptr::eq(find(row.method), row));
        }
    }

    #[test]
    fn a_request_without_an_id_is_no_notification() {
        for row in TABLE {
            assert_eq!(notification(row.method), Notification::None, "{}", row.method);
        }
        assert_eq!(notification("acme/do"), Notification::None);
        assert_eq!(notification("notifications/acme"), Notification::Extension);
        assert_eq!(notification("notifications/roots/list_changed"), Notification::Known);
    }

    #[test]
    fn the_type_of_a_reference_says_which_member_names_it() {
        for (params, kind, name, at) in [
            (r#"{"ref":{"type":"ref/prompt","name":"n","uri":"u"}}"#, ItemKind::Prompt, "n", "/ref/name"),
            (r#"{"ref":{"name":"n","uri":"u","type":"ref/resource"}}"#, ItemKind::Resource, "u", "/ref/uri"),
            (r#"{"ref":{"type":"ref\u002fprompt","name":"n"}}"#, ItemKind::Prompt, "n", "/ref/name"),
        ] {
            let request = Message::request(b"1", "completion/complete", Some(params.as_bytes()));
            let found = named(find("completion/complete"), &request);
            assert_eq!(found, Ok(Some((kind, name.to_owned()))), "{params}");
            assert_eq!(reference_at(&request), at, "{params}");
        }
    }

    #[test]
    fn an_unknown_method_is_about_nothing() {
        assert_eq!(find("acme/secret").method, "*");
    }
}
