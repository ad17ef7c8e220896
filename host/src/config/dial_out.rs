//! `dial_out:`: endpoints that Lockgate connects to and serves MCP on. They are the clients.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Config, MERGED};

/// One endpoint that Lockgate opens a WebSocket to. On that connection the endpoint is the client.
#[derive(Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DialOut {
    /// Its name in logs. Must be unique.
    pub name: String,
    /// Where to connect to: `wss://` or `ws://`. What follows `?` is never shown.
    pub url: String,
    /// The servers that are served there. One is served as it is; several are merged, with their
    /// names before those of their tools; all of them if absent.
    pub servers: Vec<String>,
    /// Headers of the handshake, for what the endpoint wants to know of Lockgate.
    pub headers: BTreeMap<String, String>,
    /// Who the endpoint is to filters; nobody if absent. No `authenticate` filter is asked: Lockgate
    /// chose whom to connect to.
    pub principal: Option<Configured>,
    /// What happens when there is no connection.
    pub reconnect: Reconnect,
    /// How it is noticed that the endpoint is gone.
    pub keepalive: KeepAlive,
}

impl std::fmt::Debug for DialOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Its URL and its headers may hold credentials.
        f.debug_struct("DialOut").field("name", &self.name).field("servers", &self.servers).finish()
    }
}

/// A principal that the configuration vouches for.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Configured {
    /// Its id. Its issuer is `dial_out`.
    pub id: String,
    /// What else is known of it, by name.
    pub claims: serde_json::Map<String, serde_json::Value>,
}

/// What happens when an endpoint cannot be connected to, or its connection ends.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reconnect {
    /// Whether it is tried again. Otherwise one failure ends it until Lockgate is started anew.
    pub enabled: bool,
    /// Wait before the second attempt; `1s` unless told. `initialBackoff` is accepted for it.
    pub initial_backoff: Period,
    /// Longest wait; `10m` unless told, as an endpoint that is down for long comes back without notice.
    /// `maxBackoff` is accepted for it.
    pub max_backoff: Period,
    /// What the wait is multiplied with after every failed attempt; 2 unless told.
    pub multiplier: f64,
    /// The part of every wait that is random, 0 to 1, so that many do not come back at once; 0.5
    /// unless told: between half and all of the wait.
    pub jitter: f64,
}

impl Default for Reconnect {
    fn default() -> Self {
        Reconnect {
            enabled: true,
            initial_backoff: Period(Duration::from_secs(1)),
            max_backoff: Period(Duration::from_secs(600)),
            multiplier: 2.0,
            jitter: 0.5,
        }
    }
}

/// How it is noticed that an endpoint is gone without a word.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeepAlive {
    /// A ping is sent this often; `30s` unless told, which is less than what balancers cut after.
    pub interval: Period,
    /// How much longer than `interval` the endpoint may be silent; `10s` unless told.
    pub timeout: Period,
}

impl Default for KeepAlive {
    fn default() -> Self {
        KeepAlive { interval: Period(Duration::from_secs(30)), timeout: Period(Duration::from_secs(10)) }
    }
}

/// A time: a number with its unit, such as `500ms`, `1s`, `1.5m`, `2h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(pub Duration);

impl Period {
    /// Longest one: a day. Longer waits than that are mistakes.
    pub const MOST: Duration = Duration::from_secs(24 * 3600);

    /// Reads one; none if it is no number with a unit, zero, or more than [`Period::MOST`].
    pub fn parse(text: &str) -> Option<Period> {
        let unit_at = text.find(|c: char| c != '.' && !c.is_ascii_digit())?;
        let (number, unit) = text.split_at_checked(unit_at)?;
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let all = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        (!all.is_zero() && all <= Period::MOST).then_some(Period(all))
    }
}

impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millis = self.0.as_millis();
        for (unit, name) in [(3_600_000, "h"), (60_000, "m"), (1000, "s")] {
            if millis.is_multiple_of(unit) {
                return write!(f, "{}{name}", millis / unit);
            }
        }
        write!(f, "{millis}ms")
    }
}

impl Serialize for Period {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Period::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!("`{text}` is not a time such as 500ms, 1s or 10m"))
        })
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "format": Period::FORMAT,
            "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)$",
            "description": "A number with its unit, such as `500ms`, `1s`, `1.5m`, `2h`; a day at most.",
        })
    }
}

impl Period {
    /// What tells such texts from others in the schema.
    pub(super) const FORMAT: &'static str = "period";
}

impl DialOut {
    /// What is served there, of all that is configured now: none if it is nothing, because all of
    /// its servers are disabled.
    pub fn place(&self, config: &Config) -> Option<String> {
        if self.servers.is_empty() {
            return Some(MERGED.to_owned());
        }
        match self.enabled(config).as_slice() {
            [] => None,
            [one] => Some((*one).to_owned()),
            _ => Some(format!("{PREFIX}{}", self.name)),
        }
    }

    /// The servers of its list that are not disabled.
    pub fn enabled(&self, config: &Config) -> Vec<&str> {
        let enabled = |name: &&str| config.servers.get(*name).is_some_and(|server| !server.disabled);
        self.servers.iter().map(String::as_str).filter(enabled).collect()
    }
}

/// What stands before the name of an endpoint to name the servers that are merged for it. No
/// server can have such a name.
const PREFIX: &str = "dial_out/";

/// The servers merged for an endpoint, by the name that [`DialOut::place`] gave.
pub(super) fn members<'a>(config: &'a Config, name: &str) -> Option<Vec<&'a str>> {
    let name = name.strip_prefix(PREFIX)?;
    config.dial_out.iter().find(|entry| entry.name == name).map(|entry| entry.enabled(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_read_and_written() {
        for (text, millis, written) in [
            ("500ms", 500, "500ms"),
            ("1s", 1000, "1s"),
            ("1.5m", 90_000, "90s"),
            ("10m", 600_000, "10m"),
            ("24h", 86_400_000, "24h"),
            ("60s", 60_000, "1m"),
        ] {
            let period = Period::parse(text).expect(text);
            assert_eq!((period.0.as_millis(), period.to_string().as_str()), (millis, written), "{text}");
        }
        for text in ["", "1", "s", "0s", "-1s", "1 s", "1d", "25h", "1e9h", "1.2.3s", "ms", "1S"] {
            assert_eq!(Period::parse(text), None, "{text}");
        }
    }

    #[test]
    fn disabled_servers_are_left_out() {
        let text = r#"{"servers":{"a":{"command":"x"},"b":{"command":"x"},"off":{"command":"x","disabled":true}},
            "dial_out":[{"name":"one","servers":["a","off"]},{"name":"two","servers":["b","a"]},
                        {"name":"none","servers":["off"]},{"name":"all"}]}"#;
        let config: Config = serde_json::from_str(text).expect("lawful");
        let places: Vec<_> = config.dial_out.iter().map(|entry| entry.place(&config)).collect();
        assert_eq!(places, [Some("a".into()), Some("dial_out/two".into()), None, Some(MERGED.into())]);
        assert_eq!(config.members("dial_out/two"), Some(vec!["b", "a"]));
        assert_eq!(config.members("dial_out/three"), None);
        assert_eq!(config.members("a"), None);
    }
}
