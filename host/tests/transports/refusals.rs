//! What web pages and broken clients may not do, and what they and the operator are told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::json;
use sha2::Digest;

use super::support::http::{Http, Response};
use super::support::{Client, Gate, Setup};

const CONTENT: [(&str, &str); 2] =
    [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];

fn get(gate: &Gate, path: &str, headers: &[(&str, &str)]) -> Response {
    Http::new(gate.address).send("GET", path, headers, b"").unwrap()
}

/// Sends everything before it reads anything, as most clients do.
fn whole(address: SocketAddr, bytes: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(super::support::PATIENCE)).unwrap();
    stream.set_write_timeout(Some(super::support::PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap_or_else(|error| panic!("the request could not be sent: {error}"));
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    // The head and the short body of a refusal come in one piece or two.
    while !answer.ends_with(b"}") {
        match stream.read(&mut piece).unwrap_or_else(|error| panic!("the answer was lost: {error}")) {
            0 => break,
            read => answer.extend_from_slice(&piece[..read]),
        }
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    (text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default(), text)
}

#[test]
fn a_web_page_without_an_origin_opens_no_stream() {
    let gate = Setup::fixture(&[])
        .with_top("http", json!({ "allowed_origins": ["https://app.example.com"] }))
        .with_limit("sessions", 1)
        .start();
    let events = ("accept", "text/event-stream");
    for path in ["/fx/sse", "/sse", "/fx/mcp", "/mcp", "/livez"] {
        for site in ["cross-site", "same-site", "Cross-Site", "elsewhere", ""] {
            let status = get(&gate, path, &[events, ("sec-fetch-site", site)]).status;
            assert_eq!(status, 403, "{path} from {site:?}");
        }
        let twice = [events, ("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")];
        assert_eq!(get(&gate, path, &twice).status, 403, "{path}: two of them");
    }
    let origin = ("origin", "https://app.example.com");
    let listed = [events, ("sec-fetch-site", "cross-site"), origin];
    // There is room for one session: nothing above took it.
    assert_eq!(get(&gate, "/fx/sse", &listed).status, 200, "a page that the operator listed");
    for site in ["none", "same-origin"] {
        assert_eq!(get(&gate, "/livez", &[("sec-fetch-site", site)]).status, 200, "{site}");
    }
}

#[test]
fn a_stream_is_opened_only_where_events_are_asked_for_by_name() {
    let gate = Setup::fixture(&[]).start();
    let client = gate.client("fx");
    let session = client.session().unwrap();
    for path in ["/fx/sse", "/fx/mcp"] {
        for accept in
            ["*/*", "text/*", "image/avif,image/webp,*/*;q=0.8", "text/html", "text/event-stream;q=0"]
        {
            let browser = ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)");
            let status = get(&gate, path, &[browser, ("accept", accept), ("mcp-session-id", session)]).status;
            assert_eq!(status, 406, "{path} with {accept}");
        }
        for refused in ["image/avif,image/webp,*/*;q=0.8", "text/html"] {
            let status = get(&gate, path, &[("accept", refused), ("mcp-session-id", session)]).status;
            assert_eq!(status, 406, "{path} with {refused} from whatever program");
        }
        let named = [("accept", "text/html, Text/Event-Stream;q=0.5"), ("mcp-session-id", session)];
        assert_eq!(get(&gate, path, &named).status, 200, "{path}");
    }
}

#[test]
fn only_the_transfer_coding_chunked_is_taken() {
    let gate = Setup::fixture(&[]).start();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"raw","version":"0"}}}"#;
    let post = |codings: &[&str]| {
        let codings: String =
            codings.iter().map(|coding| format!("transfer-encoding: {coding}\r\n")).collect();
        let head = format!(
            "POST /fx/mcp HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\n{codings}\r\n",
            gate.address
        );
        let bytes = format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        Http::new(gate.address).send_bytes(bytes.as_bytes()).unwrap().status
    };
    for codings in [
        &["gzip, chunked"][..],
        &["identity, chunked"],
        &["chunked, chunked"],
        &["deflate", "chunked"],
        &["chunked", "chunked"],
        &["xchunked, chunked"],
        &[", chunked"],
        &["chunked;q=1, chunked"],
    ] {
        let status = post(codings);
        assert!(matches!(status, 400 | 501), "{codings:?} got {status}");
    }
    for coding in ["chunked", "Chunked"] {
        assert_eq!(post(&[coding]), 200, "{coding}");
    }
}

