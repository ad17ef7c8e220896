//! Clients of 2026-07-28 in front of servers of 2025-11-25: every request stands for itself, and what a
//! server asks in the middle of a call is a result that asks.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "bridge_modern_client/outside.rs"]
mod outside;
#[path = "support/support.rs"]
mod support;
#[path = "bridge_modern_client/tasks.rs"]
mod tasks;

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use support::child::Watched;
use support::processes::until;
use support::{Answer, Gate, Modern, Setup};

const LEGACY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/modern_client/legacy.py");

fn all() -> Value {
    json!({ "elicitation": { "form": {}, "url": {} }, "sampling": { "tools": {} }, "roots": { "listChanged": true } })
}

/// A Lockgate in front of the server that asks, dies and lies.
struct Bed {
    gate: Gate,
    _server: Option<Watched>,
}

/// In front of it over stdio, and over Streamable HTTP.
fn both(test: impl Fn(&Bed)) {
    test(&Bed::stdio(|setup| setup));
    test(&Bed::http());
}

impl Bed {
    fn stdio(with: impl FnOnce(Setup) -> Setup) -> Bed {
        let setup = Setup::new();
        let log = setup.folder().join("s.log");
        let server = json!({ "command": "python3", "args": ["-u", LEGACY, "--log", log] });
        Bed { gate: with(setup.with_server("s", server)).start(), _server: None }
    }

    fn http() -> Bed {
        let setup = Setup::new();
        let log = setup.folder().join("s.log");
        let mut command = Command::new("python3");
        command.args(["-u", LEGACY, "--http", "--log"]).arg(log);
        let server = Watched::start(command.stdin(Stdio::null()).stdout(Stdio::null()));
        let line = server.line("line with its address", |line| line.starts_with("listening on "));
        let url = line.trim_start_matches("listening on ").trim();
        Bed { gate: setup.with_server("s", json!({ "url": url })).start(), _server: Some(server) }
    }

    fn client(&self, capabilities: Value) -> Modern {
        Modern::new(self.gate.address, "s").able_to(capabilities)
    }

    /// What arrived at the server, of one method.
    fn arrived(&self, method: &str) -> Vec<Value> {
        self.gate.arrived("s").into_iter().filter(|message| message["method"] == method).collect()
    }

    /// Waits until something arrived.
    fn waits_for(&self, what: impl Fn(&Value) -> bool) -> Value {
        let mut found = None;
        until("it arrives", support::PATIENCE, || {
            found = self.gate.arrived("s").into_iter().find(&what);
            found.is_some()
        });
        found.unwrap()
    }
}

#[test]
fn a_legacy_server_looks_like_a_modern_one() {
    both(|bed| {
        let client = bed.client(json!({}));
        let discovered = client.request("server/discover", json!({}));
        let result = discovered.result();
        assert_eq!(result["supportedVersions"], json!(["2026-07-28"]), "{result}");
        assert_eq!((&result["ttlMs"], &result["cacheScope"]), (&json!(0), &json!("private")), "{result}");
        assert_eq!(result["resultType"], "complete", "{result}");
        assert_eq!(result["instructions"], "be éxact", "{result}");
        assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "legacy", "{result}");
        assert_eq!(
            result["capabilities"]["extensions"],
            json!({ "io.modelcontextprotocol/tasks": {} }),
            "{result}"
        );
        for gone in ["tasks", "experimental"] {
            assert_eq!(result["capabilities"].get(gone), None, "{result}");
        }
        let listed = client.request("tools/list", json!({}));
        let result = listed.result();
        assert_eq!(result["resultType"], "complete", "{result}");
        assert_eq!((&result["ttlMs"], &result["cacheScope"]), (&json!(0), &json!("private")), "{result}");
        let tools = result["tools"].as_array().unwrap();
        assert!(tools.len() > 5 && tools.iter().all(|tool| tool.get("execution").is_none()), "{result}");
        let read = client.request("resources/read", json!({ "uri": "x:none" }));
        assert_eq!((read.code(), &read.message["error"]["data"]["uri"]), (-32602, &json!("x:none")));
        let faked = client.call("fake", json!({}));
        assert_eq!(faked.result()["resultType"], "complete", "{faked:?}");
        assert_eq!(faked.result().get("inputRequests"), None, "{faked:?}");
        let call = &bed.arrived("tools/call")[0];
        assert_eq!(call["params"].get("_meta"), None, "{call}");
        let initialized = &bed.arrived("initialize")[0]["params"];
        assert_eq!(initialized["clientInfo"]["name"], "lockgate", "{initialized}");
        assert_eq!(initialized["capabilities"], json!({}), "{initialized}");
    });
}

