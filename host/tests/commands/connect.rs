//! `lockgate connect`, in front of what `lockgate wrap` serves and of a server inside the test.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{ChildStdin, ChildStdout, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::support::child::Watched;
use super::support::client::full;
use super::support::gate::lockgate;
use super::support::peer::Peer;
use super::{Running, Stream, fixture, pid_of, refused};

/// A client that started Lockgate itself, as desktop clients do.
struct Pipe {
    process: Watched,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Pipe {
    fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Pipe {
        let mut command = lockgate();
        command.arg("connect").args(arguments).envs(variables.iter().copied());
        let mut process = Watched::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let input = process.process().stdin.take();
        let output = BufReader::new(process.process().stdout.take().unwrap());
        Pipe { process, input, output }
    }

    /// The same, after the handshake.
    fn open(arguments: &[&str]) -> (Pipe, Value) {
        let mut pipe = Pipe::start(arguments, &[]);
        let (answer, _) = pipe.request(0, "initialize", full());
        let initialized = answer["result"].clone();
        assert!(initialized.is_object(), "{answer}");
        pipe.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        (pipe, initialized)
    }

    fn say(&mut self, message: &Value) {
        writeln!(self.input.as_mut().unwrap(), "{message}").unwrap();
    }

    /// The next message. Whatever else came on stdout would fail the test here.
    fn next(&mut self) -> Value {
        let mut line = String::new();
        assert!(self.output.read_line(&mut line).unwrap() > 0, "it ended: {}", self.process.stderr());
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// The answer, and what came before it.
    fn request(&mut self, id: u64, method: &str, params: Value) -> (Value, Vec<Value>) {
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        let mut before = Vec::new();
        loop {
            let message = self.next();
            if message["id"] == id && message.get("method").is_none() {
                return (message, before);
            }
            before.push(message);
        }
    }

    fn call(&mut self, id: u64, tool: &str, arguments: Value) -> (Value, Vec<Value>) {
        let params = json!({ "name": tool, "arguments": arguments, "_meta": { "progressToken": "p" } });
        self.request(id, "tools/call", params)
    }

    /// Closes stdin and waits for the end.
    fn end(&mut self) -> Option<i32> {
        drop(self.input.take());
        self.process.wait().code()
    }
}

/// A stdio server behind `wrap`, and its URL.
fn wrapped(flags: &[&str]) -> (Running, String) {
    let server = fixture();
    let running = Running::start(&[&["wrap", "-l", ":0", "--", &server, "--name", "far"], flags].concat());
    let url = format!("http://{}/mcp", running.address);
    (running, url)
}

#[test]
fn row_b1_a_remote_server_over_stdio() {
    let (_running, url) = wrapped(&[]);
    let (mut pipe, initialized) = Pipe::open(&[&url]);
    assert_eq!(initialized["serverInfo"]["name"], "far", "identity crosses both proxies");
    let (list, _) = pipe.request(1, "tools/list", json!({}));
    let tools = list["result"]["tools"].as_array().unwrap();
    assert!(tools.iter().any(|tool| tool["name"] == "echo"), "no prefix: {list}");
    let (answer, told) = pipe.call(2, "progress", json!({ "n": 4 }));
    assert_eq!(answer["result"]["content"][0]["text"], "4 told");
    let told: Vec<&Value> = told.iter().map(|message| &message["params"]["progress"]).collect();
    assert_eq!(told, [1, 2, 3, 4]);

    // A question of the server, and its answer, through both.
    pipe.say(&json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/call",
        "params": { "name": "ask_sampling", "arguments": {} } }));
    let question = pipe.next();
    assert_eq!(question["method"], "sampling/createMessage", "{question}");
    pipe.say(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "role": "assistant",
        "content": { "type": "text", "text": "canary-77" }, "model": "m" } }));
    let answer = pipe.next();
    assert!(answer["id"] == 3 && answer.to_string().contains("canary-77"), "{answer}");

    let said = pipe.process.stderr();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], format!("lockgate {} on stdio", env!("CARGO_PKG_VERSION")));
    assert_eq!(lines[1..4], [&*format!("  127.0.0.1 ({url})"), "  filters: none", "ready"]);
    assert_eq!(pipe.end(), Some(0), "the client is gone: {}", pipe.process.stderr());
}

