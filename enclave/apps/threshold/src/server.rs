//! The enclave's state, and what each command does to it.

use std::collections::{BTreeMap, BTreeSet};

use anchorhold_document::{Pcr, PcrIndex};
use anchorhold_enclave::AccessKey;
use anchorhold_threshold::seal::Identity;
use anchorhold_threshold::{Epoch, GroupKey, Participant, Share};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::agreement::Agreement;
use crate::approval;
use crate::ceremony::{Backstage, Stage};
use crate::error::Refusal;
use crate::fields::{
    base64_of, challenge_of, group_key, hex_of, participants, sharing_of, split_of,
};
use crate::intake::{self, Intake, MAX_LABEL, Slot};
use crate::mesh::Network;
use crate::vault::Vault;
use crate::wire::{self, Command};
use crate::world::Surroundings;

/// What the parent told once.
struct Part {
    network: Network,
    vault: Vault,
}

/// An enclave of a participant.
pub struct Enclave {
    world: Box<dyn Surroundings>,
    pcrs: Vec<(PcrIndex, Pcr)>,
    part: Option<Part>,
    share: Option<Share>,
    intake: Option<Intake>,
}

impl Enclave {
    /// A participant that was told nothing yet. Reads the own registers.
    ///
    /// # Errors
    /// The security module does not give them.
    pub fn new(world: Box<dyn Surroundings>) -> Result<Self, Refusal> {
        let mut pcrs = Vec::new();
        for index in [PcrIndex::PCR0, PcrIndex::PCR1, PcrIndex::PCR2] {
            pcrs.push((index, world.register(index)?));
        }
        Ok(Self {
            world,
            pcrs,
            part: None,
            share: None,
            intake: None,
        })
    }

    /// Carries a command out.
    ///
    /// # Errors
    /// Why not.
    pub fn run(&mut self, command: Command) -> Result<Value, Refusal> {
        match command {
            Command::Configure {
                agreement,
                participant,
                peers,
                credentials,
            } => self.configure(&agreement, participant, peers, &credentials),
            Command::Status { challenge } => self.status(&challenge),
            Command::Dkg { patience } => self.generate(patience),
            Command::Sign {
                message,
                signers,
                approval,
                patience,
            } => self.sign(&message, &signers, &approval, patience),
            Command::Refresh { patience } => self.refresh(patience),
            Command::Repair {
                lost,
                helpers,
                key,
                epoch,
                patience,
            } => self.repair(lost, &helpers, &key, Epoch(epoch), patience),
            Command::Seal {} => self.sealed(),
            Command::Open {
                sealed,
                key,
                epoch,
                sharing,
            } => self.open(&sealed, &key, Epoch(epoch), &sharing),
            Command::Intake { challenge } => self.take_in(&challenge),
            Command::Sum {
                label,
                values,
                pieces,
                patience,
            } => self.sum(&label, values, &pieces, patience),
        }
    }

    fn configure(
        &mut self,
        agreement: &str,
        participant: u16,
        peers: BTreeMap<String, u32>,
        credentials: &AccessKey,
    ) -> Result<Value, Refusal> {
        if self.part.is_some() {
            let message = "this enclave has an agreement already, and keeps it";
            return Err(Refusal::new("configure.twice", message));
        }
        let agreement = Agreement::parse(agreement.as_bytes())?;
        let me = Participant::new(participant)?;
        let kms = &agreement.member(me)?.kms;
        let vault = Vault::new(kms, self.world.keys(kms, credentials)?);
        self.check_registers(&agreement, me)?;
        let mut ports = BTreeMap::new();
        for (peer, port) in peers {
            let peer = wire::participant(&peer)?;
            agreement.member(peer)?;
            ports.insert(peer, port);
        }
        let group = hex::encode(agreement.group().context());
        let pcrs = self.pcrs.clone();
        let network = Network {
            agreement,
            me,
            ports,
            pcrs,
        };
        self.part = Some(Part { network, vault });
        Ok(json!({ "group": group }))
    }

    /// Whether this enclave is one that the agreement lets be the participant: peers would refuse
    /// another.
    fn check_registers(&self, agreement: &Agreement, me: Participant) -> Result<(), Refusal> {
        for (index, expected) in agreement.registers(me)? {
            let got = self.world.register(*index)?;
            if got != *expected {
                let message =
                    format!("PCR{index} of participant {me}: expected {expected}, got {got}");
                return Err(Refusal::new("configure.register", message));
            }
        }
        Ok(())
    }

