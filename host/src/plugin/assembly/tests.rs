//! The chain that a configuration and a directory of real files come to.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use proptest::prelude::*;

use super::fake::*;
use super::*;
use crate::config::OnFailure;
use crate::plugin::samples::component_with;

#[tokio::test(start_paused = true)]
async fn listed_ones_come_first_and_dropped_ones_follow_in_file_name_order() {
    let bench = Bench::new().listing(&["last", "first"]);
    for (file, version) in
        [("first.wasm", "1"), ("05-last.wasm", "2"), ("20-b.wasm", "3"), ("10-c.wasm", "4")]
    {
        bench.put(file, plugin(&["request"], version));
    }
    let assembly = bench.assemble().await;
    assert_eq!(assembly.chain(), ["last 2", "first 1", "c 4", "b 3"]);
    let listed: Vec<bool> = assembly.filters.iter().map(|placed| placed.listed).collect();
    assert_eq!(listed, [true, true, false, false]);
    assert_eq!(assembly.said().len(), 4);
    assert!(assembly.said()[0].starts_with("filter last 2 ["), "{:?}", assembly.said());
}

#[tokio::test(start_paused = true)]
async fn what_did_not_change_is_the_same_and_costs_nothing() {
    let bench = Bench::new().listing(&["a"]);
    bench.put("a.wasm", plugin(&["access"], "1"));
    bench.put("b.wasm", plugin(&["response"], "1"));
    let first = bench.assemble().await;
    bench.put("b.wasm", plugin(&["response"], "2"));
    let second = bench.assemble().await;
    assert!(Arc::ptr_eq(&first.filters[0], &second.filters[0]));
    assert_eq!(second.chain(), ["a 1", "b 2"]);
    assert_eq!(bench.loads(), 3);
    assert_eq!(second.said().len(), 1);
    assert!(second.said()[0].contains("replaces 1 ["), "{:?}", second.said());
    // The same bytes under another inode.
    bench.put("b.wasm", plugin(&["response"], "2"));
    assert_eq!(bench.assemble().await.said().len(), 0);
    assert_eq!(bench.loads(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_bad_version_changes_nothing_is_told_once_and_not_tried_again() {
    let bench = Bench::new().listing(&["a"]);
    bench.put("a.wasm", plugin(&["access"], "1"));
    let good = bench.assemble().await;
    for (bytes, reason) in [
        (bad(&["access"], "2"), "self-test failed"),
        (b"\0asm\x0d\0\x01\0".to_vec(), "exports no hook"),
        (wat::parse_str("(module)").unwrap(), "core WebAssembly module"),
        (component_with(&["access", "observe"], &[], ""), "`observe`"),
    ] {
        bench.put("a.wasm", &bytes);
        let loads = bench.loads();
        let degraded = bench.assemble().await;
        assert!(Arc::ptr_eq(&degraded.filters[0], &good.filters[0]));
        assert!(degraded.reason("a").contains(reason), "{}", degraded.reason("a"));
        assert_eq!(degraded.said().len(), 1);
        let said = degraded.said()[0];
        assert!(said.contains(reason) && said.contains("a.wasm") && said.contains("; 1 ["), "{said}");
        assert!(matches!(&degraded.status("a").health, Health::Degraded { wanted_sha256: Some(_), .. }));
        let again = bench.assemble().await;
        assert_eq!((again.said().len(), again.reason("a").is_empty()), (0, false));
        assert!(bench.loads() - loads <= 1);
    }
    bench.put("a.wasm", plugin(&["access"], "1"));
    let healed = bench.assemble().await;
    assert!(
        Arc::ptr_eq(&healed.filters[0], &good.filters[0]),
        "the last good version is what is there again"
    );
    assert!(healed.said()[0].contains("what was asked for again"), "{:?}", healed.said());
    assert_eq!(healed.status("a").health, Health::Serving);
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again() {
    let bench = Bench::new().listing(&["a"]);
    bench.put("a.wasm", plugin(&["request"], "1"));
    bench.assemble().await;
    bench.put("a.wasm", component_with(&["request"], &[], "(@custom \"x\" \"CROWDED\")"));
    for loads in [2, 3] {
        assert!(bench.assemble().await.reason("a").contains("no room"));
        assert_eq!(bench.loads(), loads);
    }
    bench.put("a.wasm", bad(&["request"], "2"));
    bench.assemble().await;
    bench.assemble().await;
    assert_eq!(bench.loads(), 4);
    bench.plugins.forget_refusals();
    bench.assemble().await;
    assert_eq!(bench.loads(), 5, "somebody asked for it");
}

#[tokio::test(start_paused = true)]
async fn a_start_without_a_listed_filter_is_refused_and_names_all_of_them() {
    let mut bench = Bench::new().listing(&["redact", "auth", "twice"]);
    bench.put("redactt.wasm", plugin(&["request"], "1"));
    bench.put("auth.wasm", bad(&["authenticate"], "1"));
    bench.put("1-twice.wasm", plugin(&["request"], "1"));
    bench.put("2-twice.wasm", plugin(&["request"], "2"));
    let error = bench.refused().await;
    for part in ["did you mean `redactt`?", "filter auth", "self-test", "1-twice.wasm and ", "2-twice.wasm"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(error.lines().count(), 3, "{error}");
    bench.put("auth.wasm", plugin(&["authenticate"], "1"));
    let error = bench.plugins.assemble(&bench.config).await.err().unwrap();
    assert_eq!((error.problems.len(), error.statuses.len()), (2, 4), "`redactt` is attached");
    let auth = &error.statuses[1];
    assert!(auth.hooks.authenticate && auth.health == Health::Serving, "{auth:?}");
    bench.config.plugins.dir = None;
    bench.list(&["redact"]);
    assert!(bench.refused().await.contains("`plugins.dir` is not set"));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_plugin_that_fails_does_not_stop_the_others() {
    let bench = Bench::new().listing(&["a"]);
    bench.put("a.wasm", plugin(&["request"], "1"));
    bench.put("b.wasm", bad(&["request"], "1"));
    bench.put("c.wasm", plugin(&["authenticate"], "1"));
    bench.put("d.wasm", component_with(&["request"], &["kv"], ""));
    let assembly = bench.assemble().await;
    assert_eq!(assembly.chain(), ["a 1"]);
    assert!(assembly.reason("b").contains("self-test"));
    assert!(assembly.reason("c").contains("list it under `filters:`"));
    assert!(assembly.reason("d").contains("lockgate:plugin/kv@0.1.0"));
    assert!(matches!(assembly.status("b").health, Health::Failed { .. }));
    assert!(assembly.notices.iter().filter(|notice| notice.level == Level::Error).count() == 3);
}

#[tokio::test(start_paused = true)]
async fn sidecars_configure_dropped_plugins_and_bad_ones_change_nothing() {
    let bench = Bench::new();
    bench.put("10-a.wasm", plugin(&["request"], "1"));
    bench.put("10-a.yaml", "match: { servers: [x] }\non_failure: open\n");
    let first = bench.assemble().await;
    assert_eq!(first.filters[0].matches.servers, ["x"]);
    assert_eq!(first.filters[0].on_failure, OnFailure::Open);
    bench.put("10-a.yaml", "match: { servers: [y] }\n");
    let second = bench.assemble().await;
    assert_eq!(
        (second.filters[0].matches.servers.as_slice(), bench.loads()),
        (["y".to_owned()].as_slice(), 1)
    );
    assert!(Arc::ptr_eq(&first.filters[0].filter, &second.filters[0].filter), "only its place changed");
    for (text, reason) in [
        ("matches: {}\n", "matches"),
        ("config: { token: '${TOKEN}' }\n", "`secrets:`"),
        ("grants: { secrets: [bank] }\n", "max_grants"),
        ("config: REFUSE\n", "self-test"),
    ] {
        bench.put("10-a.yaml", text);
        let assembly = bench.assemble().await;
        assert!(Arc::ptr_eq(&assembly.filters[0], &second.filters[0]));
        assert!(assembly.reason("a").contains(reason), "{}", assembly.reason("a"));
    }
    bench.put("10-a.yaml", "config: { a: 1 }");
    let third = bench.assemble().await;
    assert_eq!((third.status("a").health.clone(), third.said().len()), (Health::Serving, 1));
    assert!(third.said()[0].contains("another configuration"), "{:?}", third.said());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_filter_detaches_when_both_its_files_are_gone() {
    let bench = Bench::new();
    bench.put("keep.wasm", plugin(&["request"], "1"));
    bench.put("a.wasm", plugin(&["request"], "1"));
    bench.put("b.wasm", plugin(&["request"], "1"));
    bench.put("b.yaml", "{}\n");
    assert_eq!(bench.assemble().await.chain(), ["a 1", "b 1", "keep 1"]);
    bench.delete("a.wasm");
    bench.delete("b.yaml");
    let one_left = bench.assemble().await;
    assert_eq!(one_left.chain(), ["b 1", "keep 1"]);
    assert!(one_left.reason("b").contains("file beside it is gone"), "{}", one_left.reason("b"));
    assert!(one_left.said().iter().any(|said| said.contains("filter a 1") && said.contains("deleted")));
    bench.put("b.yaml", "{}\n");
    bench.delete("b.wasm");
    let other_left = bench.assemble().await;
    assert_eq!(other_left.chain(), ["b 1", "keep 1"]);
    assert!(other_left.reason("b").contains("delete that too"), "{}", other_left.reason("b"));
    bench.delete("b.yaml");
    assert_eq!(bench.assemble().await.chain(), ["keep 1"]);
}

#[tokio::test(start_paused = true)]
async fn deletion_never_opens_anything() {
    let bench = Bench::new().listing(&["auth"]);
    bench.put("auth.wasm", plugin(&["authenticate"], "1"));
    bench.put("deny.wasm", plugin(&["access"], "1"));
    bench.put("keep.wasm", plugin(&["request"], "1"));
    bench.assemble().await;
    bench.delete("auth.wasm");
    bench.delete("deny.wasm");
    for told in [2, 0] {
        let assembly = bench.assemble().await;
        assert_eq!(assembly.chain(), ["auth 1", "deny 1", "keep 1"]);
        assert!(assembly.reason("auth").contains("there is no plugin `auth`"));
        assert!(assembly.reason("deny").contains("never detaches by deletion"));
        assert_eq!(assembly.said().len(), told, "{:?}", assembly.said());
    }
}

#[tokio::test(start_paused = true)]
async fn a_vanished_or_empty_directory_removes_nothing() {
    let bench = Bench::new().listing(&["a"]);
    bench.put("a.wasm", plugin(&["request"], "1"));
    bench.put("b.wasm", plugin(&["request"], "1"));
    bench.assemble().await;
    let away = bench.dir().with_extension("away");
    fs::rename(bench.dir(), &away).unwrap();
    let vanished = bench.assemble().await;
    assert_eq!(vanished.chain(), ["a 1", "b 1"]);
    assert_eq!(vanished.said().len(), 1, "once for all of them: {:?}", vanished.said());
    assert!(vanished.reason("b").contains("does not exist"));
    fs::create_dir(bench.dir()).unwrap();
    let empty = bench.assemble().await;
    assert_eq!(empty.chain(), ["a 1", "b 1"]);
    assert_eq!(empty.said().len(), 1, "once for all of them: {:?}", empty.said());
    assert!(empty.said().iter().any(|said| said.contains("is empty") && said.contains("keep serving")));
    assert!(bench.assemble().await.said().is_empty(), "and not again");
    assert!(empty.reason("b").contains("is empty"));
    fs::set_permissions(bench.dir(), fs::Permissions::from_mode(0o777)).unwrap();
    bench.put("a.wasm", plugin(&["request"], "evil"));
    let open = bench.assemble().await;
    assert_eq!(open.chain(), ["a 1", "b 1"]);
    assert!(open.reason("a").contains("may be written by others"));
    fs::remove_dir_all(bench.dir()).unwrap();
    fs::rename(&away, bench.dir()).unwrap();
    let back = bench.assemble().await;
    assert!(back.statuses.iter().all(|status| status.health == Health::Serving));
    assert!(back.said().iter().any(|said| said.contains("as it should be again")), "{:?}", back.said());
}

#[tokio::test(start_paused = true)]
async fn an_untrusted_directory_is_no_start() {
    let bench = Bench::new();
    fs::set_permissions(bench.dir(), fs::Permissions::from_mode(0o775)).unwrap();
    assert!(bench.refused().await.contains("chmod go-w"));
}

#[tokio::test(start_paused = true)]
async fn the_configuration_detaches_what_deletion_does_not() {
    let mut bench = Bench::new().listing(&["auth"]);
    bench.put("auth.wasm", plugin(&["authenticate"], "1"));
    bench.put("deny.wasm", plugin(&["access"], "1"));
    bench.assemble().await;
    bench.list(&[]);
    let unlisted = bench.assemble().await;
    assert_eq!(unlisted.chain(), ["deny 1"]);
    assert!(unlisted.reason("auth").contains("list it under"), "dropped files do not authenticate");
    bench.config.plugins.auto_attach.enabled = false;
    let off = bench.assemble().await;
    assert!(off.chain().is_empty());
    assert!(off.said().iter().any(|said| said.contains("`plugins.auto_attach` is off")), "{:?}", off.said());
}

#[tokio::test(start_paused = true)]
async fn a_new_listed_filter_that_fails_leaves_everything_as_it_was() {
    let mut bench = Bench::new().listing(&["a"]);
    bench.put("a.wasm", plugin(&["request"], "1"));
    bench.put("b.wasm", bad(&["request"], "1"));
    let first = bench.assemble().await;
    bench.list(&["b", "a"]);
    assert!(bench.refused().await.contains("filter b"));
    bench.list(&["a"]);
    let again = bench.assemble().await;
    assert!(Arc::ptr_eq(&first.filters[0], &again.filters[0]));
}

#[tokio::test(start_paused = true)]
async fn two_files_of_one_name_change_nothing() {
    let bench = Bench::new();
    bench.put("10-a.wasm", plugin(&["access"], "1"));
    bench.assemble().await;
    bench.put("20-a.wasm", plugin(&["access"], "2"));
    let assembly = bench.assemble().await;
    assert_eq!(assembly.chain(), ["a 1"]);
    assert!(assembly.reason("a").contains("are both the plugin `a`"), "{}", assembly.reason("a"));
    bench.delete("10-a.wasm");
    assert_eq!(bench.assemble().await.chain(), ["a 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_file_written_in_place_is_taken_when_it_is_whole() {
    let bench = Bench::new().listing(&["a"]);
    bench.put("a.wasm", plugin(&["access"], "1"));
    let first = bench.assemble().await;
    let new = plugin(&["access"], "2");
    // The tail arrives while the first look waits for the second.
    overwrite(&bench.path("a.wasm"), &new[..new.len() / 2]);
    let (path, tail) = (bench.path("a.wasm"), new.clone());
    let writer = tokio::spawn(async move {
        tokio::time::sleep(PAUSE / 2).await;
        overwrite(&path, &tail);
    });
    let meanwhile = bench.assemble().await;
    writer.await.unwrap();
    assert!(Arc::ptr_eq(&first.filters[0], &meanwhile.filters[0]));
    assert_eq!(
        (meanwhile.said().len(), meanwhile.look_again_in),
        (0, Some(PAUSE)),
        "not yet, and not an error"
    );
    assert_eq!(meanwhile.status("a").health, Health::Serving);
    tokio::time::sleep(PAUSE).await;
    let after = bench.assemble().await;
    assert_eq!((after.chain(), after.look_again_in), (vec!["a 2".to_owned()], None));
}

#[tokio::test(start_paused = true)]
async fn deleted_and_created_again_in_between_is_a_replacement() {
    let bench = Bench::new();
    bench.put("keep.wasm", plugin(&["request"], "1"));
    bench.put("a.wasm", plugin(&["request"], "1"));
    bench.assemble().await;
    bench.delete("a.wasm");
    let (path, draft) = (bench.path("a.wasm"), bench.path(".draft"));
    let writer = tokio::spawn(async move {
        tokio::time::sleep(PAUSE / 2).await;
        overwrite(&draft, &plugin(&["request"], "2"));
        fs::rename(draft, path).unwrap();
    });
    let assembly = bench.assemble().await;
    writer.await.unwrap();
    assert_eq!(assembly.chain(), ["a 2", "keep 1"]);
    assert!(assembly.said().iter().all(|said| !said.contains("detached")), "{:?}", assembly.said());
}

#[tokio::test(start_paused = true)]
async fn a_turned_link_of_a_kubernetes_volume_is_one_swap_of_both_files() {
    let bench = Bench::new();
    let turn = |version: &str| {
        let folder = bench.path(&format!("..{version}"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a.wasm"), plugin(&["request"], version)).unwrap();
        fs::write(folder.join("a.yaml"), format!("config: {{ v: {version} }}\n")).unwrap();
        symlink(format!("..{version}"), bench.path("..data_tmp")).unwrap();
        fs::rename(bench.path("..data_tmp"), bench.path("..data")).unwrap();
    };
    turn("1");
    for file in ["a.wasm", "a.yaml"] {
        symlink(format!("..data/{file}"), bench.path(file)).unwrap();
    }
    assert_eq!(bench.assemble().await.chain(), ["a 1"]);
    turn("2");
    assert_eq!(bench.assemble().await.chain(), ["a 2"]);
    assert_eq!(bench.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_changed_secret_makes_the_filter_anew() {
    let mut bench = Bench::new().listing(&["a"]);
    bench.config.filters[0].grants.secrets = vec!["mail".into()];
    bench.put("a.wasm", component_with(&["upstream"], &["secrets"], ""));
    bench.assemble().await;
    bench.assemble().await;
    assert_eq!(bench.loads(), 1);
    bench.config.secrets.get_mut("mail").unwrap().value = "hunter2".into();
    let assembly = bench.assemble().await;
    assert_eq!(bench.loads(), 2);
    assert!(assembly.said().iter().all(|said| !said.contains("s3cret") && !said.contains("hunter2")));
    bench.config.filters[0].grants.secrets.clear();
    assert!(bench.assemble().await.reason("a").contains("needs a grant"));
}

#[tokio::test(start_paused = true)]
async fn odd_files_are_told_once() {
    let bench = Bench::new().listing(&["a"]);
    bench.put("a.wasm", plugin(&["request"], "1"));
    bench.put("a.yaml", "{}\n");
    bench.put("b.yml", "{}\n");
    bench.put("c.yaml", "{}\n");
    let first = bench.assemble().await;
    for part in ["a.yaml is not read", "b.yml: rename it", "c.yaml configures nothing"] {
        assert!(first.said().iter().any(|said| said.contains(part)), "{:?}", first.said());
    }
    assert!(bench.assemble().await.said().is_empty());
}

/// What somebody does to the file of a filter.
#[derive(Clone, Debug)]
enum Step {
    Good(u8),
    Refused(u8),
    Truncated(u8),
    InPlace(u8),
    Delete,
    Empty,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        any::<u8>().prop_map(Step::Good),
        any::<u8>().prop_map(Step::Refused),
        any::<u8>().prop_map(Step::Truncated),
        any::<u8>().prop_map(Step::InPlace),
        Just(Step::Delete),
        Just(Step::Empty),
    ];
    proptest::collection::vec(step, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_served_version_is_always_the_last_good_one(steps in steps()) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new().listing(&["listed"]);
            bench.put("keep.wasm", plugin(&["request"], "0"));
            for name in ["listed", "dropped"] {
                bench.put(&format!("{name}.wasm"), plugin(&["access"], "first"));
            }
            let mut good = "first".to_owned();
            bench.assemble().await;
            for step in steps {
                for name in ["listed.wasm", "dropped.wasm"] {
                    match &step {
                        Step::Good(v) => bench.put(name, plugin(&["access"], &format!("v{v}"))),
                        Step::InPlace(v) => {
                            overwrite(&bench.path(name), &plugin(&["access"], &format!("v{v}")));
                        }
                        Step::Refused(v) => bench.put(name, bad(&["access"], &format!("v{v}"))),
                        Step::Truncated(v) => {
                            let whole = plugin(&["access"], &format!("v{v}"));
                            bench.put(name, &whole[..whole.len() / 2]);
                        }
                        Step::Empty => bench.put(name, ""),
                        Step::Delete => { let _ = fs::remove_file(bench.path(name)); }
                    }
                }
                if let Step::Good(v) | Step::InPlace(v) = step {
                    good = format!("v{v}");
                }
                let assembly = bench.assemble().await;
                let expected = [format!("listed {good}"), format!("dropped {good}"), "keep 0".to_owned()];
                assert_eq!(assembly.chain(), expected);
                let wished = matches!(step, Step::Good(_) | Step::InPlace(_));
                assert_eq!(assembly.status("listed").health == Health::Serving, wished, "{step:?}");
            }
        });
    }
}
