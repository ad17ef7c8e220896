//! An HTTP server that answers every POSTed message as a closure says.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    /// Null if the body was none.
    pub(super) message: Value,
    /// 1 for the first message with this method.
    pub(super) number_of_its_method: usize,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// What is done about it.
pub(super) enum Answer {
    Json(u16, String),
    Text(u16, String),
    /// The head of an event stream, and the end.
    BrokenStream,
    /// Nothing, until the client goes.
    Never,
}

pub(super) struct Site {
    address: SocketAddr,
    seen: watch::Sender<Vec<Request>>,
    left: watch::Sender<usize>,
}

impl Site {
    pub(super) async fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Arc<Site> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let site =
            Arc::new(Site { address, seen: watch::Sender::new(Vec::new()), left: watch::Sender::new(0) });
        let (shared, answer) = (site.clone(), Arc::new(answer));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (site, answer) = (shared.clone(), answer.clone());
                tokio::spawn(async move { site.connection(BufReader::new(stream), &*answer).await });
            }
        });
        site
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    pub(super) fn seen(&self) -> Vec<Request> {
        self.seen.borrow().clone()
    }

    pub(super) async fn until(&self, matches: impl Fn(&Request) -> bool) {
        self.seen.subscribe().wait_for(|seen| seen.iter().any(&matches)).await.unwrap();
    }

    /// Waits until a client went that got no answer.
    pub(super) async fn left(&self) {
        self.left.subscribe().wait_for(|left| *left > 0).await.unwrap();
    }

    async fn connection(
        &self,
        mut pipe: BufReader<TcpStream>,
        answer: &(dyn Fn(&Request) -> Answer + Send + Sync),
    ) -> Option<()> {
        loop {
            let mut line = String::new();
            if pipe.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            let (mut headers, mut length) = (Vec::new(), 0);
            loop {
                let mut line = String::new();
                pipe.read_line(&mut line).await.ok()?;
                let Some((name, value)) = line.trim_end().split_once(':') else { break };
                let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
                if name == "content-length" {
                    length = value.parse().ok()?;
                }
                headers.push((name, value));
            }
            let mut body = vec![0; length];
            pipe.read_exact(&mut body).await.ok()?;
            let message: Value = serde_json::from_slice(&body).unwrap_or_default();
            let same = self.seen.borrow().iter().filter(|r| r.message["method"] == message["method"]).count();
            let request = Request { headers, message, number_of_its_method: same + 1 };
            let answer = answer(&request);
            self.seen.send_modify(|seen| seen.push(request));
            let (status, kind, text) = match answer {
                Answer::Json(status, text) => (status, "application/json", text),
                Answer::Text(status, text) => (status, "text/plain", text),
                Answer::BrokenStream => {
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\nid: 7\ndata:\n\n";
                    pipe.write_all(head.as_bytes()).await.ok()?;
                    return None;
                }
                Answer::Never => {
                    let _ = pipe.read_u8().await;
                    self.left.send_modify(|left| *left += 1);
                    return None;
                }
            };
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
                text.len()
            );
            pipe.write_all(&[head.as_bytes(), text.as_bytes()].concat()).await.ok()?;
        }
    }
}
