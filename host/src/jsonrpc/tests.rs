//! What the tests of the module share: messages made at random, and short ways to scan.

mod documents;
mod law;
mod properties;
mod spellings;
mod splices;

use std::collections::HashSet;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Limits, Message, Source, Violation, unescape};

fn parse(text: impl AsRef<[u8]>) -> Result<Message, Violation> {
    Message::parse(Bytes::copy_from_slice(text.as_ref()), &Limits::default(), Source::Client)
}

fn message(text: impl AsRef<[u8]>) -> Message {
    let text = text.as_ref();
    parse(text).unwrap_or_else(|violation| panic!("{}: {violation}", String::from_utf8_lossy(text)))
}

fn space() -> BoxedStrategy<String> {
    prop_oneof![8 => Just(String::new()), 1 => "[ \t]{1,3}", 1 => "[ \t\r\n]{1,6}"].boxed()
}

/// A string literal, spelled in any way that the law allows.
fn literal() -> BoxedStrategy<String> {
    let part = prop_oneof![
        6 => "[a-zA-Z0-9 _./~-]{0,12}",
        1 => "[é水𝕊\u{7f}\u{200b}]{1,3}",
        1 => r#"\\(["\\/bfnrt]|u00[0-9a-f]{2}|u6c34|ud83d\\ude00)"#,
        1 => "[a-z]{60,150}",
    ];
    proptest::collection::vec(part, 0..4).prop_map(|parts| format!("\"{}\"", parts.concat())).boxed()
}

fn number() -> BoxedStrategy<String> {
    r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?".boxed()
}

/// An object of the given members, the first of each name.
fn object(members: Vec<(String, String)>, spaces: &[String; 4]) -> String {
    let mut names = HashSet::new();
    let unique =
        members.into_iter().filter(|(name, _)| names.insert(unescape(name.as_bytes()).unwrap().into_owned()));
    let [before, after, colon, end] = spaces;
    let members: Vec<_> =
        unique.map(|(name, value)| format!("{before}{name}{after}:{colon}{value}{end}")).collect();
    format!("{{{}}}", if members.is_empty() { before.clone() } else { members.join(",") })
}

fn spaces() -> BoxedStrategy<[String; 4]> {
    [space(), space(), space(), space()].boxed()
}

/// Any JSON value under the law.
fn value() -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        literal(),
        number(),
        prop_oneof![Just("true"), Just("false"), Just("null")].prop_map(str::to_owned),
    ];
    leaf.prop_recursive(5, 60, 24, |inner| {
        prop_oneof![
            (proptest::collection::vec(inner.clone(), 0..24), space(), space()).prop_map(
                |(items, before, after)| format!(
                    "[{before}{}{after}]",
                    items.join(&format!("{after},{before}"))
                )
            ),
            (proptest::collection::vec((literal(), inner), 0..24), spaces())
                .prop_map(|(members, spaces)| object(members, &spaces)),
        ]
    })
    .boxed()
}

fn object_value() -> BoxedStrategy<String> {
    (proptest::collection::vec((literal(), value()), 0..6), spaces())
        .prop_map(|(members, spaces)| object(members, &spaces))
        .boxed()
}

/// Raw ids.
fn id() -> BoxedStrategy<String> {
    prop_oneof![literal(), "-?(0|[1-9][0-9]{0,30})", "\"[a-z0-9]{200,260}\""].boxed()
}

/// A name that is none of the reserved ones.
fn extra() -> BoxedStrategy<(String, String)> {
    ("\"x-[a-z\u{e9}]{1,4}\"", value()).boxed()
}

/// `params` with the members that Lockgate looks at, and others.
fn params() -> BoxedStrategy<String> {
    let meta = (proptest::option::of(value()), proptest::collection::vec(extra(), 0..3), spaces()).prop_map(
        |(token, mut members, spaces)| {
            members.extend(token.map(|token| ("\"progressToken\"".to_owned(), token)));
            object(members, &spaces)
        },
    );
    let known = (
        proptest::option::of(literal()),
        proptest::option::of(object_value()),
        proptest::option::of(prop_oneof![4 => meta, 1 => number()]),
    );
    let members =
        (known, proptest::collection::vec(extra(), 0..3)).prop_map(|((name, arguments, meta), extra)| {
            let known = [("name", name), ("arguments", arguments), ("_meta", meta)];
            let known = known.into_iter().filter_map(|(name, value)| Some((format!("\"{name}\""), value?)));
            known.chain(extra).collect::<Vec<_>>()
        });
    (members.prop_shuffle(), spaces()).prop_map(|(members, spaces)| object(members, &spaces)).boxed()
}

/// Any message of the law, spelled in any way, with its members in any order.
fn any_message() -> BoxedStrategy<String> {
    let method = prop_oneof![
        Just("\"tools/call\"".to_owned()),
        Just("\"\\u0074ools\\/list\"".to_owned()),
        "\"[a-z/]{1,20}\""
    ];
    let request = (proptest::option::of(id()), method, proptest::option::of(params())).prop_map(
        |(id, method, params)| [("id", id), ("method", Some(method)), ("params", params), ("result", None)],
    );
    let result = (id(), prop_oneof![object_value(), value()]).prop_map(|(id, result)| {
        [("id", Some(id)), ("result", Some(result)), ("method", None), ("params", None)]
    });
    let error = (proptest::option::of(prop_oneof![id(), Just("null".to_owned())]), object_value())
        .prop_map(|(id, error)| [("id", id), ("error", Some(error)), ("method", None), ("params", None)]);
    let members = (prop_oneof![3 => request, 2 => result, 1 => error], proptest::option::of(extra()))
        .prop_map(|(members, extra)| {
            let members =
                members.into_iter().filter_map(|(name, value)| Some((format!("\"{name}\""), value?)));
            let jsonrpc = ("\"jsonrpc\"".to_owned(), "\"2.0\"".to_owned());
            members.chain([jsonrpc]).chain(extra).collect::<Vec<_>>()
        });
    (members.prop_shuffle(), spaces(), space(), space())
        .prop_map(|(members, spaces, before, after)| format!("{before}{}{after}", object(members, &spaces)))
        .boxed()
}
