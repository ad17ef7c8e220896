//! What servers answer over HTTP: whose answer it is, that a tool runs once, and what becomes of bodies and
//! connections that are not as they should be.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use serde_json::{Value, json};

use super::support::{Client, Gate, Setup};

/// A whole HTTP answer, and whether the connection is closed after it without a word.
type Answered = (Vec<u8>, bool);

/// An MCP server over Streamable HTTP with sessions. A call of the tool `x` is answered as `respond` says,
/// everything else as it should be.
struct Server {
    address: SocketAddr,
    /// Heads and messages, in their order.
    arrived: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Server {
    fn start(respond: impl Fn(&Value) -> Answered + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (arrived, respond) = (Arc::new(Mutex::new(Vec::new())), Arc::new(respond));
        let kept = Arc::clone(&arrived);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, respond) = (Arc::clone(&kept), Arc::clone(&respond));
                std::thread::spawn(move || serve(stream, &kept, &*respond));
            }
        });
        Server { address, arrived }
    }

    fn gate(&self) -> Gate {
        Setup::new().with_server("s", json!({ "url": format!("http://{}/mcp", self.address) })).start()
    }

    fn count(&self, method: &str) -> usize {
        self.arrived.lock().unwrap().iter().filter(|(_, message)| message["method"] == method).count()
    }
}

fn serve(
    stream: TcpStream,
    kept: &Mutex<Vec<(String, Value)>>,
    respond: &dyn Fn(&Value) -> Answered,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            head += &line;
            head.push('\n');
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let message: Value = serde_json::from_slice(&body).unwrap_or_default();
        kept.lock().unwrap().push((head.clone(), message.clone()));
        let (answer, close) = match message["method"].as_str() {
            Some("initialize") => {
                let result = json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
                    "serverInfo": { "name": "s", "version": "1" } });
                (whole("200 OK", "mcp-session-id: abc\r\n", &answer(&message["id"], "result", result)), false)
            }
            Some("tools/list") => {
                let tools = json!({ "tools": [{ "name": "x", "inputSchema": { "type": "object" } }] });
                (whole("200 OK", "", &answer(&message["id"], "result", tools)), false)
            }
            Some("tools/call") => respond(&message),
            Some(_) if message.get("id").is_none() => (whole("202 Accepted", "", ""), false),
            _ => (whole("405 Method Not Allowed", "", ""), false),
        };
        if close {
            cork(reader.get_ref());
        }
        reader.get_mut().write_all(&answer).ok()?;
        if close {
            return None;
        }
    }
}

/// What is written leaves with the close that follows it: a client never sees the answer without the end.
fn cork(stream: &TcpStream) {
    use std::os::fd::AsRawFd;
    let on: libc::c_int = 1;
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option is an int, and lives until the call returns.
    let done = unsafe {
        libc::setsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_CORK, (&raw const on).cast(), len)
    };
    assert_eq!(done, 0);
}

fn answer(id: &Value, member: &str, value: Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, member: value }).to_string()
}

fn ok(id: &Value) -> String {
    answer(id, "result", json!({ "content": [{ "type": "text", "text": "fine" }] }))
}

fn whole(status: &str, headers: &str, body: &str) -> Vec<u8> {
    typed(status, "application/json", headers, body.as_bytes())
}

