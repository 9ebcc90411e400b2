//! The second look at a target that is not listed as it is written: by what it and the listed names
//! resolve to, as vsock-proxy does it.
//!
//! A listed address opens every name that resolves to it, and a listed name opens every target that
//! has one of its addresses now. Listed names are resolved in their order, up to the first that
//! matches, when the proxy starts and again at each connection. A name still does not open the host
//! itself or its metadata service.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::{Allowlist, AllowlistError, is_near};
use crate::resolve::{Host, Target};

/// Most listed names that are resolved for one look. AWS's default list has about a hundred.
pub const MAX_NAMES: usize = 256;

/// How long the listed names may take to be resolved; no further one is begun after it.
pub const MAX_TIME: Duration = Duration::from_secs(10);

impl Allowlist {
    /// Refuses a target that is listed neither as it is written nor by an address that it has now.
    ///
    /// # Errors
    /// [`AllowlistError::NotListed`].
    pub fn check_now(&self, target: &Target) -> Result<(), AllowlistError> {
        let Err(refusal) = self.check(target) else {
            return Ok(());
        };
        match target.addresses() {
            Ok(addresses) => self.open(target, addresses).map(drop),
            Err(_) => Err(refusal),
        }
    }

    /// Of the addresses that a target has now, those that may be tried: all of one that is listed
    /// as it is written, though each of them has to pass [`Allowlist::check_resolved`] then; of
    /// another one those that are listed, or that a listed name has as well.
    ///
    /// # Errors
    /// [`AllowlistError::NotListed`] when none may.
    pub fn open(
        &self,
        target: &Target,
        addresses: Vec<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, AllowlistError> {
        let Err(refusal) = self.check(target) else {
            return Ok(addresses);
        };
        // A name that does not resolve opens nothing.
        let resolve = |listed: &Target| listed.addresses().unwrap_or_default();
        let open = self.shared(target, &addresses, resolve);
        match open.is_empty() {
            true => Err(refusal),
            false => Ok(open),
        }
    }

    fn shared(
        &self,
        target: &Target,
        addresses: &[SocketAddr],
        mut resolve: impl FnMut(&Target) -> Vec<SocketAddr>,
    ) -> Vec<SocketAddr> {
        let those = |is_open: &dyn Fn(IpAddr) -> bool| -> Vec<SocketAddr> {
            let is_open = |address: &&SocketAddr| is_open(address.ip().to_canonical());
            addresses.iter().filter(is_open).copied().collect()
        };
        let open = those(&|address| self.lists(&Host::Address(address), target.port));
        if !open.is_empty() || addresses.is_empty() {
            return open;
        }
        let until = Instant::now() + MAX_TIME;
        let of_port = |entry: &&(Host, u16)| entry.1 == target.port;
        let names = self.entries.iter().filter(of_port);
        let names = names.filter(|(host, _)| matches!(host, Host::Name(_)));
        for (host, port) in names.take(MAX_NAMES) {
            if Instant::now() >= until {
                break;
            }
            let listed = Target {
                host: host.clone(),
                port: *port,
                family: target.family,
            };
            let theirs = resolve(&listed);
            let is_local = *host == Host::new("localhost");
            let open = those(&|address| {
                let has = theirs.iter().any(|a| a.ip().to_canonical() == address);
                has && (!is_near(address) || (is_local && address.is_loopback()))
            });
            if !open.is_empty() {
                return open;
            }
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::Family;

    fn list(entries: &[(&str, u16)]) -> Allowlist {
        let entry =
            |(address, port): &(&str, u16)| format!("{{address: '{address}', port: {port}}}");
        let entries: Vec<_> = entries.iter().map(entry).collect();
        Allowlist::parse(&format!("allowlist: [{}]", entries.join(", "))).expect("an allowlist")
    }

    fn address(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().expect("address"), 443)
    }

    /// What of `addresses` is open for an unlisted name, and how many names were resolved, where
    /// `kms.example` is 203.0.113.7 and `rebound.example` is this host.
    fn shared(list: &Allowlist, addresses: &[&str]) -> (Vec<SocketAddr>, usize) {
        let target = Target::new("other.example", 443, Family::Any);
        let addresses: Vec<_> = addresses.iter().map(|text| address(text)).collect();
        let mut resolved = 0;
        let open = list.shared(&target, &addresses, |listed| {
            resolved += 1;
            match listed.host.to_string().as_str() {
                "kms.example" => vec![address("203.0.113.7")],
                "localhost" => vec![address("::1"), address("127.0.0.1")],
                "rebound.example" => vec![address("127.0.0.1"), address("169.254.169.254")],
                _ => Vec::new(),
            }
        });
        (open, resolved)
    }

    #[test]
    fn addresses_that_no_listed_name_has_are_refused() {
        let list = list(&[("kms.example", 443), ("gone.example", 443)]);
        assert_eq!(shared(&list, &["203.0.113.8"]), (vec![], 2));
        assert_eq!(shared(&list, &[]), (vec![], 0));
    }

    #[test]
    fn names_of_other_ports_are_not_asked() {
        let list = list(&[("kms.example", 80)]);
        assert_eq!(shared(&list, &["203.0.113.7"]), (vec![], 0));
    }

    #[test]
    fn a_listed_name_does_not_open_the_host_by_its_address() {
        let list = list(&[("rebound.example", 443)]);
        let near = ["127.0.0.1", "169.254.169.254", "::ffff:127.0.0.1"];
        assert_eq!(shared(&list, &near), (vec![], 1));
    }

    #[test]
    fn no_more_names_are_resolved_than_the_limit() {
        let names: Vec<String> = (0..MAX_NAMES + 9)
            .map(|n| format!("n{n}.example"))
            .collect();
        let entries: Vec<_> = names.iter().map(|name| (name.as_str(), 443)).collect();
        let (open, resolved) = shared(&list(&entries), &["203.0.113.7"]);
        assert_eq!((open, resolved), (vec![], MAX_NAMES));
    }

    #[test]
    fn an_address_of_a_listed_name_is_open_and_no_other() {
        let list = list(&[("kms.example", 443), ("later.example", 443)]);
        let expected = (vec![address("203.0.113.7")], 1);
        assert_eq!(shared(&list, &["203.0.113.8", "203.0.113.7"]), expected);
    }

    #[test]
    fn a_listed_address_opens_every_name_that_has_it_and_asks_nobody() {
        let list = list(&[("kms.example", 443), ("127.0.0.1", 443)]);
        assert_eq!(
            shared(&list, &["127.0.0.1"]),
            (vec![address("127.0.0.1")], 0)
        );
    }

    #[test]
    fn localhost_opens_the_host_by_its_addresses() {
        let list = list(&[("localhost", 443)]);
        assert_eq!(
            shared(&list, &["127.0.0.1"]),
            (vec![address("127.0.0.1")], 1)
        );
    }

    #[test]
    fn the_resolver_s_answers_count() {
        let list = list(&[("localhost", 443)]);
        let target = |host| Target::new(host, 443, Family::Any);
        list.check_now(&target("127.0.0.1"))
            .expect("an address of localhost");
        for host in ["203.0.113.7", "x.invalid"] {
            let error = list.check_now(&target(host)).expect_err(host);
            assert_eq!(error.rule(), "allowlist.not-listed");
        }
    }
}
