//! Why a plugin did not become a filter.

use crate::plugin::directory::FileError;
use crate::plugin::inspect::InspectError;
use crate::plugin::prepare::PreparationError;

/// Why a plugin did not become a filter. The text follows `filter NAME (FILE): `.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read or may not be.
    #[error("{0}")]
    File(#[from] FileError),
    /// The file is no plugin.
    #[error("{0}")]
    Inspect(#[from] InspectError),
    /// Nothing in the directory has that name.
    #[error("there is no plugin `{plugin}` in {dir}{near}")]
    NotFound {
        /// The plugin's name.
        plugin: String,
        /// The directory, or where one would be configured.
        dir: String,
        /// What else to say: a similar name, or what there is.
        near: String,
    },
    /// Two files of one name.
    #[error("{} are both the plugin `{plugin}`; remove or rename one", files.join(" and "))]
    Duplicate {
        /// The plugin's name.
        plugin: String,
        /// The files.
        files: Vec<String>,
    },
    /// The file beside the plugin is wrong.
    #[error("{file}: {reason}")]
    Sidecar {
        /// The file.
        file: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// Somebody still writes it.
    #[error("{0} is still being written")]
    Unfinished(String),
    /// The file beside the plugin configured it and is gone.
    #[error(
        "the file beside it is gone, so its configuration is unknown; put it back (an empty one means no \
         configuration), or delete the plugin as well"
    )]
    SidecarGone,
    /// The version that serves decides something that the new one does not.
    #[error(
        "the version that serves has the hook {}, and this one has not: what that hook refuses would be let \
         through, so this version is not taken. If you mean it, {remedy}",
        hooks.join(" and ")
    )]
    LosesHooks {
        /// The deciding hooks that the new version lacks, in backticks.
        hooks: Vec<&'static str>,
        /// How to do it on purpose.
        remedy: &'static str,
    },
    /// The directory cannot be used.
    #[error("{0}")]
    Directory(String),
    /// A hook that this version does not call.
    #[error(
        "it exports the hook `{0}`, which this version of Lockgate does not call yet; remove that export"
    )]
    HookNotWired(&'static str),
    /// A service that this version does not have.
    #[error(
        "it imports `{0}`, which this version of Lockgate does not provide yet (no grant can give it); \
         remove what uses it"
    )]
    ServiceNotWired(String),
    /// A service without its grant.
    #[error("it imports `{import}`, which needs a grant{reason}; {todo}")]
    NotGranted {
        /// The import.
        import: String,
        /// Why the plugin wants it, with a leading separator; empty if it does not tell.
        reason: String,
        /// What to write, and where.
        todo: String,
    },
    /// A hook that only listed filters may have.
    #[error(
        "it has the hook `{hook}`, which a file that was only dropped into the plugin directory may not have; \
         list it under `filters:` (`- plugin: {plugin}`) if you want that"
    )]
    NeedsListing {
        /// The hook.
        hook: &'static str,
        /// The plugin.
        plugin: String,
    },
    /// More memory than the engine was made for.
    #[error(
        "its `limits.memory_mib` is {wanted} and the engine was started for {most}; list the filter under \
         `filters:` with that limit and restart Lockgate, or lower it"
    )]
    Memory {
        /// What the filter asks for, in MiB.
        wanted: u32,
        /// What there can be, in MiB.
        most: u32,
    },
    /// A granted secret that does not exist.
    #[error("it is granted the secret `{0}`, which is not under `secrets:`")]
    UnknownSecret(String),
    /// A name that another filter has.
    #[error("another filter is already named `{0}`; rename the file, or that filter")]
    NameTaken(String),
    /// It was not prepared.
    #[error("{0}")]
    Prepare(#[from] PreparationError),
    /// It was prepared and does not start.
    #[error("{0}")]
    Start(String),
    /// It started and said that it does not work.
    #[error("its self-test failed: {0}")]
    SelfTest(String),
    /// The machine had no room for it.
    #[error("{0}")]
    Machine(String),
}

impl LoadError {
    /// Whether the same file may load another time although nothing about it changed.
    pub fn may_pass(&self) -> bool {
        match self {
            LoadError::File(error) => matches!(error, FileError::Io(_) | FileError::Missing),
            LoadError::Prepare(error) => error.may_pass(),
            LoadError::Machine(_) | LoadError::Unfinished(_) | LoadError::Directory(_) => true,
            _ => false,
        }
    }
}
