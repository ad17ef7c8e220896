//! The spellings that real servers take for one another.

use super::*;

#[test]
fn spellings_of_a_secret_are_not_plain_and_have_its_normal_form() {
    for (spelling, meant) in [
        ("FILE:///secret/key", "file:///secret/key"),
        ("fIle:///secret/key", "file:///secret/key"),
        (" file:///secret/key", "file:///secret/key"),
        ("file:///secret/key ", "file:///secret/key"),
        ("\u{1}file:///secret/key\u{1f}", "file:///secret/key"),
        ("fi\tle:///sec\nret/k\rey", "file:///secret/key"),
        ("file:///open/../secret/key", "file:///secret/key"),
        ("file:///open/%2e%2e/secret/key", "file:///secret/key"),
        ("file:///open/.%2E/secret/key", "file:///secret/key"),
        ("file:///./secret/key", "file:///secret/key"),
        ("file:///secret/./key", "file:///secret/key"),
        ("file:///../secret/key", "file:///secret/key"),
        ("file:///open/..\\secret/key", "file:///secret/key"),
        ("file:\\\\\\secret\\key", "file:///secret/key"),
        ("file:/secret/key", "file:///secret/key"),
        ("file:secret/key", "file:///secret/key"),
        ("file:////secret/key", "file:///secret/key"),
        ("file:///secret//key", "file:///secret/key"),
        ("file://localhost/secret/key", "file:///secret/key"),
        ("file://LOCALHOST/secret/key", "file:///secret/key"),
        ("file://elsewhere/secret/key", "file:///secret/key"),
        ("file:///%73ecret/key", "file:///secret/key"),
        ("file:///secret/k%65y", "file:///secret/key"),
        ("file:///secret/key#", "file:///secret/key"),
        ("file:///secret/key#x", "file:///secret/key"),
        ("file:///secret/key?", "file:///secret/key"),
        ("file:///secret/key?x", "file:///secret/key"),
        ("file:///secret/a b", "file:///secret/a%20b"),
        ("file:///secret/\u{fc}", "file:///secret/%C3%BC"),
        ("file:///secret/%c3%bc", "file:///secret/%C3%BC"),
        ("https://INTERNAL.example/a", "https://internal.example/a"),
        ("https://internal.example:443/a", "https://internal.example/a"),
        ("https://internal.example:/a", "https://internal.example/a"),
        ("https://internal.example./a", "https://internal.example/a"),
        ("https://user:word@internal.example/a", "https://internal.example/a"),
        ("https://@internal.example/a", "https://internal.example/a"),
        ("https:internal.example/a", "https://internal.example/a"),
        ("https:\\\\internal.example\\a", "https://internal.example/a"),
        ("https://internal.example", "https://internal.example/"),
        ("https://\u{ff49}nternal.example/a", "https://internal.example/a"),
        ("https://%69nternal.example/a", "https://internal.example/a"),
        ("http://127.1/a", "http://127.0.0.1/a"),
        ("http://0x7f000001/a", "http://127.0.0.1/a"),
        ("http://2130706433/a", "http://127.0.0.1/a"),
        ("http://[0:0:0:0:0:0:0:1]/a", "http://[::1]/a"),
        ("http://h:080/a", "http://h/a"),
        ("NOTE://secret/1", "note://secret/1"),
        ("note://SECRET/1", "note://secret/1"),
        ("note://%73ecret/1", "note://secret/1"),
        ("note://secret/x/../1", "note://secret/1"),
        ("note://secret:/1", "note://secret/1"),
        ("note://secret/1#", "note://secret/1"),
    ] {
        assert!(!is_plain(spelling), "{spelling:?}");
        assert_eq!(normal(spelling).as_deref(), Some(meant), "{spelling:?}");
        assert!(is_plain(meant), "{meant}");
        assert_eq!(key(spelling), key(meant), "{spelling:?}");
    }
}

#[test]
fn what_hides_behind_escapes_is_not_plain() {
    for uri in [
        "file:///open/..%2Fsecret/key",
        "file:///open%2F..%2Fsecret/key",
        "note://open/..%5Csecret",
        "note:open/../secret",
        "note:open/%2e%2e/secret",
        "note://open/..;x/secret",
        "note://open/a\\..\\secret",
        "note://open/a%00",
        "note://open/a%0A",
        "note://open/%",
        "note://open/%4",
        "note://open/%zz",
        "relative/path",
        "",
        "://",
    ] {
        assert!(!is_plain(uri), "{uri:?}");
    }
    assert_eq!(decoded("file:///open/..%2Fsecret/key"), "file:///secret/key");
    assert_eq!(decoded("note:open/..%2F../secret"), "note:secret");
    assert_eq!(decoded("note://h/a%2Fb%20c?q=%41#f"), "note://h/a/b c?q=A#f");
    assert_eq!(decoded("note://h"), "note://h");
    assert_eq!(decoded("note://h/a/."), "note://h/a/");
}

#[test]
fn what_people_use_is_plain() {
    for uri in [
        "file:///",
        "file:///home/a/my%20notes.txt",
        "file:///C:/Users/a",
        "https://example.com/",
        "https://example.com:8443/a?b=c&d=%20",
        "https://web.archive.org/web/https://example.com/",
        "memo://insights",
        "test://static/resource/1",
        "ui://widget/main.html",
        "repo://owner/contents/src%2Fmain.rs",
        "postgres://user@host:5432/table/schema",
        "urn:isbn:0451450523",
        "note:secret",
        "screen://localhost/1",
        "data:text/plain;base64,SGVsbG8=",
    ] {
        assert!(is_plain(uri), "{uri} {:?}", normal(uri));
    }
}

#[test]
fn other_readings_are_judged_as_well() {
    assert_eq!(readings("file:///open/a"), [""; 0]);
    assert_eq!(readings("repo://x/secret%2Fkey"), ["repo://x/secret/key"]);
    assert_eq!(readings("FILE:///open/../secret/a b"), ["file:///secret/a%20b", "file:///secret/a b"]);
    assert_eq!(readings("docs://README"), [""; 0], "the name of a thing");
    assert_eq!(readings("FILE:///open/../secret/{+path}"), ["file:///secret/{+path}"]);
    assert_eq!(readings("file:///open/{a}/{b}{?c,d}"), [""; 0]);
    assert_eq!(readings("note://{host}/%73{id}"), ["note://{host}/s{id}"]);
    assert_eq!(readings("no uri"), [""; 0]);
}

#[test]
fn one_key_for_what_may_be_one_resource() {
    for (one, other) in [
        ("file:///a%28b%29", "file:///a(b)"),
        ("memo://insights", "memo://insights/"),
        ("repo://x/a%2Fb", "repo://x/a/b"),
        ("file:///Secret", "file:///secret"),
        ("no uri", "NO%20uri"),
    ] {
        assert_eq!(key(one), key(other), "{one} {other}");
    }
    assert_ne!(key("file:///a"), key("file:///b"));
}