#[test]
fn row_b2_ids_progress_and_cancellation_never_cross_clients_over_one_connection() {
    let (_running, url) = wrapped(&[]);
    let front = Running::start(&["connect", &url, "--listen", ":0"]);
    let said = front.process.stderr();
    assert!(said.contains(&format!("  http://{}/mcp  127.0.0.1 ({url})\n", front.address)), "{said}");
    let mut clients: Vec<_> = (0..8).map(|_| front.client()).collect();
    let pids: Vec<u32> = clients.iter_mut().map(pid_of).collect();
    assert!(pids.iter().all(|pid| *pid == pids[0]), "one connection for all: {pids:?}");

    let (mut stream, _) = Stream::open(front.address, "/sse");
    let said = stream.call(1, "whoami", json!({}));
    assert_eq!(said["result"]["structuredContent"]["pid"], pids[0], "clients of HTTP+SSE as well");

    // Everybody says the same id and the same token at once, and gets what is theirs.
    std::thread::scope(|scope| {
        for (number, client) in clients.iter_mut().enumerate() {
            scope.spawn(move || {
                for round in 0..20 {
                    let (steps, canary) = (number % 4 + 1, format!("canary-{number}-{round}"));
                    let mut ask = |name: &str, arguments: Value| {
                        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
                            "name": name, "arguments": arguments, "_meta": { "progressToken": "p" } } });
                        client.raw(body.to_string().as_bytes(), "application/json")
                    };
                    let answer = ask("progress", json!({ "n": steps }));
                    assert_eq!(answer.text(), format!("{steps} told"));
                    assert_eq!(answer.before.len(), steps, "{answer:?}");
                    assert!(answer.before.iter().all(|told| told["params"]["progressToken"] == "p"));
                    let answer = ask("echo", json!({ "canary": canary }));
                    assert_eq!(answer.message["id"], 1);
                    assert_eq!(answer.result()["structuredContent"]["canary"], canary);
                }
            });
        }
    });

    let said = stream.call(1, "echo", json!({ "canary": "canary-sse" }));
    assert_eq!(said["result"]["structuredContent"]["canary"], "canary-sse");

    // Two calls with the same id wait for the same thing; one is cancelled, and the other one is not.
    let [first, second, third, ..] = clients.as_mut_slice() else { panic!() };
    let wait = || json!({ "name": "wait", "arguments": { "key": "k" }, "_meta": { "progressToken": "p" } });
    let (mut cancelled, mut kept) = (first.start("tools/call", wait()), second.start("tools/call", wait()));
    assert_eq!(cancelled.id, kept.id);
    first.notify("notifications/cancelled", json!({ "requestId": cancelled.id }));
    third.notify("notifications/cancelled", json!({ "requestId": kept.id }));
    assert_eq!(cancelled.finish(), None, "a cancelled call gets no answer");
    third.call("release", json!({ "key": "k" }));
    assert_eq!(kept.finish().unwrap()["result"]["content"][0]["text"], "released");
}

#[test]
fn row_b4_headers_go_to_the_server_with_their_variables_replaced_and_nowhere_else() {
    let peer = Peer::start();
    let arguments = [
        &*peer.url(),
        "--header",
        "Authorization: Bearer ${A_TOKEN}",
        "-H",
        "X-Team:maps",
        "--log-level",
        "debug",
    ];
    let mut pipe = Pipe::start(&arguments, &[("A_TOKEN", "canary-1f2e")]);
    let (answer, _) = pipe.request(0, "initialize", full());
    assert_eq!(answer["result"]["serverInfo"]["name"], "peer");
    pipe.request(1, "tools/call", json!({ "name": "echo", "arguments": { "a": 1 } }));
    let arrived = peer.arrived();
    assert!(arrived.len() >= 2);
    for request in &arrived {
        assert_eq!(request.header("authorization"), Some("Bearer canary-1f2e"), "{request:?}");
        assert_eq!(request.header("x-team"), Some("maps"));
    }
    assert_eq!(pipe.end(), Some(0));
    assert!(!pipe.process.stderr().contains("canary"), "{}", pipe.process.stderr());
}

#[test]
fn row_b7_ignored_tools_can_neither_be_seen_nor_called() {
    let (_running, url) = wrapped(&[]);
    let (mut pipe, _) = Pipe::open(&[&url, "--ignore-tool", "delete_*", "--ignore-tool", "ech?"]);
    let (list, _) = pipe.request(1, "tools/list", json!({}));
    let text = list.to_string();
    assert!(
        text.contains("\"progress\"") && !text.contains("delete_") && !text.contains("\"echo\""),
        "{text}"
    );
    let mut error = |name: &str| {
        let (answer, _) = pipe.call(2, name, json!({}));
        answer["error"].to_string().replace(name, "NAME")
    };
    assert_eq!(error("delete_everything"), error("no_such_tool_here"));
    assert_eq!(error("echo"), error("no_such_tool_here"));
}

