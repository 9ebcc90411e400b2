//! Evidence that is refused, on either side: the peer holds the keys of the session and lies.

mod common;

use std::time::Duration;

use anchorhold_channel::limits::MAX_CLAIM;
use anchorhold_channel::{Attestor, Role, SessionContext, Terms};
use anchorhold_document::{Pcr, PcrIndex};
use common::puppet::{self, CLOSE, LAST, MORE, Puppet, Scene, evidence, user_data};
use common::{Enclave, Host, IMAGE, World, claim, context, now, rule};

/// Plays both roles with the same lie, and expects the same refusal.
fn refused_in(
    world: &mut World,
    terms: &Terms,
    mut lie: impl FnMut(Scene<'_>) -> Vec<u8>,
) -> &'static str {
    let mut rules = [Role::Initiator, Role::Responder].map(|role| {
        rule(puppet::play(
            role,
            terms.clone(),
            &context(),
            &mut world.a,
            &mut lie,
        ))
    });
    rules.sort_unstable();
    assert_eq!(rules[0], rules[1]);
    rules[0]
}

fn refused(world: &mut World, lie: impl FnMut(Scene<'_>) -> Vec<u8>) -> &'static str {
    let terms = world.host.terms();
    refused_in(world, &terms, lie)
}

/// The document that the session asks for, of any enclave.
fn bound(enclave: &mut Enclave, scene: &Scene<'_>, claim: &[u8]) -> Vec<u8> {
    let bound = user_data(scene.role, scene.hash, &context(), claim);
    enclave.attest(&bound, None).unwrap()
}

fn of_enclave(world: &mut World, mut enclave: Enclave) -> &'static str {
    refused(world, |scene| {
        evidence(b"", &bound(&mut enclave, &scene, b""))
    })
}

#[test]
fn a_document_under_another_root_is_refused() {
    let mut world = World::new();
    let stranger = Host::new().boot(2);
    assert_eq!(of_enclave(&mut world, stranger), "root.untrusted");
}

#[test]
fn a_document_of_another_image_is_refused() {
    let mut world = World::new();
    let other = world.host.boot_image(2, Pcr([0xb1; 48]), false);
    assert_eq!(of_enclave(&mut world, other), "pcr.mismatch");
}

#[test]
fn a_register_that_is_demanded_beside_the_image_counts() {
    let mut world = World::new();
    let policy = world.host.policy();
    for (index, value, expected) in [
        (PcrIndex::PCR8, Pcr([9; 48]), "pcr.mismatch"),
        (PcrIndex::new(16).unwrap(), Pcr::ZERO, "pcr.missing"),
    ] {
        let terms = Terms::new(context(), policy.clone().require_pcr(index, value));
        let mut peer = world.host.boot(2);
        let lie = |scene: Scene<'_>| evidence(b"", &bound(&mut peer, &scene, b""));
        assert_eq!(refused_in(&mut world, &terms, lie), expected);
    }
}

#[test]
fn a_document_of_an_enclave_in_debug_mode_is_refused() {
    let mut world = World::new();
    let open = world.host.boot_image(2, IMAGE, true);
    assert_eq!(of_enclave(&mut world, open), "debug.refused");
    // Neither by expecting the registers that debug mode has.
    let terms = Terms::new(
        context(),
        anchorhold_channel::PeerPolicy::new(
            anchorhold_verifier::TrustRoots::from_iter([world.host.root]),
            Pcr::ZERO,
            common::MAX_AGE,
        ),
    );
    let mut open = world.host.boot_image(2, IMAGE, true);
    let lie = |scene: Scene<'_>| evidence(b"", &bound(&mut open, &scene, b""));
    assert_eq!(refused_in(&mut world, &terms, lie), "debug.refused");
}

#[test]
fn a_document_of_another_time_is_refused() {
    let mut world = World::new();
    let mut slow = world.host.boot(2);
    slow.at = now() - Duration::from_secs(301);
    assert_eq!(of_enclave(&mut world, slow), "freshness.too-old");
    let mut fast = world.host.boot(2);
    // Its certificates are of the present, so that the document's own time is what counts.
    fast.document(None);
    fast.at = now() + Duration::from_secs(61);
    assert_eq!(of_enclave(&mut world, fast), "freshness.future");
}

#[test]
fn a_document_of_another_session_is_refused() {
    let mut world = World::new();
    let mut third = world.host.boot(3);
    // Genuine, of the agreed image, and made for a session of its own.
    let lie = |scene: Scene<'_>| {
        let other = user_data(scene.role, &[7; 32], &context(), b"");
        evidence(b"", &third.attest(&other, None).unwrap())
    };
    assert_eq!(refused(&mut world, lie), "evidence.binding");
}

#[test]
fn a_document_for_no_session_is_refused() {
    let mut world = World::new();
    let mut third = world.host.boot(3);
    for user_data in [
        None,
        Some(&b""[..]),
        Some(b"kms"),
        Some(&[0; 48]),
        Some(&[0; 1024]),
    ] {
        let lie = |_: Scene<'_>| evidence(b"", &third.document(user_data));
        assert_eq!(refused(&mut world, lie), "evidence.binding");
    }
}

#[test]
fn the_own_document_sent_back_is_refused() {
    let mut world = World::new();
    let lie = |scene: Scene<'_>| {
        let own = user_data(scene.victims_role, scene.hash, &context(), b"");
        let own = match scene.victims_document {
            Some(document) => document,
            None => scene.victim.attest(&own, None).unwrap(),
        };
        evidence(b"", &own)
    };
    assert_eq!(refused(&mut world, lie), "evidence.reflected");
}

