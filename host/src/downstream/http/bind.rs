//! Binding the listener, with an error that says what is in the way.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

/// The listener could not be bound. Names the address and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else listens there.
    #[error("cannot listen on {address}: port {} is in use{}; stop that process or choose another `listen` address", .address.port(), .process.as_deref().map(|p| format!(" by {p}")).unwrap_or_default())]
    InUse {
        /// The address.
        address: SocketAddr,
        /// Name and number of the process, where they can be seen.
        process: Option<String>,
    },
    /// Anything else.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Binds the address.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
            // Reads many small files, once, on the way to an error message.
            let process = tokio::task::spawn_blocking(move || owner_of(address.port())).await;
            Err(BindError::InUse { address, process: process.ok().flatten() })
        }
        Err(source) => Err(BindError::Other { address, source }),
    }
}

/// `name (pid n)` of the process that listens on a TCP port, if Linux's `/proc` shows it to us.
fn owner_of(port: u16) -> Option<String> {
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| table.lines().filter_map(|line| listening_inode(line, port)).collect::<Vec<_>>())
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let pid = process.file_name().to_string_lossy().parse::<u32>().ok();
        let (Some(pid), Ok(files)) = (pid, std::fs::read_dir(process.path().join("fd"))) else { continue };
        let holds = files
            .flatten()
            .filter_map(|file| std::fs::read_link(file.path()).ok())
            .any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()));
        if holds {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", name.trim()));
        }
    }
    None
}

/// The inode of the socket in one line of `/proc/net/tcp`, if it listens on that port.
fn listening_inode(line: &str, port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    let listens = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()? == port && state == LISTEN;
    listens.then(|| inode.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_names_the_port_and_its_process() {
        let held = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        let address = held.local_addr().expect("bound");
        let error = bind(address).await.expect_err("taken").to_string();
        assert!(error.contains(&format!("port {} is in use", address.port())), "{error}");
        if cfg!(target_os = "linux") {
            assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
        }
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_named() {
        let address = SocketAddr::from(([192, 0, 2, 1], 0));
        let error = bind(address).await.expect_err("not ours").to_string();
        assert!(error.starts_with("cannot listen on 192.0.2.1:0: "), "{error}");
    }
}
