//! Which targets a proxy may reach.
//!
//! The file is vsock-proxy's:
//!
//! ```yaml
//! allowlist:
//! - {address: kms.eu-central-1.amazonaws.com, port: 443}
//! - {address: 127.0.0.1, port: 8443}
//! ```
//!
//! A target is allowed by its own spelling: a name by that name, an address by that address. One that
//! is not listed so is allowed by its addresses, as vsock-proxy does it: where one of them is listed,
//! or is an address of a listed name ([`Allowlist::check_now`]). What names resolve to is looked at
//! again at each connection: a name does not open the host itself or the instance's metadata
//! service, unless their addresses are listed.

mod by_address;

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::resolve::{Host, Target};

pub use by_address::{MAX_NAMES, MAX_TIME};

/// Largest allowlist file that is read, in bytes. AWS's default one is about 5 KiB.
pub const MAX_FILE: u64 = 1 << 20;

/// Most targets in a file.
pub const MAX_ENTRIES: usize = 4096;

/// Why an allowlist refused, or could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AllowlistError {
    /// The file is not there or cannot be read.
    #[error("cannot read the allowlist {path:?}: name one with --config")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is too large.
    #[error("the allowlist holds {got} {what}: expected at most {limit}")]
    TooLarge {
        /// Bytes or entries.
        what: &'static str,
        /// The most that is accepted.
        limit: u64,
        /// What came.
        got: u64,
    },
    /// The file is not an allowlist.
    #[error("expected \"allowlist:\" and a list of {{address, port}}")]
    Format(#[source] serde_norway::Error),
    /// The target is not in it.
    #[error("target {target} is not in the allowlist: add {{address: {host}, port: {port}}} to it")]
    NotListed {
        /// The target as it was asked for.
        target: String,
        /// The entry's address that would allow it.
        host: String,
        /// The entry's port that would allow it.
        port: u16,
    },
    /// A listed name resolves to an address that only a listed address opens.
    #[error(
        "{target} resolves to {address}, an address of this host or its link: \
         a name does not open it, list the address itself"
    )]
    Rebound {
        /// The target as it was asked for.
        target: String,
        /// What it resolves to now.
        address: IpAddr,
    },
}

impl AllowlistError {
    /// A stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Read { .. } => "allowlist.read",
            Self::TooLarge { .. } => "allowlist.too-large",
            Self::Format(_) => "allowlist.format",
            Self::NotListed { .. } => "allowlist.not-listed",
            Self::Rebound { .. } => "allowlist.rebound",
        }
    }
}

/// The targets that may be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowlist {
    entries: Vec<(Host, u16)>,
}

#[derive(Deserialize)]
struct Document {
    allowlist: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    address: String,
    port: u16,
}

impl Allowlist {
    /// Reads a file.
    ///
    /// # Errors
    /// [`AllowlistError::Read`] and [`Allowlist::parse`]'s.
    pub fn read(path: &Path) -> Result<Self, AllowlistError> {
        let read = |source| AllowlistError::Read {
            path: path.to_owned(),
            source,
        };
        let mut text = String::new();
        let file = File::open(path).map_err(read)?;
        file.take(MAX_FILE.saturating_add(1))
            .read_to_string(&mut text)
            .map_err(read)?;
        Self::parse(&text)
    }

    /// Reads YAML text.
    ///
    /// # Errors
    /// [`AllowlistError::TooLarge`] or [`AllowlistError::Format`].
    pub fn parse(text: &str) -> Result<Self, AllowlistError> {
        bound("bytes", MAX_FILE, text.len())?;
        let document: Document = serde_norway::from_str(text).map_err(AllowlistError::Format)?;
        bound("entries", MAX_ENTRIES as u64, document.allowlist.len())?;
        let entry = |entry: Entry| (Host::new(&entry.address), entry.port);
        Ok(Self {
            entries: document.allowlist.into_iter().map(entry).collect(),
        })
    }

    /// Refuses a target that is not listed as it is written.
    ///
    /// # Errors
    /// [`AllowlistError::NotListed`].
    pub fn check(&self, target: &Target) -> Result<(), AllowlistError> {
        if self.lists(&target.host, target.port) {
            return Ok(());
        }
        Err(AllowlistError::NotListed {
            target: target.to_string(),
            host: target.host.to_string(),
            port: target.port,
        })
    }

    /// Refuses what a listed target has just resolved to, if only a listed address opens it.
    /// `localhost` opens the host's own addresses: that is what the name says.
    ///
    /// # Errors
    /// [`AllowlistError::Rebound`].
    pub fn check_resolved(
        &self,
        target: &Target,
        resolved: SocketAddr,
    ) -> Result<(), AllowlistError> {
        let address = resolved.ip().to_canonical();
        let says_so = address.is_loopback() && target.host == Host::new("localhost");
        let listed = self.lists(&Host::Address(address), target.port);
        if !is_near(address) || says_so || listed {
            return Ok(());
        }
        Err(AllowlistError::Rebound {
            target: target.to_string(),
            address,
        })
    }

    fn lists(&self, host: &Host, port: u16) -> bool {
        let is = |entry: &(Host, u16)| entry.0 == *host && entry.1 == port;
        self.entries.iter().any(is)
    }
}

