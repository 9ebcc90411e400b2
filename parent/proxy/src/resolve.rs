//! A TCP target: what was asked for, and the addresses it has now.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// Most addresses of one name that are looked at; resolvers rarely give more than eight.
pub const MAX_ADDRESSES: usize = 16;

/// Which addresses of a target may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4 and IPv6.
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

impl Family {
    /// Whether an address is of this family.
    pub fn holds(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }
}

/// A host: a name in one spelling, or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name, in lower case and without a final dot.
    Name(String),
    /// An address; an IPv4 one written as IPv6 is the IPv4 one.
    Address(IpAddr),
}

impl Host {
    /// Takes a name or an address, IPv6 with or without brackets. Every text is a host; one that is
    /// no name resolves to nothing.
    pub fn new(text: &str) -> Self {
        if let Some(address) = address(text) {
            return Self::Address(address);
        }
        let name = text
            .strip_suffix('.')
            .filter(|name| is_rooted(name))
            .unwrap_or(text);
        Self::Name(name.to_ascii_lowercase())
    }
}

/// An address, IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse::<IpAddr>()
        .ok()
        .map(|found| found.to_canonical())
}

/// Whether the dot after `name` is a name's final one. The root itself, an empty label and an
/// address with a dot behind it are no names; they stay as they were written, so that none of them
/// turns into another host.
fn is_rooted(name: &str) -> bool {
    !name.is_empty() && !name.ends_with('.') && address(name).is_none()
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Where a proxy forwards to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The host.
    pub host: Host,
    /// Its TCP port.
    pub port: u16,
    /// Which of its addresses may be used.
    pub family: Family,
}

impl Target {
    /// A target as it is written on a command line.
    pub fn new(host: &str, port: u16, family: Family) -> Self {
        Self {
            host: Host::new(host),
            port,
            family,
        }
    }

    /// The addresses that the target has now, of the family asked for. Names are resolved anew each
    /// time: what a name meant when the proxy started says nothing about now.
    ///
    /// # Errors
    /// The resolver's; `NotFound` when no address is of the family.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let found: Vec<SocketAddr> = match &self.host {
            Host::Address(address) => vec![SocketAddr::new(*address, self.port)],
            Host::Name(name) => (name.as_str(), self.port).to_socket_addrs()?.collect(),
        };
        let usable: Vec<SocketAddr> = found
            .into_iter()
            .filter(|address| self.family.holds(address.ip()))
            .take(MAX_ADDRESSES)
            .collect();
        match usable.is_empty() {
            true => Err(io::ErrorKind::NotFound.into()),
            false => Ok(usable),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_that_is_none_resolves_to_nothing() {
        for name in ["", "no such name", "a..b", "x.invalid"] {
            assert!(
                Target::new(name, 443, Family::Any).addresses().is_err(),
                "{name:?}"
            );
        }
    }

    #[test]
    fn an_address_of_the_other_family_is_none() {
        let target = Target::new("127.0.0.1", 443, Family::V6);
        let error = target.addresses().expect_err("IPv4");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(Target::new("::1", 443, Family::V4).addresses().is_err());
    }

    #[test]
    fn spellings_of_one_host_are_equal() {
        assert_eq!(Host::new("KMS.Example."), Host::new("kms.example"));
        assert_eq!(Host::new("[::1]"), Host::new("0:0:0:0:0:0:0:1"));
        assert_eq!(Host::new("::ffff:10.0.0.1"), Host::new("10.0.0.1"));
        assert_ne!(Host::new("10.0.0.1"), Host::new("10.0.0.1.example"));
    }

    #[test]
    fn a_final_dot_that_ends_no_name_stays() {
        for text in [".", "..", "a..", "10.0.0.1.", "::1.", "[::1]."] {
            assert_eq!(Host::new(text), Host::Name(text.to_owned()));
        }
    }

    #[test]
    fn an_address_needs_no_resolver() {
        let target = Target::new("[::1]", 443, Family::Any);
        let addresses = target.addresses().expect("itself");
        assert_eq!(addresses, ["[::1]:443".parse().expect("address")]);
        assert_eq!(target.to_string(), "[::1]:443");
    }

    proptest! {
        #[test]
        fn any_text_is_a_host_and_its_spelling_is_stable(text in ".{0,40}") {
            let host = Host::new(&text);
            prop_assert_eq!(&host, &Host::new(&host.to_string().to_ascii_uppercase()));
        }
    }
}
