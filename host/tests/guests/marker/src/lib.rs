//! Stamps its version into a call's arguments on the way up and into the result on the way down.
//!
//! The version is a literal of fixed length: the tests make further versions by replacing its bytes
//! in the built component, so that two versions are two files and nothing else differs.

use lockgate_plugin::prelude::*;

/// Found by its beginning and replaced by the tests; see `host/tests/support/versions.rs`.
static VERSION: [u8; 24] = *b"lockgate-marker-v0000000";

/// No configuration; that of another plugin is no reason to fail, so that it can be put in its place.
#[derive(serde::Deserialize)]
pub struct Marker {}

impl Filter for Marker {
    type Config = Marker;
    fn configure(config: Marker) -> Result<Marker, Failure> {
        Ok(config)
    }
}

impl OnRequest for Marker {
    fn on_request(&self, call: &Call) -> Result<Verdict, Failure> {
        if call.method() == "tools/call" {
            call.params().set_text("/arguments/up", &version())?;
        }
        Ok(Verdict::Proceed)
    }
}

impl OnResponse for Marker {
    fn on_response(&self, call: &Call) -> Result<Verdict, Failure> {
        if let Some(Outcome::Success(result)) = call.outcome()
            && call.method() == "tools/call"
        {
            result.set_text("/structuredContent/down", &version())?;
        }
        Ok(Verdict::Proceed)
    }
}

/// Read at run time: the compiler must not know what the tests put there.
fn version() -> String {
    let bytes = core::hint::black_box(&VERSION);
    String::from_utf8_lossy(bytes).into_owned()
}

lockgate_plugin::export!(Marker: OnRequest, OnResponse);