    /// The group, the key and the epoch, under a document whose `user_data` is their hash.
    fn status(&self, challenge: &str) -> Result<Value, Refusal> {
        let nonce = challenge_of(challenge)?;
        let network = &self.part()?.network;
        let share = self.share.as_ref();
        let shown = json!({
            "group": hex::encode(network.agreement.group().context()),
            "participant": network.me.number(),
            "key": share.map(|share| share.key().to_string()),
            "epoch": share.map(|share| share.epoch().0),
            "sharing": share.map(sharing),
            "points": share.map(points),
        });
        let text = shown.to_string();
        let user_data = status_user_data(&text);
        let document = self.world.attest(None, Some(&user_data), Some(&nonce))?;
        Ok(json!({ "status": text, "document": STANDARD.encode(document) }))
    }

    fn generate(&mut self, patience: u64) -> Result<Value, Refusal> {
        if self.share.is_some() {
            let message = "this enclave has a share already, and keeps it";
            return Err(Refusal::new("dkg.twice", message));
        }
        let members = self.part()?.network.agreement.group().members();
        let stage = self.stage("dkg", members, Epoch::NONE, None, patience)?;
        self.share = Some(stage.generate()?);
        self.sealed()
    }

    fn refresh(&mut self, patience: u64) -> Result<Value, Refusal> {
        let (epoch, key) = self.held()?;
        let members = self.part()?.network.agreement.group().members();
        let share = self.share.take().ok_or_else(no_share)?;
        match self.stage("refresh", members, epoch, Some(key), patience) {
            // Used up, whatever comes of it: the old share is sealed with the parent, and the new
            // one exists when all have confirmed it.
            Ok(stage) => self.share = Some(stage.refresh(share)?),
            Err(refusal) => {
                self.share = Some(share);
                return Err(refusal);
            }
        }
        self.sealed()
    }

    fn sign(
        &self,
        message: &str,
        signers: &BTreeSet<u16>,
        approval: &str,
        patience: u64,
    ) -> Result<Value, Refusal> {
        let share = self.share.as_ref().ok_or_else(no_share)?;
        let message = base64_of(message)?;
        let network = &self.part()?.network;
        let (group, key) = (network.agreement.group(), share.key());
        let approval = hex_of(approval)?;
        let owner = network.agreement.approval_key(network.me)?;
        approval::check(owner, &group, &key, &message, &approval)?;
        let signers = participants(signers)?;
        let stage = self.stage("sign", signers, share.epoch(), Some(key), patience)?;
        let signature = stage.sign(share, &message)?;
        let signature = signature.map(|signature| hex::encode(signature.0));
        Ok(json!({ "signature": signature, "key": key.to_string() }))
    }

    fn repair(
        &mut self,
        lost: u16,
        helpers: &BTreeSet<u16>,
        key: &str,
        epoch: Epoch,
        patience: u64,
    ) -> Result<Value, Refusal> {
        let lost = Participant::new(lost)?;
        let key = group_key(key)?;
        let mut members = participants(helpers)?;
        members.insert(lost);
        if self.part()?.network.me != lost {
            let share = self.share.as_ref().ok_or_else(no_share)?;
            let stage = self.stage("repair", members, epoch, Some(key), patience)?;
            stage.help(share, lost)?;
            return Ok(json!({ "helped": lost.number() }));
        }
        if self.share.is_some() {
            let message = "this enclave has a share, and needs no repair";
            return Err(Refusal::new("repair.twice", message));
        }
        let stage = self.stage("repair", members, epoch, Some(key), patience)?;
        self.share = Some(stage.recover()?);
        self.sealed()
    }

    fn sealed(&self) -> Result<Value, Refusal> {
        let share = self.share.as_ref().ok_or_else(no_share)?;
        let sealed = self.part()?.vault.seal(share)?;
        Ok(json!({
            "key": share.key().to_string(),
            "epoch": share.epoch().0,
            "sharing": sharing(share),
            "points": points(share),
            "sealed": STANDARD.encode(sealed),
        }))
    }

