//! Which peers a participant refuses, before any ceremony.

mod common;

use std::time::{Duration, Instant, SystemTime};

use anchorhold_channel::{Channel, Claim, PeerPolicy, SessionContext, Terms, Timed};
use anchorhold_document::{Pcr, PcrIndex};
use anchorhold_nsm::Boot;
use anchorhold_threshold_app::server::Enclave;
use anchorhold_threshold_app::world::Surroundings;
use anchorhold_threshold_app::{Refusal, agreement};
use anchorhold_verifier::{Timestamp, TrustRoots};
use common::{AMPLE, IMAGE, Owners, SOON, World, random, refused, rule, run, stopped, together};
use serde_json::{Value, json};

/// Key generation of all.
fn dkg(patience: u64) -> Value {
    json!({ "op": "dkg", "patience": patience })
}

/// Three enclaves, the second of them booted otherwise.
fn with_second(owners: &Owners, change: impl FnOnce(&mut Boot)) -> Vec<Enclave> {
    let mut second = owners.boot(2, change);
    run(&mut second, &owners.configure(2, &owners.agreement())).unwrap();
    vec![owners.join(1), second, owners.join(3)]
}

/// A repair that 3 alone helps with: the way by which 2 calls 3 and nobody calls 2.
fn repair(patience: u64) -> Value {
    json!({
        "op": "repair", "lost": 2, "helpers": [3], "key": "11".repeat(32), "epoch": 1,
        "patience": patience,
    })
}

#[test]
fn an_enclave_of_another_image_gets_no_channel_whoever_calls() {
    let owners = Owners::new();
    let other_application = |boot: &mut Boot| boot.pcr2 = Pcr([0xee; 48]);
    let mut enclaves = with_second(&owners, other_application);
    // 1 calls 2, which takes no image for a peer that is not its own either.
    let answers = refused(1, "pcr.mismatch", |patience| {
        together(&mut enclaves, &[dkg(patience)])
    });
    assert!(stopped(&answers[0]), "{answers:?}");
    assert!(stopped(&answers[2]), "{answers:?}");
}

#[test]
fn an_enclave_of_another_image_that_calls_is_refused_by_its_registers() {
    // The application, kernel and boot ramdisk, the whole image.
    for change in [2_usize, 1, 0] {
        let owners = Owners::new();
        let mut enclaves = with_second(&owners, |boot| {
            let registers = [&mut boot.pcr0, &mut boot.pcr1, &mut boot.pcr2];
            for (at, register) in registers.into_iter().enumerate() {
                if at == change {
                    *register = Pcr([0xee; 48]);
                }
            }
        });
        refused_by_third(&mut enclaves, "pcr.mismatch");
    }
}

/// 3, which waits for calls, refuses 2 by this rule when that one calls it.
fn refused_by_third(enclaves: &mut [Enclave], expected: &str) {
    let (caller, called) = enclaves.split_at_mut(2);
    refused(0, expected, |patience| {
        std::thread::scope(|scope| {
            scope.spawn(|| run(&mut caller[1], &repair(patience)));
            vec![run(&mut called[0], &dkg(patience))]
        })
    });
}

#[test]
fn an_enclave_in_debug_mode_is_refused_by_caller_and_called() {
    let owners = Owners::new();
    let mut enclaves = with_second(&owners, |boot| boot.debug = true);
    refused_by_third(&mut enclaves, "debug.refused");
    assert_eq!(
        rule(&lure(&owners, |boot| boot.debug = true)),
        "debug.refused"
    );
}

#[test]
fn a_peer_of_another_image_that_lets_everybody_in_is_refused_by_its_caller() {
    let owners = Owners::new();
    let other = |boot: &mut Boot| boot.pcr2 = Pcr([0xee; 48]);
    assert_eq!(rule(&lure(&owners, other)), "pcr.mismatch");
}

/// What 1 says to a 2 whose program was changed to take any caller of the reviewed image.
fn lure(owners: &Owners, change: impl FnOnce(&mut Boot)) -> Result<Value, Refusal> {
    let rogue = owners.world(2, change);
    let mut honest = owners.join(1);
    std::thread::scope(|scope| {
        scope.spawn(|| take_in(&rogue, owners));
        run(&mut honest, &dkg(AMPLE))
    })
}

/// Answers one call as participant 2, with demands that 1 meets.
fn take_in(rogue: &World, owners: &Owners) {
    let deadline = Instant::now() + Duration::from_secs(AMPLE);
    let link = loop {
        if let Some(link) = rogue.answer().unwrap() {
            break link;
        }
        assert!(Instant::now() < deadline, "nobody calls");
        std::thread::sleep(Duration::from_millis(5));
    };
    let remaining = move || deadline.saturating_duration_since(Instant::now());
    let roots = TrustRoots::from_pem(&owners.owner(1).root_pem).unwrap();
    let mut policy = PeerPolicy::new(roots, IMAGE[0], Duration::from_secs(300));
    policy = policy.require_pcr(PcrIndex::PCR2, IMAGE[2]);
    let context = agreement::hash(owners.agreement().as_bytes());
    let claim = Claim::new("anchorhold-threshold participant 2").unwrap();
    let terms = Terms::new(SessionContext::from_sha384(context), policy).with_claim(claim);
    let now = || Timestamp::try_from(SystemTime::now()).unwrap();
    let (reader, writer) = (
        Timed::new(link.clone(), remaining),
        Timed::new(link, remaining),
    );
    let mut attest = |data: &[u8], nonce: Option<&[u8]>| rogue.attest(None, Some(data), nonce);
    let channel = Channel::respond(reader, writer, terms, &mut attest, now, &mut random());
    assert!(channel.is_ok(), "the rogue has nothing against its caller");
}

