//! Several hundred ways to write one `tools/call`, and what must become of each.

use std::collections::BTreeSet;

/// What a spelling must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The same JSON value written differently: the same answer as the plain spelling.
    Same,
    /// Not acceptable, or another call that nobody can make: some error, and never a result.
    Refused,
}

/// One way to write it.
pub struct Spelling {
    /// For failure messages.
    pub what: String,
    pub class: Class,
    pub content_type: String,
    pub body: Vec<u8>,
}

/// The plain spelling.
pub fn plain(tool: &str) -> Vec<u8> {
    message(&format!(r#""name":"{tool}","arguments":{{}}"#)).into_bytes()
}

/// All of them, each once.
pub fn all(tool: &str) -> Vec<Spelling> {
    let mut all = Collected { seen: BTreeSet::new(), spellings: Vec::new() };
    escapes(&mut all, tool);
    duplicates(&mut all, tool);
    near_keys(&mut all, tool);
    framing(&mut all, tool);
    shapes(&mut all, tool);
    encodings(&mut all, tool);
    content_types(&mut all, tool);
    all.spellings
}

struct Collected {
    seen: BTreeSet<(String, Vec<u8>)>,
    spellings: Vec<Spelling>,
}

impl Collected {
    fn add(&mut self, class: Class, what: impl Into<String>, body: impl Into<Vec<u8>>) {
        self.add_typed(class, what, "application/json", body);
    }
    fn add_typed(
        &mut self,
        class: Class,
        what: impl Into<String>,
        content_type: &str,
        body: impl Into<Vec<u8>>,
    ) {
        let body = body.into();
        if self.seen.insert((content_type.to_owned(), body.clone())) {
            self.spellings.push(Spelling {
                what: what.into(),
                class,
                content_type: content_type.to_owned(),
                body,
            });
        }
    }
}

fn message(params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{{params}}}}}"#)
}

fn escape(text: &str, at: usize, upper: bool) -> String {
    let escaped =
        |c: char| if upper { format!("\\u{:04X}", c as u32) } else { format!("\\u{:04x}", c as u32) };
    text.chars().enumerate().map(|(index, c)| if index == at { escaped(c) } else { c.to_string() }).collect()
}

fn escape_all(text: &str) -> String {
    text.chars().map(|c| format!("\\u{:04x}", c as u32)).collect()
}

