//! Small plugins for the tests of this folder: they have the shape of plugins and do nothing.

use std::fmt::Write;

/// A component that exports the hooks with all their functions, and imports the interfaces (empty).
pub(crate) fn component(hooks: &[&str], imports: &[&str]) -> Vec<u8> {
    component_with(hooks, imports, "")
}

/// The same with more text inside, such as custom sections.
pub(crate) fn component_with(hooks: &[&str], imports: &[&str], more: &str) -> Vec<u8> {
    let mut text = String::from("(component\n");
    for import in imports {
        let name = full_name(import);
        writeln!(text, "(import \"{name}\" (instance))").unwrap();
    }
    text.push_str("(core module $m (func (export \"f\")))\n(core instance $i (instantiate $m))\n");
    text.push_str("(func $f (canon lift (core func $i \"f\")))\n");
    for (n, hook) in hooks.iter().enumerate() {
        let name = full_name(hook);
        let short = name.split(['/', '@']).nth(1).unwrap();
        let known = super::inspect::functions_of(short);
        write!(text, "(instance $h{n}").unwrap();
        for function in known {
            write!(text, " (export \"{function}\" (func $f))").unwrap();
        }
        writeln!(text, ")\n(export \"{name}\" (instance $h{n}))").unwrap();
    }
    text.push_str(more);
    text.push(')');
    wat::parse_str(&text).unwrap()
}

fn full_name(name: &str) -> String {
    if name.contains('/') { name.to_owned() } else { format!("lockgate:plugin/{name}@0.1.0") }
}
