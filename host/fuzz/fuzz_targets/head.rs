//! The head of an HTTP request: whatever bytes come, what is let in has one Host that is served here, an Origin
//! that may talk to it, and a body that is framed in one way.

#![no_main]

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use libfuzzer_sys::fuzz_target;

#[path = "../../src/downstream/http/guard.rs"]
#[allow(dead_code, unreachable_pub, clippy::all)]
mod guard;
#[path = "../../src/downstream/http/head.rs"]
#[allow(dead_code, unreachable_pub, clippy::all)]
mod head;

#[path = "../../src/config/host.rs"]
#[allow(dead_code, unreachable_pub, clippy::all)]
mod host;

/// What the guard reads of the configuration.
mod config {
    pub(crate) use crate::host;

    #[derive(Default)]
    pub struct Http {
        pub allowed_hosts: Vec<String>,
        pub allowed_origins: Vec<String>,
        pub allow_loopback_origins: bool,
        pub in_flags: bool,
    }
}

type Parts = http::request::Parts;

/// What hyper makes of the bytes, with the bounds of the listener.
fn parsed(bytes: &[u8]) -> Vec<Parts> {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        tokio::io::AsyncWriteExt::write_all(&mut client, bytes).await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut client).await.unwrap();
        let kept = Arc::clone(&heads);
        let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
            kept.lock().unwrap().push(request.into_parts().0);
            async { Ok::<_, std::convert::Infallible>(http::Response::new(http_body_util::Empty::<bytes::Bytes>::new())) }
        });
        let _ = hyper::server::conn::http1::Builder::new()
            .max_header_size(16 << 10)
            .max_headers(100)
            .serve_connection(hyper_util::rt::TokioIo::new(server), service)
            .await;
    });
    std::mem::take(&mut *heads.lock().unwrap())
}

/// Reads a host in a way of its own: lower case, no port, no final dot.
fn is_served(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let loopback = name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    loopback || ["localhost", "mcp.example.com"].contains(&name)
}

fuzz_target!(|bytes: &[u8]| {
    let allowed = config::Http {
        allowed_hosts: vec!["mcp.example.com".into()],
        allowed_origins: vec!["https://app.example.com".into()],
        allow_loopback_origins: false,
        in_flags: false,
    };
    for head in parsed(bytes) {
        let values = |name: &str| head.headers.get_all(name).iter().map(|v| v.to_str()).collect::<Vec<_>>();
        if guard::check(&head.headers, &head.uri, IpAddr::from([127, 0, 0, 1]), &allowed).is_ok() {
            let hosts = values("host");
            assert!(matches!(hosts.as_slice(), [Ok(host)] if is_served(host)), "{hosts:?}");
            if let Some(authority) = head.uri.authority() {
                assert!(is_served(authority.as_str()), "{authority}");
            }
            let (origins, sites) = (values("origin"), values("sec-fetch-site"));
            match origins.as_slice() {
                [] => assert!(sites.iter().all(|site| matches!(site, Ok("none" | "same-origin"))), "{sites:?}"),
                [Ok(origin)] => {
                    let host = origin.split_once("://").map(|(_, host)| host).unwrap_or_default();
                    assert!(is_served(host) || host.to_ascii_lowercase().starts_with("app.example.com"), "{origin}");
                }
                _ => panic!("{origins:?}"),
            }
            if let Some(reader) = guard::reader(&head.headers, &allowed) {
                assert!(reader.to_str().unwrap().to_ascii_lowercase().starts_with("https://app.example.com"));
            }
        }
        if head::check_framing(&head.headers).is_ok() {
            let codings = values("transfer-encoding");
            assert!(codings.is_empty() || matches!(codings.as_slice(), [Ok(one)] if one.eq_ignore_ascii_case("chunked")));
        }
        if head::check_content(&head.headers).is_ok() {
            let types = values("content-type");
            assert!(matches!(types.as_slice(), [Ok(one)] if one.trim().to_ascii_lowercase().starts_with("application/json")));
        }
        if head::asks_for_events(&head.headers) {
            assert!(values("accept").iter().flatten().any(|one| one.to_ascii_lowercase().contains("text/event-stream")));
        }
        let _ = head::accepts(&head.headers);
    }
});
