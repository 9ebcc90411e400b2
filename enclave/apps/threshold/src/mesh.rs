//! A channel to each peer of a ceremony.
//!
//! A participant dials peers with higher numbers, through the parent's vsock port of each, and
//! accepts those with lower ones on its own port. A peer is who its claim says only if its document
//! is under that participant's platform root; the image is this enclave's own.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anchorhold_channel::{Channel, ChannelError, Claim, PeerPolicy, Terms, Timed};
use anchorhold_document::{Pcr, PcrIndex};
use anchorhold_threshold::{Outgoing, Participant};
use anchorhold_verifier::{Timestamp, TrustRoots};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use zeroize::Zeroizing;

use crate::agreement::Agreement;
use crate::error::{Refusal, chain};
use crate::world::{Link, Surroundings};

/// How old a peer's document may be. Freshness is the channel's own; this bounds the clock.
const MAX_AGE: Duration = Duration::from_secs(300);

/// Between two attempts to reach a peer that is not there yet.
const PAUSE: Duration = Duration::from_millis(250);

/// Between two looks for a call.
const LOOK: Duration = Duration::from_millis(5);

/// How long the parent may take to connect a call.
const CONNECT: Duration = Duration::from_secs(5);

/// How long one caller may take to prove itself, so that a silent one does not hold up the others.
const CALL: Duration = Duration::from_secs(20);

type Stream = Timed<Link, Box<dyn Fn() -> Duration>>;

/// Until when a stream may be read and written.
#[derive(Clone)]
struct Until(Rc<Cell<Instant>>);

impl Until {
    fn new(deadline: Instant) -> Self {
        Self(Rc::new(Cell::new(deadline)))
    }

    fn set(&self, deadline: Instant) {
        self.0.set(deadline);
    }

    fn remaining(&self) -> Duration {
        self.0.get().saturating_duration_since(Instant::now())
    }
}

/// What all ceremonies of an enclave share.
pub struct Network {
    /// The agreement.
    pub agreement: Agreement,
    /// This participant.
    pub me: Participant,
    /// The parent's vsock port that leads to each peer.
    pub ports: BTreeMap<Participant, u32>,
    /// This enclave's own registers 0 to 2, which peers must have too. What the agreement demands of
    /// single participants comes on top.
    pub pcrs: Vec<(PcrIndex, Pcr)>,
}

/// Channels to peers.
pub struct Mesh {
    channels: BTreeMap<Participant, Channel<Stream, Stream>>,
}

impl Mesh {
    /// Opens a channel to each peer until the deadline.
    ///
    /// # Errors
    /// A peer cannot be reached, or is refused; the last refusal is told.
    pub fn open(
        network: &Network,
        peers: &BTreeSet<Participant>,
        world: &dyn Surroundings,
        deadline: Instant,
    ) -> Result<Self, Refusal> {
        let mut mesh = Self {
            channels: BTreeMap::new(),
        };
        let lower: BTreeSet<_> = peers.range(..network.me).copied().collect();
        mesh.accept(network, lower, world, deadline)?;
        for peer in peers.range(network.me..) {
            let channel = dial(network, *peer, world, deadline)?;
            mesh.channels.insert(*peer, channel);
        }
        Ok(mesh)
    }

