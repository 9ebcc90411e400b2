//! Every request and every refusal of the security module.

mod common;

use std::time::UNIX_EPOCH;

use anchorhold_document::limits::{MAX_REQUEST, MAX_RESPONSE};
use anchorhold_document::nsm::{AttestationRequest, ErrorCode, Request, Response};
use anchorhold_document::{AttestationDocument, Pcr, PcrIndex};
use anchorhold_nsm::{Boot, BootError, SecurityModule};
use common::{ask, boot, document_at, module, platform, refused, rng, seconds, signed_at, start};
use proptest::prelude::*;
use sha2::{Digest, Sha384};

#[test]
fn what_is_no_request_is_an_invalid_operation() {
    let mut module = module();
    let error = |code| Response::Error(code).to_cbor();
    for bytes in [
        &b""[..],
        b"\x00",
        b"\x80",
        b"\xA0",
        b"\xF6",
        b"\x67Unknown",
        b"\xA1\x67LockPCR\xA0",
        b"\xA1\x67LockPCR\xA1\x65index\x20",
        b"\xA1\x67LockPCR\xA1\x65index\x1A\x00\x01\x00\x00",
        b"\x69GetRandom\x00",
    ] {
        let answer = module.handle(bytes, start(), &mut rng());
        assert_eq!(answer, error(ErrorCode::InvalidOperation), "{bytes:?}");
    }
    let answer = module.handle(&[0x69; MAX_REQUEST + 1], start(), &mut rng());
    assert_eq!(answer, error(ErrorCode::InputTooLarge));
}

#[test]
fn unknown_and_locked_registers_are_refused() {
    let mut module = module();
    let data = || b"x".to_vec();
    for index in [32, 33, 255, 256, u16::MAX] {
        let invalid = ErrorCode::InvalidIndex;
        assert_eq!(
            refused(&mut module, &Request::DescribePcr { index }),
            invalid
        );
        assert_eq!(
            refused(
                &mut module,
                &Request::ExtendPcr {
                    index,
                    data: data()
                }
            ),
            invalid
        );
        assert_eq!(refused(&mut module, &Request::LockPcr { index }), invalid);
        assert_eq!(
            refused(
                &mut module,
                &Request::LockPcrs {
                    range: index.max(33)
                }
            ),
            invalid
        );
    }
    for index in 0..16 {
        let read_only = ErrorCode::ReadOnlyIndex;
        assert_eq!(
            refused(
                &mut module,
                &Request::ExtendPcr {
                    index,
                    data: data()
                }
            ),
            read_only
        );
        assert_eq!(refused(&mut module, &Request::LockPcr { index }), read_only);
    }
}

#[test]
fn registers_are_extended_described_and_locked() {
    let mut module = module();
    let data = b"application".to_vec();
    let value = Pcr(Sha384::digest([&[0; 48][..], &data].concat()).into());
    let extend = Request::ExtendPcr { index: 16, data };
    let describe = Request::DescribePcr { index: 16 };
    assert_eq!(
        ask(&mut module, &extend),
        Response::ExtendPcr { data: value }
    );
    assert_eq!(
        ask(&mut module, &describe),
        Response::DescribePcr {
            lock: false,
            data: value
        }
    );
    assert_eq!(
        ask(&mut module, &Request::LockPcr { index: 16 }),
        Response::LockPcr
    );
    assert_eq!(
        ask(&mut module, &describe),
        Response::DescribePcr {
            lock: true,
            data: value
        }
    );
    assert_eq!(refused(&mut module, &extend), ErrorCode::ReadOnlyIndex);

    let document = document_at(&mut module, start());
    assert_eq!(document.pcrs.len(), 17);
    assert_eq!(document.pcrs.get(&PcrIndex::new(16).unwrap()), Some(&value));

    assert_eq!(
        ask(&mut module, &Request::LockPcrs { range: 32 }),
        Response::LockPcrs
    );
    assert_eq!(
        ask(&mut module, &Request::LockPcrs { range: 32 }),
        Response::LockPcrs
    );
    assert_eq!(document_at(&mut module, start()).pcrs.len(), 32);
}

