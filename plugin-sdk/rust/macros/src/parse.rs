//! Reads `Type: Hook, Hook; key: value`, with no parser library, so that plugins build quickly.

use proc_macro::{Delimiter, Literal, Spacing, TokenStream, TokenTree};

/// What stands between the brackets of `export!`.
#[derive(Debug)]
pub(crate) struct Export {
    /// The filter's type, as written.
    pub(crate) filter: String,
    /// Names of the traits it implements.
    pub(crate) hooks: Vec<String>,
    /// Path of the configuration's JSON Schema, relative to the plugin's `Cargo.toml`.
    pub(crate) config_schema: Option<String>,
    /// Import and reason.
    pub(crate) reasons: Vec<(String, String)>,
}

const FORM: &str = "write `export!(MyFilter: OnRequest, OnResponse)`, \
    and after a `;` what else there is: `config_schema: \"config.schema.json\", reasons: { \"secrets\": \"why\" }`";

pub(crate) fn export(input: TokenStream) -> Result<Export, String> {
    let mut tokens = input.into_iter().peekable();
    let mut filter = TokenStream::new();
    let mut path_colon = false;
    loop {
        match tokens.next() {
            Some(TokenTree::Punct(punct)) if punct.as_char() == ':' => {
                // The first of `::` is joint; the second is alone, but follows a joint one.
                let joint = punct.spacing() == Spacing::Joint;
                if !joint && !path_colon {
                    break;
                }
                path_colon = joint;
                filter.extend([TokenTree::Punct(punct)]);
            }
            Some(TokenTree::Punct(punct)) if matches!(punct.as_char(), ',' | ';') => return Err(FORM.into()),
            Some(token) => filter.extend([token]),
            None => return Err(FORM.into()),
        }
    }
    let mut export =
        Export { filter: filter.to_string(), hooks: Vec::new(), config_schema: None, reasons: Vec::new() };
    if export.filter.is_empty() {
        return Err(FORM.into());
    }
    loop {
        match tokens.next() {
            Some(TokenTree::Ident(hook)) => export.hooks.push(hook.to_string()),
            Some(TokenTree::Punct(punct)) if punct.as_char() == ',' => {}
            Some(TokenTree::Punct(punct)) if punct.as_char() == ';' => break,
            None => break,
            Some(other) => return Err(format!("`{other}` is not the name of a hook; {FORM}")),
        }
    }
    if export.hooks.is_empty() {
        return Err(format!("a filter exports at least one hook; {FORM}"));
    }
    while let Some(token) = tokens.next() {
        let key = match token {
            TokenTree::Ident(key) => key.to_string(),
            TokenTree::Punct(punct) if punct.as_char() == ',' => continue,
            other => return Err(format!("`{other}` is not a key; {FORM}")),
        };
        match tokens.next() {
            Some(TokenTree::Punct(punct)) if punct.as_char() == ':' => {}
            _ => return Err(format!("`{key}` needs a `:` and a value; {FORM}")),
        }
        match (key.as_str(), tokens.next()) {
            ("config_schema", Some(TokenTree::Literal(path))) => export.config_schema = Some(string(&path)?),
            ("reasons", Some(TokenTree::Group(group))) if group.delimiter() == Delimiter::Brace => {
                export.reasons = reasons(group.stream())?;
            }
            _ => {
                return Err(format!(
                    "`{key}` is not a known key, or its value is not of the right kind; {FORM}"
                ));
            }
        }
    }
    Ok(export)
}

fn reasons(stream: TokenStream) -> Result<Vec<(String, String)>, String> {
    let mut strings = Vec::new();
    for token in stream {
        match token {
            TokenTree::Literal(literal) => strings.push(string(&literal)?),
            TokenTree::Punct(punct) if matches!(punct.as_char(), ':' | ',') => {}
            other => return Err(format!("`{other}` does not belong into `reasons`; {FORM}")),
        }
    }
    let mut pairs = Vec::new();
    let mut strings = strings.into_iter();
    while let Some(import) = strings.next() {
        let reason = strings.next().ok_or_else(|| format!("`{import}` has no reason; {FORM}"))?;
        pairs.push((import, reason));
    }
    Ok(pairs)
}

/// The text of a plain string literal.
fn string(literal: &Literal) -> Result<String, String> {
    let text = literal.to_string();
    text.strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .filter(|text| !text.contains('\\'))
        .map(str::to_owned)
        .ok_or_else(|| format!("{text} is not a plain string without escapes; {FORM}"))
}
