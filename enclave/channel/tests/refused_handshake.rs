//! Handshake messages that are refused: altered, replayed, of other sessions or other protocols.

mod common;

use std::io;

use anchorhold_channel::{Handshake, HandshakeError, Progress, SessionContext, Terms};
use common::{Enclave, Pair, Silent, World, claim, last, random, rule, step, timestamp};

/// A responder that has answered the first message.
fn answered(world: &World, first: &[u8]) -> (Vec<u8>, Handshake) {
    let responder = Handshake::respond(world.host.terms(), &mut random()).unwrap();
    step(responder, first, &mut Silent).unwrap()
}

fn initiator(world: &World) -> (Vec<u8>, Handshake) {
    Handshake::initiate(world.host.terms(), &mut random()).unwrap()
}

fn receive(handshake: Handshake, body: &[u8], enclave: &mut Enclave) -> &'static str {
    rule(handshake.receive(body, enclave, timestamp()))
}

#[test]
fn a_replayed_first_message_leads_nowhere() {
    let mut world = World::new();
    let Pair { frames, .. } = world.pair();
    // The responder answers a stranger, and has its module sign nothing for it.
    let (second, responder) = answered(&world, &frames[0]);
    assert_ne!(second, frames[1]);
    assert_eq!(
        rule(last(responder, &frames[2], &mut Silent)),
        "evidence.authentication"
    );
}

#[test]
fn a_replayed_answer_is_refused() {
    let mut world = World::new();
    let Pair { frames, .. } = world.pair();
    let (_, party) = initiator(&world);
    assert_eq!(
        rule(step(party, &frames[1], &mut Silent)),
        "handshake.authentication"
    );
    // Neither is the first message an answer.
    let (_, party) = initiator(&world);
    assert_eq!(rule(step(party, &frames[0], &mut Silent)), "frame.length");
}

#[test]
fn replayed_evidence_is_refused() {
    let mut world = World::new();
    let Pair { frames, .. } = world.pair();
    let (first, party) = initiator(&world);
    let (second, responder) = answered(&world, &first);
    let (third, party) = step(party, &second, &mut world.a).unwrap();
    for old in [&frames[2], &frames[3], &third] {
        let (_, party) = {
            let (first, party) = initiator(&world);
            let (second, _) = answered(&world, &first);
            step(party, &second, &mut world.a).unwrap()
        };
        assert_eq!(
            rule(last(party, old, &mut Silent)),
            "evidence.authentication"
        );
    }
    // Its own evidence, sent back as it was.
    assert_eq!(
        rule(last(party, &third, &mut Silent)),
        "evidence.authentication"
    );
    assert_eq!(
        rule(last(responder, &frames[2], &mut Silent)),
        "evidence.authentication"
    );
}

#[test]
fn evidence_spliced_in_from_a_session_beside_is_refused() {
    let mut world = World::new();
    let (first_one, one) = initiator(&world);
    let (first_two, two) = initiator(&world);
    let (second_one, responder_one) = answered(&world, &first_one);
    let (second_two, responder_two) = answered(&world, &first_two);
    let (third_one, _) = step(one, &second_one, &mut world.a).unwrap();
    let (third_two, _) = step(two, &second_two, &mut world.a).unwrap();
    assert_eq!(
        rule(last(responder_one, &third_two, &mut Silent)),
        "evidence.authentication"
    );
    assert_eq!(
        rule(last(responder_two, &third_one, &mut Silent)),
        "evidence.authentication"
    );
}

#[test]
fn another_context_is_refused() {
    let mut world = World::new();
    let terms = world.host.terms();
    let other = SessionContext::of("test", &[b"another contract"]);
    let other = Terms::new(other, world.host.policy());
    let pairs = [(other.clone(), terms.clone()), (terms, other)];
    for (a, b) in pairs {
        let refused = world.pair_with(a, b, 1, 2);
        assert_eq!(rule(refused), "handshake.authentication");
    }
}

#[test]
fn another_image_or_claim_is_refused_by_either_side() {
    let mut world = World::new();
    let good = world.host.terms();
    let strict = Terms::new(
        common::context(),
        world.host.policy().require_claim(claim("b")),
    );
    assert_eq!(
        rule(world.pair_with(strict.clone(), good.clone(), 1, 2)),
        "claim.mismatch"
    );
    assert_eq!(
        rule(world.pair_with(good.clone(), strict.clone(), 1, 2)),
        "claim.mismatch"
    );
    world.b = world
        .host
        .boot_image(2, anchorhold_document::Pcr([3; 48]), false);
    assert_eq!(
        rule(world.pair_with(good.clone(), good, 1, 2)),
        "pcr.mismatch"
    );
}

#[test]
fn another_protocol_or_version_is_refused() {
    let world = World::new();
    let (first, _) = initiator(&world);
    for (at, byte) in [(37, 2), (37, 0), (34, b'a'), (36, b'D')] {
        let mut altered = first.clone();
        altered[at] = byte;
        let responder = Handshake::respond(world.host.terms(), &mut random()).unwrap();
        assert_eq!(
            rule(step(responder, &altered, &mut Silent)),
            "handshake.hello"
        );
    }
}

