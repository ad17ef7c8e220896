//! Connections end to end: real child processes, and real HTTP servers on 127.0.0.1.

mod correlation;
mod http;
mod modern;
mod pool;
mod server;
mod stdio;
mod support;
mod verdicts;
mod web;
mod websocket;
