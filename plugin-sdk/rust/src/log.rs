//! Log lines, each with the filter's name beside it. At most 64 KiB per call.
//!
//! Do not log secrets: the host cannot know them all.

use crate::raw::log::{Level, write};

/// What helps while a filter is being written.
pub fn debug(message: &str) {
    write(Level::Debug, message, &[]);
}

/// What an operator may want to know.
pub fn info(message: &str) {
    write(Level::Info, message, &[]);
}

/// What an operator should look at.
pub fn warn(message: &str) {
    write(Level::Warn, message, &[]);
}

/// What went wrong.
pub fn error(message: &str) {
    write(Level::Error, message, &[]);
}

/// Names the rule by which this hook decides, as it stands in the configuration: `deny: delete_*`.
///
/// Lockgate shows the last one of a hook in the log line of a call that the filter refused, and in
/// `lockgate plugin explain`. Clients never see it. No contents of calls: the line stands at info.
pub fn rule(rule: &str) {
    write(Level::Debug, "decided", &[("rule".to_owned(), rule.to_owned())]);
}

/// Like [`info`], with named values beside the message.
pub fn info_with(message: &str, fields: &[(&str, &str)]) {
    let fields: Vec<(String, String)> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    write(Level::Info, message, &fields);
}
