//! Takes the port, and says who has it where it is taken.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// A port that is ours and not listened on yet.
#[derive(Debug)]
pub struct Port {
    socket: TcpSocket,
    address: SocketAddr,
}

/// Takes a port without listening on it.
///
/// # Errors
/// Names the address and why it cannot be had, with the process that has it where it can be seen.
pub fn take(address: SocketAddr) -> anyhow::Result<Port> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A port of a process that ended a moment ago may be taken; one that is listened on may not.
    socket.set_reuseaddr(true)?;
    socket.bind(address).map_err(|e| refused(address, &e))?;
    Ok(Port { socket, address })
}

impl Port {
    /// Listens: from now on clients are let in.
    ///
    /// # Errors
    /// As [`take`].
    pub fn listen(self) -> anyhow::Result<TcpListener> {
        self.socket.listen(BACKLOG).map_err(|e| refused(self.address, &e))
    }
}

fn refused(address: SocketAddr, error: &io::Error) -> anyhow::Error {
    let help = "take another one with `--listen 127.0.0.1:0` (any free port)";
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let holder = holder(address.port()).map(|who| format!(" by {who}")).unwrap_or_default();
            anyhow::anyhow!("cannot listen on {address}: the port is in use{holder}\n  {help}")
        }
        io::ErrorKind::PermissionDenied => anyhow::anyhow!(
            "cannot listen on {address}: ports below 1024 are for the administrator\n  {help}"
        ),
        io::ErrorKind::AddrNotAvailable => anyhow::anyhow!(
            "cannot listen on {address}: this machine has no such address\n  use 127.0.0.1 for this machine only"
        ),
        _ => anyhow::anyhow!("cannot listen on {address}: {}", crate::config::expand::plain(error)),
    }
}

/// Which process listens on the port: `node (process 123)`. Only Linux tells, and only of processes
/// of the same user.
fn holder(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .find_map(|table| listening_inode(&table, port).map(str::to_owned))?;
    let wanted = format!("socket:[{inode}]");
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let has =
            files.flatten().any(|f| std::fs::read_link(f.path()).is_ok_and(|to| to == Path::new(&wanted)));
        if has {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {pid})", name.trim()));
        }
    }
    None
}

fn listening_inode(table: &str, port: u16) -> Option<&str> {
    const LISTEN: &str = "0A";
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?;
        let here = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
        (here == port && state == LISTEN).then_some(inode)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_its_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let error = take(address).unwrap_err().to_string();
        assert!(error.contains(&format!("{address}: the port is in use by")), "{error}");
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    }

    #[tokio::test]
    async fn nobody_is_let_in_before_it_listens() {
        let port = take("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = port.socket.local_addr().unwrap();
        assert!(std::net::TcpStream::connect(address).is_err());
        let listener = port.listen().unwrap();
        assert_eq!(listener.local_addr().unwrap(), address);
        assert!(std::net::TcpStream::connect(address).is_ok());
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused() {
        let error = take("192.0.2.1:0".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("no such address"), "{error}");
    }
}
