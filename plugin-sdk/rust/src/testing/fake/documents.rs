//! Documents as trees of JSON, under the rules of the contract.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::Value as Json;

use crate::{AccessError, pointer};

pub(crate) use crate::JsonKind;

/// Default of `limits.pull_bytes`.
pub(crate) const PULL_BYTES: usize = 1 << 20;

/// Members of `params` that no filter edits.
const RESERVED: [&str; 4] = ["/name", "/uri", "/ref", "/_meta/progressToken"];

/// Members of notifications and questions that no filter edits.
const BELONGS: [&str; 6] =
    ["/progressToken", "/requestId", "/uri", "/taskId", "/elicitationId", "/_meta/progressToken"];

#[derive(Clone, Debug)]
pub(crate) struct Doc {
    root: Rc<RefCell<Json>>,
    access: Access,
    pull_bytes: usize,
}

/// What may be edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    ReadOnly,
    Editable,
    /// Editable but for the members of the protocol.
    Params,
    /// Editable but for the name.
    Definition,
    /// Editable but for what says what the message belongs to.
    Told,
}

#[derive(Clone, Debug)]
pub(crate) struct Value {
    json: Json,
    pull_bytes: usize,
}

impl Value {
    pub(crate) fn size(&self) -> u64 {
        self.json.to_string().len() as u64
    }

    pub(crate) fn read(&self) -> Result<String, AccessError> {
        limited(self.json.to_string(), self.pull_bytes)
    }
}

impl Doc {
    pub(crate) fn new(root: Rc<RefCell<Json>>, access: Access, pull_bytes: usize) -> Doc {
        Doc { root, access, pull_bytes }
    }

    pub(crate) fn of(json: Json, access: Access) -> Doc {
        Doc::new(Rc::new(RefCell::new(json)), access, PULL_BYTES)
    }

    pub(crate) fn size(&self) -> u64 {
        self.root.borrow().to_string().len() as u64
    }

    pub(crate) fn kind(&self, at: &str) -> Result<Option<JsonKind>, AccessError> {
        Ok(self.at(at)?.map(|json| match json {
            Json::Null => JsonKind::Null,
            Json::Bool(_) => JsonKind::Boolean,
            Json::Number(_) => JsonKind::Number,
            Json::String(_) => JsonKind::Text,
            Json::Array(_) => JsonKind::Array,
            Json::Object(_) => JsonKind::Object,
        }))
    }

    pub(crate) fn get(&self, at: &str) -> Result<Option<String>, AccessError> {
        self.at(at)?.map(|json| limited(json.to_string(), self.pull_bytes)).transpose()
    }

    pub(crate) fn get_all(&self, at: &[String]) -> Result<Vec<Option<String>>, AccessError> {
        at.iter().map(|at| self.get(at)).collect()
    }

    pub(crate) fn text(&self, at: &str) -> Result<Option<String>, AccessError> {
        match self.at(at)? {
            None => Ok(None),
            Some(Json::String(text)) => limited(text, self.pull_bytes).map(Some),
            Some(_) => Err(AccessError::WrongKind(format!("{at} is not a string"))),
        }
    }

    pub(crate) fn keys(&self, at: &str) -> Result<Vec<String>, AccessError> {
        match self.at(at)? {
            None => Ok(Vec::new()),
            Some(Json::Object(members)) => Ok(members.into_iter().map(|(name, _)| name).collect()),
            Some(_) => Err(AccessError::WrongKind(format!("{at} is not an object"))),
        }
    }

    pub(crate) fn length(&self, at: &str) -> Result<Option<u32>, AccessError> {
        let length = match self.at(at)? {
            None => return Ok(None),
            Some(Json::Array(items)) => items.len(),
            Some(Json::Object(members)) => members.len(),
            Some(_) => return Err(AccessError::WrongKind(format!("{at} is neither object nor array"))),
        };
        Ok(u32::try_from(length).ok())
    }

    pub(crate) fn strings(&self, at: &str) -> Result<Vec<(String, String)>, AccessError> {
        fn collect(json: &Json, at: String, found: &mut Vec<(String, String)>) {
            match json {
                Json::String(text) => found.push((at, text.clone())),
                Json::Array(items) => {
                    for (index, item) in items.iter().enumerate() {
                        collect(item, format!("{at}/{index}"), found);
                    }
                }
                Json::Object(members) => {
                    for (name, value) in members {
                        collect(value, format!("{at}{}", pointer([name.as_str()])), found);
                    }
                }
                _ => {}
            }
        }
        let mut found = Vec::new();
        if let Some(json) = self.at(at)? {
            collect(&json, at.to_owned(), &mut found);
        }
        let size: usize = found.iter().map(|(_, text)| text.len()).sum();
        if size > self.pull_bytes { Err(AccessError::TooLarge(size as u64)) } else { Ok(found) }
    }