fn typed(status: &str, kind: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn call(client: &mut Client) -> super::support::Answer {
    client.call("x", json!({}))
}

// ---- whose answer it is ------------------------------------------------------------------------

#[test]
fn a_message_that_identifies_itself_is_the_answer_whatever_the_status() {
    let closed = json!({ "code": -32000, "message": "session 'abc' is closed" });
    let unknown = json!({ "code": -32601, "message": "no such method" });
    for (status, kind, error, fits) in [
        ("404 Not Found", "application/json", &unknown, true),
        ("404 Not Found", "text/plain", &unknown, true),
        ("404 Not Found", "text/event-stream", &unknown, true),
        ("400 Bad Request", "application/json", &closed, true),
        ("400 Bad Request", "application/json; charset=utf-8", &closed, true),
        ("400 Bad Request", "text/plain", &closed, true),
        ("401 Unauthorized", "application/json", &closed, true),
        ("403 Forbidden", "application/json", &closed, true),
        ("500 Internal Server Error", "application/json", &closed, true),
        // Another's: neither an answer nor a sign that the session is over.
        ("404 Not Found", "application/json", &unknown, false),
        ("400 Bad Request", "application/json", &closed, false),
    ] {
        let (of_server, shown) = (error.clone(), format!("{status} {kind} {fits}"));
        let server = Server::start(move |message| {
            let id = if fits { message["id"].clone() } else { json!(4711) };
            // Longer than any excerpt of a body.
            let mut error = of_server.clone();
            error["data"] = "x".repeat(10_000).into();
            let body = answer(&id, "error", error);
            let body = if kind == "text/event-stream" { format!("data: {body}\n\n") } else { body };
            (typed(status, kind, "", body.as_bytes()), false)
        });
        let gate = server.gate();
        let mut client = gate.client("s");
        let answer = call(&mut client);
        if fits {
            assert_eq!(
                (&answer.error()["code"], &answer.error()["message"]),
                (&error["code"], &error["message"]),
                "{shown}"
            );
        } else {
            assert_eq!(answer.error()["data"]["reason"], "gone-may-have-run", "{shown}: {answer:?}");
        }
        assert_eq!(server.count("tools/call"), 1, "{shown}: the tool runs once");
        assert_eq!(server.count("initialize"), 1, "{shown}: the session is not over");
        assert_eq!(client.request("tools/list", json!({})).result()["tools"][0]["name"], "x", "{shown}");
    }
}

#[test]
fn an_answer_to_nobody_still_says_that_the_session_is_over() {
    for (status, body) in [
        ("404 Not Found", String::new()),
        ("404 Not Found", "no such session".to_owned()),
        ("404 Not Found", answer(&Value::Null, "error", json!({ "code": -32001, "message": "no session" }))),
        (
            "404 Not Found",
            json!({ "jsonrpc": "2.0", "error": { "code": -32001, "message": "gone" } }).to_string(),
        ),
        (
            "400 Bad Request",
            answer(&Value::Null, "error", json!({ "code": -32000, "message": "no valid session ID" })),
        ),
        ("400 Bad Request", "Session not found".to_owned()),
    ] {
        let first = Mutex::new(true);
        let said = body.clone();
        let server = Server::start(move |message| {
            if std::mem::take(&mut *first.lock().unwrap()) {
                (whole(status, "", &said), false)
            } else {
                (whole("200 OK", "", &ok(&message["id"])), false)
            }
        });
        let gate = server.gate();
        assert_eq!(call(&mut gate.client("s")).text(), "fine", "{status} {body}");
        assert_eq!((server.count("initialize"), server.count("tools/call")), (2, 2), "{status} {body}");
    }
}

#[test]
fn an_id_that_came_back_as_a_text_is_still_the_calls_own() {
    for events in [false, true] {
        for spelled in ["\"ID\"", "ID"] {
            let server = Server::start(move |message| {
                let id = message["id"].to_string();
                let body = format!(
                    r#"{{"jsonrpc":"2.0","id":{},"result":{{"content":[{{"type":"text","text":"fine"}}]}}}}"#,
                    spelled.replace("ID", &id)
                );
                let stream = format!("data: {body}\n\n");
                let (kind, body) =
                    if events { ("text/event-stream", &stream) } else { ("application/json", &body) };
                (typed("200 OK", kind, "", body.as_bytes()), false)
            });
            let gate = server.gate();
            let answer = call(&mut gate.client("s"));
            assert_eq!(answer.text(), "fine", "{spelled} {events}");
            assert!(answer.message["id"].is_u64(), "the client's own id: {answer:?}");
        }
    }
}

// ---- bodies ------------------------------------------------------------------------------------

fn squeeze(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let level = Compression::best();
    match coding {
        "gzip" | "x-gzip" | "GZIP" => {
            let mut to = GzEncoder::new(Vec::new(), level);
            to.write_all(bytes).unwrap();
            to.finish().unwrap()
        }
        "deflate" => {
            let mut to = ZlibEncoder::new(Vec::new(), level);
            to.write_all(bytes).unwrap();
            to.finish().unwrap()
        }
        "raw" => {
            let mut to = DeflateEncoder::new(Vec::new(), level);
            to.write_all(bytes).unwrap();
            to.finish().unwrap()
        }
        _ => bytes.to_vec(),
    }
}

fn squeezed(coding: &'static str, events: bool, cut: usize) -> Server {
    Server::start(move |message| {
        let (kind, body) = match events {
            true => ("text/event-stream", format!("data: {}\n\n", ok(&message["id"]))),
            false => ("application/json", ok(&message["id"])),
        };
        let named = if coding == "raw" { "deflate" } else { coding };
        let mut body = squeeze(coding, body.as_bytes());
        body.truncate(body.len() - cut);
        (typed("200 OK", kind, &format!("content-encoding: {named}\r\n"), &body), false)
    })
}

#[test]
fn no_compression_is_asked_for_and_what_comes_compressed_is_read() {
    for events in [false, true] {
        for coding in ["gzip", "x-gzip", "GZIP", "deflate", "raw", "identity"] {
            let server = squeezed(coding, events, 0);
            let gate = server.gate();
            assert_eq!(call(&mut gate.client("s")).text(), "fine", "{coding} {events}");
            for (head, _) in server.arrived.lock().unwrap().iter() {
                assert!(head.contains("\naccept-encoding: identity\n"), "{head}");
            }
        }
        let gate = squeezed("br", events, 0).gate();
        let answer = call(&mut gate.client("s"));
        let text = answer.error()["message"].as_str().unwrap();
        assert!(text.contains("`br`") && text.contains("may have run"), "{text}");
    }
    // Without its end it is not whole, even if all of its content is there.
    let gate = squeezed("gzip", false, 4).gate();
    assert_eq!(call(&mut gate.client("s")).error()["data"]["reason"], "gone-may-have-run");
}

#[test]
fn a_little_that_unfolds_to_very_much_is_cut_at_the_limit() {
    let bomb = squeeze("gzip", &vec![b' '; 256 << 20]);
    let shared = Arc::new(bomb);
    for (kind, part) in
        [("application/json", "server_message_bytes"), ("text/event-stream", "server_message_bytes")]
    {
        let bomb = Arc::clone(&shared);
        let server =
            Server::start(move |_| (typed("200 OK", kind, "content-encoding: gzip\r\n", &bomb), false));
        let mut gate = Setup::new()
            .with_server("s", json!({ "url": format!("http://{}/mcp", server.address) }))
            .with_limit("server_message_bytes", 1 << 20)
            .start();
        let mut client = gate.client("s");
        let before = super::support::processes::peak_memory(gate.process().pid());
        let answer = call(&mut client);
        assert!(answer.error()["message"].as_str().unwrap().contains(part), "{kind}: {answer:?}");
        let grown = super::support::processes::peak_memory(gate.process().pid()).saturating_sub(before);
        assert!(grown < 16 << 20, "{kind}: {grown} bytes");
    }
}

#[test]
fn only_the_transfer_coding_chunked_is_taken_from_a_server() {
    for (coding, taken) in [("chunked", true), ("gzip, chunked", false), ("identity", false), ("gzip", false)]
    {
        let server = Server::start(move |message| {
            let body = ok(&message["id"]);
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: {coding}\r\n\r\n"
            );
            let body = match coding.ends_with("chunked") {
                true => format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
                false => body,
            };
            ((head + &body).into_bytes(), true)
        });
        let gate = server.gate();
        let answer = call(&mut gate.client("s"));
        match taken {
            true => assert_eq!(answer.text(), "fine"),
            false => assert!(
                answer.error()["message"].as_str().unwrap().contains("Transfer-Encoding"),
                "{answer:?}"
            ),
        }
    }
}

