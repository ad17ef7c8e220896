//! Tasks of a legacy server as a modern client has them that declares their extension.

use serde_json::{Value, json};
use sha2::Digest;

use super::support::processes::until;
use super::support::{Answer, Modern, PATIENCE, Setup};
use super::{Bed, all, both};

const TASKS: &str = "io.modelcontextprotocol/tasks";

/// What a client can do that knows tasks.
fn knowing(mut capabilities: Value) -> Value {
    capabilities["extensions"] = json!({ TASKS: {} });
    capabilities
}

/// Calls the tool whose task does as it is told, and returns its id.
fn begin(client: &Modern, wanted: Value) -> String {
    let created = client.call("any_task", wanted);
    assert_eq!(created.result()["resultType"], "task", "{created:?}");
    created.result()["taskId"].as_str().unwrap().to_owned()
}

fn get(client: &Modern, id: &str) -> Answer {
    client.request("tasks/get", json!({ "taskId": id }))
}

fn update(client: &Modern, id: &str, answers: Value) -> Answer {
    client.request("tasks/update", json!({ "taskId": id, "inputResponses": answers }))
}

fn cancel(client: &Modern, id: &str) -> Answer {
    client.request("tasks/cancel", json!({ "taskId": id }))
}

/// Asks how a task is doing until it is like that.
fn when(client: &Modern, id: &str, what: &str, so: impl Fn(&Value) -> bool) -> Value {
    let mut task = Value::Null;
    until(what, PATIENCE, || {
        let answer = get(client, id);
        assert!(answer.before.is_empty(), "nobody is told of a task: {answer:?}");
        task = answer.result().clone();
        assert_eq!(task["resultType"], "complete", "{task}");
        so(&task)
    });
    task
}

fn when_it_is(client: &Modern, id: &str, status: &str) -> Value {
    when(client, id, status, |task| task["status"] == status)
}

fn text(result: &Value) -> Value {
    serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap()
}

#[test]
fn a_call_becomes_a_task_that_asks_and_is_fetched() {
    both(|bed| {
        let client = bed.client(knowing(all()));
        let wanted = json!({ "ask": ["elicitation", "roots"], "then": ["elicitation"] });
        let created = client.with("progressToken", json!(1)).call("any_task", wanted);
        let task = created.result();
        assert_eq!((&task["resultType"], &task["status"]), (&json!("task"), &json!("working")), "{task}");
        assert_eq!((&task["ttlMs"], &task["pollIntervalMs"]), (&json!(3_600_000), &json!(1)), "{task}");
        assert_eq!(task["createdAt"], "2026-01-01T00:00:00Z", "{task}");
        assert_eq!((task.get("task"), task.get("result")), (None, None), "it is flat: {task}");
        let id = task["taskId"].as_str().unwrap();
        let call = &bed.arrived("tools/call")[0]["params"];
        assert_eq!(call["task"], json!({ "ttl": 3_600_000 }), "{call}");
        assert_eq!(call["_meta"].get("io.modelcontextprotocol/clientCapabilities"), None, "{call}");

        let asks = |count: usize| {
            move |task: &Value| task["inputRequests"].as_object().is_some_and(|all| all.len() == count)
        };
        let task = when(&client, id, "two questions", asks(2));
        assert_eq!(task["status"], "input_required", "{task}");
        assert_eq!(task["statusMessage"], "at it", "{task}");
        assert_ne!(task["lastUpdatedAt"], task["createdAt"], "{task}");
        let questions = &task["inputRequests"];
        let key = |method: &str| {
            let mut all = questions.as_object().unwrap().iter();
            all.find(|(_, question)| question["method"] == method).unwrap().0.clone()
        };
        let (form, roots) = (key("elicitation/create"), key("roots/list"));
        assert_eq!(questions[&form]["params"]["message"], "in a task", "{questions}");
        assert_eq!(questions[&form]["params"].get("_meta"), None, "{questions}");
        let acknowledged = update(&client, id, json!({ &roots: { "n": 2 }, "r9": { "n": 9 } }));
        assert_eq!(acknowledged.result()["resultType"], "complete", "{acknowledged:?}");
        assert_eq!(acknowledged.result().get("status"), None, "{acknowledged:?}");
        let task = when(&client, id, "one question", asks(1));
        assert_eq!(task["inputRequests"][&form], questions[&form], "{task}");
        update(&client, id, json!({ &form: { "n": 1 }, &roots: { "n": 0 } }));
        let task = when(&client, id, "the next one", |task| task["inputRequests"]["r3"].is_object());
        assert_eq!(task["inputRequests"].as_object().unwrap().len(), 1, "no key is used again: {task}");
        update(&client, id, json!({ "r3": { "n": 3 } }));

        let task = when_it_is(&client, id, "completed");
        assert_eq!(task["result"]["resultType"], "complete", "{task}");
        assert_eq!(text(&task["result"]), json!([{ "n": 1 }, { "n": 2 }, { "n": 3 }]));
        let own = json!({ "name": "legacy", "version": "0" });
        let whose = json!({ "io.modelcontextprotocol/serverInfo": own });
        assert_eq!((&task["_meta"], &task["result"]["_meta"]), (&whose, &whose), "{task}");
        assert_eq!(task.get("inputRequests"), None, "{task}");
        for over in [update(&client, id, json!({ "r3": {} })), cancel(&client, id)] {
            assert_eq!(over.result()["resultType"], "complete", "{over:?}");
        }
        assert_eq!(get(&client, id).result(), &task, "it stays as it was");
        assert_eq!(bed.arrived("tasks/cancel"), Vec::<Value>::new());
    });
}