#[test]
fn parties_that_were_told_different_agreements_get_no_channel() {
    let owners = Owners::new();
    let mut other = owners.document.clone();
    other["purpose"] = json!("another");
    let mut second = owners.boot(2, |_| {});
    run(&mut second, &owners.configure(2, &other.to_string())).unwrap();
    let mut enclaves = vec![owners.join(1), second, owners.join(3)];
    let answers = refused(0, "handshake.authentication", |patience| {
        together(&mut enclaves, &[dkg(patience)])
    });
    assert!(stopped(&answers[1]) && stopped(&answers[2]), "{answers:?}");
}

#[test]
fn a_participant_of_another_platform_is_refused_by_its_root() {
    let owners = Owners::new();
    // Cyd's host boots the image and claims to be Ben's enclave.
    let mut posing = owners.boot(3, |_| {});
    run(&mut posing, &owners.configure(2, &owners.agreement())).unwrap();
    let mut three = owners.join(3);
    let answers = std::thread::scope(|scope| {
        let posing = scope.spawn(|| run(&mut posing, &repair(SOON)));
        let three = run(&mut three, &dkg(SOON));
        [posing.join().unwrap(), three]
    });
    assert!(answers[0].is_err() && answers[1].is_err());
}

/// The three, with a demand on 2's registers in the agreement.
fn demanding(pcr: u8, value: &Pcr) -> Owners {
    let mut owners = Owners::new();
    let registers = json!([{ "pcr": pcr, "value": value.to_string() }]);
    owners.document["members"][1]["registers"] = registers;
    owners.set_epoch(0);
    owners
}

#[test]
fn an_enclave_without_the_registers_of_its_part_refuses_the_part() {
    let owners = demanding(8, &Pcr([0x88; 48]));
    for signer in [None, Some(Pcr([0x99; 48]))] {
        let mut second = owners.boot(2, |boot| boot.pcr8 = signer);
        let refused = run(&mut second, &owners.configure(2, &owners.agreement()));
        assert_eq!(rule(&refused), "configure.register");
        assert_eq!(rule(&run(&mut second, &dkg(AMPLE))), "configure.first");
    }
}

#[test]
fn peers_refuse_an_image_of_another_signer_and_take_that_of_the_agreed_one() {
    let signer = Pcr([0x88; 48]);
    let owners = demanding(8, &signer);
    let other = |boot: &mut Boot| boot.pcr8 = Some(Pcr([0x99; 48]));
    assert_eq!(rule(&lure(&owners, other)), "pcr.mismatch");
    let lenient = Lenient::boot(&owners, other);
    lenient.refused_by_three(&owners);

    let mut enclaves = with_second(&owners, |boot| boot.pcr8 = Some(signer));
    let answers = together(&mut enclaves, &[json!({ "op": "dkg" })]);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

#[test]
fn peers_refuse_an_enclave_of_another_parent_instance() {
    // PCR4 of this platform's instance is not zeros.
    let owners = demanding(4, &Pcr([0x44; 48]));
    assert_eq!(rule(&lure(&owners, |_| {})), "pcr.mismatch");
    let lenient = Lenient::boot(&owners, |_| {});
    lenient.refused_by_three(&owners);
    let own = owners.world(2, |_| {}).register(PcrIndex::PCR4).unwrap();
    let owners = {
        let mut owners = owners;
        owners.document["members"][1]["registers"] =
            json!([{ "pcr": 4, "value": own.to_string() }]);
        owners.set_epoch(0);
        owners
    };
    let mut enclaves = owners.all();
    let answers = together(&mut enclaves, &[json!({ "op": "dkg" })]);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

/// A 2 whose program was changed not to look at its own registers.
struct Lenient(World);

impl Lenient {
    fn boot(owners: &Owners, change: impl FnOnce(&mut Boot)) -> Self {
        Self(owners.world(2, change))
    }

    /// 3, which waits for calls, refuses it by the registers of its part.
    fn refused_by_three(&self, owners: &Owners) {
        let mut three = owners.join(3);
        refused(0, "peer.register", |patience| {
            std::thread::scope(|scope| {
                let call = scope.spawn(|| self.call_three(owners));
                let answer = run(&mut three, &dkg(patience));
                let called = call.join().unwrap();
                // A 3 that had no time left takes no call.
                assert!(called || stopped(&answer), "its image is the reviewed one");
                vec![answer]
            })
        });
    }

    /// Calls 3 as participant 2: whether there is a channel.
    fn call_three(&self, owners: &Owners) -> bool {
        let deadline = Instant::now() + Duration::from_secs(AMPLE);
        let link = self
            .0
            .call(common::PORTS + 3, Duration::from_secs(1))
            .unwrap();
        let remaining = move || deadline.saturating_duration_since(Instant::now());
        let roots = TrustRoots::from_pem(&owners.owner(3).root_pem).unwrap();
        let policy = PeerPolicy::new(roots, IMAGE[0], Duration::from_secs(300));
        let context = agreement::hash(owners.agreement().as_bytes());
        let claim = Claim::new("anchorhold-threshold participant 2").unwrap();
        let terms = Terms::new(SessionContext::from_sha384(context), policy).with_claim(claim);
        let now = || Timestamp::try_from(SystemTime::now()).unwrap();
        let (reader, writer) = (
            Timed::new(link.clone(), remaining),
            Timed::new(link, remaining),
        );
        let world = &self.0;
        let mut attest = |data: &[u8], nonce: Option<&[u8]>| world.attest(None, Some(data), nonce);
        let channel = Channel::initiate(reader, writer, terms, &mut attest, now, &mut random());
        channel.is_ok()
    }
}
