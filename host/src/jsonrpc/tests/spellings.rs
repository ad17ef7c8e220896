//! The S01 family: spellings of one forbidden call that some reader would take for it. Each is
//! either refused, or read by us as the forbidden call that it is.

use bytes::Bytes;

use super::super::{Limits, Message, Source};
use super::{message, parse};

/// Ways to write a name that is not the name, but may be read as it.
fn variants(name: &str) -> Vec<String> {
    let (first, rest) = name.split_at(1);
    let mut capital = String::from(&first.to_uppercase());
    capital.push_str(rest);
    let escaped = |c: char| format!("\\u{:04x}", c as u32);
    let mut all = vec![
        capital,
        name.to_uppercase(),
        format!("{first}{}", rest.to_uppercase()),
        format!("\\u{:04X}{rest}", first.to_uppercase().chars().next().unwrap() as u32),
    ];
    for c in [
        '\0', '\u{1}', '\t', '\n', '\r', ' ', '\u{7f}', '\u{85}', '\u{a0}', '\u{ad}', '\u{200b}', '\u{200d}',
        '\u{2003}', '\u{2028}', '\u{2060}', '\u{feff}', '\u{fe0f}',
    ] {
        all.push(format!("{name}{}", escaped(c)));
        all.push(format!("{}{name}", escaped(c)));
        if c >= ' ' {
            all.push(format!("{name}{c}"));
        }
        if !c.is_whitespace() {
            all.push(format!("{first}{}{rest}", escaped(c)));
        }
    }
    all.push(format!("{name}\\u0000tail"));
    all.push(format!(" {name}\\u0000 "));
    for (plain, odd) in [('s', '\u{17f}'), ('k', '\u{212a}'), ('i', 'ı'), ('i', 'İ')] {
        if name.contains(plain) {
            all.push(name.replace(plain, &odd.to_string()));
            all.push(name.replace(plain, &escaped(odd)).to_string());
        }
    }
    all.retain(|variant| super::super::unescape(format!("\"{variant}\"").as_bytes()).unwrap() != name);
    all
}

/// The call with a second spelling of one member, which says `forbidden` where the first is harmless.
fn smuggled(section: &str, name: &str, variant: &str, after: bool) -> String {
    let harmless = |name: &str| match name {
        "params" | "arguments" | "_meta" => "{}",
        "id" => "1",
        "jsonrpc" => "\"2.0\"",
        _ => "\"allowed\"",
    };
    let mut envelope = vec![
        ("jsonrpc", "\"2.0\"".to_owned()),
        ("id", "1".to_owned()),
        ("method", "\"tools/call\"".to_owned()),
    ];
    let mut params = vec![("name", "\"allowed\"".to_owned()), ("arguments", "{}".to_owned())];
    let mut meta = vec![("x", "1".to_owned())];
    let target = match section {
        "envelope" => &mut envelope,
        "params" => &mut params,
        _ => &mut meta,
    };
    target.retain(|(known, _)| *known != name);
    let place = if after { target.len() } else { 0 };
    target.insert(place, (variant, "\"forbidden\"".to_owned()));
    target.insert(target.len() - place, (name, harmless(name).to_owned()));
    let join = |members: &[(&str, String)]| {
        let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    };
    if section != "params" || name != "_meta" {
        params.push(("_meta", join(&meta)));
    }
    if section != "envelope" || name != "params" {
        envelope.push(("params", join(&params)));
    }
    join(&envelope)
}

#[test]
fn no_second_spelling_passes() {
    let reserved = [
        ("envelope", "jsonrpc"),
        ("envelope", "id"),
        ("envelope", "method"),
        ("envelope", "params"),
        ("params", "name"),
        ("params", "arguments"),
        ("params", "uri"),
        ("params", "task"),
        ("params", "requestState"),
        ("params", "inputResponses"),
        ("params", "_meta"),
        ("meta", "progressToken"),
        ("meta", "io.modelcontextprotocol/clientInfo"),
        ("meta", "io.modelcontextprotocol/not-known-yet"),
    ];
    let mut tried = 0;
    for (section, name) in reserved {
        let first = name.chars().next().unwrap();
        let exact = [name.to_owned(), format!("\\u{:04x}{}", first as u32, &name[first.len_utf8()..])];
        for variant in variants(name).into_iter().chain(exact) {
            for after in [false, true] {
                let text = smuggled(section, name, &variant, after);
                serde_json::from_str::<serde_json::Value>(&text).expect("the test itself writes JSON");
                for source in [Source::Client, Source::Server] {
                    let violation = Message::parse(text.clone().into(), &Limits::default(), source)
                        .expect_err(&format!("passed: {text}"));
                    assert_eq!(violation.code, -32600, "{text}: {violation}");
                }
                tried += 1;
            }
        }
    }
    assert!(tried >= 200, "{tried}");
}

