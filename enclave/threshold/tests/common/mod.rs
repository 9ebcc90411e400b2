//! Participants in one process, and the way between them.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};

use anchorhold_threshold::sign::{Proposal, Proposing, Request, Signature};
use anchorhold_threshold::{
    Epoch, Group, Outgoing, Participant, Session, SessionId, Share, ThresholdError, dkg, refresh,
};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;

pub type Rng = UnwrapErr<SysRng>;

pub const CONTEXT: [u8; 48] = [7; 48];

pub fn rng() -> Rng {
    UnwrapErr(SysRng)
}

pub fn who(number: u16) -> Participant {
    Participant::new(number).unwrap()
}

pub fn set(numbers: &[u16]) -> BTreeSet<Participant> {
    numbers.iter().map(|number| who(*number)).collect()
}

pub fn group() -> Group {
    Group::two_of_three(CONTEXT)
}

/// A session of no key yet, for each member.
pub fn fresh(group: Group) -> BTreeMap<Participant, Session> {
    let id = SessionId::generate(&mut rng());
    let members = group.members().into_iter();
    let session = |me| Session::new(group, id, Epoch::NONE, None, me).unwrap();
    members.map(|me| (me, session(me))).collect()
}

/// A session about a share.
pub fn about(share: &Share, id: SessionId) -> Session {
    let group = *share.public().group();
    let (epoch, key) = (share.epoch(), Some(share.key().0));
    Session::new(group, id, epoch, key, share.participant()).unwrap()
}

/// Messages on their way: from, to, bytes.
pub type Mail = Vec<(Participant, Participant, Vec<u8>)>;

pub fn post(mail: &mut Mail, from: Participant, outgoing: Vec<Outgoing>) {
    for message in outgoing {
        mail.push((from, message.to, message.bytes.to_vec()));
    }
}

pub fn one(mail: &Mail, from: u16, to: u16) -> &[u8] {
    let found = mail
        .iter()
        .find(|(f, t, _)| f.number() == from && t.number() == to);
    &found.expect("there is such a message").2
}

/// Runs key generation or refresh from its first round to all shares.
pub fn complete(
    begun: BTreeMap<Participant, (dkg::Committing, Vec<Outgoing>)>,
) -> Result<BTreeMap<Participant, Share>, ThresholdError> {
    complete_with(begun, |_, _| {})
}

/// As [`complete`]; `tamper` sees each round's messages, 0 to 2, on their way.
pub fn complete_with(
    begun: BTreeMap<Participant, (dkg::Committing, Vec<Outgoing>)>,
    mut tamper: impl FnMut(usize, &mut Mail),
) -> Result<BTreeMap<Participant, Share>, ThresholdError> {
    let mut mail = Mail::new();
    let mut committing = BTreeMap::new();
    for (me, (state, send)) in begun {
        post(&mut mail, me, send);
        committing.insert(me, state);
    }
    tamper(0, &mut mail);
    for (from, to, bytes) in std::mem::take(&mut mail) {
        committing.get_mut(&to).unwrap().receive(from, &bytes)?;
    }
    let mut dealing = BTreeMap::new();
    for (me, state) in committing {
        assert!(state.is_complete());
        let (state, send) = state.deal()?;
        post(&mut mail, me, send);
        dealing.insert(me, state);
    }
    tamper(1, &mut mail);
    for (from, to, bytes) in std::mem::take(&mut mail) {
        dealing.get_mut(&to).unwrap().receive(from, &bytes)?;
    }
    let mut confirming = BTreeMap::new();
    for (me, state) in dealing {
        assert!(state.is_complete());
        let (state, send) = state.confirm()?;
        post(&mut mail, me, send);
        confirming.insert(me, state);
    }
    tamper(2, &mut mail);
    for (from, to, bytes) in mail {
        confirming.get_mut(&to).unwrap().receive(from, &bytes)?;
    }
    let shares = confirming.into_iter().map(|(me, state)| {
        assert!(state.is_complete());
        Ok((me, state.finish()?))
    });
    shares.collect()
}

