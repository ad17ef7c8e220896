//! The head of a downstream HTTP request, and what an `authenticate` filter makes of it.

use crate::raw::context as raw;

/// The head of a downstream HTTP request, before its body is read; credentials included.
#[derive(Debug)]
#[repr(transparent)]
pub struct Head(pub(crate) raw::Head);

impl Head {
    /// HTTP method, upper case.
    pub fn method(&self) -> String {
        self.0.method()
    }

    /// Path without query.
    pub fn path(&self) -> String {
        self.0.path()
    }

    /// The server the path leads to, if it leads to one.
    pub fn server(&self) -> Option<String> {
        self.0.server()
    }

    /// A header by case-insensitive name; repeated ones joined by `, `. What is read here is hidden
    /// from all later hooks.
    pub fn header(&self, name: &str) -> Option<String> {
        self.0.header(name)
    }

    /// Every header name, lower case.
    pub fn header_names(&self) -> Vec<String> {
        self.0.header_names()
    }

    /// The address of the socket peer.
    pub fn address(&self) -> Option<String> {
        self.0.address()
    }

    /// The token of `Authorization: Bearer …`, if that is what the request carries.
    pub fn bearer_token(&self) -> Option<String> {
        let header = self.header("authorization")?;
        let (scheme, token) = header.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    }
}

/// What an `authenticate` hook decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Not mine: let the next filter decide.
    Skip,
    /// This is who calls.
    Accept(Identity),
    /// Go away.
    Refuse(Refusal),
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Stable and unique within the issuer, at most 256 bytes.
    pub id: String,
    /// Who vouches; the filter's name if none.
    pub issuer: Option<String>,
    /// One JSON object; `{}` if there is nothing to tell.
    pub claims: String,
    /// Unix seconds after which the identity is void.
    pub expires_at: Option<u64>,
    /// For how many seconds the same credential may be taken without asking again. 0: ask each time.
    pub keep_seconds: u32,
}

impl Identity {
    /// An identity without claims that does not expire and is not kept.
    pub fn new(id: impl Into<String>) -> Identity {
        Identity { id: id.into(), issuer: None, claims: "{}".into(), expires_at: None, keep_seconds: 0 }
    }
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 401, 403, or 429.
    pub status: u16,
    /// The `WWW-Authenticate` header.
    pub challenge: Option<String>,
    /// What the client is told.
    pub message: String,
}

impl Refusal {
    /// 401 with a challenge, such as `Bearer`.
    pub fn unauthorized(challenge: impl Into<String>, message: impl Into<String>) -> Refusal {
        Refusal { status: 401, challenge: Some(challenge.into()), message: message.into() }
    }
}
