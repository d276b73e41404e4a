//! Whether an address is one of this machine's own, whatever network it belongs to.
//!
//! The kernel is asked, at the moment of use: only an own address can be bound. So there is no list that grows old, nothing is
//! sent, and it works where the list of interfaces may not be read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Addresses for documentation, which no machine has. One that can be bound shows that the kernel lets any address be bound.
const NOBODYS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];
/// The port of the discard service; no byte is sent to it.
const DISCARD: u16 = 9;

/// True if packets to the address would not leave this machine.
pub(super) fn is_own(address: IpAddr) -> bool {
    let nobodys = NOBODYS.into_iter().find(|nobodys| nobodys.is_ipv4() == address.is_ipv4());
    if nobodys.is_some_and(binds) { is_source(address) } else { binds(address) }
}

fn binds(address: IpAddr) -> bool {
    UdpSocket::bind(SocketAddr::new(address, 0)).is_ok()
}

/// Whether the kernel would send from the address in order to reach it. It misses an interface's second address, therefore it
/// is only asked where binding says nothing.
fn is_source(address: IpAddr) -> bool {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let Ok(socket) = UdpSocket::bind(SocketAddr::new(any, 0)) else { return false };
    #[expect(clippy::disallowed_methods, reason = "asks for a route; nothing is sent")]
    let routed = socket.connect(SocketAddr::new(address, DISCARD));
    routed.is_ok() && socket.local_addr().is_ok_and(|local| local.ip() == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_knows_itself() {
        let loopback = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
        assert!(is_own(loopback) && is_source(loopback));
        for nobodys in NOBODYS {
            assert!(!is_own(nobodys) && !is_source(nobodys), "{nobodys}");
        }
        assert!(!is_own(IpAddr::V4(Ipv4Addr::new(93, 184, 215, 14))));
    }
}
