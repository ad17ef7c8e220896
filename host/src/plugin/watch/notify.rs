//! Signs from the operating system's file events.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::Source;

/// Events of one directory. The directory is watched and not its files: editors and deployments
/// replace files, and a watch on a replaced file hears nothing more.
pub(super) struct Events {
    dir: PathBuf,
    signs: Arc<Notify>,
    /// The watcher, and the device and inode that it watches.
    watching: Option<(RecommendedWatcher, (u64, u64))>,
    /// A failure is told once, not at every look.
    told: bool,
}

impl Events {
    pub(super) fn new(dir: &Path) -> Events {
        let mut events =
            Events { dir: dir.to_owned(), signs: Arc::new(Notify::new()), watching: None, told: false };
        events.renew();
        events
    }

    fn start(&self) -> Result<RecommendedWatcher, notify::Error> {
        let signs = Arc::clone(&self.signs);
        let mut watcher = notify::recommended_watcher(move |event: Result<Event, notify::Error>| {
            // An error may stand for lost events, so it is a sign too.
            if event.map_or(true, |event| matters(&event)) {
                signs.notify_one();
            }
        })?;
        watcher.watch(&self.dir, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    }
}

impl Source for Events {
    fn sign(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.signs.notified())
    }

    /// A directory that was replaced (a new mount, a rename) is another inode: watch that one.
    fn renew(&mut self) {
        let Ok(found) = std::fs::metadata(&self.dir) else {
            self.watching = None;
            return;
        };
        let found = (found.dev(), found.ino());
        if self.watching.as_ref().is_some_and(|(_, watched)| *watched == found) {
            return;
        }
        // The old one must be gone first: both would count towards the limit of watches.
        self.watching = None;
        match self.start() {
            Ok(watcher) => {
                self.watching = Some((watcher, found));
                self.told = false;
            }
            Err(error) if !self.told => {
                self.told = true;
                tracing::warn!(
                    "no file events for {} ({error}): changes are noticed within {} s; raise the system's limit \
                     on inotify watches, or set `plugins.watch: poll`",
                    self.dir.display(),
                    super::SLOW.as_secs()
                );
            }
            Err(_) => {}
        }
    }
}

/// Whether an event can mean another content. Our own reading makes events as well.
fn matters(event: &Event) -> bool {
    let changes = match event.kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    };
    // `..data` is the link that Kubernetes turns; other hidden files are somebody's drafts.
    let ours = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy());
        name.is_none_or(|name| name == "..data" || !name.starts_with('.'))
    };
    changes && (event.paths.is_empty() || event.paths.iter().any(ours))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A generous bound; nothing waits for it where the test passes.
    const SOON: Duration = Duration::from_secs(20);

    async fn sign(events: &mut Events) -> bool {
        tokio::time::timeout(SOON, events.sign()).await.is_ok()
    }

    #[tokio::test]
    async fn writes_renames_and_deletions_are_signs() {
        let dir = tempfile::tempdir().unwrap();
        let mut events = Events::new(dir.path());
        let file = dir.path().join("a.wasm");
        std::fs::write(&file, "1").unwrap();
        assert!(sign(&mut events).await);
        std::fs::write(dir.path().join(".b"), "2").unwrap();
        std::fs::rename(dir.path().join(".b"), &file).unwrap();
        assert!(sign(&mut events).await);
        std::fs::remove_file(&file).unwrap();
        assert!(sign(&mut events).await);
    }

    #[tokio::test]
    async fn a_replaced_directory_is_watched_after_renewal() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("plugins");
        let mut events = Events::new(&dir);
        assert!(events.watching.is_none(), "it is not there yet");
        std::fs::create_dir(&dir).unwrap();
        events.renew();
        let first = events.watching.as_ref().unwrap().1;
        std::fs::rename(&dir, parent.path().join("old")).unwrap();
        std::fs::create_dir(&dir).unwrap();
        events.renew();
        assert_ne!(events.watching.as_ref().unwrap().1, first);
        events.signs = {
            // Signs of the moves above do not count.
            let fresh = Events::new(&dir);
            events.watching = fresh.watching;
            fresh.signs
        };
        std::fs::write(dir.join("a.wasm"), "1").unwrap();
        assert!(sign(&mut events).await);
    }

    #[test]
    fn reading_and_drafts_are_no_signs() {
        use notify::event::{CreateKind, MetadataKind, ModifyKind};
        let event = |kind, path: &str| Event::new(kind).add_path(PathBuf::from(path));
        let create = EventKind::Create(CreateKind::File);
        assert!(matters(&event(create, "/p/a.wasm")));
        assert!(matters(&event(create, "/p/..data")));
        assert!(matters(&Event::new(EventKind::Other)), "lost events");
        assert!(!matters(&event(create, "/p/.a.wasm.swp")));
        assert!(!matters(&event(EventKind::Access(AccessKind::Any), "/p/a.wasm")));
        assert!(!matters(&event(EventKind::Access(AccessKind::Close(AccessMode::Read)), "/p/a.wasm")));
        assert!(matters(&event(EventKind::Access(AccessKind::Close(AccessMode::Write)), "/p/a.wasm")));
        let chmod = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));
        assert!(matters(&event(chmod, "/p/a.wasm")), "it may be readable now");
    }
}