/// The same strings, escaped in every way JSON allows.
fn escapes(all: &mut Collected, tool: &str) {
    for upper in [false, true] {
        for at in 0..tool.len() {
            let name = escape(tool, at, upper);
            all.add(
                Class::Same,
                format!("name escaped at {at}"),
                message(&format!(r#""name":"{name}","arguments":{{}}"#)),
            );
        }
    }
    all.add(
        Class::Same,
        "name escaped whole",
        message(&format!(r#""name":"{}","arguments":{{}}"#, escape_all(tool))),
    );
    for at in 0..4 {
        let key = escape("name", at, false);
        all.add(
            Class::Same,
            format!("`name` escaped at {at}"),
            message(&format!(r#""{key}":"{tool}","arguments":{{}}"#)),
        );
    }
    let plain = String::from_utf8(plain(tool)).unwrap();
    for key in ["jsonrpc", "id", "method", "params", "arguments", "tools/call"] {
        for at in 0..key.len() {
            let body = plain.replace(&format!("\"{key}\""), &format!("\"{}\"", escape(key, at, false)));
            all.add(Class::Same, format!("`{key}` escaped at {at}"), body);
        }
        all.add(
            Class::Same,
            format!("`{key}` escaped whole"),
            plain.replace(&format!("\"{key}\""), &format!("\"{}\"", escape_all(key))),
        );
    }
    all.add(Class::Same, "an escaped slash", plain.replace("tools/call", "tools\\/call"));
    for space in [" ", "\n", "\t", "\r\n", "  \n  "] {
        let wide = plain.replace(':', &format!("{space}:{space}")).replace(',', &format!("{space},{space}"));
        all.add(Class::Same, format!("white space {space:?}"), format!("{space}{wide}{space}"));
    }
    let order = format!(
        r#"{{"params":{{"arguments":{{}},"name":"{tool}"}},"id":7,"method":"tools/call","jsonrpc":"2.0"}}"#
    );
    all.add(Class::Same, "another order", order);
    for extra in [
        r#""_meta":{}"#,
        r#""_meta":{"progressToken":1}"#,
        r#""x":null"#,
        r#""tool":"echo""#,
        r#""server":"fx""#,
    ] {
        all.add(
            Class::Same,
            format!("with {extra}"),
            message(&format!(r#"{extra},"name":"{tool}","arguments":{{}}"#)),
        );
    }
    all.add(Class::Same, "without arguments", message(&format!(r#""name":"{tool}""#)));
    all.add(Class::Same, "decoys in the arguments", message(&format!(
        r#""arguments":{{"name":"echo","Name":"echo","params":{{"name":"echo"}},"method":"ping"}},"name":"{tool}""#)));
}

/// The same member twice, wherever one of the two could win.
fn duplicates(all: &mut Collected, tool: &str) {
    for (key, first, second) in [
        ("name", "\"echo\"", format!("\"{tool}\"")),
        ("name", "\"echo\"", format!("\"{}\"", escape_all(tool))),
        ("n\\u0061me", "\"echo\"", format!("\"{tool}\"")),
        ("\\u006eame", "\"echo\"", format!("\"{tool}\"")),
        ("name", "null", format!("\"{tool}\"")),
        ("name", "[]", format!("\"{tool}\"")),
    ] {
        for (one, other) in [(first, second.as_str()), (second.as_str(), first)] {
            for (left, right) in [("name", key), (key, "name")] {
                let params = format!(r#""{left}":{one},"arguments":{{}},"{right}":{other}"#);
                all.add(Class::Refused, "two names", message(&params));
            }
        }
    }
    let (good, bad) =
        (r#"{"name":"echo","arguments":{}}"#, format!(r#"{{"name":"{tool}","arguments":{{}}}}"#));
    for (one, other) in [(good, bad.as_str()), (&bad, good)] {
        for key in ["params", "p\\u0061rams"] {
            let body =
                format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{one},"{key}":{other}}}"#);
            all.add(Class::Refused, "two params", body);
        }
    }
    for (one, other) in [
        ("tools/list", "tools/call"),
        ("tools/call", "tools/list"),
        ("ping", "tools/call"),
        ("tools/call", "ping"),
    ] {
        for key in ["method", "m\\u0065thod"] {
            let body =
                format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{one}","params":{bad},"{key}":"{other}"}}"#);
            all.add(Class::Refused, "two methods", body);
        }
    }
    all.add(
        Class::Refused,
        "two ids",
        format!(r#"{{"jsonrpc":"2.0","id":7,"id":8,"method":"tools/call","params":{bad}}}"#),
    );
    all.add(
        Class::Refused,
        "two versions",
        format!(r#"{{"jsonrpc":"2.0","jsonrpc":"2.0","id":7,"method":"tools/call","params":{bad}}}"#),
    );
    all.add(
        Class::Refused,
        "two arguments",
        message(&format!(r#""name":"{tool}","arguments":{{}},"arguments":{{}}"#)),
    );
    all.add(
        Class::Refused,
        "two members deep inside",
        message(&format!(r#""name":"{tool}","arguments":{{"a":[{{"b":1,"b":2}}]}}"#)),
    );
}

/// Keys that a careless parser takes for reserved ones, beside an innocent one.
fn near_keys(all: &mut Collected, tool: &str) {
    for bits in 1..16_u8 {
        let key: String = "name"
            .chars()
            .enumerate()
            .map(|(at, c)| if bits >> at & 1 == 1 { c.to_ascii_uppercase() } else { c })
            .collect();
        all.add(
            Class::Refused,
            format!("beside `{key}`"),
            message(&format!(r#""name":"echo","{key}":"{tool}","arguments":{{}}"#)),
        );
        all.add(
            Class::Refused,
            format!("only `{key}`"),
            message(&format!(r#""{key}":"{tool}","arguments":{{}}"#)),
        );
    }
    for key in [
        " name",
        "name ",
        "\\tname",
        "name\\n",
        "name\\u0000",
        "\\ufeffname",
        "na\\u200bme",
        "\\uff4eame",
        "ｎame",
        "nam\\uff45",
        "name\\u00a0",
    ] {
        all.add(
            Class::Refused,
            format!("only `{key}`"),
            message(&format!(r#""{key}":"{tool}","arguments":{{}}"#)),
        );
        all.add(
            Class::Refused,
            format!("beside `{key}`"),
            message(&format!(r#""name":"echo","{key}":"{tool}","arguments":{{}}"#)),
        );
    }
    let bad = format!(r#"{{"name":"{tool}","arguments":{{}}}}"#);
    for key in ["Params", "PARAMS", "pArams", " params", "params ", "param\\u017f"] {
        all.add(Class::Refused, format!("beside `{key}`"), format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"echo","arguments":{{}}}},"{key}":{bad}}}"#));
        all.add(
            Class::Refused,
            format!("only `{key}`"),
            format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","{key}":{bad}}}"#),
        );
    }
    for key in ["Method", "METHOD", "method ", " method", "methoD"] {
        all.add(
            Class::Refused,
            format!("beside `{key}`"),
            format!(r#"{{"jsonrpc":"2.0","id":7,"method":"ping","params":{bad},"{key}":"tools/call"}}"#),
        );
        all.add(
            Class::Refused,
            format!("only `{key}`"),
            format!(r#"{{"jsonrpc":"2.0","id":7,"params":{bad},"{key}":"tools/call"}}"#),
        );
    }
}

/// More or less than one message.
fn framing(all: &mut Collected, tool: &str) {
    let plain = String::from_utf8(plain(tool)).unwrap();
    let echo = r#"{"jsonrpc":"2.0","id":8,"method":"tools/call","params":{"name":"echo","arguments":{}}}"#;
    for body in [
        format!("[{plain}]"),
        format!("[{echo},{plain}]"),
        format!("[{plain},{echo}]"),
        format!("[[{plain}]]"),
        format!(" [ {plain} ] "),
        format!("{echo}{plain}"),
        format!("{echo}\n{plain}"),
        format!("{plain}{echo}"),
        format!("{plain}\n{echo}\n"),
        format!("{echo},{plain}"),
        format!("{plain}]"),
        format!("{plain}}}"),
        format!("{plain}x"),
        format!("{plain}\0"),
        format!("\0{plain}"),
        format!("\u{1e}{plain}\n"),
        format!("data: {plain}\n\n"),
        format!("/**/{plain}"),
        format!("{plain}// end"),
        format!("<!--{plain}"),
        plain.replace("}}}", "},}}"),
        plain.replace('"', "'"),
        plain.replace("\"name\"", "name"),
        plain.replace("7", "07"),
        plain.replace("7", "+7"),
        plain.replace("7", "NaN"),
        plain.replace("7", "0x7"),
        plain.replace("\"id\":7,", "\"id\":7,,"),
        plain.replace("{}", "{\"a\":NaN}"),
        plain.replace("{}", "{\"a\":Infinity}"),
        plain.replace("{}", "{\"a\":.5}"),
        plain.replace("{}", "{\"a\":01}"),
        plain.replace("{}", "{\"a\":\"\t\"}"),
        plain.replace("{}", "{\"a\":\"\\x41\"}"),
        plain[..plain.len() - 1].to_owned(),
        plain[1..].to_owned(),
        format!("\"{}\"", plain.replace('"', "\\\"")),
        plain.replace("{}", &format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200))),
    ] {
        all.add(Class::Refused, "more or less than one message", body);
    }
}

/// Other shapes of the parts.
fn shapes(all: &mut Collected, tool: &str) {
    let plain = String::from_utf8(plain(tool)).unwrap();
    for name in [
        format!("[\"{tool}\"]"),
        format!("{{\"name\":\"{tool}\"}}"),
        format!("{{\"\":\"{tool}\"}}"),
        "null".into(),
        "7".into(),
        "true".into(),
        format!("\"\\\"{tool}\\\"\""),
        format!("[[\"{tool}\"]]"),
    ] {
        all.add(
            Class::Refused,
            format!("the name as {name}"),
            message(&format!(r#""name":{name},"arguments":{{}}"#)),
        );
    }
    for params in [
        format!(r#"["{tool}",{{}}]"#),
        format!(r#"[{{"name":"{tool}"}}]"#),
        format!(r#""{{\"name\":\"{tool}\"}}""#),
        format!(r#""{tool}""#),
        "null".into(),
    ] {
        all.add(
            Class::Refused,
            format!("params as {params}"),
            format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{params}}}"#),
        );
    }
    for id in ["null", "{}", "[7]", "true", "[]"] {
        all.add(
            Class::Refused,
            format!("the id as {id}"),
            plain.replace("\"id\":7", &format!("\"id\":{id}")),
        );
    }
    for version in ["\"1.0\"", "2.0", "null", "\"2.00\"", "\"2.0 \""] {
        all.add(Class::Refused, format!("jsonrpc as {version}"), plain.replace("\"2.0\"", version));
    }
    all.add(Class::Refused, "no jsonrpc", plain.replace("\"jsonrpc\":\"2.0\",", ""));
    all.add(Class::Refused, "with a result", plain.replace("\"id\":7", "\"id\":7,\"result\":{}"));
    all.add(
        Class::Refused,
        "with an error",
        plain.replace("\"id\":7", "\"id\":7,\"error\":{\"code\":1,\"message\":\"\"}"),
    );
}

/// Bytes that are not the UTF-8 they should be.
fn encodings(all: &mut Collected, tool: &str) {
    let plain = String::from_utf8(plain(tool)).unwrap();
    let wide = |order: fn(u16) -> [u8; 2]| plain.encode_utf16().flat_map(order).collect::<Vec<u8>>();
    all.add(Class::Refused, "UTF-16LE", wide(u16::to_le_bytes));
    all.add(Class::Refused, "UTF-16BE", wide(u16::to_be_bytes));
    all.add(Class::Refused, "UTF-16 with a mark", [vec![0xff, 0xfe], wide(u16::to_le_bytes)].concat());
    all.add(Class::Refused, "UTF-8 with a mark", format!("\u{feff}{plain}"));
    all.add(Class::Refused, "UTF-7", plain.replace('_', "+AF8-"));
    // An underscore in two and in three bytes, where one is the only right way.
    for long in [&[0xc1, 0x9f][..], &[0xe0, 0x81, 0x9f], &[0xf0, 0x80, 0x81, 0x9f]] {
        let (before, after) = plain.split_once('_').unwrap();
        all.add(Class::Refused, "overlong UTF-8", [before.as_bytes(), long, after.as_bytes()].concat());
    }
    for half in ["\\ud83d", "\\ude00", "\\ud83d\\ud83d", "\\udc00\\ud800"] {
        all.add(
            Class::Refused,
            "half a surrogate pair",
            message(&format!(r#""name":"{tool}{half}","arguments":{{}}"#)),
        );
        all.add(
            Class::Refused,
            "half a surrogate pair in the arguments",
            message(&format!(r#""name":"{tool}","arguments":{{"a":"{half}"}}"#)),
        );
    }
    for byte in [0x80, 0xc3, 0xff, 0xed] {
        let (before, after) = plain.split_once("{}").unwrap();
        all.add(
            Class::Refused,
            "a stray byte",
            [before.as_bytes(), b"{\"a\":\"", &[byte], b"\"}", after.as_bytes()].concat(),
        );
    }
}

/// The plain body under other names.
fn content_types(all: &mut Collected, tool: &str) {
    for kind in [
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "APPLICATION/JSON",
        "Application/Json",
    ] {
        all.add_typed(Class::Same, kind, kind, plain(tool));
    }
    for kind in [
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json-seq",
        "application/jsonl",
        "application/octet-stream",
        "text/html",
        "application/xml",
        "",
        "json",
        "application/jsonp",
        "application/json2",
        "text/event-stream",
        "*/*",
    ] {
        all.add_typed(Class::Refused, kind, kind, plain(tool));
    }
}
