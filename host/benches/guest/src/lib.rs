//! What a real filter does, and nothing else: digest a configuration, then decide by tool name.

use std::cell::RefCell;
use std::collections::HashSet;

wit_bindgen::generate!({
    path: "../../../wit/v0.1",
    inline: "
        package bench:guest;
        world guest {
            import lockgate:plugin/types@0.1.0;
            import lockgate:plugin/context@0.1.0;
            export lockgate:plugin/lifecycle@0.1.0;
            export lockgate:plugin/access@0.1.0;
            export lockgate:plugin/request@0.1.0;
        }
    ",
    world: "bench:guest/guest",
    generate_all,
});

use exports::lockgate::plugin::access::{Guest as Access, Visibility};
use exports::lockgate::plugin::lifecycle::Guest as Lifecycle;
use exports::lockgate::plugin::request::Guest as Request;
use lockgate::plugin::context::{Call, Items};
use lockgate::plugin::types::{Failure, Rejection, Verdict};

thread_local! {
    static DENIED: RefCell<HashSet<String>> = RefCell::default();
}

struct Filter;

impl Lifecycle for Filter {
    /// The configuration is `{"deny":["name", ...]}`: every string in it but the key.
    fn configure(config: String) -> Result<(), Failure> {
        let names = config.split('"').skip(1).step_by(2).filter(|name| *name != "deny");
        DENIED.with_borrow_mut(|denied| denied.extend(names.map(str::to_owned)));
        Ok(())
    }

    fn self_test() -> Result<(), Failure> {
        match DENIED.with_borrow(HashSet::is_empty) {
            false => Ok(()),
            true => Err(Failure::Internal("not configured".into())),
        }
    }
}

impl Request for Filter {
    fn on_request(call: &Call) -> Result<Verdict, Failure> {
        let Some(name) = call.name() else { return Ok(Verdict::Proceed) };
        if DENIED.with_borrow(|denied| denied.contains(&name)) {
            return Ok(Verdict::Reject(Rejection {
                code: -32602,
                message: format!("the tool {name} is not available here"),
                data: None,
                extra: None,
            }));
        }
        Ok(Verdict::Proceed)
    }
}

impl Access for Filter {
    fn decide(items: &Items) -> Result<Vec<Visibility>, Failure> {
        let decide = |name: &String| {
            let hidden = DENIED.with_borrow(|denied| denied.contains(name));
            if hidden { Visibility::Hidden } else { Visibility::Visible }
        };
        Ok(items.names().iter().map(decide).collect())
    }
}

export!(Filter);
