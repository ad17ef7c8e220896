//! The stdio transport, over pipes in memory.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::client::{INITIALIZE, call};
use super::fake::{Events, Fake, Shared, progress};
use super::patience::soon;
use crate::config::Config;
use crate::downstream::stdio::serve_endpoint;

struct Pipes {
    input: DuplexStream,
    output: BufReader<DuplexStream>,
    shared: Arc<Shared>,
    events: Events,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl Pipes {
    fn new(pipe: usize, configure: impl FnOnce(&mut Config)) -> Pipes {
        let (fake, shared, events) = Fake::new(false, configure);
        let (input, reader) = tokio::io::duplex(pipe);
        let (writer, output) = tokio::io::duplex(pipe);
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let serving =
            tokio::spawn(async move { serve_endpoint(Arc::new(fake), "a", reader, writer, stop).await });
        Pipes { input, output: BufReader::new(output), shared, events, shutdown, serving }
    }

    async fn initialized(pipe: usize, configure: impl FnOnce(&mut Config)) -> Pipes {
        let mut pipes = Pipes::new(pipe, configure);
        pipes.say(INITIALIZE).await;
        assert_eq!(pipes.hear().await["result"]["protocolVersion"], "2025-06-18");
        pipes
    }

    async fn say(&mut self, line: &str) {
        self.input.write_all(format!("{line}\n").as_bytes()).await.expect("it reads");
    }

    async fn hear(&mut self) -> Value {
        let mut line = String::new();
        soon("a line", self.output.read_line(&mut line)).await.expect("text");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    async fn until(&self, awaited: &str) {
        self.events.until(awaited).await;
    }
}

/// Both eras: an id that was cancelled is free when the cancellation was read, not when the call has ended.
#[tokio::test]
async fn a_cancelled_id_may_be_used_again_at_once() {
    let mut pipes = Pipes::initialized(1 << 20, |_| {}).await;
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let modern = |tool: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"{tool}",{meta}}}}}"#)
    };
    let legacy = |tool: &str| call("7", tool);
    let cancelled = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#;
    for round in 0..200 {
        let [first, second] = match round % 2 {
            0 => [legacy("gate"), legacy("echo")],
            _ => [modern("gate"), modern("echo")],
        };
        // In one piece, so that nothing else runs in between.
        pipes.say(&format!("{first}\n{cancelled}\n{second}")).await;
        let answer = pipes.hear().await;
        assert!(answer["id"] == 7 && answer["result"].is_object(), "round {round}: {answer}");
    }
}

#[tokio::test]
async fn many_calls_are_answered_as_they_finish_each_with_its_own_id() {
    let mut pipes = Pipes::initialized(1 << 16, |_| {}).await;
    let ids = ["1", "\"1\"", "\"\"", "0", "-1", "9007199254740993"];
    for id in ids {
        pipes.say(&call(id, "gate")).await;
    }
    for _ in ids {
        pipes.until("call gate").await;
    }
    pipes.say(&call("\"quick\"", "echo")).await;
    assert_eq!(pipes.hear().await["id"], "quick");
    pipes.say(&call("1", "echo")).await;
    let twice = pipes.hear().await;
    assert_eq!((&twice["id"], &twice["error"]["code"]), (&json!(1), &json!(-32600)));
    pipes.shared.gate.add_permits(ids.len());
    let mut answered = Vec::new();
    for _ in ids {
        answered.push(pipes.hear().await["id"].to_string());
    }
    let mut asked: Vec<_> = ids.iter().map(|id| id.to_string()).collect();
    asked.sort();
    answered.sort();
    assert_eq!(answered, asked);
}

