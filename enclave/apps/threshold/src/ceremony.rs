//! Ceremonies over channels: who opens the session, and what follows.
//!
//! Every participant's own parent starts the ceremony in its enclave. When the channels stand, the
//! lowest participant draws the session's id and tells the others what it opens: the ceremony, the
//! epoch, the key, who takes part. Each takes it only if it is what its own command says.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anchorhold_threshold::repair::{Helping, Lost};
use anchorhold_threshold::sign::{Proposal, Proposing, Request, Signature};
use anchorhold_threshold::sum::{Gathering, Piece};
use anchorhold_threshold::{
    Epoch, GroupKey, Outgoing, Participant, Session, SessionId, Share, dkg, refresh,
};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;

use crate::error::Refusal;
use crate::mesh::{Mesh, Network};
use crate::opening::Opening;
use crate::world::Surroundings;

/// A ceremony that is under way.
pub struct Stage<'a> {
    network: &'a Network,
    mesh: Mesh,
    session: Session,
    members: BTreeSet<Participant>,
}

/// What a ceremony needs of the enclave.
pub struct Backstage<'a> {
    /// Who and where.
    pub network: &'a Network,
    /// The security module, and the ways to the peers.
    pub world: &'a dyn Surroundings,
}

impl<'a> Stage<'a> {
    /// Opens channels to all other members, and the session.
    ///
    /// # Errors
    /// A peer is missing or refused, or opens something else (`session.opening`).
    pub fn open(
        backstage: &Backstage<'a>,
        ceremony: &str,
        members: BTreeSet<Participant>,
        epoch: Epoch,
        key: Option<GroupKey>,
        patience: u64,
    ) -> Result<Self, Refusal> {
        let network = backstage.network;
        let me = network.me;
        if !members.contains(&me) {
            let message = format!("participant {me} takes no part in this");
            return Err(Refusal::new("participant.member", message));
        }
        let mut peers = members.clone();
        peers.remove(&me);
        let deadline = Instant::now() + Duration::from_secs(patience.clamp(1, 600));
        let mut mesh = Mesh::open(network, &peers, backstage.world, deadline)?;
        let lowest = members.first().copied().unwrap_or(me);
        let opening = |id| Opening::new(ceremony, epoch, key.as_ref(), &members, id);
        let id = if lowest == me {
            let id = SessionId::generate(&mut UnwrapErr(SysRng));
            let bytes = opening(id).to_bytes()?;
            for peer in &peers {
                mesh.send_to(*peer, &bytes)?;
            }
            id
        } else {
            let told = Opening::parse(&mesh.receive(lowest)?)?;
            let id = told.session()?;
            opening(id).check(&told, lowest)?;
            id
        };
        let group = network.agreement.group();
        let session = Session::new(group, id, epoch, key.map(|key| key.0), me)?;
        Ok(Self {
            network,
            mesh,
            session,
            members,
        })
    }

    /// Key generation.
    ///
    /// # Errors
    /// A peer's message is refused, or does not come.
    pub fn generate(self) -> Result<Share, Refusal> {
        let begun = dkg::begin(self.session.clone(), &mut UnwrapErr(SysRng))?;
        self.deal(begun)
    }

    /// Refresh. The share is used up.
    ///
    /// # Errors
    /// A peer's message is refused, or does not come.
    pub fn refresh(self, share: Share) -> Result<Share, Refusal> {
        let begun = refresh::begin(self.session.clone(), share, &mut UnwrapErr(SysRng))?;
        self.deal(begun)
    }

    fn deal(mut self, begun: (dkg::Committing, Vec<Outgoing>)) -> Result<Share, Refusal> {
        let peers = self.peers();
        let (mut state, send) = begun;
        self.mesh.send(send)?;
        for peer in &peers {
            state.receive(*peer, &self.mesh.receive(*peer)?)?;
        }
        let (mut state, send) = state.deal()?;
        self.mesh.send(send)?;
        for peer in &peers {
            state.receive(*peer, &self.mesh.receive(*peer)?)?;
        }
        let (mut state, send) = state.confirm()?;
        self.mesh.send(send)?;
        for peer in &peers {
            state.receive(*peer, &self.mesh.receive(*peer)?)?;
        }
        let share = state.finish()?;
        self.mesh.close();
        Ok(share)
    }