#[test]
fn registers_at_boot_are_the_measured_ones() {
    let platform = platform();
    let instance = platform.instance_id().to_string();
    let boot = boot(&platform);
    let mut module = SecurityModule::new(platform, boot.clone()).unwrap();
    let pcrs = document_at(&mut module, start()).pcrs;
    let pcr = |n: u8| *pcrs.get(&PcrIndex::new(n).unwrap()).unwrap();
    assert_eq!(pcrs.len(), 16);
    assert_eq!([pcr(0), pcr(1), pcr(2)], [boot.pcr0, boot.pcr1, boot.pcr2]);
    assert_eq!([Some(pcr(3)), Some(pcr(8))], [boot.pcr3, boot.pcr8]);
    // Hashed once: SHA-384(48 zero bytes ‖ ASCII instance id).
    let once: [u8; 48] = Sha384::digest([&[0; 48][..], instance.as_bytes()].concat()).into();
    assert_eq!(pcr(4), Pcr(once));
    for n in [5, 6, 7, 9, 10, 11, 12, 13, 14, 15] {
        assert!(pcr(n).is_zero(), "PCR{n}");
    }
}

#[test]
fn debug_mode_zeroes_pcr_0_1_2_and_8_only() {
    let platform = platform();
    let boot = Boot {
        debug: true,
        ..boot(&platform)
    };
    let mut module = SecurityModule::new(platform, boot.clone()).unwrap();
    let document = document_at(&mut module, start());
    assert!(document.is_debug());
    for (index, value) in &document.pcrs {
        match index.value() {
            3 => assert_eq!(Some(*value), boot.pcr3),
            4 => assert!(!value.is_zero()),
            _ => assert!(value.is_zero(), "PCR{index}"),
        }
    }
    let described = ask(&mut module, &Request::DescribePcr { index: 0 });
    assert_eq!(
        described,
        Response::DescribePcr {
            lock: true,
            data: Pcr::ZERO
        }
    );
}

#[test]
fn the_module_describes_itself() {
    let mut module = module();
    let Response::DescribeNsm(description) = ask(&mut module, &Request::DescribeNsm) else {
        panic!("no description");
    };
    assert_eq!(description.module_id, module.module_id());
    assert_eq!(description.max_pcrs, 32);
    assert_eq!(description.version_major, 1);
    let locked: Vec<u8> = description
        .locked_pcrs
        .iter()
        .map(|index| index.value())
        .collect();
    assert_eq!(locked, (0..16).collect::<Vec<_>>());
}

#[test]
fn randomness_is_256_bytes_and_never_the_same() {
    let mut module = module();
    let mut draw = || match ask(&mut module, &Request::GetRandom) {
        Response::GetRandom { random } => random,
        other => panic!("no randomness: {other:?}"),
    };
    let (first, second) = (draw(), draw());
    assert_eq!(first.len(), 256);
    assert_ne!(first, second);
}

#[test]
fn fields_of_a_document_are_bounded() {
    let mut module = module();
    let ask_for = |user_data, nonce, public_key| {
        Request::Attestation(AttestationRequest {
            user_data,
            nonce,
            public_key,
        })
    };
    let large = || Some(vec![1; 1025]);
    for request in [
        ask_for(large(), None, None),
        ask_for(None, large(), None),
        ask_for(None, None, large()),
    ] {
        assert_eq!(refused(&mut module, &request), ErrorCode::InputTooLarge);
    }
    let empty_key = ask_for(None, None, Some(vec![]));
    assert_eq!(refused(&mut module, &empty_key), ErrorCode::InvalidArgument);
}