#[tokio::test]
async fn progress_questions_and_cancellation_pass() {
    let mut pipes = Pipes::initialized(1 << 16, |_| {}).await;
    pipes.say(&call("1", "progress")).await;
    for step in 1..=3 {
        assert_eq!(pipes.hear().await["params"]["progress"], step);
    }
    assert_eq!(pipes.hear().await["result"]["steps"], 3);
    pipes.say(&call("2", "ask")).await;
    let question = pipes.hear().await;
    assert_eq!(question["method"], "sampling/createMessage");
    pipes.say(&json!({"jsonrpc":"2.0","id":question["id"],"result":{"role":"assistant"}}).to_string()).await;
    assert_eq!(pipes.hear().await, json!({"jsonrpc":"2.0","id":2,"result":{"role":"assistant"}}));
    pipes.say(&call("3", "gate")).await;
    pipes.until("call gate").await;
    pipes.say(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}"#).await;
    pipes.until("cancelled gate").await;
    pipes.say(r#"{"jsonrpc":"2.0","id":4,"method":"ping"}"#).await;
    assert_eq!(pipes.hear().await, json!({"jsonrpc":"2.0","id":4,"result":{}}), "and no answer to 3");
    pipes.say(&call("5", "panic")).await;
    assert_eq!(pipes.hear().await["error"]["code"], -32603);
}

#[tokio::test]
async fn what_a_server_says_during_initialize_follows_the_answer() {
    let mut pipes = Pipes::new(1 << 16, |_| {});
    pipes.say(&INITIALIZE.replace("\"test\"", "\"slow\"")).await;
    pipes.until("open a 2025-06-18").await;
    pipes.shared.gate.add_permits(1);
    let opened = async {
        while pipes.shared.sessions.lock().expect("no panic in it").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    soon("the session", opened).await;
    pipes.shared.session(0).notify(progress(1, 0));
    assert!(pipes.hear().await["result"].is_object());
    assert_eq!(pipes.hear().await["method"], "notifications/progress");
    pipes.shared.session(0).notify(progress(2, 0));
    assert_eq!(pipes.hear().await["params"]["progress"], 2);
}

#[tokio::test]
async fn bad_lines_are_answered_and_cost_nothing_else() {
    let mut pipes = Pipes::new(1 << 16, |config| config.limits.client_message_bytes = 1000);
    for (line, id) in [
        ("noise", Value::Null),
        ("[]", Value::Null),
        (r#"{"jsonrpc":"2.0","id":8,"method":"tools/list"}"#, json!(8)),
    ] {
        pipes.say(line).await;
        let error = pipes.hear().await;
        assert!(error["error"]["code"].is_i64(), "{line}: {error}");
        assert_eq!(error["id"], id, "{line}");
    }
    pipes.say(&"x".repeat(5000)).await;
    assert_eq!(pipes.hear().await["error"]["code"], -32600);
    pipes.say("").await;
    pipes.say("  \r").await;
    pipes.say(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#).await;
    pipes.say(INITIALIZE).await;
    assert_eq!(pipes.hear().await["id"], 0);
    pipes.say(INITIALIZE).await;
    assert_eq!(pipes.hear().await["error"]["code"], -32600, "twice");
    pipes.say(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#).await;
    pipes.until("notified notifications/roots/list_changed").await;
}

/// A request of the modern era.
fn modern(id: &str, method: &str, params: &str) -> String {
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"progressToken":"p"}"#;
    let comma = if params.is_empty() { "" } else { "," };
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}{comma}{meta}}}}}"#)
}

