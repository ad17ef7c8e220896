//! Hides whatever has a given text in its name: tools, prompts, resources and templates alike.

use lockgate_plugin::prelude::*;

/// What to hide.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hider {
    /// Names that contain this are hidden.
    containing: String,
}

impl Filter for Hider {
    type Config = Hider;
    fn configure(config: Hider) -> Result<Hider, Failure> {
        Ok(config)
    }
}

impl Access for Hider {
    fn decide(&self, items: &Items) -> Result<Vec<Visibility>, Failure> {
        let judge = |name: &String| match name.contains(&self.containing) {
            true => Visibility::Hidden,
            false => Visibility::Visible,
        };
        Ok(items.names().iter().map(judge).collect())
    }
}

lockgate_plugin::export!(Hider: Access);