#[test]
fn the_largest_document_fits_into_a_response() {
    let platform = platform();
    let boot = Boot {
        module_id: "m".repeat(128),
        ..boot(&platform)
    };
    let mut module = SecurityModule::new(platform, boot).unwrap();
    assert_eq!(
        ask(&mut module, &Request::LockPcrs { range: 32 }),
        Response::LockPcrs
    );
    let field = || Some(vec![0xFF; 1024]);
    let request = AttestationRequest {
        user_data: field(),
        nonce: field(),
        public_key: field(),
    };
    let bytes = Request::Attestation(request.clone()).to_cbor();
    assert!(bytes.len() <= MAX_REQUEST);
    let answer = module.handle(&bytes, start(), &mut rng());
    assert!(answer.len() <= MAX_RESPONSE, "{}", answer.len());
    let signed = signed_at(&mut module, request.clone(), start());
    let document = AttestationDocument::from_payload(signed.payload()).unwrap();
    assert_eq!(document.user_data, request.user_data);
    assert_eq!(document.nonce, request.nonce);
    assert_eq!(document.public_key, request.public_key);
    assert_eq!(document.pcrs.len(), 32);
}

#[test]
fn a_document_carries_its_time_in_milliseconds() {
    let mut module = module();
    let document = document_at(&mut module, start());
    assert_eq!(document.timestamp_ms, 1_748_736_000_500);
    assert_eq!(document.module_id, module.module_id());
}

#[test]
fn a_clock_outside_the_roots_life_is_an_internal_error_and_heals() {
    let mut module = module();
    let request = Request::Attestation(AttestationRequest::default());
    for now in [
        UNIX_EPOCH,
        UNIX_EPOCH - seconds(1),
        start() - seconds(3601),
        start() + seconds(31 * 365 * 86_400),
        UNIX_EPOCH + seconds(u64::from(u32::MAX) * 64),
    ] {
        let answer = common::ask_at(&mut module, &request, now);
        assert_eq!(answer, Response::Error(ErrorCode::InternalError), "{now:?}");
    }
    assert_eq!(document_at(&mut module, start()).cabundle.len(), 4);
}

#[test]
fn a_module_id_that_cannot_stand_in_a_certificate_is_refused() {
    for id in ["", "a b", "a,CN=b", "é", "i-0\n", &"m".repeat(129)] {
        let platform = platform();
        let boot = Boot {
            module_id: id.to_owned(),
            ..boot(&platform)
        };
        let error = SecurityModule::new(platform, boot).err();
        assert_eq!(error, Some(BootError::ModuleId { got: id.to_owned() }));
    }
}

#[test]
fn module_ids_have_nitros_form() {
    let platform = platform();
    let id = platform.module_id(0x19);
    assert_eq!(
        id,
        format!("{}-enc0000000000000019", platform.instance_id())
    );
    assert_eq!(id.len(), 39);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_get_a_well_formed_answer(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        after in any::<u32>(),
    ) {
        let mut module = shared_module();
        let answer = module.handle(&bytes, start() + seconds(u64::from(after)), &mut rng());
        prop_assert!(answer.len() <= MAX_RESPONSE);
        prop_assert!(Response::from_cbor(&answer).is_ok());
    }

    #[test]
    fn deformed_requests_get_a_well_formed_answer(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let request = AttestationRequest { nonce: Some(vec![1; 20]), ..Default::default() };
        let mut bytes = Request::Attestation(request).to_cbor();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let mut module = shared_module();
        let answer = module.handle(&bytes, start(), &mut rng());
        prop_assert!(Response::from_cbor(&answer).is_ok());
    }
}

/// One module for all cases: making a platform costs a key and a signature.
fn shared_module() -> std::sync::MutexGuard<'static, SecurityModule> {
    static MODULE: std::sync::OnceLock<std::sync::Mutex<SecurityModule>> =
        std::sync::OnceLock::new();
    MODULE
        .get_or_init(|| std::sync::Mutex::new(module()))
        .lock()
        .unwrap()
}
