//! Messages made anew and spliced, byte for byte.

use super::super::{Kind, Message};
use super::message;
use bytes::Bytes;

fn text(message: &Message) -> &str {
    std::str::from_utf8(message.bytes()).unwrap()
}

#[test]
fn messages_are_composed() {
    let request = Message::request(b"1", "tools/call", Some(br#"{"name":"x","_meta":{"a":1}}"#));
    assert_eq!(
        text(&request),
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","_meta":{"a":1}}}"#
    );
    assert_eq!(
        (request.kind(), request.method(), request.meta("a")),
        (Kind::Request, Some("tools/call"), Some(&b"1"[..]))
    );
    let odd = Message::notification("a\"b", None);
    assert_eq!(
        (text(&odd), odd.method(), odd.id()),
        (r#"{"jsonrpc":"2.0","method":"a\"b"}"#, Some("a\"b"), None)
    );
    let result = Message::response(b"\"x\"", br#"{"tools":[]}"#);
    assert_eq!(text(&result), r#"{"jsonrpc":"2.0","id":"x","result":{"tools":[]}}"#);
    assert_eq!(result.result_member("tools"), Some(&b"[]"[..]));
    let error = Message::error(None, -32700, "no \"JSON\"\n", Some(b"{\"at\":3}"));
    assert_eq!(
        text(&error),
        r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"no \"JSON\"\n","data":{"at":3}}}"#
    );
    assert_eq!((error.id(), error.error_member("data")), (None, Some(&br#"{"at":3}"#[..])));
    assert_eq!(
        text(&Message::error(Some(b"7"), 1, "", None)),
        r#"{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":""}}"#
    );
    assert_eq!(Message::error(Some(b"null"), 1, "", None).id(), None);
}

#[test]
fn only_the_named_place_changes() {
    let from = " { \"jsonrpc\" : \"2.0\",\n \"id\" : 12 ,\t\"method\":\"tools/call\", \"params\" : { \"n\\u0061me\" : \"a\" , \"_meta\":{ \"progressToken\" : 1 , \"x\":2 } } }\n";
    let request = message(from);
    let cases: [(Message, &str, &str); 9] = [
        (request.with_id(b"\"other\""), " 12 ", " \"other\" "),
        (request.with_param("name", b"\"b\""), "\"a\"", "\"b\""),
        (request.with_param("new", b"[1]"), " } }\n", ",\"new\":[1] } }\n"),
        (request.with_meta("progressToken", Some(b"\"p\"")), ": 1 ,", ": \"p\" ,"),
        (request.with_meta("progressToken", None), "\"progressToken\" : 1 , ", ""),
        (request.with_meta("x", None), " , \"x\":2", " "),
        (request.with_meta("y", Some(b"3")), "\"x\":2", "\"x\":2,\"y\":3"),
        (request.with_param("_meta", b"{}"), "{ \"progressToken\" : 1 , \"x\":2 }", "{}"),
        (
            request.with_params(b"{\"uri\":1}"),
            "{ \"n\\u0061me\" : \"a\" , \"_meta\":{ \"progressToken\" : 1 , \"x\":2 } }",
            "{\"uri\":1}",
        ),
    ];
    for (changed, old, new) in &cases {
        let expected = from.replacen(old, new, 1);
        // Of two spaces around what was removed, one went with it.
        assert_eq!(text(changed).replace("  ", " "), expected.replace("  ", " "));
    }
    assert_eq!(cases[7].0.meta("progressToken"), None);
    assert_eq!(
        (cases[8].0.param("uri"), cases[8].0.param("name"), cases[8].0.meta("x")),
        (Some(&b"1"[..]), None, None)
    );
}

#[test]
fn splices_can_be_chained() {
    let request = message(r#"{"method":"tools/call","jsonrpc":"2.0"}"#)
        .with_id(b"1")
        .with_meta("progressToken", Some(b"7"))
        .with_param("name", b"\"a-long-name\"")
        .with_param("arguments", br#"{"a":{"b":[1,2,3]}}"#)
        .with_meta("io.modelcontextprotocol/logLevel", Some(b"\"info\""))
        .with_id(b"\"a much longer id\"")
        .with_param("name", b"\"b\"")
        .with_meta("progressToken", None);
    assert_eq!(
        text(&request),
        r#"{"method":"tools/call","params":{"_meta":{"io.modelcontextprotocol/logLevel":"info"},"name":"b","arguments":{"a":{"b":[1,2,3]}}},"jsonrpc":"2.0","id":"a much longer id"}"#
    );
    assert_eq!((request.kind(), request.param_text("name").as_deref()), (Kind::Request, Some("b")));
}

#[test]
fn what_a_message_lacks_is_made_or_left() {
    let odd_meta = message(r#"{"jsonrpc":"2.0","method":"m","params":{"_meta":null}}"#);
    assert_eq!(
        text(&odd_meta.with_meta("a", Some(b"1"))),
        r#"{"jsonrpc":"2.0","method":"m","params":{"_meta":{"a":1}}}"#
    );
    let bare = message(r#"{"jsonrpc":"2.0","method":"m"}"#);
    assert_eq!(text(&bare.with_params(b"{}")), r#"{"jsonrpc":"2.0","method":"m","params":{}}"#);
    assert_eq!(
        text(&bare.with_params(b"{}").with_param("a", b"1")),
        r#"{"jsonrpc":"2.0","method":"m","params":{"a":1}}"#
    );
    assert_eq!(text(&bare.with_meta("a", None)), text(&bare));
    let result = message(r#"{"jsonrpc":"2.0","id":1,"result":[1]}"#);
    for unchanged in [
        result.with_params(b"{}"),
        result.with_param("a", b"1"),
        result.with_meta("a", Some(b"1")),
        result.with_result_member("a", Some(b"1")),
        result.with_result_member("a", None),
        result.with_items("a", &[]),
    ] {
        assert_eq!(text(&unchanged), text(&result));
    }
    assert_eq!(text(&bare.with_result(b"{}")), text(&bare));
    assert_eq!(text(&bare.with_error(b"{}")), text(&bare));
    let nameless = message(r#"{"jsonrpc":"2.0","error":{}}"#);
    assert_eq!(text(&nameless.with_result(b"{}")), text(&nameless), "a result needs an id");
    assert_eq!(text(&nameless.with_id(b"1")), r#"{"jsonrpc":"2.0","id":1,"error":{}}"#);
    let null = message(r#"{"jsonrpc":"2.0","id":null,"error":{}}"#);
    assert_eq!(
        text(&null.with_id(b"1").with_result(b"{\"a\":1}")),
        r#"{"jsonrpc":"2.0","id":1,"result":{"a":1}}"#
    );
}

#[test]
fn white_space_around_values_is_left_out() {
    let request = Message::request(b" 1\n", "m", Some(b" { \"a\" : 1 }\n"));
    assert_eq!(text(&request), r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{ "a" : 1 }}"#);
    let changed = request.with_id(b"\t2 ").with_param("a", b" 3 ").with_meta("b", Some(b"\n4"));
    assert_eq!(
        text(&changed),
        r#"{"jsonrpc":"2.0","id":2,"method":"m","params":{ "a" : 3,"_meta":{"b":4} }}"#
    );
    let result =
        Message::response(b"1", b" {}\r\n").with_result_member("a", Some(b" [1] ")).with_error(b" {} ");
    assert_eq!(text(&result), r#"{"jsonrpc":"2.0","id":1,"error":{}}"#);
}

#[test]
fn stamping_replaces_and_never_adds_a_second() {
    let list = message(r#"{"jsonrpc":"2.0","id":1,"result":{"t\u0074lMs":5,"tools":[]}}"#);
    let stamped =
        list.with_result_member("ttlMs", Some(b"0")).with_result_member("cacheScope", Some(b"\"private\""));
    assert_eq!(
        text(&stamped),
        r#"{"jsonrpc":"2.0","id":1,"result":{"t\u0074lMs":0,"tools":[],"cacheScope":"private"}}"#
    );
    let again =
        stamped.with_result_member("cacheScope", Some(b"\"public\"")).with_result_member("ttlMs", None);
    assert_eq!(text(&again), r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[],"cacheScope":"public"}}"#);
}

#[test]
fn lists_are_rebuilt_from_their_items() {
    let from = r#"{"jsonrpc":"2.0","id":1,"result":{"tools" : [ {"name":"a", "x":1} , {"name":"b"},{"name":"c"} ],"nextCursor":"n"}}"#;
    let list = message(from);
    let items: Vec<Bytes> =
        list.items("tools", "name").unwrap().into_iter().map(|item| list.bytes().slice(item.span)).collect();
    assert_eq!(text(&list.with_items("tools", &items)), from);
    let kept = list.with_items("tools", &[items[2].clone(), items[0].clone()]);
    assert_eq!(
        text(&kept),
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools" : [{"name":"c"},{"name":"a", "x":1}],"nextCursor":"n"}}"#
    );
    assert_eq!(kept.result_member("nextCursor"), Some(&b"\"n\""[..]));
    assert_eq!(list.with_items("tools", &[]).result_member("tools"), Some(&b"[]"[..]));
    assert_eq!(list.with_items("tools", &items[..2]).items("tools", "name").unwrap().len(), 2);
    assert_eq!(text(&list.with_items("prompts", &items)), from);
}

#[test]
fn frames_are_one_line() {
    let request = message(
        "\r\n{ \"jsonrpc\": \"2.0\",\n\t\"method\" : \"a b\\n\\tc\" ,\r\n  \"x\":[1 ,\n\n 2 , 3]\n}\n",
    );
    assert_eq!(request.frame(), r#"{ "jsonrpc": "2.0","method" : "a b\n\tc" ,"x":[1 ,2 , 3]}"#);
    let plain = message("{ \"jsonrpc\":\t\"2.0\", \"method\":\"m\" }");
    assert_eq!(plain.frame().as_ptr(), plain.bytes().as_ptr(), "no copy");
}

#[test]
fn clones_share_everything() {
    let one = message(r#"{"jsonrpc":"2.0","method":"m"}"#);
    let other = one.clone();
    assert!(
        std::sync::Arc::ptr_eq(&one.shape, &other.shape) && one.bytes().as_ptr() == other.bytes().as_ptr()
    );
    assert!(size_of::<Message>() <= 48);
}

#[test]
#[should_panic(expected = "breaks the JSON law")]
#[cfg(debug_assertions)]
fn unlawful_values_are_caught_where_tests_run() {
    let _ = message(r#"{"jsonrpc":"2.0","method":"m"}"#).with_params(b"{\"a\":1},\"id\":{");
}
