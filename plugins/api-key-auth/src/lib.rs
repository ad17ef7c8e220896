//! Authenticates callers by API keys that the configuration holds as SHA-256 hashes.

use lockgate_plugin::prelude::*;
use lockgate_plugin::{clock, log};
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

mod config;
#[cfg(test)]
mod tests;

use config::{Config, Missing};

struct ApiKeyAuth {
    /// Lower case.
    header: String,
    missing: Missing,
    keep_seconds: u32,
    keys: Vec<Key>,
}

struct Key {
    hash: [u8; 32],
    name: String,
    claims: String,
    /// Unix seconds.
    expires: Option<u64>,
}

impl Filter for ApiKeyAuth {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Failure> {
        let keys = config::keys(config.keys)?;
        let header = config.header.to_ascii_lowercase();
        Ok(ApiKeyAuth { header, missing: config.missing, keep_seconds: config.keep_seconds, keys })
    }
}

impl Authenticate for ApiKeyAuth {
    fn authenticate(&self, request: &Head) -> Result<Decision, Failure> {
        let Some(presented) = self.presented(request) else {
            return Ok(match self.missing {
                Missing::Skip => Decision::Skip,
                Missing::Refuse => self.refuse(
                    "missing: refuse",
                    "",
                    format!("send an API key in the header {}", self.header),
                ),
            });
        };
        let Some(key) = self.find(&presented) else {
            return Ok(self.refuse(
                "keys: not among them",
                "invalid_token",
                "this API key is not known".to_owned(),
            ));
        };
        if key.expires.is_some_and(|expires| expires <= clock::unix_ms() / 1000) {
            let rule = format!("keys: {} has expired", key.name);
            return Ok(self.refuse(&rule, "invalid_token", "this API key has expired".to_owned()));
        }
        Ok(Decision::Accept(Identity {
            claims: key.claims.clone(),
            expires_at: key.expires,
            keep_seconds: self.keep_seconds,
            ..Identity::new(&key.name)
        }))
    }
}

impl ApiKeyAuth {
    /// The key that the request carries, if it carries one where we look.
    fn presented(&self, request: &Head) -> Option<String> {
        let key = if self.is_bearer() {
            request.bearer_token()
        } else {
            request.header(&self.header).map(|key| key.trim().to_owned())
        };
        key.filter(|key| !key.is_empty())
    }

    /// Compares with every key and in constant time, so that timing tells nothing about any of them.
    fn find(&self, presented: &str) -> Option<&Key> {
        let hash: [u8; 32] = Sha256::digest(presented).into();
        let mut found = u32::MAX;
        for (index, key) in (0_u32..).zip(&self.keys) {
            found.conditional_assign(&index, key.hash.ct_eq(&hash));
        }
        self.keys.get(usize::try_from(found).ok()?)
    }

    fn is_bearer(&self) -> bool {
        self.header == "authorization"
    }

    /// 401; the challenge follows RFC 6750 where the key is a bearer token.
    fn refuse(&self, rule: &str, error: &str, message: String) -> Decision {
        log::rule(rule);
        let challenge = match (self.is_bearer(), error) {
            (true, "") => "Bearer".to_owned(),
            (true, error) => format!("Bearer error=\"{error}\""),
            (false, _) => format!("ApiKey header=\"{}\"", self.header),
        };
        Decision::Refuse(Refusal::unauthorized(challenge, message))
    }
}

lockgate_plugin::export! {
    ApiKeyAuth: Authenticate;
    config_schema: "config.schema.json",
    reasons: { "clock": "tells whether a key has expired" },
}
