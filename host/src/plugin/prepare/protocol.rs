//! What parent and child say to each other: a length, a JSON head, the plugin; one line of JSON back.

use std::io::{self, Read};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::FilterLimits;
use crate::plugin::load::StartKind;

/// Begins the line with the answer.
pub(super) const PREFIX: &str = "lockgate-prepared ";
/// Longest head: it holds the filter's configuration.
const HEAD_BYTES: u32 = 64 << 20;

/// What shall be prepared.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The filter's name, for messages.
    pub name: String,
    /// Its configuration as JSON text.
    pub config: String,
    /// Its bounds.
    pub limits: FilterLimits,
    /// Instances of the engine that will run it.
    pub engine_instances: u32,
    /// Memory of the instances of the engine that will run it, in MiB.
    pub engine_memory_mib: u32,
    /// Where the artifact goes. Set by the parent.
    #[serde(default)]
    pub(super) artifact: PathBuf,
    /// How long it may take. Set by the parent.
    #[serde(default)]
    pub(super) seconds: u64,
    /// How many bytes of plugin follow the head. Set by the parent.
    #[serde(default)]
    pub(super) plugin_bytes: u64,
}

impl Request {
    /// A request for a plugin that will run in an engine of these settings.
    pub fn new(
        name: &str,
        config: &str,
        limits: FilterLimits,
        engine: &crate::wasm::EngineSettings,
    ) -> Request {
        Request {
            name: name.to_owned(),
            config: config.to_owned(),
            limits,
            engine_instances: engine.instances,
            engine_memory_mib: engine.memory_mib,
            artifact: PathBuf::new(),
            seconds: 0,
            plugin_bytes: 0,
        }
    }
}

/// What the child says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    Prepared { start: StartKind },
    Refused(Refusal),
}

/// Why it did not.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Refusal {
    /// The plugin's own doing.
    Plugin(String),
    /// The machine's.
    Machine(String),
}

/// The head with its length.
pub(super) fn encode(request: &Request) -> Option<Vec<u8>> {
    let head = serde_json::to_vec(request).ok()?;
    let length = u32::try_from(head.len()).ok()?;
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(&head);
    Some(bytes)
}

/// Reads the head and the plugin after it.
pub(super) fn read(mut from: impl Read) -> io::Result<(Request, Vec<u8>)> {
    let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > HEAD_BYTES {
        return Err(invalid("the head is too long"));
    }
    let mut head = Vec::new();
    from.by_ref().take(u64::from(length)).read_to_end(&mut head)?;
    let request: Request = serde_json::from_slice(&head).map_err(|error| invalid(&error.to_string()))?;
    let mut plugin = Vec::new();
    from.take(request.plugin_bytes).read_to_end(&mut plugin)?;
    if plugin.len() as u64 != request.plugin_bytes {
        return Err(invalid("the plugin is cut off"));
    }
    Ok((request, plugin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_the_pipe_and_cuts_are_noticed() {
        let settings = crate::wasm::EngineSettings { instances: 7, memory_mib: 9 };
        let mut request = Request::new("n", "{\"a\":1}", FilterLimits::default(), &settings);
        request.plugin_bytes = 3;
        let mut bytes = encode(&request).unwrap();
        bytes.extend_from_slice(b"abc");
        let (read_back, plugin) = read(bytes.as_slice()).unwrap();
        assert_eq!(plugin, b"abc");
        assert_eq!((read_back.name.as_str(), read_back.config.as_str()), ("n", "{\"a\":1}"));
        assert_eq!((read_back.engine_instances, read_back.engine_memory_mib), (7, 9));
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "{end}");
        }
        assert!(read([0xff; 64].as_slice()).is_err());
    }
}