#[test]
fn the_error_of_a_task_is_its_end_and_a_tools_own_is_a_result() {
    both(|bed| {
        let client = bed.client(knowing(json!({})));
        for (code, told) in [(-32000, -32000), (-32021, -32603)] {
            let id = begin(&client, json!({ "ask": [], "fault": code }));
            let task = when_it_is(&client, &id, "failed");
            assert_eq!(task["error"], json!({ "code": told, "message": "it broke", "data": { "k": 1 } }));
            assert_eq!(task.get("result"), None, "{task}");
        }
        let id = begin(&client, json!({ "ask": [], "bad": true }));
        assert_eq!(when_it_is(&client, &id, "completed")["result"]["isError"], true);
        let id = begin(&client, json!({ "ask": [], "fault": -32602, "status": "cancelled" }));
        let task = when_it_is(&client, &id, "cancelled");
        assert_eq!((task.get("error"), task.get("result")), (None, None), "{task}");
    });
}

#[test]
fn a_server_that_dies_between_two_looks_at_a_task_gets_no_second_call() {
    let bed = Bed::stdio(|setup| setup);
    // The second look would come long after its end.
    let wanted = json!({ "die": true, "pause": 1_000 });
    let driven = bed.client(all()).call("any_task", wanted.clone());
    assert_eq!(bed.arrived("tools/call").len(), 1, "{driven:?}");
    assert!(driven.error()["message"].as_str().unwrap().contains("may have run"), "{driven:?}");
    let client = bed.client(knowing(all()));
    let id = begin(&client, wanted);
    let task = when_it_is(&client, &id, "failed");
    assert!(task["error"]["message"].as_str().unwrap().contains("may have run"), "{task}");
    assert_eq!(bed.arrived("tools/call").len(), 2);
}

#[test]
fn a_task_that_is_cancelled_is_cancelled_at_the_server() {
    both(|bed| {
        let client = bed.client(knowing(all()));
        // At work, and waiting for an answer.
        for wanted in [json!({ "until": "/nowhere" }), json!({})] {
            let (before, seen) = (bed.arrived("tasks/cancel").len(), bed.arrived("tasks/get").len());
            let asks = wanted == json!({});
            let id = begin(&client, wanted);
            when_it_is(&client, &id, if asks { "input_required" } else { "working" });
            let looks = || bed.arrived("tasks/get");
            until("the server is asked how it is doing", PATIENCE, || looks().len() > seen);
            let own = looks().last().unwrap()["params"]["taskId"].clone();
            for _ in 0..2 {
                let acknowledged = cancel(&client, &id);
                assert_eq!(acknowledged.result()["resultType"], "complete", "{acknowledged:?}");
                assert_eq!(acknowledged.result().get("taskId"), None, "{acknowledged:?}");
                let task = get(&client, &id);
                assert_eq!(task.result()["status"], "cancelled", "{task:?}");
            }
            until("it is cancelled", PATIENCE, || bed.arrived("tasks/cancel").len() > before);
            let told = &bed.arrived("tasks/cancel")[before]["params"]["taskId"];
            assert_eq!(told, &own);
            assert_ne!(told, &json!(id), "its name is Lockgate's");
        }
        assert_eq!(bed.arrived("tasks/cancel").len(), 2, "once each");
    });
}

