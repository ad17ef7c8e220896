//! The interface `secrets`: used by name, never read.

use hmac::{Hmac, Mac};
use http::HeaderValue;
use sha2::Sha256;
use wasmtime::component::Resource;

use super::super::bindings::lockgate::plugin::secrets::{Exchange, Host};
use super::super::bindings::lockgate::plugin::types::AccessError;
use super::super::filter::GrantedSecret;
use super::super::store::State;
use super::exchange::header_name;

impl State {
    /// The secret, if the operator granted it and this is a moment to use it.
    fn secret(&self, name: &str) -> Result<&GrantedSecret, AccessError> {
        if self.configuring {
            return Err(AccessError::Denied(
                "secrets are unavailable in `configure`: what it computed would outlast them".into(),
            ));
        }
        self.identity.secrets.get(name).ok_or_else(|| {
            AccessError::Denied(format!(
                "the secret `{}` is not granted to filter `{}`: add it to its `grants.secrets`",
                name.escape_debug(),
                self.identity.name
            ))
        })
    }
}

impl Host for State {
    fn place(
        &mut self,
        exchange: Resource<Exchange>,
        header: String,
        secret: String,
        format: String,
    ) -> wasmtime::Result<Result<(), AccessError>> {
        let view = self.exchange_at(&exchange)?;
        self.output(header.len().saturating_add(secret.len()).saturating_add(format.len()))?;
        let placed = header_name(&header).and_then(|header| {
            let granted = self.secret(&secret)?;
            if !granted.servers.iter().any(|server| **server == *view.server) {
                return Err(AccessError::Denied(format!(
                    "the secret `{secret}` may not go to server `{}`: add the server to its `for` list",
                    view.server
                )));
            }
            let Some((before, after)) = format.split_once("{}").filter(|(_, after)| !after.contains("{}"))
            else {
                return Err(AccessError::Denied(format!(
                    "the format for secret `{secret}` must contain `{{}}` exactly once"
                )));
            };
            // No word of the value in the error.
            let mut value =
                HeaderValue::from_str(&format!("{before}{}{after}", granted.value)).map_err(|_| {
                    AccessError::Denied(format!(
                        "the secret `{secret}` or its format holds characters that no header may hold"
                    ))
                })?;
            value.set_sensitive(true);
            Ok((header, value))
        });
        Ok(placed.map(|(header, value)| self.put_header(header, value)))
    }

    fn hmac_sha256(
        &mut self,
        secret: String,
        data: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, AccessError>> {
        self.tick()?;
        self.output(secret.len().saturating_add(data.len()))?;
        let code = self.secret(&secret).and_then(|granted| {
            let mut mac = Hmac::<Sha256>::new_from_slice(granted.value.as_bytes())
                .map_err(|_| AccessError::Denied(format!("the secret `{secret}` cannot be a key")))?;
            mac.update(&data);
            Ok(mac.finalize().into_bytes().to_vec())
        });
        Ok(code)
    }
}