#[test]
fn a_document_for_the_other_role_is_refused() {
    let mut world = World::new();
    let terms = world.host.terms().with_claim(claim("victim"));
    let mut peer = world.host.boot(2);
    let lie = |scene: Scene<'_>| {
        let wrong = user_data(scene.victims_role, scene.hash, &context(), b"peer");
        evidence(b"peer", &peer.attest(&wrong, None).unwrap())
    };
    assert_eq!(refused_in(&mut world, &terms, lie), "evidence.binding");
}

#[test]
fn a_document_for_another_context_is_refused() {
    let mut world = World::new();
    let mut peer = world.host.boot(2);
    let other = SessionContext::of("test", &[b"another contract"]);
    let lie = |scene: Scene<'_>| {
        let wrong = user_data(scene.role, scene.hash, &other, b"");
        evidence(b"", &peer.attest(&wrong, None).unwrap())
    };
    assert_eq!(refused(&mut world, lie), "evidence.binding");
}

#[test]
fn an_enclave_is_no_peer_of_itself() {
    let mut world = World::new();
    let lie = |scene: Scene<'_>| {
        let own = user_data(scene.role, scene.hash, &context(), b"");
        evidence(b"", &scene.victim.attest(&own, None).unwrap())
    };
    assert_eq!(refused(&mut world, lie), "peer.self");
}

#[test]
fn a_claim_that_the_document_does_not_hold_is_refused() {
    let mut world = World::new();
    let mut peer = world.host.boot(2);
    for stated in [&b"owner-c"[..], b"", b"owner-b "] {
        let lie = |scene: Scene<'_>| evidence(stated, &bound(&mut peer, &scene, b"owner-b"));
        assert_eq!(refused(&mut world, lie), "evidence.binding");
    }
}

#[test]
fn another_claim_than_demanded_is_refused() {
    let mut world = World::new();
    let policy = world.host.policy().require_claim(claim("owner-b"));
    let terms = Terms::new(context(), policy);
    let mut peer = world.host.boot(2);
    for stated in [&b"owner-c"[..], b"", b"owner-bb"] {
        let lie = |scene: Scene<'_>| evidence(stated, &bound(&mut peer, &scene, stated));
        assert_eq!(refused_in(&mut world, &terms, lie), "claim.mismatch");
    }
}

#[test]
fn a_claim_that_is_too_long_is_refused() {
    let mut world = World::new();
    let mut peer = world.host.boot(2);
    let long = vec![b'x'; MAX_CLAIM + 1];
    let lie = |scene: Scene<'_>| evidence(&long, &bound(&mut peer, &scene, &long));
    assert_eq!(refused(&mut world, lie), "claim.length");
    assert_eq!(
        anchorhold_channel::Claim::new(long).unwrap_err().rule(),
        "claim.length"
    );
}

#[test]
fn evidence_of_another_layout_is_refused() {
    let mut world = World::new();
    let cases: [(&[u8], &str); 6] = [
        (&[1, 0, 0, 0x84], "cbor.truncated"),
        (&[1, 0, 1, 0x84], "evidence.layout"),
        (&[1, 0xff, 0xff, 0x84], "evidence.layout"),
        (&[0, 0, 0, 0x84], "evidence.first"),
        (&[5, 0, 0, 0x84], "evidence.first"),
        (&[1, 0, 0], "frame.length"),
    ];
    for (record, expected) in cases {
        assert_eq!(
            refused(&mut world, |_| record.to_vec()),
            expected,
            "{record:?}"
        );
    }
}

#[test]
fn a_document_that_is_too_large_is_refused() {
    let mut world = World::new();
    let largest = anchorhold_document::limits::MAX_DOCUMENT;
    let lie = |_: Scene<'_>| evidence(b"", &vec![0x84; largest + 1]);
    assert_eq!(refused(&mut world, lie), "evidence.layout");
    let lie = |_: Scene<'_>| evidence(&[0; MAX_CLAIM], &vec![0x84; largest + 1]);
    assert_eq!(refused(&mut world, lie), "frame.length");
}

#[test]
fn application_data_before_evidence_is_refused() {
    let mut world = World::new();
    for kind in [MORE, LAST, CLOSE] {
        let lie = |_: Scene<'_>| vec![kind, b'd', b'a', b't', b'a'];
        assert_eq!(refused(&mut world, lie), "evidence.first");
    }
}

#[test]
fn evidence_that_is_as_it_must_be_is_accepted() {
    let mut world = World::new();
    let policy = world.host.policy().require_claim(claim("owner-b"));
    for role in [Role::Initiator, Role::Responder] {
        let terms = Terms::new(context(), policy.clone()).with_claim(claim("owner-a"));
        let mut peer = world.host.boot(2);
        let truth = |scene: Scene<'_>| evidence(b"owner-b", &bound(&mut peer, &scene, b"owner-b"));
        let (mut end, mut puppet): (_, Puppet) =
            puppet::play(role, terms, &context(), &mut world.a, truth).expect("a session");
        assert_eq!(end.peer.claim(), &claim("owner-b"));
        assert_eq!(end.session.transcript().as_bytes()[..], puppet.hash);
        let frame = end.session.seal(b"hello").expect("a record");
        assert_eq!(puppet.open(&frame), [&[LAST][..], b"hello"].concat());
        let frame = puppet.seal(&[&[LAST][..], b"hello to you"].concat());
        assert_eq!(
            common::open_message(&mut end.session, &frame),
            b"hello to you"
        );
    }
}