#[test]
fn only_a_client_that_declares_tasks_gets_one() {
    both(|bed| {
        let (knows, does_not) = (bed.client(knowing(all())), bed.client(all()));
        let asked = does_not.call("any_task", json!({ "text": "one" }));
        let (questions, _) = asked.questions();
        assert_eq!(questions["r1"]["params"]["message"], "in a task");
        let id = begin(&knows, json!({}));
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            let params = json!({ "taskId": id, "inputResponses": {} });
            let refused = does_not.request(method, params.clone());
            assert_eq!((refused.status, refused.code()), (400, -32021), "{refused:?}");
            let wanted = &refused.error()["data"]["requiredCapabilities"];
            assert_eq!(wanted, &json!({ "extensions": { TASKS: {} } }));
            let odd = does_not.clone().able_to(json!({ "extensions": { TASKS: true } }));
            assert_eq!(odd.request(method, params).code(), -32021, "{method}");
        }
        for method in ["tasks/list", "tasks/result"] {
            assert_eq!(knows.request(method, json!({ "taskId": id })).code(), -32601, "{method}");
        }
        when_it_is(&knows, &id, "input_required");
        // Tools that need not be called as tasks are called as always.
        assert_eq!(knows.call("count", json!({})).result()["resultType"], "complete");
        // It gets no task from a round in which it does not declare them.
        let asked = knows.call("any_task", json!({ "first": "elicitation" }));
        let (_, state) = asked.questions();
        let arguments = json!({ "first": "elicitation" });
        let driven = does_not.retry("any_task", arguments, state, json!({ "r1": {} }));
        assert_eq!(driven.questions().0["r2"]["params"]["message"], "in a task");
    });
}

#[test]
fn what_a_server_says_before_it_makes_a_task_is_said_as_always() {
    both(|bed| {
        let client = bed.client(knowing(all()));
        let arguments = json!({ "first": "elicitation", "ask": ["roots"] });
        let asked = client.call("any_task", arguments.clone());
        let (questions, state) = asked.questions();
        assert_eq!(questions["r1"]["params"]["message"], "before the task", "{asked:?}");
        let created = client.retry("any_task", arguments, state, json!({ "r1": { "action": "accept" } }));
        assert_eq!(created.result()["resultType"], "task", "{created:?}");
        let id = created.result()["taskId"].as_str().unwrap();
        let task = when_it_is(&client, id, "input_required");
        assert_eq!(task["inputRequests"]["r2"]["method"], "roots/list", "{task}");
        assert_eq!(client.call("any_task", json!({ "plain": 1 })).text(), "at once");
        assert_eq!(client.call("any_task", json!({ "refuse": 1 })).code(), -32602);
    });
}

#[test]
fn a_task_is_asked_only_what_its_client_can_be_asked() {
    both(|bed| {
        let client = bed.client(knowing(json!({ "roots": {} })));
        let id = begin(&client, json!({ "ask": ["sampling", "roots"] }));
        let task = when_it_is(&client, &id, "input_required");
        assert_eq!(task["inputRequests"].as_object().unwrap().len(), 1, "{task}");
        update(&client, &id, json!({ "r1": { "roots": [] } }));
        let task = when_it_is(&client, &id, "completed");
        let said = text(&task["result"]);
        assert_eq!((&said[0]["error"]["code"], &said[1]), (&json!(-32601), &json!({ "roots": [] })));
    });
}