#[test]
fn a_refusal_arrives_also_where_the_body_was_not_read() {
    let gate = Setup::fixture(&[]).with_limit("client_message_bytes", 1 << 16).start();
    // More than the buffers of both ends can hold.
    let body = vec![b' '; 24 << 20];
    let head = |path: &str, kind: &str, framing: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: {kind}\r\n{framing}\r\n\r\n", gate.address)
    };
    let sized = format!("content-length: {}", body.len());
    for (path, kind, status) in [
        ("/fx/mcp", "application/json", 413),
        ("/fx/mcp", "text/plain", 415),
        ("/nowhere", "application/json", 404),
    ] {
        let request = [head(path, kind, &sized).into_bytes(), body.clone()].concat();
        let (found, text) = whole(gate.address, &request);
        assert_eq!(found, status, "{text}");
    }
    let chunked = head("/fx/mcp", "application/json", "transfer-encoding: chunked");
    let chunk = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    assert_eq!(whole(gate.address, &[chunked.as_bytes(), &chunk].concat()).0, 413);
    // Who waits to be asked for the body is not.
    let expecting = head("/fx/mcp", "application/json", &format!("{sized}\r\nexpect: 100-continue"));
    assert_eq!(whole(gate.address, expecting.as_bytes()).0, 413);
    gate.client("fx").call("whoami", json!({})).result();
}

#[test]
fn a_path_may_end_with_a_slash() {
    let gate = Setup::fixture(&[]).start();
    for path in ["/fx/mcp/", "/mcp/", "/fx/stream/"] {
        let mut client = Client::open_at(gate.address, path);
        assert!(!client.tools().is_empty(), "{path}");
    }
    let mut stream = get(&gate, "/fx/sse/", &[("accept", "text/event-stream")]);
    let endpoint = stream.event().unwrap().unwrap();
    assert!(endpoint.starts_with("/fx/message?sessionId="), "{endpoint}");
    let ping = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let posted = Http::new(gate.address).send("POST", &endpoint.replace('?', "/?"), &CONTENT, ping).unwrap();
    assert_eq!(posted.status, 202);
    for path in ["/fx/mcp//", "/fx//", "/fx/"] {
        assert_eq!(Http::new(gate.address).send("POST", path, &CONTENT, ping).unwrap().status, 404, "{path}");
    }
}

#[test]
fn refused_callers_have_a_line_each_but_not_without_end() {
    let hash = hex::encode(sha2::Sha256::digest("canary-key-77"));
    let filter =
        json!({ "plugin": "api-key-auth", "config": { "keys": [{ "name": "ann", "sha256": hash }] } });
    let gate = Setup::fixture(&[]).with_filter(filter).with_limit("client_message_bytes", 1 << 12).start();
    let mark = gate.mark();
    let ping = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let post = |path: &str, headers: &[(&str, &str)], body: &[u8]| {
        let headers = [&CONTENT, headers].concat();
        Http::new(gate.address).send("POST", path, &headers, body).unwrap().status
    };
    let key = ("authorization", "Bearer canary-key-77");
    for (status, path, headers, body) in [
        (401, "/fx/mcp", &[][..], &ping[..]),
        (404, "/fx/nowhere?token=canary-query", &[], ping),
        (403, "/fx/mcp", &[("origin", "https://evil.test")], ping),
        (403, "/fx/mcp", &[("host", "evil.test")], ping),
        (413, "/fx/mcp", &[key], &[b' '; 1 << 13]),
        (404, "/fx/mcp", &[key, ("mcp-session-id", "none-such")], ping),
    ] {
        let before = gate.mark();
        assert_eq!(post(path, headers, body), status, "{path} {headers:?}");
        let path = path.split('?').next().unwrap();
        let line = gate.said(before, "line about a refusal", |line| line.contains("refused a request"));
        for part in ["INFO", "127.0.0.1", path, &status.to_string()] {
            assert!(line.contains(part), "no {part} in {line}");
        }
    }
    for _ in 0..300 {
        assert_eq!(post("/fx/mcp", &[], ping), 401);
    }
    let said = gate.stderr();
    let lines = said.lines().skip(mark).filter(|line| line.contains("refused a request")).count();
    assert!(lines < 40, "{lines} lines");
    assert!(!said.contains("canary"), "{said}");
}
