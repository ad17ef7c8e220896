//! The notes themselves, in memory, and who shares them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// One note.
pub struct Note {
    /// Its heading.
    pub title: String,
    /// Its body.
    pub text: String,
}

/// All notes by id.
pub struct Notebook {
    notes: BTreeMap<String, Note>,
    next: u32,
}

impl Notebook {
    /// A notebook with something in it to look at.
    pub fn seeded() -> Notebook {
        let mut notebook = Notebook { notes: BTreeMap::new(), next: 1 };
        notebook.add(
            "Release plan",
            "Freeze on Monday, ship on Thursday. Ask ada@example.com for the changelog.",
        );
        notebook.add("Door code", "The code of the side door changes on the first of the month.");
        notebook.add("Lunch", "Grace books the table; write to grace@example.com if you come.");
        notebook
    }

    /// Adds a note and returns its id.
    pub fn add(&mut self, title: &str, text: &str) -> String {
        let id = self.next.to_string();
        self.next += 1;
        self.notes.insert(id.clone(), Note { title: title.to_owned(), text: text.to_owned() });
        id
    }

    /// One note.
    pub fn get(&self, id: &str) -> Option<&Note> {
        self.notes.get(id)
    }

    /// Deletes a note; false if there was none.
    pub fn delete(&mut self, id: &str) -> bool {
        self.notes.remove(id).is_some()
    }

    /// All ids.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.notes.keys().map(String::as_str)
    }

    /// Ids and titles.
    pub fn list(&self) -> Vec<Value> {
        self.notes.iter().map(|(id, note)| json!({ "id": id, "title": note.title })).collect()
    }

    /// Every note as an MCP resource.
    pub fn resources(&self) -> Vec<Value> {
        let resource = |(id, note): (&String, &Note)| json!({ "uri": format!("note:///{id}"), "name": note.title, "mimeType": "text/plain" });
        self.notes.iter().map(resource).collect()
    }
}

/// Who shares the notebook: personal data for the demo's `redact` filter to work on.
pub fn team() -> Value {
    json!({ "members": [
        { "name": "Ada", "role": "maintainer", "email": "ada@example.com", "phone": "+44 20 7946 0001" },
        { "name": "Grace", "role": "operations", "email": "grace@example.com", "phone": "+44 20 7946 0002" },
        { "name": "Edsger", "role": "reviewer", "email": "edsger@example.com", "phone": "+44 20 7946 0003" }
    ] })
}