#[tokio::test]
async fn both_eras_are_spoken_on_one_pipe() {
    let mut pipes = Pipes::new(1 << 16, |_| {});
    pipes.say(&modern("\"m\"", "tools/call", r#""name":"progress""#)).await;
    for step in 1..=3 {
        assert_eq!(pipes.hear().await["params"]["progress"], step);
    }
    assert_eq!(pipes.hear().await, json!({"jsonrpc":"2.0","id":"m","result":{"steps":3}}));
    assert_eq!(pipes.events.next().await, "join a 2026-07-28", "without a session");
    pipes.say(&call("1", "echo")).await;
    assert_eq!(pipes.hear().await["error"]["code"], -32600, "a legacy call still needs one");
    pipes.say(INITIALIZE).await;
    assert_eq!(pipes.hear().await["result"]["protocolVersion"], "2025-06-18");
    pipes.say(&call("1", "gate")).await;
    pipes.until("call gate").await;
    pipes.say(&modern("2", "tools/call", r#""name":"gate""#)).await;
    pipes.until("call gate").await;
    pipes.say(&modern("2", "tools/list", "")).await;
    let twice = pipes.hear().await;
    assert_eq!((&twice["id"], &twice["error"]["code"]), (&json!(2), &json!(-32600)));
    pipes.say(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}"#).await;
    pipes.until("cancelled gate").await;
    pipes.shared.gate.add_permits(1);
    assert_eq!(pipes.hear().await, json!({"jsonrpc":"2.0","id":1,"result":{"passed":true}}), "and none to 2");
    for (request, code) in [
        (modern("3", "tools/list", "").replace("2026-07-28", "2026-01-01"), -32022),
        (
            modern("4", "tools/list", "").replace(r#""io.modelcontextprotocol/clientCapabilities":{},"#, ""),
            -32602,
        ),
        (modern("5", "ping", ""), -32601),
        (modern("6", "initialize", ""), -32601),
        (modern("7", "tools/call", r#""name":"panic""#), -32603),
    ] {
        pipes.say(&request).await;
        assert_eq!(pipes.hear().await["error"]["code"], code, "{request}");
    }
}

#[tokio::test]
async fn a_subscription_that_ends_on_this_side_says_so_twice() {
    let mut pipes = Pipes::new(1 << 16, |_| {});
    pipes.say(&modern("\"s\"", "subscriptions/listen", r#""notifications":{"toolsListChanged":true}"#)).await;
    pipes.say(&modern("2", "tools/call", r#""name":"gate""#)).await;
    assert_eq!(pipes.hear().await["method"], "notifications/subscriptions/acknowledged");
    pipes.until("call gate").await;
    pipes.shutdown.cancel();
    let result = pipes.hear().await;
    assert_eq!(
        (&result["id"], result["result"].is_object()),
        (&json!("s"), true),
        "it does not wait for calls"
    );
    let cancelled = pipes.hear().await;
    assert_eq!(
        (&cancelled["method"], &cancelled["params"]["requestId"]),
        (&json!("notifications/cancelled"), &json!("s"))
    );
    pipes.shared.gate.add_permits(1);
    assert_eq!(pipes.hear().await["result"]["passed"], true);
    soon("the end of serving", pipes.serving).await.expect("no panic");
}

#[tokio::test]
async fn a_client_that_is_gone_has_cancelled_its_modern_requests() {
    let mut pipes = Pipes::new(1 << 16, |_| {});
    pipes.say(&modern("1", "tools/call", r#""name":"gate""#)).await;
    pipes.until("call gate").await;
    let Pipes { output, serving, events, mut input, .. } = pipes;
    drop(output);
    let _ = input.write_all(format!("{}\n", modern("2", "ping", "")).as_bytes()).await;
    soon("the end of serving", serving).await.expect("no panic");
    events.until("cancelled gate").await;
}

#[tokio::test]
async fn the_end_of_input_lets_calls_finish_and_ends_the_session() {
    let mut pipes = Pipes::initialized(1 << 16, |_| {}).await;
    pipes.say(&call("1", "gate")).await;
    pipes.until("call gate").await;
    pipes.input.shutdown().await.expect("open");
    pipes.shared.gate.add_permits(1);
    assert_eq!(pipes.hear().await["result"]["passed"], true);
    soon("the end of serving", &mut pipes.serving).await.expect("no panic");
    pipes.until("closed").await;
}

#[tokio::test]
async fn a_client_that_is_gone_ends_the_session_at_once() {
    let mut pipes = Pipes::initialized(1 << 16, |_| {}).await;
    pipes.say(&call("1", "gate")).await;
    pipes.until("call gate").await;
    let Pipes { output, serving, events, input, shared, .. } = pipes;
    drop(output);
    shared.session(0).notify(progress(1, 0));
    soon("the end of serving", serving).await.expect("no panic");
    events.until("closed").await;
    drop(input);
}

#[tokio::test]
async fn shutdown_ends_a_session_whose_input_is_open() {
    let pipes = Pipes::initialized(1 << 16, |_| {}).await;
    pipes.shutdown.cancel();
    soon("the end of serving", pipes.serving).await.expect("no panic");
    pipes.events.until("closed").await;
}

#[tokio::test]
async fn a_slow_reader_costs_bounded_memory_and_gets_every_answer() {
    let mut pipes = Pipes::initialized(1 << 10, |_| {}).await;
    pipes.say(&call("1", "flood")).await;
    pipes.until("done flood").await;
    let mut heard = 0;
    loop {
        let message = pipes.hear().await;
        if message["id"] == 1 {
            break;
        }
        heard += 1;
    }
    // 1 MiB of 64 KiB messages, and what was in the pipe.
    assert!((10..40).contains(&heard), "{heard} of 1001 notifications");
}