pub fn generate(group: Group) -> BTreeMap<Participant, Share> {
    let begin = |session| dkg::begin(session, &mut rng()).unwrap();
    let begun = fresh(group).into_iter().map(|(me, s)| (me, begin(s)));
    complete(begun.collect()).unwrap()
}

pub fn refreshed(shares: BTreeMap<Participant, Share>) -> BTreeMap<Participant, Share> {
    let id = SessionId::generate(&mut rng());
    let begun = shares.into_iter().map(|(me, share)| {
        let session = about(&share, id);
        (me, refresh::begin(session, share, &mut rng()).unwrap())
    });
    complete(begun.collect()).unwrap()
}

pub fn proposal(message: &[u8], signers: &[u16]) -> Proposal {
    Proposal {
        message: message.to_vec(),
        signers: set(signers),
        approvals: BTreeMap::new(),
    }
}

/// Signs with the first of the signers as coordinator. Between the rounds `tamper` may change
/// what signers send back.
pub fn sign_with(
    shares: &BTreeMap<Participant, Share>,
    signers: &[u16],
    message: &[u8],
    mut tamper: impl FnMut(Participant, Vec<u8>) -> Vec<u8>,
) -> Result<Signature, ThresholdError> {
    let id = SessionId::generate(&mut rng());
    let coordinator = who(signers[0]);
    let own = &shares[&coordinator];
    let proposal = proposal(message, signers);
    let (mut proposing, requests) = Proposing::begin(about(own, id), own, proposal, &mut rng())?;
    let mut committed = BTreeMap::new();
    for request in requests {
        let share = &shares[&request.to];
        let read = Request::read(about(share, id), coordinator, &request.bytes)?;
        assert_eq!(read.message(), message);
        let (state, answer) = read.commit(share, &mut rng())?;
        proposing.receive(request.to, &answer.bytes)?;
        committed.insert(request.to, state);
    }
    let (mut aggregating, packages) = proposing.package(own)?;
    for package in packages {
        let state = committed.remove(&package.to).unwrap();
        let answer = state.sign(coordinator, &package.bytes, &shares[&package.to])?;
        let bytes = tamper(package.to, answer.bytes.to_vec());
        aggregating.receive(package.to, &bytes)?;
    }
    aggregating.finish(own)
}

pub fn sign(shares: &BTreeMap<Participant, Share>, signers: &[u16], message: &[u8]) -> Signature {
    sign_with(shares, signers, message, |_, bytes| bytes).unwrap()
}

/// An ordinary verifier: AWS-LC's Ed25519.
pub fn verifies(key: &[u8; 32], message: &[u8], signature: &Signature) -> bool {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    UnparsedPublicKey::new(&ED25519, key)
        .verify(message, &signature.0)
        .is_ok()
}

/// Seals a share under a data key that stands for the KMS's.
pub fn seal(share: &Share) -> (anchorhold_envelope::DataKey, Vec<u8>) {
    use anchorhold_envelope::{DataKey, EncryptedDataKey};
    let data_key = DataKey::generate().unwrap();
    let arn = "arn:aws:kms:eu-central-1:111122223333:key/share";
    let wrapped = EncryptedDataKey::aws_kms(arn, b"wrapped".to_vec()).unwrap();
    let bytes = anchorhold_threshold::seal::seal(share, &data_key, vec![wrapped]).unwrap();
    (data_key, bytes)
}

/// Opens it as what it is.
pub fn open(share: &Share, bytes: &[u8], data_key: &anchorhold_envelope::DataKey) -> Share {
    use anchorhold_threshold::seal::{Identity, Wanted};
    let wanted = Wanted::begin(bytes, Identity::of(share)).unwrap();
    wanted.open(data_key).unwrap()
}