/// Addresses that are this host's, or its link's, whatever the network: unspecified, loopback,
/// link-local (the metadata service's), multicast and broadcast (RFC 6890).
fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_unspecified()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
        }
        IpAddr::V6(v6) => {
            v6.is_unspecified()
                || v6.is_loopback()
                || v6.is_unicast_link_local()
                || v6.is_multicast()
                || v6 == METADATA_V6
        }
    }
}

/// The instance metadata service's IPv6 address (AWS: "fd00:ec2::254").
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

fn bound(what: &'static str, limit: u64, got: usize) -> Result<(), AllowlistError> {
    let got = got as u64;
    match got <= limit {
        true => Ok(()),
        false => Err(AllowlistError::TooLarge { what, limit, got }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::resolve::Family;

    fn target(host: &str, port: u16) -> Target {
        Target::new(host, port, Family::Any)
    }

    fn listing(address: &str, port: u16) -> Allowlist {
        Allowlist::parse(&format!(
            "allowlist:\n- {{address: '{address}', port: {port}}}\n"
        ))
        .expect("an allowlist")
    }

    #[test]
    fn a_missing_file_names_the_flag() {
        let path = Path::new("/nonexistent/vsock-proxy.yaml");
        let error = Allowlist::read(path).expect_err("absent");
        assert_eq!(error.rule(), "allowlist.read");
        assert!(error.to_string().contains("--config"));
    }

    #[test]
    fn what_is_no_allowlist_is_refused() {
        for text in [
            "",
            "allowlist: yes",
            "other: []",
            "allowlist: [{address: a}]",
            "allowlist: [{address: a, port: 70000}]",
            "allowlist: [{address: a, port: -1}]",
            "allowlist: [a]",
            "{",
        ] {
            let error = Allowlist::parse(text).expect_err(text);
            assert_eq!(error.rule(), "allowlist.format", "{text:?}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let long = " ".repeat(MAX_FILE as usize + 1);
        let error = Allowlist::parse(&long).expect_err("bytes");
        assert_eq!(error.rule(), "allowlist.too-large");
        let many = "- {address: a, port: 1}\n".repeat(MAX_ENTRIES + 1);
        let error = Allowlist::parse(&format!("allowlist:\n{many}")).expect_err("entries");
        assert_eq!(error.rule(), "allowlist.too-large");
    }

    #[test]
    fn other_hosts_and_other_ports_are_refused_by_name() {
        let empty = Allowlist::parse("allowlist:").expect("an empty list");
        empty.check(&target("a", 1)).expect_err("nothing is listed");
        let list = listing("kms.example", 443);
        for (host, port) in [
            ("kms.example", 80),
            ("kms.example.evil", 443),
            ("evil-kms.example", 443),
            ("127.0.0.1", 443),
        ] {
            let error = list.check(&target(host, port)).expect_err(host);
            assert_eq!(error.rule(), "allowlist.not-listed");
            assert!(error.to_string().contains(host), "{error}");
        }
        list.check(&target("KMS.example.", 443)).expect("listed");
    }

    #[test]
    fn a_name_does_not_open_the_host_or_its_metadata_service() {
        let list = listing("kms.example", 443);
        let named = target("kms.example", 443);
        for address in [
            "127.0.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "fe80::1",
            "::ffff:127.0.0.1",
            "fd00:ec2::254",
            "::",
        ] {
            let resolved = SocketAddr::new(address.parse().expect("address"), 443);
            let error = list.check_resolved(&named, resolved).expect_err(address);
            assert_eq!(error.rule(), "allowlist.rebound");
        }
        let elsewhere = SocketAddr::new("203.0.113.7".parse().expect("address"), 443);
        list.check_resolved(&named, elsewhere).expect("elsewhere");
    }

    #[test]
    fn a_listed_address_and_localhost_open_the_host() {
        let loopback = SocketAddr::new("127.0.0.1".parse().expect("address"), 443);
        let list = listing("127.0.0.1", 443);
        list.check_resolved(&target("127.0.0.1", 443), loopback)
            .expect("listed");
        let list = listing("localhost", 443);
        list.check_resolved(&target("localhost", 443), loopback)
            .expect("what the name says");
    }

    #[test]
    fn aws_s_file_is_read() {
        let text = "allowlist:\n- {address: kms.us-east-1.amazonaws.com, port: 443}\n\
                    - {address: kms-fips.us-east-1.amazonaws.com, port: 443}\n";
        let list = Allowlist::parse(text).expect("an allowlist");
        list.check(&target("kms.us-east-1.amazonaws.com", 443))
            .expect("listed");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in ".{0,200}") {
            let _ = Allowlist::parse(&text);
            let _ = Allowlist::parse(&format!("allowlist:\n- {text}"));
        }

        #[test]
        fn just_what_is_listed_is_allowed(
            entries in proptest::collection::vec(("[a-c]\\.[a-c]", 1u16..4), 0..8),
            host in "[a-c]\\.[a-c]",
            port in 1u16..4,
        ) {
            let lines: String = entries
                .iter()
                .map(|(host, port)| format!("- {{address: {host}, port: {port}}}\n"))
                .collect();
            let list = match entries.is_empty() {
                true => Allowlist::parse("allowlist: []"),
                false => Allowlist::parse(&format!("allowlist:\n{lines}")),
            }
            .expect("an allowlist");
            let listed = entries.contains(&(host.clone(), port));
            prop_assert_eq!(list.check(&target(&host, port)).is_ok(), listed);
        }
    }
}
