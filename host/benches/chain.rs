//! What a filter costs that a call does not pass: one that `match` excludes, beside no filter at all.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::Criterion;
use futures_util::future::BoxFuture;
use lockgate::config::{FilterLimits, Match, Mode, OnFailure};
use lockgate::filter::chain::{Chain, Placed, PlacedParts, States, Up};
use lockgate::filter::{
    CallView, Caller, ClientInfo, Decision, DefinitionsEdit, DefinitionsView, Effects, ExchangeEffects,
    ExchangeView, Failure, Filter, Hooks, ItemsView, RequestHead, Verdict, Visibility,
};
use lockgate::proxy::method_kinds;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let excluded = Match { servers: vec!["other".into()], ..Match::default() };
    let other_method = Match { methods: vec!["prompts/*".into()], ..Match::default() };
    let mut criterion = Criterion::default().configure_from_args();
    for (name, filters) in [
        ("none", vec![]),
        ("excluded-by-server", vec![placed(excluded)]),
        ("excluded-by-method", vec![placed(other_method)]),
        ("native", vec![placed(Match::default())]),
    ] {
        let chain = Chain::new("s", &filters, &method_kinds(), Duration::from_secs(2));
        criterion.bench_function(&format!("chain/request/{name}"), |b| {
            b.to_async(&runtime).iter(|| async {
                let (mut view, mut states) = (view(), States::default());
                let up = chain.request(&chain.row("tools/call"), &mut view, &mut states, 0).await;
                assert!(matches!(up, Up::Proceed));
            });
        });
    }
    criterion.final_summary();
}

struct Proceeds;

impl Filter for Proceeds {
    fn hooks(&self) -> Hooks {
        Hooks { request: true, ..Hooks::default() }
    }
    fn authenticate(&self, _: Arc<RequestHead>) -> BoxFuture<'_, Result<Decision, Failure>> {
        Box::pin(async { Ok(Decision::Skip) })
    }
    fn definitions(&self, _: DefinitionsView) -> BoxFuture<'_, Result<DefinitionsEdit, Failure>> {
        Box::pin(async { Ok(DefinitionsEdit::default()) })
    }
    fn access(&self, items: Arc<ItemsView>) -> BoxFuture<'_, Result<Vec<Visibility>, Failure>> {
        Box::pin(async move { Ok(vec![Visibility::Visible; items.items.len()]) })
    }
    fn request(&self, _: Arc<CallView>) -> BoxFuture<'_, Result<Effects, Failure>> {
        Box::pin(async { Ok(Effects::verdict(Verdict::Proceed)) })
    }
    fn upstream(&self, _: Arc<ExchangeView>) -> BoxFuture<'_, Result<ExchangeEffects, Failure>> {
        Box::pin(async { Ok(ExchangeEffects::default()) })
    }
    fn response(&self, _: Arc<CallView>) -> BoxFuture<'_, Result<Effects, Failure>> {
        Box::pin(async { Ok(Effects::verdict(Verdict::Proceed)) })
    }
}

fn placed(matches: Match) -> Arc<Placed> {
    Arc::new(Placed::new(PlacedParts {
        name: "f".into(),
        plugin: "f".into(),
        version: None,
        sha256: [0; 32],
        file: "f.wasm".into(),
        listed: true,
        matches,
        on_failure: OnFailure::Closed,
        mode: Mode::Enforce,
        limits: FilterLimits::default(),
        hooks: Proceeds.hooks(),
        filter: Arc::new(Proceeds),
    }))
}

fn view() -> CallView {
    let client = ClientInfo {
        info: None,
        capabilities: Bytes::from_static(b"{}"),
        protocol_version: "2025-11-25".into(),
        transport: "streamable-http",
        address: None,
    };
    CallView {
        id: 1,
        method: "tools/call".into(),
        server: "s".into(),
        name: Some("echo".into()),
        visible_name: Some("echo".into()),
        caller: Arc::new(Caller { principal: None, client: Arc::new(client), headers: Arc::default() }),
        round: 0,
        deadline: Instant::now() + Duration::from_secs(60),
        params: Bytes::from_static(b"{}"),
        answers: Arc::default(),
        definition: None,
        outcome: None,
        upstream_status: None,
        upstream_headers: None,
        state: Arc::default(),
        decisions: Arc::default(),
    }
}
