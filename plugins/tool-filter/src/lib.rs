//! Trial.
use lockgate_plugin::prelude::*;
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Deny { #[serde(default)] deny: Vec<String> }
impl Filter for Deny { type Config=Self; fn configure(c: Self)->Result<Self,Failure>{Ok(c)} }
impl OnRequest for Deny {
    fn on_request(&self, call: &Call) -> Result<Verdict, Failure> {
        match call.name() {
            Some(name) if self.deny.contains(&name) => Ok(Verdict::reject(format!("{name} is switched off"))),
            _ => Ok(Verdict::Proceed),
        }
    }
}
lockgate_plugin::export!(Deny: OnRequest; reasons: {"log": "why"});