    /// A signature. Only the lowest signer, who coordinates, gets it.
    ///
    /// # Errors
    /// A peer's message is refused or does not come; `sign.message` if the coordinator asks for
    /// another one than this owner approved.
    pub fn sign(mut self, share: &Share, message: &[u8]) -> Result<Option<Signature>, Refusal> {
        let peers = self.peers();
        let me = self.network.me;
        let rng = &mut UnwrapErr(SysRng);
        let coordinator = self.members.first().copied().unwrap_or(me);
        if coordinator != me {
            let request = self.mesh.receive(coordinator)?;
            let request = Request::read(self.session.clone(), coordinator, &request)?;
            if request.message() != message || *request.signers() != self.members {
                let message = "the coordinator asks for another signature than was approved";
                return Err(Refusal::new("sign.message", message));
            }
            let (committed, send) = request.commit(share, rng)?;
            self.mesh.send(vec![send])?;
            let package = self.mesh.receive(coordinator)?;
            let send = committed.sign(coordinator, &package, share)?;
            self.mesh.send(vec![send])?;
            self.mesh.close();
            return Ok(None);
        }
        let proposal = Proposal {
            message: message.to_vec(),
            signers: self.members.clone(),
            approvals: Default::default(),
        };
        let (mut state, send) = Proposing::begin(self.session.clone(), share, proposal, rng)?;
        self.mesh.send(send)?;
        for peer in &peers {
            state.receive(*peer, &self.mesh.receive(*peer)?)?;
        }
        let (mut state, send) = state.package(share)?;
        self.mesh.send(send)?;
        for peer in &peers {
            state.receive(*peer, &self.mesh.receive(*peer)?)?;
        }
        let signature = state.finish(share)?;
        self.mesh.close();
        Ok(Some(signature))
    }

    /// Helps the one who lost its share.
    ///
    /// # Errors
    /// A peer's message is refused, or does not come.
    pub fn help(mut self, share: &Share, lost: Participant) -> Result<(), Refusal> {
        let mut helpers = self.members.clone();
        helpers.remove(&lost);
        let rng = &mut UnwrapErr(SysRng);
        let begun = Helping::begin(self.session.clone(), share, &helpers, lost, rng)?;
        let (mut state, send) = begun;
        self.mesh.send(send)?;
        helpers.remove(&self.network.me);
        for peer in &helpers {
            state.receive(*peer, &self.mesh.receive(*peer)?)?;
        }
        self.mesh.send(vec![state.finish()?])?;
        self.mesh.close();
        Ok(())
    }

    /// Gets the lost share back.
    ///
    /// # Errors
    /// A peer's message is refused, or does not come.
    pub fn recover(mut self) -> Result<Share, Refusal> {
        let helpers = self.peers();
        let mut state = Lost::begin(self.session.clone(), &helpers)?;
        for helper in &helpers {
            state.receive(*helper, &self.mesh.receive(*helper)?)?;
        }
        let share = state.finish()?;
        self.mesh.close();
        Ok(share)
    }

    /// The sum of all owners' values.
    ///
    /// # Errors
    /// A peer's message is refused, or does not come.
    pub fn sum(
        mut self,
        values: usize,
        pieces: &[(Participant, Piece)],
    ) -> Result<Vec<u128>, Refusal> {
        let mut gathering = Gathering::begin(self.session.clone(), values)?;
        for (owner, piece) in pieces {
            gathering.add(*owner, piece)?;
        }
        let (mut state, send) = gathering.exchange()?;
        self.mesh.send(send)?;
        for peer in self.peers() {
            state.receive(peer, &self.mesh.receive(peer)?)?;
        }
        let sums = state.finish()?;
        self.mesh.close();
        Ok(sums)
    }

    fn peers(&self) -> BTreeSet<Participant> {
        let mut peers = self.members.clone();
        peers.remove(&self.network.me);
        peers
    }
}
