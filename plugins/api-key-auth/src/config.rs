//! The configuration of `api-key-auth`, and what is refused in it.

use std::collections::BTreeSet;

use lockgate_plugin::Failure;
use serde::Deserialize;

/// Which keys open the door, and where they are looked for.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The keys, by the SHA-256 of each. At least one.
    pub(crate) keys: Vec<KeyConfig>,
    /// The header that carries the key. In `Authorization` it is a bearer token (`Bearer <key>`), in
    /// any other header, such as `X-API-Key`, it stands alone.
    #[serde(default = "authorization")]
    pub(crate) header: String,
    /// What happens to a request without a key: `refuse` (401), or `skip` to let the next
    /// authenticating filter decide.
    #[serde(default)]
    pub(crate) missing: Missing,
    /// For how many seconds the answer for one credential may be reused without asking again.
    #[serde(default)]
    pub(crate) keep_seconds: u32,
}

/// One key.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyConfig {
    /// Who holds it: becomes the id of the principal.
    name: String,
    /// SHA-256 of the key, 64 hexadecimal digits: `printf %s "$KEY" | sha256sum`.
    sha256: String,
    /// What else later filters may know of the principal.
    #[serde(default)]
    claims: serde_json::Map<String, serde_json::Value>,
    /// When it stops working, in UTC: `2027-01-31` (from that day's beginning) or
    /// `2027-01-31T18:30:00Z`.
    #[serde(default)]
    expires: Option<String>,
}

/// What happens to a request without a key.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Missing {
    /// 401.
    #[default]
    Refuse,
    /// The next authenticating filter decides.
    Skip,
}

fn authorization() -> String {
    "Authorization".to_owned()
}

/// Longest identifier that the contract allows, in bytes.
const MAX_ID: usize = 256;

/// Checks and digests the keys. Hashes are not repeated in messages: they are half a secret.
pub(crate) fn keys(configured: Vec<KeyConfig>) -> Result<Vec<crate::Key>, Failure> {
    if configured.is_empty() {
        return Err(Failure::config("keys", "give at least one key, or nobody can enter"));
    }
    let mut names = BTreeSet::new();
    let mut hashes = BTreeSet::new();
    let mut keys = Vec::with_capacity(configured.len());
    for (index, key) in configured.into_iter().enumerate() {
        let at = |member: &str| format!("keys[{index}].{member}");
        if key.name.is_empty() || key.name.len() > MAX_ID {
            return Err(Failure::config(at("name"), "give a name of 1 to 256 bytes"));
        }
        let Some(hash) = decode_hex(&key.sha256) else {
            return Err(Failure::config(
                at("sha256"),
                "give the 64 hexadecimal digits that sha256sum prints",
            ));
        };
        if !names.insert(key.name.clone()) {
            return Err(Failure::config(at("name"), format!("{} is there already", key.name)));
        }
        if !hashes.insert(hash) {
            return Err(Failure::config(at("sha256"), "another name has the same key"));
        }
        let expires = match key.expires {
            None => None,
            Some(text) => Some(unix_seconds(&text).ok_or_else(|| {
                Failure::config(
                    at("expires"),
                    format!("`{text}` is neither 2027-01-31 nor 2027-01-31T18:30:00Z"),
                )
            })?),
        };
        let claims = serde_json::Value::Object(key.claims).to_string();
        keys.push(crate::Key { hash, name: key.name, claims, expires });
    }
    Ok(keys)
}

fn decode_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> =
        text.chars().map(|digit| u8::try_from(digit.to_digit(16)?).ok()).collect::<Option<_>>()?;
    let bytes: Vec<u8> =
        digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    if digits.len() == 64 { bytes.try_into().ok() } else { None }
}

/// Seconds since 1970 of a date, or of a date and time, in UTC.
pub(crate) fn unix_seconds(text: &str) -> Option<u64> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, time.strip_suffix('Z')?),
        None => (text, "00:00:00"),
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *lengths.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    if year < 1970 || day < 1 || day > length || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let years: u64 =
        (1970..year).map(|y| if y % 4 == 0 && (y % 100 != 0 || y % 400 == 0) { 366 } else { 365 }).sum();
    let months: u64 = lengths.iter().take(usize::try_from(month - 1).ok()?).sum();
    Some((years + months + day - 1) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Three numbers of exactly these widths.
fn numbers(text: &str, separator: char, widths: [usize; 3]) -> Option<[u64; 3]> {
    let parts: Vec<&str> = text.split(separator).collect();
    let fits = parts
        .iter()
        .zip(widths)
        .all(|(part, width)| part.len() == width && part.bytes().all(|byte| byte.is_ascii_digit()));
    let numbers: Vec<u64> = parts.iter().map(|part| part.parse().ok()).collect::<Option<_>>()?;
    if fits { numbers.try_into().ok() } else { None }
}
