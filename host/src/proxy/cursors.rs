//! Cursors of lists: a client gets the server's own sealed, and shows it again for that list only.
//!
//! A server may take a cursor for anything: an offset, a query, a path. So none reaches it that it
//! did not give, to this principal, for this list of this server.

use bytes::Bytes;

use super::link::Link;
use super::rescue;
use crate::filter::{Caller, Outcome};
use crate::jsonrpc::{Kind, Message};
use crate::keys::Purpose;
use crate::protocol::pages;
use crate::upstream::{Owner, Reply};

/// The request with the server's own cursor in place of the sealed one. The first page has none.
pub(super) fn open(link: &Link, caller: &Caller, request: Message) -> Result<Message, Outcome> {
    let Some(shown) = request.param("cursor").filter(|cursor| *cursor != b"null") else {
        return Ok(request);
    };
    match of_the_server(link, caller, request.method().unwrap_or_default(), shown) {
        Some(cursor) => Ok(request.with_param("cursor", &cursor)),
        None => Err(rescue::invalid_params("`cursor` is not one of this list; begin without one")),
    }
}

/// The server's own cursor behind one that was sealed for this client and this list.
pub(super) fn of_the_server(link: &Link, caller: &Caller, method: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let text: String = serde_json::from_slice(sealed).ok()?;
    link.gateway.keys().open(Purpose::Cursor, &text, &context(link, caller, method))
}

/// The server's page with its cursor sealed for the client. The last page has none, and stays as it is: a sealed
/// empty text would be one more page to a client.
pub(super) fn seal(link: &Link, caller: &Caller, method: &str, reply: Reply) -> Result<Reply, Outcome> {
    let Some(cursor) = pages::next(&reply.message).filter(|_| reply.message.kind() == Kind::Result) else {
        return Ok(reply);
    };
    let sealed = link.gateway.keys().seal(Purpose::Cursor, cursor, &context(link, caller, method));
    let sealed = sealed.map_err(|error| {
        tracing::warn!(server = %link.server, %error, "a `nextCursor` cannot be passed on");
        rescue::malformed(&link.server, &format!("a `nextCursor` that cannot be passed on: {error}"))
    })?;
    let quoted = Bytes::from(format!("\"{sealed}\""));
    Ok(Reply { message: reply.message.with_result_member("nextCursor", Some(&quoted)), ..reply })
}

/// Whose a cursor is, and which list's.
fn context<'a>(link: &'a Link, caller: &'a Caller, method: &'a str) -> [&'a [u8]; 6] {
    let principal = caller.principal.as_ref();
    let session = match &link.owner {
        Owner::Session(id) => id,
        Owner::Principal(..) | Owner::Shared | Owner::Bridged { .. } => "",
    };
    [
        link.server.as_bytes(),
        &link.identity,
        method.as_bytes(),
        session.as_bytes(),
        principal.map_or(b"", |principal| principal.issuer.as_bytes()),
        principal.map_or(b"", |principal| principal.id.as_bytes()),
    ]
}
