//! The first message of a TLS client, read without answering it.

use std::io;
use std::time::Duration;

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Most bytes that a client may send before its first message is complete. Large ones come from
/// post-quantum key shares and many tickets.
const HELLO_LEN_MAX: usize = 32 << 10;

/// Why nothing was sent on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HelloFault {
    /// The client was too slow or ended.
    #[error("the client sent no complete TLS ClientHello")]
    Incomplete,
    /// It is not TLS, or is malformed.
    #[error("what the client sent is not a TLS ClientHello")]
    NotTls,
    /// It asks for no host, or for another one (RFC 6066 §3).
    #[error("the client's TLS asks for another host than the connection is for")]
    OtherHost,
}

/// Reads until the ClientHello is complete and its server name is `host`; returns the exact bytes.
pub(crate) async fn read(
    client: &mut (impl AsyncRead + Unpin),
    host: &str,
    within: Duration,
) -> Result<Vec<u8>, HelloFault> {
    let reading = async {
        let mut acceptor = Acceptor::default();
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let count = client
                .read(&mut buffer)
                .await
                .map_err(|_| HelloFault::Incomplete)?;
            let new = buffer.get(..count).filter(|new| !new.is_empty());
            let new = new.ok_or(HelloFault::Incomplete)?;
            bytes.extend_from_slice(new);
            if bytes.len() > HELLO_LEN_MAX {
                return Err(HelloFault::NotTls);
            }
            feed(&mut acceptor, new).map_err(|_| HelloFault::NotTls)?;
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let asked = accepted.client_hello().server_name().map(str::to_owned);
                    let same = asked.is_some_and(|name| name.eq_ignore_ascii_case(host));
                    return if same {
                        Ok(bytes)
                    } else {
                        Err(HelloFault::OtherHost)
                    };
                }
                Err(_) => return Err(HelloFault::NotTls),
            }
        }
    };
    tokio::time::timeout(within, reading)
        .await
        .unwrap_or(Err(HelloFault::Incomplete))
}

fn feed(acceptor: &mut Acceptor, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        if acceptor.read_tls(&mut bytes)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(5);

    /// A minimal ClientHello of TLS 1.2 with these extensions.
    fn client_hello(extensions: &[u8]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
        body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
        body.extend(extensions);
        let mut handshake = vec![1, 0];
        handshake.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        handshake.extend(body);
        let mut record = vec![22, 3, 1];
        record.extend(u16::try_from(handshake.len()).unwrap().to_be_bytes());
        record.extend(handshake);
        record
    }

    pub(crate) fn hello_for(host: &str) -> Vec<u8> {
        let len = u16::try_from(host.len()).unwrap();
        let mut sni = Vec::new();
        sni.extend((len + 3).to_be_bytes());
        sni.push(0);
        sni.extend(len.to_be_bytes());
        sni.extend(host.as_bytes());
        let mut extension = vec![0, 0];
        extension.extend((len + 5).to_be_bytes());
        extension.extend(sni);
        // signature_algorithms, without which it is no ClientHello of today.
        extension.extend([0, 13, 0, 4, 0, 2, 4, 3]);
        client_hello(&extension)
    }

    #[tokio::test]
    async fn only_a_hello_for_the_host_passes_and_with_its_exact_bytes() {
        let good = hello_for("a.example");
        let read_from =
            |bytes: Vec<u8>| async move { read(&mut bytes.as_slice(), "a.example", WITHIN).await };
        assert_eq!(read_from(good.clone()).await, Ok(good.clone()));
        assert_eq!(
            read_from(hello_for("b.example")).await,
            Err(HelloFault::OtherHost)
        );
        assert_eq!(
            read_from(client_hello(&[0, 13, 0, 4, 0, 2, 4, 3])).await,
            Err(HelloFault::OtherHost)
        );
        let plain = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n".to_vec();
        assert_eq!(read_from(plain).await, Err(HelloFault::NotTls));
        assert_eq!(
            read_from(good[..20].to_vec()).await,
            Err(HelloFault::Incomplete)
        );
    }

    #[tokio::test]
    async fn a_hello_in_pieces_is_one_hello() {
        let good = hello_for("a.example");
        let (first, rest) = good.split_at(11);
        let mut pieces = tokio::io::AsyncReadExt::chain(first, rest);
        assert_eq!(
            read(&mut pieces, "a.example", WITHIN).await,
            Ok(good.clone())
        );
    }
}
