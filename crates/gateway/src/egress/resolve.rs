//! From a host's name to addresses that may be reached, pinned for the connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// Most addresses of one host that are tried.
const ADDRESSES_MAX: usize = 8;

/// Why a host was not reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConnectFault {
    /// The name has no address.
    #[error("the host's name could not be resolved")]
    Name,
    /// All its addresses are this machine's or a private network's.
    #[error(
        "the host's name leads to an address that is not public; an operator can allow it by name \
         (`egress.hosts`)"
    )]
    NotPublic,
    /// Nobody answers there.
    #[error("the host did not answer")]
    Unreachable,
    /// Cut off meanwhile.
    #[error("what it was for is cut off")]
    CutOff,
}

/// The addresses of a host, wherever they lead.
pub(crate) async fn resolve_any(
    host: &str,
    port: u16,
    within: Duration,
) -> Result<Vec<SocketAddr>, ConnectFault> {
    let found = timeout(within, lookup_host((host, port))).await;
    let found = found
        .map_err(|_| ConnectFault::Name)?
        .map_err(|_| ConnectFault::Name)?;
    let found: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
    if found.is_empty() {
        return Err(ConnectFault::Name);
    }
    Ok(found)
}

/// The public addresses of a host.
pub(crate) async fn resolve(
    host: &str,
    port: u16,
    within: Duration,
) -> Result<Vec<SocketAddr>, ConnectFault> {
    let found = resolve_any(host, port, within).await?;
    let good: Vec<_> = found
        .into_iter()
        .filter(|address| is_public(address.ip()))
        .collect();
    if good.is_empty() {
        Err(ConnectFault::NotPublic)
    } else {
        Ok(good)
    }
}

/// Connects to the first address that answers.
pub(crate) async fn dial(
    addresses: &[SocketAddr],
    within: Duration,
) -> Result<TcpStream, ConnectFault> {
    let each = async {
        for address in addresses {
            if let Ok(stream) = TcpStream::connect(address).await {
                // Small TLS records wait for nothing.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
        }
        Err(ConnectFault::Unreachable)
    };
    timeout(within, each)
        .await
        .unwrap_or(Err(ConnectFault::Unreachable))
}

/// Whether an address is on the public Internet: none of the special-purpose registries of IANA
/// (RFC 6890), nor an IPv6 form that carries such an IPv4 address.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_unspecified()
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0
        || (a == 100 && (64..128).contains(&b)) // RFC 6598
        || (a == 192 && b == 0 && c == 0) // RFC 6890
        || (a == 192 && b == 88 && c == 99) // RFC 7526
        || (a == 198 && (18..20).contains(&b)) // RFC 2544
        || a >= 240; // RFC 1112
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let v4 = |high: u16, low: u16| {
        let ([one, two], [three, four]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(one, two, three, four))
    };
    match address.segments() {
        // IPv4-mapped (RFC 4291 §2.5.5.2) and NAT64 (RFC 6052) carry an IPv4 address at the end,
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        // and 6to4 (RFC 3056) at the beginning.
        | [0x2002, high, low, ..] => v4(high, low),
        // Protocol assignments, Teredo among them (RFC 2928), and documentation (RFC 3849,
        // RFC 9637).
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // Global unicast is 2000::/3 (RFC 4291 §2.4); everything else is special.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for (text, public) in [
            ("93.184.216.34", true),
            ("1.1.1.1", true),
            ("127.0.0.1", false),
            ("127.8.8.8", false),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("10.0.0.1", false),
            ("172.16.0.1", false),
            ("172.32.0.1", true),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("198.18.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("2606:2800:220:1::1", true),
            ("::1", false),
            ("::", false),
            ("fe80::1", false),
            ("fc00::1", false),
            ("fd12::1", false),
            ("ff02::1", false),
            ("2001:db8::1", false),
            ("2001::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:93.184.216.34", true),
            ("::127.0.0.1", false),
            ("64:ff9b::a00:1", false),
            ("2002:7f00:1::", false),
        ] {
            assert_eq!(is_public(text.parse().unwrap()), public, "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_is_refused_unless_named() {
        let within = Duration::from_secs(5);
        let refused = resolve("127.0.0.1", 443, within).await;
        assert_eq!(refused, Err(ConnectFault::NotPublic));
    }
}
