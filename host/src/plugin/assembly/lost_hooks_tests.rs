//! A version that no longer decides what the one before it decided, and files that others may write to.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::fake::*;
use super::*;

#[tokio::test(start_paused = true)]
async fn a_version_that_loses_a_deciding_hook_is_refused_as_a_deletion_is() {
    for hook in ["authenticate", "access"] {
        let mut bench = Bench::new().listing(&["guard"]);
        bench.put("guard.wasm", plugin(&[hook, "request"], "1"));
        let first = bench.assemble().await;
        bench.put("guard.wasm", plugin(&["request"], "2"));
        let refused = bench.assemble().await;
        assert!(Arc::ptr_eq(&refused.filters[0], &first.filters[0]), "{:?}", refused.chain());
        let reason = refused.reason("guard");
        assert!(reason.contains(&format!("`{hook}`")) && reason.contains("another `name`"), "{reason}");
        let loads = bench.loads();
        assert_eq!((bench.assemble().await.said().len(), bench.loads()), (0, loads), "told and tried once");
        // One more hook is no loss, and on purpose it goes.
        bench.put("guard.wasm", plugin(&[hook, "request", "response"], "3"));
        assert_eq!(bench.assemble().await.chain(), ["guard 3"]);
        bench.put("guard.wasm", plugin(&["request"], "4"));
        bench.config.filters[0].name = Some("other".into());
        assert_eq!(bench.assemble().await.chain(), ["other 4"]);
    }
}

#[tokio::test(start_paused = true)]
async fn another_plugin_under_the_same_name_is_no_way_around() {
    let mut bench = Bench::new().listing(&["guard"]);
    bench.put("guard.wasm", plugin(&["access"], "1"));
    bench.put("tame.wasm", plugin(&["request"], "1"));
    bench.assemble().await;
    bench.config.filters[0].plugin = "tame".into();
    bench.config.filters[0].name = Some("guard".into());
    let refused = bench.assemble().await;
    assert!(refused.reason("guard").contains("`access`"), "{}", refused.reason("guard"));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_version_that_loses_access_is_refused_and_listing_it_anew_is_the_way() {
    let mut bench = Bench::new();
    bench.put("deny.wasm", plugin(&["access"], "1"));
    bench.assemble().await;
    bench.put("deny.wasm", plugin(&["request"], "2"));
    let refused = bench.assemble().await;
    assert_eq!(refused.chain(), ["deny 1"]);
    assert!(
        refused.reason("deny").contains("list the plugin under `filters:`"),
        "{}",
        refused.reason("deny")
    );
    bench.list(&["deny"]);
    assert!(bench.refused().await.contains("`access`"), "listed under the same name it is still that filter");
    bench.config.filters[0].name = Some("tame".into());
    assert_eq!(bench.assemble().await.chain(), ["tame 2"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_admitted_changes_nothing() {
    let mut bench = Bench::new().listing(&["guard"]);
    bench.put("guard.wasm", plugin(&["authenticate"], "1"));
    let first = bench.assemble().await;
    bench.list(&[]);
    let refused = bench.plugins.assemble_if(&bench.config, |_| Err("open".into())).await.err().unwrap();
    assert_eq!(refused.problems, ["open"]);
    bench.list(&["guard"]);
    let again = bench.assemble().await;
    assert!(Arc::ptr_eq(&again.filters[0], &first.filters[0]), "the version that served still does");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_others_may_write_to_is_not_loaded() {
    for file in ["a.wasm", "b.yaml"] {
        for mode in [0o664, 0o646, 0o666] {
            let bench = Bench::new().listing(&["a"]);
            bench.put("a.wasm", plugin(&["request"], "1"));
            bench.put("b.wasm", plugin(&["request"], "1"));
            bench.put("b.yaml", "{}\n");
            let first = bench.assemble().await;
            assert_eq!(first.chain(), ["a 1", "b 1"]);
            bench.put("a.wasm", plugin(&["request"], "2"));
            bench.put("b.yaml", "config: { other: true }\n");
            fs::set_permissions(bench.path(file), fs::Permissions::from_mode(mode)).unwrap();
            let name = &file[..1];
            let open = bench.assemble().await;
            let reason = open.reason(name);
            assert!(reason.contains("chmod go-w") && reason.contains(&format!("{mode:03o}")), "{reason}");
            let at = usize::from(name == "b");
            assert!(Arc::ptr_eq(&open.filters[at], &first.filters[at]), "{file} {mode:o}");
            fs::set_permissions(bench.path(file), fs::Permissions::from_mode(0o644)).unwrap();
            assert_eq!(bench.assemble().await.reason(name), "", "healed");
        }
    }
}