    pub(crate) fn set(&self, at: &str, json: &str) -> Result<(), AccessError> {
        let json = serde_json::from_str(json).map_err(|error| AccessError::InvalidJson(error.to_string()))?;
        self.store(at, json)
    }

    pub(crate) fn set_text(&self, at: &str, value: &str) -> Result<(), AccessError> {
        self.store(at, Json::from(value))
    }

    pub(crate) fn remove(&self, at: &str) -> Result<(), AccessError> {
        self.check_edit(at)?;
        let Some((parent, name)) = at.rsplit_once('/') else {
            return Err(AccessError::InvalidPointer("the whole document cannot be removed".into()));
        };
        match self.root.borrow_mut().pointer_mut(parent) {
            Some(Json::Object(members)) => {
                members.shift_remove(&unescape(name));
            }
            Some(Json::Array(items)) => {
                if let Some(index) = name.parse().ok().filter(|index| *index < items.len()) {
                    items.remove(index);
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn replace_strings(&self, edits: &[(String, String)]) -> Result<(), AccessError> {
        for (at, _) in edits {
            self.check_edit(at)?;
            if !matches!(self.at(at)?, Some(Json::String(_))) {
                return Err(AccessError::WrongKind(format!("{at} is not a string")));
            }
        }
        edits.iter().try_for_each(|(at, text)| self.set_text(at, text))
    }

    pub(crate) fn take(&self, at: &str) -> Result<Option<Value>, AccessError> {
        Ok(self.at(at)?.map(|json| Value { json, pull_bytes: self.pull_bytes }))
    }

    pub(crate) fn put(&self, at: &str, value: &Value) -> Result<(), AccessError> {
        self.store(at, value.json.clone())
    }

    fn at(&self, at: &str) -> Result<Option<Json>, AccessError> {
        check_pointer(at)?;
        Ok(self.root.borrow().pointer(at).cloned())
    }

    fn store(&self, at: &str, json: Json) -> Result<(), AccessError> {
        self.check_edit(at)?;
        let mut root = self.root.borrow_mut();
        let Some((parent, name)) = at.rsplit_once('/') else {
            *root = json;
            return Ok(());
        };
        let missing = || AccessError::InvalidPointer(format!("nothing stands at {parent}, or no such item"));
        match root.pointer_mut(parent).ok_or_else(missing)? {
            Json::Object(members) => {
                members.insert(unescape(name), json);
            }
            Json::Array(items) if name == "-" => items.push(json),
            Json::Array(items) => {
                let item = name.parse().ok().and_then(|index: usize| items.get_mut(index));
                *item.ok_or_else(missing)? = json;
            }
            _ => return Err(missing()),
        }
        Ok(())
    }

    fn check_edit(&self, at: &str) -> Result<(), AccessError> {
        check_pointer(at)?;
        let below = |reserved: &str| {
            at.is_empty()
                || at == reserved
                || at.strip_prefix(reserved).is_some_and(|rest| rest.starts_with('/'))
        };
        match self.access {
            Access::Editable => Ok(()),
            Access::Params if !RESERVED.into_iter().any(below) => Ok(()),
            Access::Told if !BELONGS.into_iter().any(below) => Ok(()),
            Access::Definition if !below("/name") && !below("/uri") => Ok(()),
            Access::ReadOnly => Err(AccessError::ReadOnly(format!("{at}: only lent to read in this hook"))),
            Access::Params | Access::Definition | Access::Told => {
                Err(AccessError::ReadOnly(format!("{at} is reserved")))
            }
        }
    }
}

fn check_pointer(at: &str) -> Result<(), AccessError> {
    if at.is_empty() || at.starts_with('/') {
        return Ok(());
    }
    Err(AccessError::InvalidPointer(format!("`{at}` does not begin with `/`")))
}

fn unescape(name: &str) -> String {
    name.replace("~1", "/").replace("~0", "~")
}

fn limited(text: String, limit: usize) -> Result<String, AccessError> {
    if text.len() > limit { Err(AccessError::TooLarge(text.len() as u64)) } else { Ok(text) }
}
