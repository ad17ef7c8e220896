//! The export macro of `lockgate-plugin`, and the WIT contract it expands.
//!
//! Not for direct use: `lockgate_plugin::export!` is the public name, documented there. The contract
//! is embedded as text, so that expansion needs no file system path and works from a registry copy.

use proc_macro::TokenStream;

mod parse;

/// The contract, file by file. A test holds it identical to `wit/v0.1` of the repository.
const CONTRACT: [&str; 5] = [
    include_str!("../wit/types.wit"),
    include_str!("../wit/context.wit"),
    include_str!("../wit/hooks.wit"),
    include_str!("../wit/host.wit"),
    include_str!("../wit/worlds.wit"),
];

const PACKAGE: &str = "package lockgate:plugin@0.1.0;";

/// Trait of the SDK, interface of the contract, and the glue that forwards one to the other.
const HOOKS: [(&str, &str, &str); 8] = [
    ("Authenticate", "authenticate", include_str!("glue/authenticate.rs")),
    ("Catalog", "catalog", include_str!("glue/catalog.rs")),
    ("Access", "access", include_str!("glue/access.rs")),
    ("OnRequest", "request", include_str!("glue/request.rs")),
    ("OnUpstream", "upstream", include_str!("glue/upstream.rs")),
    ("OnResponse", "response", include_str!("glue/response.rs")),
    ("OnInput", "input", include_str!("glue/input.rs")),
    ("OnNotification", "notification", include_str!("glue/notification.rs")),
];

/// See `lockgate_plugin::export`.
#[proc_macro]
pub fn export(input: TokenStream) -> TokenStream {
    let text = match parse::export(input) {
        Ok(export) => expand(&export),
        Err(message) => format!("::core::compile_error!({message:?});"),
    };
    tokens(&text)
}

/// The bindings of everything a plugin can import; expanded once, in the SDK itself.
#[doc(hidden)]
#[proc_macro]
pub fn imports(_: TokenStream) -> TokenStream {
    let inline = format!("{PACKAGE}\n{}", contract());
    tokens(&format!(
        "::wit_bindgen::generate!({{ inline: {inline:?}, world: \"imports\", \
         runtime_path: \"::wit_bindgen::rt\", generate_all }});"
    ))
}

fn expand(export: &parse::Export) -> String {
    let filter = &export.filter;
    let mut interfaces = String::from("export lockgate:plugin/lifecycle@0.1.0;\n");
    let mut glue = String::from(include_str!("glue/lifecycle.rs"));
    for hook in &export.hooks {
        let Some((_, interface, code)) = HOOKS.iter().find(|(name, ..)| name == hook) else {
            let known: Vec<&str> = HOOKS.iter().map(|(name, ..)| *name).collect();
            let message = format!("`{hook}` is not a hook; the hooks are {}", known.join(", "));
            return format!("::core::compile_error!({message:?});");
        };
        interfaces.push_str(&format!("export lockgate:plugin/{interface}@0.1.0;\n"));
        glue.push_str(code);
    }
    let inline = format!(
        "package lockgate:filter;\nworld filter {{\n{interfaces}}}\n\
         package lockgate:plugin@0.1.0 {{\n{}\n}}",
        contract()
    );
    let mapped: String = ["types", "documents", "context"]
        .iter()
        .map(|name| format!("\"lockgate:plugin/{name}@0.1.0\": ::lockgate_plugin::__private::raw::{name},\n"))
        .collect();
    // The hooks are checked on every target, so that a missing `impl` is seen in `cargo check`.
    let bounds: String = export.hooks.iter().map(|hook| format!(" + ::lockgate_plugin::{hook}")).collect();
    format!(
        "const _: fn() = || {{ fn implements<T: ::lockgate_plugin::Filter{bounds}>() {{}} implements::<{filter}>(); }};\n\
         {sections}\n\
         #[cfg(target_arch = \"wasm32\")]\n\
         #[allow(missing_docs, unused_imports, clippy::all, unsafe_op_in_unsafe_fn, reason = \"generated\")]\n\
         mod __lockgate_plugin {{\n\
           use super::*;\n\
           ::lockgate_plugin::__private::wit_bindgen::generate!({{ inline: {inline:?}, world: \"filter\",\n\
             runtime_path: \"::lockgate_plugin::__private::wit_bindgen::rt\",\n\
             with: {{ {mapped} }}, generate_all }});\n\
           use ::lockgate_plugin::__private as sdk;\n\
           ::std::thread_local! {{ static FILTER: sdk::Slot<{filter}> = const {{ sdk::Slot::empty() }}; }}\n\
           type Filter = {filter};\n\
           struct Component;\n\
           {glue}\n\
           export!(Component);\n\
         }}",
        sections = sections(export),
    )
}

/// Custom sections that can be read without running the plugin.
fn sections(export: &parse::Export) -> String {
    let mut text = String::new();
    if let Some(path) = &export.config_schema {
        text.push_str(&section(
            "lockgate:config-schema",
            &format!(
                "::core::include_bytes!(::core::concat!(::core::env!(\"CARGO_MANIFEST_DIR\"), \"/\", {path:?}))"
            ),
        ));
    }
    if !export.reasons.is_empty() {
        let members: Vec<String> = export
            .reasons
            .iter()
            .map(|(import, reason)| format!("{}:{}", json_string(import), json_string(reason)))
            .collect();
        let json = format!("{{{}}}", members.join(","));
        text.push_str(&section("lockgate:import-reasons", &format!("{json:?}.as_bytes()")));
    }
    text
}

fn section(name: &str, bytes: &str) -> String {
    format!(
        "const _: () = {{\n\
           const BYTES: &[u8] = {bytes};\n\
           const LENGTH: usize = BYTES.len();\n\
           #[cfg_attr(target_arch = \"wasm32\", unsafe(link_section = {name:?}))]\n\
           #[used]\n\
           static SECTION: [u8; LENGTH] = {{\n\
             let mut copy = [0; LENGTH]; let mut at = 0;\n\
             #[allow(clippy::indexing_slicing, reason = \"evaluated when compiled\")]\n\
             while at < LENGTH {{ copy[at] = BYTES[at]; at += 1; }}\n\
             copy\n\
           }};\n\
         }};\n"
    )
}

fn json_string(text: &str) -> String {
    let mut json = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            control if control < ' ' => json.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => json.push(other),
        }
    }
    json.push('"');
    json
}

fn contract() -> String {
    CONTRACT.iter().map(|file| file.replacen(PACKAGE, "", 1)).collect()
}

fn tokens(text: &str) -> TokenStream {
    match text.parse() {
        Ok(tokens) => tokens,
        Err(error) => {
            let message = format!("the export macro made code that does not parse: {error}");
            format!("::core::compile_error!({message:?});").parse().unwrap_or_default()
        }
    }
}