    fn accept(
        &mut self,
        network: &Network,
        mut awaited: BTreeSet<Participant>,
        world: &dyn Surroundings,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        let mut last = None;
        while let Some(missing) = awaited.first().copied() {
            if Instant::now() >= deadline {
                let nobody = || Refusal::new("peer.missing", format!("{missing} did not call"));
                return Err(last.unwrap_or_else(nobody));
            }
            let Some(link) = world.answer().map_err(machine)? else {
                thread::sleep(LOOK);
                continue;
            };
            // A stranger, or a connection that is left from an earlier ceremony, is turned away.
            match answer(network, &awaited, link, world, deadline) {
                Ok((peer, channel)) => {
                    awaited.remove(&peer);
                    self.channels.insert(peer, channel);
                }
                // What breaks a rule tells more than a stream that ended.
                Err(refusal) if last.is_none() || !refusal.rule.starts_with("stream.") => {
                    last = Some(refusal);
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Sends each message to its peer.
    ///
    /// # Errors
    /// There is no such peer, or its channel broke.
    pub fn send(&mut self, messages: Vec<Outgoing>) -> Result<(), Refusal> {
        for message in messages {
            self.send_to(message.to, &message.bytes)?;
        }
        Ok(())
    }

    /// Sends bytes to a peer.
    ///
    /// # Errors
    /// There is no such peer, or its channel broke.
    pub fn send_to(&mut self, peer: Participant, bytes: &[u8]) -> Result<(), Refusal> {
        Ok(self.channel(peer)?.send(bytes)?)
    }

    /// Waits for a peer's next message.
    ///
    /// # Errors
    /// The channel broke or was closed.
    pub fn receive(&mut self, peer: Participant) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let message = self.channel(peer)?.receive()?;
        message.ok_or_else(|| {
            let message = format!("participant {peer} closed the channel");
            Refusal::new("peer.closed", message)
        })
    }

    /// Tells all peers that nothing follows.
    pub fn close(mut self) {
        for channel in self.channels.values_mut() {
            // Who has gone needs not be told.
            let _ = channel.close();
        }
    }

    fn channel(&mut self, peer: Participant) -> Result<&mut Channel<Stream, Stream>, Refusal> {
        self.channels.get_mut(&peer).ok_or_else(|| {
            let message = format!("participant {peer} takes no part in this");
            Refusal::new("participant.member", message)
        })
    }
}

/// Calls a peer, again and again while nobody answers.
fn dial(
    network: &Network,
    peer: Participant,
    world: &dyn Surroundings,
    deadline: Instant,
) -> Result<Channel<Stream, Stream>, Refusal> {
    let port = network.ports.get(&peer).copied().ok_or_else(|| {
        Refusal::new(
            "configure.peer",
            format!("no port leads to participant {peer}"),
        )
    })?;
    loop {
        let terms = terms(network, network.agreement.roots(peer)?, Some(peer))?;
        let attempt = call(terms, port, world, deadline);
        match attempt {
            Ok(channel) => return Ok(channel),
            // It is not there yet, or has turned this call away: it may have been another's.
            Err(refusal) if retriable(&refusal) && Instant::now() < deadline => {
                thread::sleep(PAUSE);
            }
            Err(refusal) => return Err(refusal),
        }
    }
}

fn retriable(refusal: &Refusal) -> bool {
    matches!(
        refusal.rule.as_str(),
        "peer.unreachable" | "stream.truncated" | "stream.transport"
    )
}

/// The enclave's clock, which init set from a document. One before 1970 makes every document one
/// from the future.
fn now() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::from_millis(0))
}

fn call(
    terms: Terms,
    port: u32,
    world: &dyn Surroundings,
    deadline: Instant,
) -> Result<Channel<Stream, Stream>, Refusal> {
    let link = world
        .call(port, CONNECT)
        .map_err(|error| Refusal::new("peer.unreachable", chain(&error)))?;
    let (reader, writer) = timed(&link, &Until::new(deadline));
    let mut attest = |data: &[u8], nonce: Option<&[u8]>| world.attest(None, Some(data), nonce);
    let mut rng = UnwrapErr(SysRng);
    let channel = Channel::initiate(reader, writer, terms, &mut attest, now, &mut rng)?;
    Ok(channel)
}

/// Answers a call, and finds out whose it is.
fn answer(
    network: &Network,
    awaited: &BTreeSet<Participant>,
    link: Link,
    world: &dyn Surroundings,
    deadline: Instant,
) -> Result<(Participant, Channel<Stream, Stream>), Refusal> {
    // The call has its own, shorter time; who has proved itself has the ceremony's.
    let until = Until::new(deadline.min(Instant::now() + CALL));
    let mut roots = TrustRoots::new();
    for peer in awaited {
        roots.extend(&network.agreement.roots(*peer)?);
    }
    let terms = terms(network, roots, None)?;
    let (reader, writer) = timed(&link, &until);
    let mut attest = |data: &[u8], nonce: Option<&[u8]>| world.attest(None, Some(data), nonce);
    let mut rng = UnwrapErr(SysRng);
    let channel = Channel::respond(reader, writer, terms, &mut attest, now, &mut rng)?;
    let claimed = channel.peer().claim();
    let named = |peer: &&Participant| claim(**peer).is_ok_and(|claim| claim == *claimed);
    let Some(peer) = awaited.iter().find(named) else {
        return Err(Refusal::new(
            "peer.claim",
            format!("nobody awaits {claimed}"),
        ));
    };
    let root = channel.peer().appraised().root_sha256();
    if !network.agreement.is_root_of(*peer, &root) {
        let message = format!("{root} is not the platform root of participant {peer}");
        return Err(Refusal::new("peer.root", message));
    }
    let has = &channel.peer().appraised().document().pcrs;
    check_registers(network, *peer, has)?;
    until.set(deadline);
    Ok((*peer, channel))
}

/// A caller says only within the channel who it is: what the agreement demands of it beside the
/// image is looked at then.
fn check_registers(
    network: &Network,
    peer: Participant,
    has: &BTreeMap<PcrIndex, Pcr>,
) -> Result<(), Refusal> {
    for (index, expected) in network.agreement.registers(peer)? {
        let got = has.get(index);
        if got != Some(expected) {
            let got = got.map_or("none".to_owned(), Pcr::to_string);
            let message =
                format!("PCR{index} of participant {peer}: expected {expected}, got {got}");
            return Err(Refusal::new("peer.register", message));
        }
    }
    Ok(())
}

fn terms(
    network: &Network,
    roots: TrustRoots,
    peer: Option<Participant>,
) -> Result<Terms, Refusal> {
    let pcr0 = network
        .pcrs
        .iter()
        .find(|(index, _)| *index == PcrIndex::PCR0);
    let (_, pcr0) = pcr0.ok_or_else(|| Refusal::new("nsm.pcr", "PCR0 is not known"))?;
    let mut policy = PeerPolicy::new(roots, *pcr0, MAX_AGE);
    for (index, pcr) in &network.pcrs {
        policy = policy.require_pcr(*index, *pcr);
    }
    if let Some(peer) = peer {
        for (index, pcr) in network.agreement.registers(peer)? {
            policy = policy.require_pcr(*index, *pcr);
        }
        policy = policy.require_claim(claim(peer)?);
    }
    let terms = Terms::new(network.agreement.context(), policy)
        .with_claim(claim(network.me)?)
        .with_max_message(anchorhold_threshold::limits::MAX_MESSAGE);
    Ok(terms)
}

fn claim(participant: Participant) -> Result<Claim, Refusal> {
    Claim::new(format!("anchorhold-threshold participant {participant}"))
        .map_err(|error| Refusal::new(error.rule(), error))
}

fn timed(link: &Link, until: &Until) -> (Stream, Stream) {
    let bounded = || {
        let until = until.clone();
        Timed::new(link.clone(), Box::new(move || until.remaining()) as _)
    };
    (bounded(), bounded())
}

fn machine(error: io::Error) -> Refusal {
    let error: ChannelError = ChannelError::Transport {
        expected: "a peer's call",
        source: error,
    };
    error.into()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::world::Socket;

    struct Pair(UnixStream);

    impl Socket for Pair {
        fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
            Read::read(&mut &self.0, buffer)
        }

        fn write(&self, bytes: &[u8]) -> io::Result<usize> {
            Write::write(&mut &self.0, bytes)
        }

        fn bound_reads(&self, limit: Duration) -> io::Result<()> {
            self.0.set_read_timeout(Some(limit))
        }

        fn bound_writes(&self, limit: Duration) -> io::Result<()> {
            self.0.set_write_timeout(Some(limit))
        }

        fn end(&self) {}
    }

    #[test]
    fn a_caller_that_proved_itself_has_the_ceremonys_time_and_another_has_not() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let link = Link::new(Pair(here));
        let short = Duration::from_millis(30);
        let until = Until::new(Instant::now() + short);
        let (mut reader, mut writer) = timed(&link, &until);
        assert!(reader.read(&mut [0]).is_err(), "nothing comes in time");
        there.write_all(b"x").unwrap();
        assert!(reader.read(&mut [0]).is_err() && writer.write(b"x").is_err());
        until.set(Instant::now() + Duration::from_secs(60));
        assert_eq!(reader.read(&mut [0]).unwrap(), 1);
        assert_eq!(writer.write(b"x").unwrap(), 1);
    }
}