    fn open(
        &mut self,
        sealed: &str,
        key: &str,
        epoch: Epoch,
        sharing: &str,
    ) -> Result<Value, Refusal> {
        if self.share.is_some() {
            let message = "this enclave has a share already, and keeps it";
            return Err(Refusal::new("open.twice", message));
        }
        let part = self.part()?;
        let identity = Identity {
            group: part.network.agreement.group(),
            key: group_key(key)?,
            participant: part.network.me,
            epoch,
            sharing: sharing_of(sharing)?,
        };
        let share = part.vault.open(&base64_of(sealed)?, identity)?;
        let shown = json!({ "key": share.key().to_string(), "epoch": share.epoch().0 });
        self.share = Some(share);
        Ok(shown)
    }

    fn take_in(&mut self, challenge: &str) -> Result<Value, Refusal> {
        let nonce = challenge_of(challenge)?;
        let network = &self.part()?.network;
        let user_data = intake::user_data(&network.agreement.group(), network.me);
        let intake = match self.intake.take() {
            Some(intake) => intake,
            None => Intake::generate()?,
        };
        let key = Some(intake.public_key_der());
        let document = self.world.attest(key, Some(&user_data), Some(&nonce));
        self.intake = Some(intake);
        Ok(json!({ "document": STANDARD.encode(document?) }))
    }

    fn sum(
        &mut self,
        label: &str,
        values: usize,
        pieces: &BTreeMap<String, wire::Piece>,
        patience: u64,
    ) -> Result<Value, Refusal> {
        if label.is_empty() || label.len() > MAX_LABEL {
            let got = label.len();
            let message = format!("expected a label of 1 to {MAX_LABEL} bytes, got {got}");
            return Err(Refusal::new("sum.label", message));
        }
        // A key takes part in one sum: no piece counts in two.
        let missing = || Refusal::new("sum.intake", "no owner was given a key for this sum");
        let intake = self.intake.take().ok_or_else(missing)?;
        let network = &self.part()?.network;
        let group = network.agreement.group();
        let (mut opened, mut splits) = (Vec::new(), BTreeMap::new());
        for (owner, piece) in pieces {
            let owner = wire::participant(owner)?;
            let split = split_of(&piece.split)?;
            let slot = Slot {
                group: &group,
                label,
                split: &split,
                owner,
                enclave: network.me,
            };
            let key = network.agreement.approval_key(owner)?;
            let (message, signature) = (base64_of(&piece.message)?, hex_of(&piece.signature)?);
            opened.push((owner, intake.open(slot, key, &message, &signature)?));
            splits.insert(owner, split);
        }
        // Peers that were given pieces of other splittings open another ceremony.
        let splits = hex::encode(intake::fingerprint(values, &splits));
        let ceremony = format!("sum of {label} over {splits}");
        let stage = self.stage(&ceremony, group.members(), Epoch::NONE, None, patience)?;
        let sums = stage.sum(values, &opened)?;
        let sums: Vec<_> = sums.iter().map(ToString::to_string).collect();
        Ok(json!({ "sums": sums }))
    }

    fn stage(
        &self,
        ceremony: &str,
        members: BTreeSet<Participant>,
        epoch: Epoch,
        key: Option<GroupKey>,
        patience: u64,
    ) -> Result<Stage<'_>, Refusal> {
        let backstage = Backstage {
            network: &self.part()?.network,
            world: &*self.world,
        };
        Stage::open(&backstage, ceremony, members, epoch, key, patience)
    }

    fn part(&self) -> Result<&Part, Refusal> {
        let missing = || Refusal::new("configure.first", "this enclave has no agreement yet");
        self.part.as_ref().ok_or_else(missing)
    }

    fn held(&self) -> Result<(Epoch, GroupKey), Refusal> {
        let share = self.share.as_ref().ok_or_else(no_share)?;
        Ok((share.epoch(), share.key()))
    }
}

/// The `user_data` of a status document: SHA-384 over a domain and the status's text.
pub fn status_user_data(text: &str) -> Vec<u8> {
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA384);
    hash.update(b"anchorhold-threshold status v1");
    hash.update(text.as_bytes());
    hash.finish().as_ref().to_vec()
}

fn points(share: &Share) -> BTreeMap<u16, String> {
    let public = share.public();
    let members = public.group().members().into_iter();
    members
        .filter_map(|who| Some((who.number(), hex::encode(public.point(who)?))))
        .collect()
}

fn sharing(share: &Share) -> String {
    hex::encode(share.public().fingerprint())
}

fn no_share() -> Refusal {
    Refusal::new("share.none", "this enclave holds no share")
}