#[test]
fn a_task_is_nothing_to_another_principal() {
    let hash = |key: &str| hex::encode(sha2::Sha256::digest(key));
    let keys = json!({ "keys": [
        { "name": "ada", "sha256": hash("ada's") }, { "name": "bob", "sha256": hash("bob's") } ] });
    for isolation in ["shared", "session"] {
        let bed = Bed::stdio(|setup| {
            let setup = setup.server_keys("s", json!({ "isolation": isolation }));
            setup.with_filter(json!({ "plugin": "api-key-auth", "config": keys }))
        });
        let client =
            |key: &str| bed.client(knowing(all())).with_header("authorization", &format!("Bearer {key}"));
        let (ada, bob) = (client("ada's"), client("bob's"));
        let id = begin(&ada, json!({}));
        when_it_is(&ada, &id, "input_required");
        let answers = json!({ "r1": { "action": "accept", "content": { "name": "smuggled" } } });
        for (foreign, id) in [(true, &*id), (false, "AAAAAAAAAAAAAAAAAAAAAA"), (false, "")] {
            let who = if foreign { &bob } else { &ada };
            for refused in [get(who, id), update(who, id, answers.clone()), cancel(who, id)] {
                assert_eq!(refused.code(), -32602, "{refused:?}");
                assert_eq!(refused.error()["message"], format!("Unknown task: {id}"));
            }
        }
        let no_answers = ada.request("tasks/update", json!({ "taskId": id, "inputResponses": [] }));
        assert_eq!(no_answers.code(), -32602, "{no_answers:?}");
        when_it_is(&ada, &id, "input_required");
        update(&ada, &id, json!({ "r1": { "action": "decline" } }));
        let task = when_it_is(&ada, &id, "completed");
        assert_eq!(text(&task["result"]), json!({ "action": "decline" }));
        assert!(!bed.gate.arrived_text("s").contains("smuggled"), "it reached the server");
        assert_eq!(bed.arrived("tasks/cancel"), Vec::<Value>::new());
    }
}

#[test]
fn where_filters_would_not_see_what_a_task_says_the_call_waits_as_before() {
    let calls = json!({ "methods": ["tools/call"] });
    for filter in [json!({ "plugin": "marker", "match": calls }), json!({ "plugin": "usher" })] {
        let marks = filter["plugin"] == "marker";
        let bed = Bed::stdio(|setup| setup.with_filter(filter));
        let client = bed.client(knowing(all()));
        let asked = client.call("any_task", json!({}));
        let message = if marks { "in a task" } else { "edited" };
        assert_eq!(asked.questions().0["r1"]["params"]["message"], message);
        let done = client.again("any_task", json!({}), &asked, |_, _| json!({ "action": "decline" }));
        assert_eq!(
            (&done.result()["resultType"], done.json()["action"].as_str()),
            (&json!("complete"), Some("decline"))
        );
        assert_eq!(done.result()["structuredContent"]["down"].is_string(), marks, "{done:?}");
    }
}

#[test]
fn a_task_ends_with_its_time() {
    let bed = Bed::stdio(|setup| setup.with_limit("task_seconds", 1));
    let client = bed.client(knowing(all()));
    let created = client.call("any_task", json!({ "until": "/nowhere", "ttl": 5_000 }));
    assert_eq!(created.result()["ttlMs"], 1_000, "{created:?}");
    let shorter = client.call("any_task", json!({ "ask": [], "ttl": 500 }));
    assert_eq!(shorter.result()["ttlMs"], 500, "{shorter:?}");
    for created in [&created, &shorter] {
        let id = created.result()["taskId"].as_str().unwrap();
        until("it is unknown", PATIENCE, || {
            let answer = get(&client, id);
            answer.message["error"]["code"] == -32602
        });
    }
    bed.waits_for(|message| message["method"] == "tasks/cancel");
}

#[test]
fn a_question_of_a_task_does_not_wait_for_ever() {
    let bed = Bed::stdio(|setup| setup.with_limit("parked_seconds", 1));
    let client = bed.client(knowing(all()));
    let id = begin(&client, json!({ "ask": ["elicitation", "sampling"] }));
    let said = text(&when_it_is(&client, &id, "completed")["result"]);
    assert_eq!((&said[0], &said[1]["error"]["code"]), (&json!({ "action": "cancel" }), &json!(-1)));
}