#[test]
fn each_kind_of_question_is_a_round_of_its_call() {
    both(|bed| {
        let client = bed.client(all());
        for (kind, method, answer) in [
            (
                "elicitation",
                "elicitation/create",
                json!({ "action": "accept", "content": { "name": "Ada" } }),
            ),
            ("url", "elicitation/create", json!({ "action": "decline" })),
            (
                "sampling",
                "sampling/createMessage",
                json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "x" } }),
            ),
            ("roots", "roots/list", json!({ "roots": [{ "uri": "file:///a" }] })),
        ] {
            let arguments = json!({ "kind": kind, "text": "canary" });
            let asked = client.call("ask", arguments.clone());
            let (questions, state) = asked.questions();
            let question = &questions["r1"];
            assert_eq!(question["method"], method, "{question}");
            assert_eq!(question["params"].get("elicitationId"), None, "{question}");
            assert_eq!(question["params"].get("_meta"), None, "{question}");
            assert_eq!(kind == "url", question["params"]["mode"] == "url", "{question}");
            let done = client.retry("ask", arguments, state, json!({ "r1": answer, "r7": {} }));
            assert_eq!(done.json(), json!({ "asked": "canary", "answer": answer }), "{kind}");
            let again = client.retry(
                "ask",
                json!({ "kind": kind, "text": "canary" }),
                state,
                json!({ "r1": answer }),
            );
            assert_eq!(again.code(), -32602, "a state is good for one round");
        }
        let opened = bed.arrived("initialize");
        let last = &opened.last().unwrap()["params"]["capabilities"];
        let told =
            json!({ "elicitation": { "form": {}, "url": {} }, "roots": {}, "sampling": { "tools": {} } });
        assert_eq!(last, &told, "{opened:?}");
    });
}

#[test]
fn questions_asked_at_once_are_one_round_and_missing_answers_are_asked_for_again() {
    both(|bed| {
        let client = bed.client(all());
        let asked = client.call("ask_all", json!({}));
        let (questions, state) = asked.questions();
        let mut keys = ["elicitation/create", "sampling/createMessage", "roots/list"].map(|method| {
            let mut all = questions.as_object().unwrap().iter();
            all.find(|(_, question)| question["method"] == method).unwrap().0.clone()
        });
        let some = json!({ &keys[1]: { "n": 2 }, &keys[2]: "no object" });
        let again = client.retry("ask_all", json!({}), state, some);
        let (left, state) = again.questions();
        assert_eq!(left[&keys[0]], questions[&keys[0]]);
        assert_eq!(left[&keys[2]], questions[&keys[2]]);
        assert_eq!(left.as_object().unwrap().len(), 2, "{left}");
        let rest = json!({ &keys[0]: { "n": 1 }, &keys[2]: { "n": 3 } });
        let done = client.retry("ask_all", json!({}), state, rest);
        assert_eq!(done.json(), json!([{ "n": 1 }, { "n": 2 }, { "n": 3 }]));
        keys.sort();
        assert_eq!(keys, ["r1", "r2", "r3"]);

        let first = client.call("ask_twice", json!({}));
        let (_, state) = first.questions();
        let second = client.retry("ask_twice", json!({}), state, json!({ "r1": { "n": 1 } }));
        let (questions, state) = second.questions();
        assert_eq!(questions["r2"]["params"]["message"], "second", "{questions}");
        let done = client.retry("ask_twice", json!({}), state, json!({ "r2": { "n": 2 } }));
        assert_eq!(done.json(), json!([{ "n": 1 }, { "n": 2 }]));

        let many = client.call("ask_more", json!({}));
        assert_eq!(many.questions().0.as_object().unwrap().len(), 16, "the rest is refused");
    });
}