#[test]
fn keys_of_small_order_are_refused() {
    // RFC 7748 §6.1 and https://cr.yp.to/ecdh.html#validate: 0, 1, and two of order 8.
    let points = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ];
    let mut world = World::new();
    for point in points.map(|point| hex::decode(point).unwrap()) {
        let responder = Handshake::respond(world.host.terms(), &mut random()).unwrap();
        let first = [&point[..], b"AHC\x01"].concat();
        assert_eq!(
            receive(responder, &first, &mut world.b),
            "handshake.peer-key"
        );
        let (_, party) = initiator(&world);
        let second = [&point[..], &[0; 16]].concat();
        assert_eq!(receive(party, &second, &mut world.a), "handshake.peer-key");
    }
}

#[test]
fn frames_of_another_length_are_refused() {
    let mut world = World::new();
    for length in [0, 1, 35, 37, 65_535, 70_000] {
        let responder = Handshake::respond(world.host.terms(), &mut random()).unwrap();
        assert_eq!(
            receive(responder, &vec![0; length], &mut world.b),
            "frame.length"
        );
    }
    for length in [0, 47, 49, 65_535] {
        let (_, party) = initiator(&world);
        assert_eq!(
            receive(party, &vec![0; length], &mut world.a),
            "frame.length"
        );
    }
    for length in [0, 19, 17_537, 65_535] {
        let (_, responder) = answered(&world, &initiator(&world).0);
        assert_eq!(
            receive(responder, &vec![0; length], &mut world.b),
            "frame.length"
        );
    }
}

#[test]
fn a_security_module_that_fails_is_named() {
    let world = World::new();
    let begun = || {
        let (first, party) = initiator(&world);
        let (second, _) = answered(&world, &first);
        (second, party)
    };
    let mut broken = |_: &[u8], _: Option<&[u8]>| Err(io::Error::other("no /dev/nsm"));
    let (second, party) = begun();
    assert_eq!(rule(step(party, &second, &mut broken)), "attestor.failed");
    let mut garbage = |_: &[u8], _: Option<&[u8]>| Ok::<_, io::Error>(vec![0x84]);
    let (second, party) = begun();
    assert_eq!(
        rule(step(party, &second, &mut garbage)),
        "attestor.document"
    );
    let mut other = world.host.boot(4);
    let mut other =
        |_: &[u8], _: Option<&[u8]>| Ok::<_, io::Error>(other.document(Some(b"something else")));
    let (second, party) = begun();
    assert_eq!(rule(step(party, &second, &mut other)), "attestor.user-data");
}

#[test]
fn nothing_is_attested_or_sent_before_the_peer_proved_what_it_must() {
    let mut world = World::new();
    let (first, party) = initiator(&world);
    // `Silent` panics when asked: the responder answers the first message without a document.
    let (second, responder) = answered(&world, &first);
    let (third, _) = step(party, &second, &mut world.a).unwrap();
    // And the initiator's evidence, if it is refused, without one as well.
    let strict = Terms::new(
        common::context(),
        world.host.policy().require_claim(claim("b")),
    );
    let stern = Handshake::respond(strict, &mut random()).unwrap();
    let (first, party) = initiator(&world);
    let (second, stern) = step(stern, &first, &mut Silent).unwrap();
    let (refused, _) = step(party, &second, &mut world.a).unwrap();
    assert_eq!(rule(last(stern, &refused, &mut Silent)), "claim.mismatch");
    let progress = responder.receive(&third[2..], &mut world.b, timestamp());
    assert!(matches!(progress, Ok(Progress::Established(_))));
}

#[test]
fn both_sides_learn_of_each_other() {
    let mut world = World::new();
    let policy = world.host.policy();
    let context = common::context();
    let a = Terms::new(context, policy.clone().require_claim(claim("b"))).with_claim(claim("a"));
    let b = Terms::new(context, policy.require_claim(claim("a"))).with_claim(claim("b"));
    let pair = world.pair_with(a, b, 1, 2).unwrap();
    let (a, b) = (&pair.initiator, &pair.responder);
    assert_eq!(a.session.transcript(), b.session.transcript());
    assert_eq!((a.peer.claim(), b.peer.claim()), (&claim("b"), &claim("a")));
    let names = [a, b].map(|end| end.peer.appraised().document().module_id.clone());
    assert!(names[0].ends_with("enc0000000000000002"), "{names:?}");
    assert!(names[1].ends_with("enc0000000000000001"), "{names:?}");
    assert_eq!(a.peer.appraised().root_sha256(), world.host.root);
    let again = world
        .pair_with(world.host.terms(), world.host.terms(), 3, 4)
        .unwrap();
    assert_ne!(again.initiator.session.transcript(), a.session.transcript());
}

#[test]
fn a_refusal_names_the_fault_of_the_document() {
    let mut world = World::new();
    world.b = world
        .host
        .boot_image(2, anchorhold_document::Pcr([3; 48]), false);
    let refused = world.pair_with(world.host.terms(), world.host.terms(), 1, 2);
    let Err(HandshakeError::Verify(error)) = refused else {
        panic!("another refusal");
    };
    let text = error.to_string();
    assert!(
        text.contains("PCR0: expected a1a1") && text.contains("got 0303"),
        "{text}"
    );
}
