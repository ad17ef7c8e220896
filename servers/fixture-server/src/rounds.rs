//! `--modern`: tools whose result is a question, until the call is made again with the answer.

use serde_json::{Value, json};

use crate::methods::Refused;

/// A question as a result of revision 2026-07-28.
pub fn question(key: &str, method: &str, params: &Value) -> Value {
    let mut question = json!({ "method": method });
    if !params.is_null() {
        question["params"] = params.clone();
    }
    json!({ "resultType": "input_required", "inputRequests": { key: question },
            "requestState": "asked \u{e9} / once" })
}

/// The answer that a call brings along for a question; the state has to come back as it was.
pub fn answer<'a>(key: &str, params: &'a Value) -> Result<Option<&'a Value>, Refused> {
    match params["inputResponses"].get(key) {
        Some(_) if params["requestState"] != "asked \u{e9} / once" => {
            Err(Refused(-32602, "Invalid or expired requestState".to_owned()))
        }
        answer => Ok(answer),
    }
}

/// `ask_all`: everything at once, and what came back.
pub fn ask_all(params: &Value) -> Value {
    let answers = &params["inputResponses"];
    if answers.is_object() {
        return json!({ "content": [{ "type": "text", "text": answers.to_string() }] });
    }
    json!({ "resultType": "input_required", "inputRequests": {
        "a/b~c": { "method": "elicitation/create", "params": { "mode": "form", "message": "who",
            "requestedSchema": { "type": "object", "properties": { "name": { "type": "string" } } } } },
        "s": { "method": "sampling/createMessage", "params": { "maxTokens": 10, "messages": [
            { "role": "user", "content": { "type": "text", "text": "say" } }] } },
        "r": { "method": "roots/list" },
    } })
}

/// `rounds`: so many results that carry only a state, or ask the same again, and then an answer.
pub fn rounds(params: &Value) -> Value {
    let arguments = &params["arguments"];
    let done = params["requestState"].as_str().and_then(|state| state.parse().ok()).unwrap_or(0_u64);
    if done >= arguments["n"].as_u64().unwrap_or(2) {
        return json!({ "content": [{ "type": "text", "text": format!("after {done} rounds") }] });
    }
    let mut result = json!({ "resultType": "input_required", "requestState": (done + 1).to_string() });
    if arguments["ask"] == json!(true) {
        result["inputRequests"] = json!({ "r": { "method": "roots/list" } });
    }
    result
}