#[test]
fn a_server_that_is_not_there_is_said_in_the_answer_and_on_stderr() {
    // Taken and let go of: nobody listens there now.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{address}/mcp");
    let mut pipe = Pipe::start(&[&url], &[]);
    let (answer, _) = pipe.request(0, "initialize", full());
    let text = answer["error"]["message"].as_str().unwrap();
    assert!(text.contains("is not reachable") && text.contains("connection refused"), "{answer}");
    pipe.process.line("the same on stderr", |line| line.contains("connection refused"));
    assert_eq!(pipe.end(), Some(0));
    let text = refused(&["connect", &url, "--listen", ":0"], 1);
    assert!(text.contains(&url) && text.contains("connection refused"), "{text}");
    assert!(text.lines().count() <= 3, "{text}");
}

/// Answers every request with the same bytes.
fn web_server(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/page", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = BufReader::new(&stream).read_line(&mut String::new());
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

#[test]
fn what_is_no_mcp_server_is_called_so_with_what_it_answered() {
    for (answer, status, hint) in [
        (
            "HTTP/1.1 404 Not Found\r\ncontent-type: text/html\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno",
            "HTTP 404",
            "it usually ends with /mcp",
        ),
        (
            "HTTP/1.1 401 Unauthorized\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            "HTTP 401",
            "--header 'Authorization: Bearer ${TOKEN}'",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
            "HTTP 200",
            "text/html",
        ),
    ] {
        let url = web_server(answer);
        let text = refused(&["connect", &url, "--listen", ":0"], 1);
        assert!(text.contains(&url) && text.contains(status) && text.contains(hint), "{text}");
    }
}

#[test]
fn a_server_that_comes_back_is_used_again_in_the_same_session() {
    let server = fixture();
    let mut first = Running::start(&["wrap", "-l", ":0", "--", &server]);
    let address = first.address.to_string();
    let (mut pipe, _) = Pipe::open(&[&format!("http://{address}/mcp")]);
    assert!(pipe.call(1, "echo", json!({})).0.get("result").is_some());
    first.process.terminate();
    first.process.wait();
    let _second = Running::start(&["wrap", "-l", &address, "--", &server]);
    let (answer, _) = pipe.call(2, "echo", json!({ "a": 1 }));
    assert_eq!(answer["result"]["structuredContent"]["a"], 1, "{answer}");
}

#[test]
fn a_server_that_dies_in_the_middle_of_its_stream_is_heard_of_at_once() {
    let (mut running, url) = wrapped(&[]);
    let (mut pipe, _) = Pipe::open(&[&url]);
    // The answer's stream has begun, and its events have ids to go on from.
    let params = json!({ "name": "ask_sampling", "arguments": {} });
    pipe.say(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }));
    assert_eq!(pipe.next()["method"], "sampling/createMessage");
    let died = std::time::Instant::now();
    kill(Pid::from_raw(running.process.pid()), Signal::SIGKILL).unwrap();
    running.process.wait();
    let mut answer = pipe.next();
    while answer.get("method").is_some() {
        answer = pipe.next();
    }
    assert_eq!(answer["error"]["data"]["reason"], "gone-may-have-run", "{answer}");
    let took = died.elapsed();
    assert!(took < std::time::Duration::from_secs(3), "after {took:?}");
}

#[test]
fn connect_ends_by_a_signal_with_nothing_on_stdout() {
    let (_running, url) = wrapped(&[]);
    let (mut pipe, _) = Pipe::open(&[&url]);
    pipe.process.terminate();
    assert_eq!(pipe.process.wait().code(), Some(0));
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut pipe.output, &mut rest).unwrap();
    assert_eq!(rest, "");
}

#[test]
fn row_b6_the_proxy_of_the_environment_is_used_only_where_told_to() {
    // It takes what it is sent for its own, as a proxy that forwards to one server would.
    let proxy = Peer::start();
    let at = format!("http://{}", proxy.address);
    let variables =
        [("HTTP_PROXY", at.as_str()), ("http_proxy", at.as_str()), ("NO_PROXY", ""), ("no_proxy", "")];
    let url = "http://nowhere.invalid/mcp";
    let mut pipe = Pipe::start(&[url, "--allow-http", "--enable-proxy"], &variables);
    let (answer, _) = pipe.request(0, "initialize", full());
    assert_eq!(answer["result"]["serverInfo"]["name"], "peer", "{answer}");
    assert_eq!(proxy.arrived()[0].header("host"), Some("nowhere.invalid"));

    let mut pipe = Pipe::start(&[url, "--allow-http"], &variables);
    let (answer, _) = pipe.request(0, "initialize", full());
    assert!(answer["error"].is_object(), "{answer}");
    // Only these: what else the first one sends comes when it likes.
    let begun = proxy.arrived().iter().filter(|sent| sent.message["method"] == "initialize").count();
    assert_eq!(begun, 1, "it was not told to use the proxy");
}
