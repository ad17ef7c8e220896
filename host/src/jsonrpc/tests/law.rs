//! The rules of the JSON law, one by one.

use super::super::{Kind, Limits, Message, Source};
use super::{message, parse};
use bytes::Bytes;

/// The same breach in a place where any value may stand, at every depth that matters.
fn in_all_places(value: &str) -> Vec<String> {
    vec![
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","x":{value}}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"x":{value}}}}}"#),
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"arguments":{{"a":[1,{{"b":{value}}}]}}}}}}"#
        ),
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{{"text":{value}}}]}}}}"#),
    ]
}

#[track_caller]
fn refused(text: impl AsRef<[u8]>, code: i32, says: &str) {
    let shown = String::from_utf8_lossy(text.as_ref()).chars().take(200).collect::<String>();
    match parse(&text) {
        Ok(_) => panic!("accepted: {shown}"),
        Err(violation) => {
            assert_eq!(violation.code, code, "{violation}: {shown}");
            assert!(violation.what.contains(says), "{violation:?} does not say {says:?}: {shown}");
        }
    }
}

#[test]
fn what_is_not_json_is_a_parse_error() {
    let values = [
        ("", "expected a JSON value"),
        ("NaN", "expected a JSON value"),
        ("Infinity", "expected a JSON value"),
        ("-Infinity", "number"),
        ("+1", "expected a JSON value"),
        ("01", "comma"),
        ("-", "number"),
        ("-01", "comma"),
        ("1.", "number"),
        (".5", "expected a JSON value"),
        ("1e", "number"),
        ("1e+", "number"),
        ("1.e1", "number"),
        ("0x10", "comma"),
        ("1_000", "comma"),
        ("tru", "expected a JSON value"),
        ("True", "expected a JSON value"),
        ("nul", "expected a JSON value"),
        ("'a'", "expected a JSON value"),
        ("undefined", "expected a JSON value"),
        ("\"a\nb\"", "control"),
        ("\"a\tb\"", "control"),
        ("\"\0\"", "control"),
        ("\"\\x41\"", "escape"),
        ("\"\\u12\"", "escape"),
        ("\"\\u12g4\"", "escape"),
        ("\"\\a\"", "escape"),
        ("\"\\'\"", "escape"),
        ("[1,]", "expected a JSON value"),
        ("[1 2]", "comma"),
        ("[,1]", "expected a JSON value"),
        ("[1", "comma"),
        ("{\"a\":1,}", "name"),
        ("{\"a\" 1}", "colon"),
        ("{a:1}", "name"),
        ("{1:1}", "name"),
        ("{\"a\":}", "value"),
        ("{\"a\":1 \"b\":2}", "comma"),
        ("{,}", "name"),
        ("1 /* */", "comma"),
        ("1 // x", "comma"),
        ("[1}", "comma"),
        ("{\"a\":1]", "comma"),
        ("\u{feff}1", "expected a JSON value"),
        ("\u{a0}1", "expected a JSON value"),
        ("\u{b}1", "expected a JSON value"),
        ("\u{c}1", "expected a JSON value"),
    ];
    for (value, says) in values {
        for text in in_all_places(value) {
            refused(text, -32700, says);
        }
    }
    let whole: [(&[u8], &str); 12] = [
        (b"", "expected a JSON value"), (b"  \n", "expected a JSON value"), (b"hello", "expected a JSON value"),
        (b"\xef\xbb\xbf{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\"}", "byte order mark"),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\"} x", "follows"),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\"}\n{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"m\"}", "follows"),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\"}}", "follows"),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\"}\0", "follows"),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\xff\"}", "UTF-8"),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xc0\xaf\"}", "UTF-8"),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xed\xa0\x80\"}", "UTF-8"),
        (b"\xff\xfe{\0}\0", "UTF-8"),
    ];
    for (text, says) in whole {
        refused(text, -32700, says);
    }
}

#[test]
fn every_truncation_is_a_parse_error() {
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x\u0041","arguments":{"a":[1.5e3,true,null]}}}"#;
    message(text);
    for len in 0..text.len() {
        refused(&text[..len], -32700, "");
    }
}

#[test]
fn batches_and_other_values_are_no_messages() {
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"m"}"#;
    for text in
        [format!("[{call}]"), format!(" \n[{call},{call}]"), format!("[[{call}]]"), "[]".into(), "[".into()]
    {
        refused(text, -32600, "batch");
    }
    for text in ["1", "\"a\"", "null", "true", " -1.5 "] {
        refused(text, -32600, "one JSON object");
    }
}