#[test]
fn a_client_is_asked_only_what_it_said_it_can_be_asked() {
    both(|bed| {
        for (can, kind) in [
            (json!({}), "roots"),
            (json!({ "elicitation": {} }), "url"),
            (json!({ "roots": {} }), "sampling"),
        ] {
            let refused = bed.client(can).call("ask", json!({ "kind": kind }));
            assert_eq!(refused.json()["answer"]["error"]["code"], -32601, "{refused:?}");
        }
        let without = bed.client(json!({ "elicitation": {} })).call("page", json!({}));
        assert_eq!((without.status, without.code()), (400, -32021));
        let wanted = &without.message["error"]["data"]["requiredCapabilities"];
        assert_eq!(wanted, &json!({ "elicitation": { "url": {} } }));
    });
}

#[test]
fn a_page_that_must_be_visited_is_a_round_and_then_the_call_is_made_anew() {
    both(|bed| {
        let client = bed.client(all());
        for (action, text) in [("accept", "visited"), ("decline", "the user did not agree")] {
            let asked = client.call("page", json!({}));
            let (questions, state) = asked.questions();
            let params = json!({ "mode": "url", "url": "https://a.example/", "message": "go" });
            assert_eq!(questions, &json!({ "r1": { "method": "elicitation/create", "params": params } }));
            let done = client.retry("page", json!({}), state, json!({ "r1": { "action": action } }));
            assert!(done.text().contains(text), "{done:?}");
        }
    });
}

#[test]
fn progress_goes_on_under_the_token_of_the_round() {
    both(|bed| {
        let client = bed.client(all());
        let asked = client.with("progressToken", json!("one")).call("steps", json!({}));
        let progress = |answer: &Answer| -> Vec<Value> {
            answer
                .before
                .iter()
                .map(|m| json!([m["params"]["progressToken"], m["params"]["progress"]]))
                .collect()
        };
        assert_eq!(progress(&asked), [json!(["one", 1])], "{asked:?}");
        let state = asked.questions().1;
        let done =
            client.with("progressToken", json!(2)).retry("steps", json!({}), state, json!({ "r1": {} }));
        assert_eq!(progress(&done), [json!([2, 2])], "{done:?}");
        assert_eq!(done.text(), "stepped");
    });
}

#[test]
fn a_tool_that_is_a_task_is_driven_to_its_end() {
    both(|bed| {
        let client = bed.client(all());
        for tool in ["task", "task"] {
            let asked = client.call(tool, json!({}));
            let (questions, state) = asked.questions();
            assert_eq!(questions["r1"]["params"]["message"], "in a task");
            let done = client.retry(tool, json!({}), state, json!({ "r1": { "action": "accept" } }));
            assert_eq!(done.json(), json!({ "action": "accept" }));
        }
        // One whose list does not say so may have run: it is not called a second time.
        assert_eq!(client.call("shy_task", json!({})).code(), -32601);
        let calls = bed.arrived("tools/call");
        let as_tasks = calls.iter().map(|call| call["params"].get("task").is_some());
        assert_eq!(as_tasks.collect::<Vec<_>>(), [true, true, false]);
    });
}

#[test]
fn a_task_that_nobody_waits_for_is_cancelled() {
    let bed = Bed::stdio(|setup| setup.with_limit("parked_seconds", 1));
    bed.client(all()).call("task", json!({})).questions();
    let answer = bed.waits_for(|message| message["result"]["action"] == "cancel");
    assert!(answer["id"].is_string(), "{answer}");
    let client = bed.client(all()).with("progressToken", json!(1));
    drop(client.open("tools/call", json!({ "name": "endless_task" })));
    bed.waits_for(|message| message["method"] == "tasks/cancel");
}

#[test]
fn a_server_that_does_not_wait_for_its_own_question_is_answered_all_the_same() {
    both(|bed| {
        let client = bed.client(all());
        for _ in 0..20 {
            assert_eq!(client.call("late", json!({})).text(), "answered before it was");
        }
        let answers = || bed.gate.arrived("s").iter().filter(|m| m["error"]["code"] == -32603).count();
        let end = std::time::Instant::now() + support::PATIENCE;
        while answers() < 20 {
            assert!(std::time::Instant::now() < end, "{} questions were answered", answers());
            support::processes::pause();
        }
    });
}