#[test]
fn a_task_has_a_place_until_its_client_knows_its_end() {
    let tight = Bed::stdio(|setup| setup.with_limit("bridged_connections", 2));
    let client = tight.client(knowing(all()));
    begin(&client, json!({}));
    let busy = client.call("any_task", json!({}));
    assert!(busy.error()["message"].as_str().unwrap().contains("limits.bridged_connections"), "{busy:?}");
    let bed = Bed::stdio(|setup| setup.with_limit("parked_calls", 1));
    let client = bed.client(knowing(all()));
    let wanted = json!({ "ask": [], "until": bed.gate.plugins().join("../go") });
    let first = begin(&client, wanted.clone());
    let refused = |wanted: &Value| {
        let before = bed.arrived("tools/call").len();
        let busy = client.call("any_task", wanted.clone());
        assert_eq!(busy.code(), -31503, "{busy:?}");
        assert!(busy.error()["message"].as_str().unwrap().contains("limits.parked_calls"), "{busy:?}");
        assert_eq!(bed.arrived("tools/call").len(), before, "it reached the server");
    };
    refused(&wanted);
    cancel(&client, &first);
    let second = begin(&client, wanted.clone());
    let looked = |method: &str| bed.arrived(method).len();
    let results = looked("tasks/result");
    std::fs::write(bed.gate.plugins().join("../go"), "").unwrap();
    until("it is over", PATIENCE, || looked("tasks/result") > results);
    refused(&wanted);
    when_it_is(&client, &second, "completed");
    let third = begin(&client, wanted);
    when_it_is(&client, &third, "completed");
    assert_eq!(get(&client, &second).result()["status"], "completed", "it is still there");
    assert_eq!(get(&client, &first).result()["status"], "cancelled");
}

#[test]
fn of_tasks_whose_end_is_known_the_last_ones_are_kept() {
    let bed = Bed::http();
    let client = bed.client(knowing(all()));
    let ids: Vec<String> = (0..33).map(|_| begin(&client, json!({ "ask": [] }))).collect();
    for id in &ids {
        when_it_is(&client, id, "completed");
    }
    assert_eq!(get(&client, &ids[0]).code(), -32602);
    for id in &ids[1..] {
        assert_eq!(get(&client, id).result()["status"], "completed");
    }
}

/// On a pipe a question does not say what it is about.
#[test]
fn a_question_that_seems_to_belong_to_another_request_is_the_tasks() {
    let bed = Bed::stdio(|setup| setup.with_limit("bridged_connections", 2));
    let client = bed.client(knowing(all()));
    let place = |name: &str| bed.gate.plugins().join("..").join(name);
    let id = begin(&client, json!({ "wait": place("ask") }));
    bed.waits_for(|message| message["method"] == "tasks/result");
    // Beside it, and later, so that the server seems to ask in the course of this.
    let argument = json!({ "name": "n", "value": place("complete") });
    let params = json!({ "ref": { "type": "ref/prompt", "name": "p" }, "argument": argument });
    std::thread::scope(|scope| {
        let completed = scope.spawn(|| client.request("completion/complete", params));
        bed.waits_for(|message| message["method"] == "completion/complete");
        std::fs::write(place("ask"), "").unwrap();
        let task = when_it_is(&client, &id, "input_required");
        assert_eq!(task["inputRequests"]["r1"]["method"], "elicitation/create", "{task}");
        std::fs::write(place("complete"), "").unwrap();
        assert!(completed.join().unwrap().result()["completion"].is_object());
    });
    update(&client, &id, json!({ "r1": { "n": 1 } }));
    let task = when_it_is(&client, &id, "completed");
    assert_eq!(text(&task["result"]), json!({ "n": 1 }));
}

#[test]
fn a_server_without_tasks_is_offered_with_none() {
    let gate = Setup::fixture(&[]).start();
    let client = Modern::new(gate.address, "fx").able_to(knowing(all()));
    let discovered = client.request("server/discover", json!({}));
    assert_eq!(discovered.result()["capabilities"].get("extensions"), None, "{discovered:?}");
    assert_eq!(get(&client, "a").code(), -32601);
}