#[test]
fn exactly_four_forms_are_messages() {
    let parts = [r#""id":7"#, r#""method":"m""#, r#""params":{}"#, r#""result":{}"#, r#""error":{}"#];
    for bits in 0..32u32 {
        let has = |part: usize| bits & (1 << part) != 0;
        let mut members = vec![r#""jsonrpc":"2.0""#];
        members.extend((0..5).filter(|&part| has(part)).map(|part| parts[part]));
        let expected = match (has(0), has(1), has(2), has(3), has(4)) {
            (true, true, _, false, false) => Some(Kind::Request),
            (false, true, _, false, false) => Some(Kind::Notification),
            (true, false, false, true, false) => Some(Kind::Result),
            (_, false, false, false, true) => Some(Kind::Error),
            _ => None,
        };
        for reversed in [false, true] {
            if reversed {
                members.reverse();
            }
            let text = format!("{{{}}}", members.join(","));
            match (parse(&text), expected) {
                (Ok(message), Some(kind)) => assert_eq!(message.kind(), kind, "{text}"),
                (Err(violation), None) => {
                    assert_eq!(violation.code, -32600, "{text}");
                    assert_eq!(violation.id.as_deref(), has(0).then_some(&b"7"[..]), "{text}");
                }
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }
}

#[test]
fn envelope_members_have_their_kinds() {
    for version in
        ["", r#""jsonrpc":"1.0","#, r#""jsonrpc":2.0,"#, r#""jsonrpc":null,"#, r#""jsonrpc":"2.0 ","#]
    {
        refused(format!(r#"{{{version}"id":1,"method":"m"}}"#), -32600, "jsonrpc");
    }
    for method in ["\"\"", "1", "null", "{}", "[\"m\"]"] {
        refused(format!(r#"{{"jsonrpc":"2.0","id":1,"method":{method}}}"#), -32600, "`method`");
    }
    for params in ["[]", "\"x\"", "1", "[{}]"] {
        refused(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{params}}}"#), -32600, "`params`");
    }
    // Several programs write absent params like this.
    for (id, kind) in [(r#""id":1,"#, Kind::Request), ("", Kind::Notification)] {
        let absent = message(format!(r#"{{"jsonrpc":"2.0",{id}"params" : null ,"method":"m"}}"#));
        assert_eq!((absent.kind(), absent.params().unwrap()), (kind, Bytes::from_static(b"{}")));
        let named = absent.with_param("a", b"1");
        assert_eq!(
            named.bytes(),
            format!(r#"{{"jsonrpc":"2.0",{id}"params" : {{"a":1}} ,"method":"m"}}"#).as_bytes()
        );
    }
    refused(r#"{"jsonrpc":"2.0","id":1,"result":{},"params":null}"#, -32600, "`params`");
    for error in ["[]", "null", "\"x\"", "-32600"] {
        refused(format!(r#"{{"jsonrpc":"2.0","id":1,"error":{error}}}"#), -32600, "`error`");
    }
    for result in ["[]", "null", "\"x\"", "1", "{}"] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        assert_eq!(message(text).result().unwrap(), result);
    }
}

#[test]
fn ids_are_strings_or_integers_kept_as_text() {
    let long = format!("\"{}\"", "x".repeat(250));
    for id in [
        "0",
        "-1",
        "-0",
        "9007199254740993",
        "123456789012345678901234567890",
        "\"\"",
        "\"a\\u0062\"",
        "\"水\"",
        &long,
    ] {
        for text in [
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m"}}"#),
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":1}}"#),
        ] {
            assert_eq!(message(text).id(), Some(id.as_bytes()));
        }
    }
    for id in ["null", "1.0", "1e3", "1E3", "1.5", "true", "{}", "[]", "[1]", "{\"id\":1}"] {
        for rest in [r#""method":"m""#, r#""result":{}"#] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},{rest}}}"#);
            assert_eq!(parse(&text).unwrap_err().id, None);
            refused(text, -32600, "`id`");
        }
    }
    for (id, raw) in [(r#""id":null,"#, None), ("", None), (r#""id":3,"#, Some(&b"3"[..]))] {
        let error = message(format!(r#"{{"jsonrpc":"2.0",{id}"error":{{"code":1,"message":"x"}}}}"#));
        assert_eq!((error.kind(), error.id()), (Kind::Error, raw));
        assert_eq!(error.error_member("code"), Some(&b"1"[..]));
    }
    refused(r#"{"jsonrpc":"2.0","id":1.0,"error":{}}"#, -32600, "`id`");
}

#[test]
fn duplicate_names_are_found_at_every_depth() {
    for duplicate in [
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"b":2,"a":1}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"\u0061":1,"a":2}"#,
        r#"{"":1,"":2}"#,
        r#"{"水":1,"\u6c34":2}"#,
        r#"{"😀":1,"\ud83d\ude00":2}"#,
        r#"{"a/b":1,"a\/b":2}"#,
        r#"{"a\u0000":1,"a\u0000":2}"#,
        r#"{"a-rather-long-name-1":1,"x":2,"a-rather-long-name-1":3}"#,
    ] {
        for text in in_all_places(duplicate) {
            refused(text, -32600, "stands twice");
        }
    }
    let fine = r#"{"a":{"a":{"a":1},"b":{"a":1}},"A":2,"a ":3,"a\u0000":4,"b":[{"a":1},{"a":1}]}"#;
    for text in in_all_places(fine) {
        message(text);
    }
    for count in [15, 16, 17, 18, 33, 100, 1000] {
        let names: Vec<String> =
            (0..count).map(|n| format!("\"name-{n}\":{{\"name-0\":{n},\"x\":0}}")).collect();
        for text in in_all_places(&format!("{{{}}}", names.join(","))) {
            message(text);
        }
        for again in [0, count / 2, count - 1] {
            for spelled in [format!("\"name-{again}\":0"), format!("\"\\u006eame-{again}\":0")] {
                for text in in_all_places(&format!("{{{},{spelled}}}", names.join(","))) {
                    refused(text, -32600, "stands twice");
                }
            }
        }
    }
}

#[test]
fn limits_hold_to_the_last_one() {
    let limits = |bytes, depth, members, number_bytes| Limits { bytes, depth, members, number_bytes };
    let scan =
        |text: &str, limits| Message::parse(Bytes::copy_from_slice(text.as_bytes()), &limits, Source::Client);
    let text = r#"{"jsonrpc":"2.0","id":1234,"result":[[{"a":-1.5e5}],2]}"#;
    let len = text.len();
    // 3 members, 2 items, 1 item, 1 member; objects and arrays 4 deep; a number of 6 bytes.
    assert!(scan(text, limits(len, 4, 7, 6)).is_ok());
    for (limits, says) in [
        (limits(len - 1, 4, 7, 6), "longer than the limit"),
        (limits(len, 3, 7, 6), "deeper than the limit of 3"),
        (limits(len, 4, 6, 6), "more members and items than the limit of 6"),
        (limits(len, 4, 7, 5), "a number is longer than the limit of 5"),
    ] {
        let violation = scan(text, limits).unwrap_err();
        assert_eq!(violation.code, -32600);
        assert!(violation.what.contains(says), "{violation}");
    }
}

#[test]
fn floods_are_refused() {
    let deep = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"x\":{}", "[".repeat(100_000));
    refused(deep, -32600, "deeper");
    let deep = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"x\":{}", "{\"a\":".repeat(100_000));
    refused(deep, -32600, "deeper");
    let many: Vec<String> = (0..1_000_000).map(|n| format!("\"{n}\":0")).collect();
    refused(
        format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"x\":{{{}}}}}", many.join(",")),
        -32600,
        "more members",
    );
    let long = "9".repeat(1_000_000);
    refused(
        format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"x\":{long}}}"),
        -32600,
        "number is longer",
    );
    refused(format!("{{\"jsonrpc\":\"2.0\",\"id\":{long},\"method\":\"m\"}}"), -32600, "number is longer");
    let names: Vec<String> = (0..100).map(|n| format!("\"io.modelcontextprotocol/x{n}\":0")).collect();
    let text =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"_meta":{{{}}}}}}}"#, names.join(","));
    refused(text, -32600, "too many unknown");
}

#[test]
fn lone_surrogates_are_refused_from_clients_and_replaced_from_servers() {
    for lone in [r"\ud800", r"\udfff", r"\uD83Dx", r"\ud83d\u0041", r"\ude00\ud83d", r"a\\\ud800\n"] {
        for text in in_all_places(&format!("\"{lone}\"")) {
            refused(&text, -32600, "surrogate");
            let message = Message::parse(text.clone().into(), &Limits::default(), Source::Server).unwrap();
            assert!(message.replaced_surrogates() > 0, "{text}");
            assert_eq!(message.bytes().len(), text.len());
            let differing =
                message.bytes().iter().zip(text.as_bytes()).filter(|(now, then)| now != then).count();
            assert!(differing <= 6 * message.replaced_surrogates() as usize);
            serde_json::from_slice::<serde_json::Value>(message.bytes()).unwrap();
        }
    }
    let text = r#"{"jsonrpc":"2.0","id":1,"result":{"a":"\ud800x\udc00","ok":"\ud83d\ude00"}}"#;
    let message = Message::parse(text.into(), &Limits::default(), Source::Server).unwrap();
    assert_eq!(message.replaced_surrogates(), 2);
    assert_eq!(message.result_member("a"), Some(&br#""\ufffdx\ufffd""#[..]));
    assert_eq!(message.result_member("ok"), Some(&br#""\ud83d\ude00""#[..]));
    let shared = Bytes::copy_from_slice(text.as_bytes());
    let message = Message::parse(shared.clone(), &Limits::default(), Source::Server).unwrap();
    assert_eq!((shared, message.replaced_surrogates()), (Bytes::from(text), 2), "the caller's bytes stay");
    // Two names that become the same one are the same one.
    let text = r#"{"jsonrpc":"2.0","id":1,"result":{"\ud800":1,"\udc00":2}}"#;
    assert!(
        Message::parse(text.into(), &Limits::default(), Source::Server).unwrap_err().what.contains("twice")
    );
}

#[test]
fn violations_carry_the_id_where_it_can_be_read() {
    let cases = [
        (r#"{"jsonrpc":"2.0","id":5,"method":"m","params":{"a":1,"a":2}}"#, Some("5")),
        (r#"{"jsonrpc":"2.0","params":{"a":1,"a":2},"method":"m","id":"late"}"#, Some("\"late\"")),
        (r#"{"jsonrpc":"2.0","Method":"m","id":5,"method":"m"}"#, Some("5")),
        (r#"{"jsonrpc":"2.0","id":5,"method":"m","params":"#, Some("5")),
        (r#"{"jsonrpc":"2.0","method":"m","params":nonsense,"id":5}"#, None),
        (r#"{"jsonrpc":"2.0","id":5,"method":"m","id":6}"#, None),
        (r#"{"jsonrpc":"2.0","id":5,"method":"m","\u0069d":6}"#, None),
        (r#"{"jsonrpc":"2.0","id":5,"method":"m","ID":6}"#, Some("5")),
        (r#"{"jsonrpc":"2.0","id":{"id":7},"method":"m"}"#, None),
        (r#"{"jsonrpc":"2.0","id":"\ud800","method":"m"}"#, None),
        (r#"{"id":5"#, Some("5")),
        (r#"{"id":"5"#, None),
        (r#"[{"id":5}]"#, None),
        (r#"{"params":{"id":5,"id":5}}"#, None),
    ];
    for (text, id) in cases {
        assert_eq!(parse(text).unwrap_err().id.as_deref(), id.map(str::as_bytes), "{text}");
    }
    let violation = parse(b"{\"id\":5,\"x\":\"\xff\"}").unwrap_err();
    assert_eq!((violation.code, violation.id.as_deref(), violation.at), (-32700, Some(&b"5"[..]), 13));
}

#[test]
fn accessors_read_what_stands_there() {
    let request = message(
        r#" {"id":"a","params":{"n\u0061me":"de\u006cete","uri":7,"_meta":{"progressToken":1,"x/y":[2]},"arguments":{"name":"other"}},"method":"tools\/call","jsonrpc":"2.0"} "#,
    );
    assert_eq!(request.method(), Some("tools/call"));
    assert_eq!(request.param_text("name").as_deref(), Some("delete"));
    assert_eq!(request.param("uri"), Some(&b"7"[..]));
    assert_eq!(request.param_text("uri"), None);
    assert_eq!(request.param("progressToken"), None);
    assert_eq!(request.meta("progressToken"), Some(&b"1"[..]));
    assert_eq!(request.meta("x/y"), Some(&b"[2]"[..]));
    assert_eq!(request.param("arguments"), Some(&br#"{"name":"other"}"#[..]));
    assert_eq!((request.result(), request.error_object(), request.result_member("x")), (None, None, None));
    let list = message(
        r#"{"jsonrpc":"2.0","id":1,"result":{"nextCursor":"c","tools":[{"name":"a"}, {"inputSchema":{"name":"no"},"n\u0061me":"b\n"},{"x":1},7,{"name":8}],"none":{}}}"#,
    );
    let items = list.items("tools", "name").unwrap();
    let names: Vec<_> = items.iter().map(|item| &*item.name).collect();
    assert_eq!(names, ["a", "b\n", "", "", ""]);
    assert_eq!(&list.bytes()[items[3].span.clone()], b"7");
    assert!(list.items("none", "name").is_none() && list.items("absent", "name").is_none());
    assert_eq!(list.result_member("nextCursor"), Some(&b"\"c\""[..]));
}