#[test]
fn what_a_server_says_outside_the_protocol_is_for_the_log_only() {
    for (status, kind, headers, advice) in [
        ("500 Internal Server Error", "text/plain", "", "HTTP 500"),
        ("503 Service Unavailable", "application/json", "", "HTTP 503"),
        ("400 Bad Request", "text/plain", "", "HTTP 400"),
        ("401 Unauthorized", "text/plain", "", "HTTP 401"),
        ("403 Forbidden", "text/plain", "", "HTTP 403"),
        ("429 Too Many Requests", "text/plain", "", "HTTP 429"),
        ("307 Temporary Redirect", "text/plain", "location: https://canary.example/canary\r\n", "redirect"),
        ("200 OK", "text/canary", "", "HTTP 200"),
    ] {
        let server = Server::start(move |_| {
            let body =
                if kind == "application/json" { r#"{"error":{"message":"canary"}}"# } else { "a canary" };
            (typed(status, kind, headers, body.as_bytes()), false)
        });
        let gate = server.gate();
        let mut client = gate.client("s");
        let mark = gate.mark();
        let text = call(&mut client).error().to_string();
        assert!(text.contains(advice) && !text.contains("canary"), "{status}: {text}");
        gate.said(mark, "line with what the server said", |line| line.contains("canary"));
    }
}

// ---- connections -------------------------------------------------------------------------------

#[test]
fn a_connection_that_the_server_closed_is_not_used_again() {
    // It closes after each answer and does not say so, as servers with short keep-alives do.
    let server = Server::start(|message| (whole("200 OK", "", &ok(&message["id"])), true));
    let gate = server.gate();
    let (clients, calls) = (8, 100);
    let failed: Vec<String> = std::thread::scope(|scope| {
        let gate = &gate;
        let clients: Vec<_> = (0..clients)
            .map(|_| {
                scope.spawn(move || {
                    let mut client = gate.client("s");
                    let answers = (0..calls).map(|_| call(&mut client));
                    let failed = answers.filter(|answer| answer.message.get("result").is_none());
                    failed.map(|answer| answer.message.to_string()).collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "{} failed: {}", failed.len(), failed[0]);
    assert_eq!(server.count("tools/call"), clients * calls, "and none ran twice");
}
