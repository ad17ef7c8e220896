//! HTTP/1.1 over a plain socket: the tests decide every byte that is sent, and see every event as
//! it comes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// A connection, kept open from one request to the next.
pub struct Http {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

/// A response whose body is still to be read.
pub struct Response {
    pub status: u16,
    /// Names in lower case, in their order.
    pub headers: Vec<(String, String)>,
    body: Body,
    reader: BufReader<TcpStream>,
}

#[derive(Clone, Copy)]
enum Body {
    Sized(usize),
    Chunked { left: usize, ended: bool },
    UntilClose,
}

impl Http {
    /// Connects when first needed.
    pub fn new(address: SocketAddr) -> Http {
        Http { address, stream: None }
    }

    /// Sends a request with exactly these headers (besides `host` and `content-length`) and reads
    /// the head of the response.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head += &format!("host: {}\r\n", self.address);
        }
        if !body.is_empty() || method == "POST" {
            head += &format!("content-length: {}\r\n", body.len());
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        self.send_bytes(&[head.as_bytes(), body].concat())
    }

    /// Sends these bytes, whatever they are, and reads the head of the response.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<Response> {
        let reused = self.stream.is_some();
        match self.attempt(bytes) {
            // The other side may have closed a connection that was idle.
            Err(error) if reused && error.kind() != io::ErrorKind::WouldBlock => self.attempt(bytes),
            other => other,
        }
    }

    /// Takes the connection back for the next request, if the response left it usable.
    pub fn reuse(&mut self, response: Response) {
        let keep = !response.headers.iter().any(|(name, value)| name == "connection" && value == "close");
        let over = matches!(response.body, Body::Sized(0) | Body::Chunked { ended: true, .. });
        self.stream = (keep && over).then_some(response.reader);
    }

    fn attempt(&mut self, bytes: &[u8]) -> io::Result<Response> {
        let mut reader = match self.stream.take() {
            Some(reader) => reader,
            None => {
                let stream = TcpStream::connect(self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                BufReader::new(stream)
            }
        };
        reader.get_mut().write_all(bytes)?;
        Response::read(reader)
    }
}

/// Posts a message of a session, on a connection of its own, and returns the bytes of the answer.
pub fn post(address: SocketAddr, server: &str, session: &str, body: &str) -> Vec<u8> {
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-session-id", session),
        ("mcp-protocol-version", "2025-11-25"),
    ];
    let path = format!("/{server}/mcp");
    let mut response = Http::new(address).send("POST", &path, &headers, body.as_bytes()).unwrap();
    if response.is_stream() {
        response.event().unwrap().unwrap().into_bytes()
    } else {
        Response::bytes(&mut response).unwrap()
    }
}

impl Response {
    fn read(mut reader: BufReader<TcpStream>) -> io::Result<Response> {
        let status_line = line(&mut reader)?;
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status line: {status_line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let text = line(&mut reader)?;
            let Some((name, value)) = text.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let find =
            |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        let body = match (find("transfer-encoding"), find("content-length")) {
            (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => {
                Body::Chunked { left: 0, ended: false }
            }
            (_, Some(length)) => Body::Sized(length.parse().map_err(io::Error::other)?),
            _ if status == 204 || status == 304 => Body::Sized(0),
            _ => Body::UntilClose,
        };
        Ok(Response { status, headers, body, reader })
    }

    /// One header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Whether the body is a stream of events.
    pub fn is_stream(&self) -> bool {
        self.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"))
    }

    /// The whole body.
    pub fn bytes(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        self.read_to_end(&mut all)?;
        Ok(all)
    }

    /// The data of the next event that has any; none at the end of the stream.
    pub fn event(&mut self) -> io::Result<Option<String>> {
        let mut data: Option<String> = None;
        loop {
            let mut text = Vec::new();
            loop {
                let mut byte = [0];
                if self.read(&mut byte)? == 0 {
                    return Ok(None); // an event without its blank line is no event
                }
                if byte == *b"\n" {
                    break;
                }
                text.push(byte[0]);
            }
            let text = String::from_utf8(text).map_err(io::Error::other)?;
            let text = text.strip_suffix('\r').unwrap_or(&text);
            if text.is_empty() {
                if data.as_ref().is_some_and(|data| !data.is_empty()) {
                    return Ok(data);
                }
                data = None;
            } else if let Some(part) = text.strip_prefix("data:") {
                let part = part.strip_prefix(' ').unwrap_or(part);
                match &mut data {
                    Some(data) => *data = format!("{data}\n{part}"),
                    None => data = Some(part.to_owned()),
                }
            }
        }
    }
}

impl Read for Response {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.body {
            Body::UntilClose => self.reader.read(buffer),
            Body::Sized(left) => {
                let most = buffer.len().min(*left);
                if most == 0 {
                    return Ok(0); // even an empty read would wait for the next byte
                }
                let read = self.reader.read(&mut buffer[..most])?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                *left -= read;
                Ok(read)
            }
            Body::Chunked { ended: true, .. } => Ok(0),
            Body::Chunked { left, ended } => {
                if *left == 0 {
                    let size = line(&mut self.reader)?;
                    let size = size.split(';').next().unwrap_or_default().trim();
                    *left = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
                    if *left == 0 {
                        while !line(&mut self.reader)?.is_empty() {}
                        *ended = true;
                        return Ok(0);
                    }
                }
                let most = buffer.len().min(*left);
                let read = self.reader.read(&mut buffer[..most])?;
                if read == 0 && most > 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                *left -= read;
                if *left == 0 {
                    line(&mut self.reader)?;
                }
                Ok(read)
            }
        }
    }
}

fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    if reader.read_line(&mut text)? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed"));
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