#[test]
fn one_lawful_spelling_is_read_as_what_it_is() {
    let letters = |word: &str| -> Vec<String> {
        (0..word.len())
            .map(|at| format!("{}\\u{:04X}{}", &word[..at], word.as_bytes()[at], &word[at + 1..]))
            .chain([word.to_owned(), word.bytes().map(|byte| format!("\\u{byte:04x}")).collect()])
            .collect()
    };
    let mut tried = 0;
    for name_key in letters("name") {
        for method_key in letters("method") {
            for value in letters("forbidden") {
                for params_key in letters("params") {
                    let text = format!(
                        "{{\"{params_key}\":{{\"arguments\":{{\"NAME\":\"x\",\"name \":1}},\"{name_key}\":\"{value}\"}},\"{method_key}\":\"tools\\/call\",\"id\":1,\"jsonrpc\":\"2.0\"}}"
                    );
                    let message = parse(&text).unwrap_or_else(|violation| panic!("{text}: {violation}"));
                    assert_eq!(message.method(), Some("tools/call"));
                    assert_eq!(message.param_text("name").as_deref(), Some("forbidden"), "{text}");
                    tried += 1;
                }
            }
        }
    }
    assert!(tried >= 200, "{tried}");
}

#[test]
fn variants_are_nobodys_business_inside_of_values() {
    for name in ["method", "name", "arguments", "_meta", "progressToken"] {
        for variant in variants(name) {
            let inside = format!("{{\"{variant}\":1,\"{name}\":2}}");
            for text in [
                format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"arguments":{inside}}}}}"#),
                format!(
                    r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"arguments":{{"params":{inside}}}}}}}"#
                ),
                format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"x":[{inside}]}}}}"#),
                format!(r#"{{"jsonrpc":"2.0","id":1,"result":{inside}}}"#),
                format!(
                    r#"{{"jsonrpc":"2.0","id":1,"result":{{"_meta":{inside},"structuredContent":{inside}}}}}"#
                ),
                format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"data":{inside}}}}}"#),
            ] {
                parse(&text).unwrap_or_else(|violation| panic!("{text}: {violation}"));
            }
        }
    }
}

#[test]
fn look_alikes_in_the_objects_of_the_protocol_are_refused() {
    let params = |params: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{params}}}"#);
    let about = "io.modelcontextprotocol/";
    let refused = [
        params(r#"{"ref":{"type":"ref/prompt","name":"open","Name":"secret"}}"#),
        params(r#"{"ref":{"type":"ref/prompt","name":"open","TYPE":"ref/resource"}}"#),
        params(r#"{"ref":{"name":"open","na\u200bme":"secret"}}"#),
        params(r#"{"ref":{"\u0055ri":"x"}}"#),
        params(r#"{"argument":{"name":"a","value":"b","Value":"c"}}"#),
        params(r#"{"context":{"Arguments":{}}}"#),
        params(r#"{"task":{"TTL":1}}"#),
        params(r#"{"notifications":{"ResourceSubscriptions":[]}}"#),
        params(r#"{"notifications":{"taskids":[]}}"#),
        params(r#"{"clientInfo":{"name":"a","Name":"b"}}"#),
        params(r#"{"capabilities":{"Elicitation":{}}}"#),
        params(r#"{"capabilities":{"elicitation":{"Form":{}}}}"#),
        params(r#"{"inputResponses":{"any":{"action":"decline","Action":"accept"}}}"#),
        params(&format!(r#"{{"_meta":{{"{about}clientCapabilities":{{"Sampling":{{}}}}}}}}"#)),
        params(&format!(r#"{{"_meta":{{"{about}clientInfo":{{"Version":"1"}}}}}}"#)),
        params(&format!(r#"{{"_meta":{{"{about}related-task":{{"taskid":"1"}}}}}}"#)),
        r#"{"jsonrpc":"2.0","id":1,"result":{"action":"decline","Action":"accept"}}"#.to_owned(),
    ];
    for text in refused {
        let error = parse(&text).expect_err(&text);
        assert_eq!(error.code, -32600, "{text}");
        assert!(error.what.contains("could be taken for"), "{text}: {error}");
    }
    let fine = [
        params(
            r#"{"ref":{"type":"t","name":"n","uri":"u","x":{"Name":1}},"argument":{"name":"n","value":"v"}}"#,
        ),
        params(r#"{"arguments":{"Name":1,"ref":{"Name":1}},"name":"n"}"#),
        params(r#"{"capabilities":{"experimental":{"Form":{},"Roots":{}},"x":{"Form":1}}}"#),
        params(r#"{"inputResponses":{"Action":{"action":"accept","content":{"Action":1}},"action":{}}}"#),
        params(r#"{"context":{"arguments":{"Arguments":"1"}}}"#),
        params(r#"{"task":[{"TTL":1}],"ref":"Name","notifications":null}"#),
    ];
    for text in fine {
        message(&text);
    }
    // Those of servers have members of all kinds.
    let result: &[u8] = br#"{"jsonrpc":"2.0","id":1,"result":{"Action":1,"structuredContent":{"Name":1}}}"#;
    let parsed = Message::parse(Bytes::from_static(result), &Limits::default(), Source::Server);
    assert_eq!(parsed.unwrap().result_member("Action"), Some(&b"1"[..]));
}