#[test]
fn states_that_are_none_are_refused_and_answers_without_one_are_ignored() {
    let bed = Bed::stdio(|setup| setup);
    let client = bed.client(all());
    let answers = json!({ "r1": { "action": "accept" } });
    for state in [json!("AAAAAAAAAAAAAAAAAAAAAA"), json!(""), json!(7)] {
        assert_eq!(client.retry("ask", json!({}), &state, answers.clone()).code(), -32602, "{state}");
    }
    let fresh =
        client.request("tools/call", json!({ "name": "ask", "arguments": {}, "inputResponses": answers }));
    let (_, state) = fresh.questions();
    let stolen =
        json!({ "name": "ask", "arguments": {}, "requestState": state, "inputResponses": { "r1": {} } });
    assert_eq!(client.request("prompts/get", stolen).code(), -32602, "another method");
    let none = client.retry("ask", json!({}), state, json!({}));
    assert_eq!(none.questions().0["r1"]["method"], "elicitation/create", "it is asked again");
}

#[test]
fn a_call_whose_client_does_not_come_back_is_cancelled() {
    let bed = Bed::stdio(|setup| setup.with_limit("parked_seconds", 1));
    let client = bed.client(all());
    let asked = client.call("ask", json!({}));
    let answer = bed.waits_for(|message| message["id"] == "q1");
    assert_eq!(answer["result"], json!({ "action": "cancel" }));
    let late = client.retry("ask", json!({}), asked.questions().1, json!({ "r1": {} }));
    assert_eq!(late.code(), -32602, "{late:?}");
    let sampled = client.call("ask", json!({ "kind": "sampling" }));
    let answer = bed.waits_for(|message| message["error"]["code"] == -1);
    assert!(sampled.questions().1.is_string() && answer["error"]["message"].is_string(), "{answer}");
}

#[test]
fn a_server_that_dies_while_its_user_thinks_is_told_of_and_the_next_call_has_another() {
    let bed = Bed::stdio(|setup| setup);
    let client = bed.client(all());
    let when = bed.gate.plugins().join("../die");
    let arguments = json!({ "when": when });
    let asked = client.call("die", arguments.clone());
    let mark = bed.gate.mark();
    std::fs::write(&when, "").unwrap();
    bed.gate.said(mark, "end of the server", |line| line.contains("a server ended"));
    let told = client.retry("die", arguments, asked.questions().1, json!({ "r1": {} }));
    assert_eq!(told.message["error"]["data"]["reason"], "gone-may-have-run", "{told:?}");
    assert_eq!(client.call("count", json!({})).json()[0], 1, "a new process");
}

#[test]
fn calls_one_after_the_other_see_one_process_and_one_that_is_given_up_costs_it() {
    let bed = Bed::stdio(|setup| setup);
    let client = bed.client(all());
    let first = client.call("count", json!({})).json();
    let second = client.call("count", json!({})).json();
    assert_eq!((&second[0], &second[1]), (&json!(2), &first[1]), "{second}");
    // While one waits for its user, another process takes the next.
    let asked = client.call("ask", json!({}));
    let beside = client.call("count", json!({})).json();
    assert_ne!(beside[1], first[1], "{beside}");
    let done = client.retry("ask", json!({}), asked.questions().1, json!({ "r1": {} }));
    assert_eq!(done.json()["answer"], json!({}));
    assert_eq!(client.call("count", json!({})).json()[1], first[1], "the first that is free");
    // A client that leaves has cancelled, and what the server asks later must reach nobody else.
    let held = client.with("progressToken", json!(1)).open("tools/call", json!({ "name": "hold" }));
    drop(held);
    bed.waits_for(|message| message["method"] == "notifications/cancelled");
    assert_ne!(client.call("count", json!({})).json()[1], first[1], "it was let go of");
}

#[test]
fn log_messages_come_from_the_level_that_was_asked_for() {
    let gate = Setup::fixture(&[]).start();
    let client = Modern::new(gate.address, "fx").able_to(json!({ "roots": {} }));
    let logged = |level: Option<&str>, said: &str| {
        let asks = level
            .map_or(client.clone(), |level| client.with("io.modelcontextprotocol/logLevel", json!(level)));
        let answer = asks.call("log", json!({ "level": said, "n": 2 }));
        answer.before.iter().map(|message| message["params"]["data"]["set"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(logged(None, "emergency"), Vec::<Value>::new());
    assert_eq!(logged(Some("warning"), "error"), ["warning", "warning"]);
    assert_eq!(logged(Some("debug"), "info"), ["debug", "debug"]);
    assert_eq!(logged(Some("error"), "warning"), Vec::<Value>::new());
    assert_eq!(logged(Some("error"), "error"), ["debug", "debug"], "the server is told less only");
}

#[test]
fn changes_are_heard_by_those_who_listen() {
    let gate = Setup::fixture(&[]).start();
    let client = Modern::new(gate.address, "fx").able_to(json!({ "elicitation": {} }));
    let wanted =
        json!({ "toolsListChanged": true, "resourceSubscriptions": ["fixture://open/1", "fixture://none"] });
    let mut listening = client.open("subscriptions/listen", json!({ "notifications": wanted }));
    let mut next = || -> Value { serde_json::from_str(&listening.event().unwrap().unwrap()).unwrap() };
    let acknowledged = next();
    let honoured = json!({ "toolsListChanged": true, "resourceSubscriptions": ["fixture://open/1"] });
    assert_eq!(acknowledged["params"]["notifications"], honoured, "{acknowledged}");
    assert_eq!(client.call("add_tool", json!({ "name": "new" })).text(), "added");
    assert_eq!(next()["method"], "notifications/tools/list_changed");
    assert_eq!(client.call("update_resource", json!({ "uri": "fixture://open/1" })).text(), "told");
    let updated = next();
    assert_eq!(updated["params"]["uri"], "fixture://open/1", "{updated}");
    drop(listening);
    let end = std::time::Instant::now() + support::PATIENCE;
    let unsubscribed =
        || gate.arrived("fx").iter().filter(|m| m["method"] == "resources/unsubscribe").count();
    while unsubscribed() < 2 {
        assert!(std::time::Instant::now() < end, "nobody listens any more");
        support::processes::pause();
    }
}

#[test]
fn clients_that_are_asked_at_once_get_their_own_questions_and_answers() {
    both(|bed| {
        let left = AtomicUsize::new(200);
        std::thread::scope(|scope| {
            for number in 0..8 {
                let (left, client) = (&left, bed.client(all()));
                scope.spawn(move || {
                    while let Ok(round) =
                        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                    {
                        let canary = format!("canary-{number}-{round}");
                        let arguments = json!({ "text": canary });
                        let asked = client.call("ask", arguments.clone());
                        let (questions, state) = asked.questions();
                        assert_eq!(
                            questions["r1"]["params"]["message"],
                            json!(canary),
                            "somebody else's question"
                        );
                        let answer = json!({ "action": "accept", "content": { "name": canary } });
                        let done = client.retry("ask", arguments, state, json!({ "r1": answer }));
                        assert_eq!(done.json(), json!({ "asked": canary, "answer": answer }));
                    }
                });
            }
        });
    });
}

#[test]
fn calls_beyond_the_connections_wait_and_say_what_is_in_the_way() {
    let bed = Bed::stdio(|setup| setup.with_limit("bridged_connections", 2).with_limit("call_seconds", 2));
    let client = bed.client(all());
    let asked = client.call("ask", json!({}));
    asked.questions();
    // The other one is for clients that can be asked nothing, and gives way.
    let refused = client.call("ask", json!({}));
    assert_eq!(
        refused.json()["answer"]["error"]["code"],
        -31503,
        "one stays for calls that ask nothing: {refused:?}"
    );
    let held = client.with("progressToken", json!(1)).open("tools/call", json!({ "name": "hold" }));
    let busy = client.call("count", json!({}));
    let said = busy.message["error"]["message"].as_str().unwrap();
    assert!(said.contains("limits.bridged_connections"), "{busy:?}");
    drop(held);
}
