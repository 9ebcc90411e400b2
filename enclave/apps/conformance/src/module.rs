//! The security module through AWS's client, request by request.

use anchorhold_document::limits::{MAX_USER_FIELD, PCR_BYTES, PCR_COUNT};
use anchorhold_document::{AttestationDocument, PcrIndex, SignedDocument};
use aws_nitro_enclaves_nsm_api::api::{Digest as PcrDigest, ErrorCode, Request, Response};
use aws_nitro_enclaves_nsm_api::driver::{nsm_exit, nsm_init, nsm_process_request};
use sha2::{Digest, Sha384};

use crate::outcome::{Checked, Failure, Results, equal, holds, mismatch};

/// Registers that belong to the platform, and are locked from the start.
const PLATFORM: u16 = 16;

/// The register that these checks extend and lock.
const OURS: u16 = 16;

/// AWS's client with its descriptor of `/dev/nsm`.
pub struct Client(i32);

impl Client {
    /// Opens the device.
    pub fn open() -> Result<Self, Failure> {
        let descriptor = nsm_init();
        holds("nsm_init", descriptor >= 0, "a descriptor", descriptor)?;
        Ok(Self(descriptor))
    }

    /// Asks for one thing.
    pub fn ask(&self, request: Request) -> Response {
        nsm_process_request(self.0, request)
    }

    /// Gets a document with these fields: user data, nonce, public key.
    pub fn attest(&self, fields: [Option<&[u8]>; 3]) -> Result<AttestationDocument, Failure> {
        let response = self.ask(attestation(fields));
        let Response::Attestation { document } = response else {
            return Err(mismatch("Attestation", &"a document", &response));
        };
        holds(
            "document",
            document.first() == Some(&0x84),
            "an untagged COSE_Sign1",
            document.first(),
        )?;
        SignedDocument::from_bytes(&document)
            .and_then(|signed| AttestationDocument::from_payload(signed.payload()))
            .map_err(|error| mismatch("document", &"one of the facts' shape", &error.to_string()))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        nsm_exit(self.0);
    }
}

/// All requests, in an order in which each finds the state that it expects.
pub fn check(results: &mut Results) {
    match Client::open() {
        Ok(client) => check_with(&client, results),
        Err(failure) => results.note("module.open", || Err(failure)),
    }
}

fn check_with(client: &Client, results: &mut Results) {
    results.note("module.open", || Ok(()));
    if let Response::DescribeNSM { module_id, .. } = client.ask(Request::DescribeNSM) {
        results.note_module_id(module_id);
    }
    results.note("module.describe", || describe(client));
    results.note("module.pcrs-at-boot", || registers_at_boot(client));
    results.note("module.pcr-index", || bad_indices(client));
    results.note("module.random", || random(client));
    results.note("module.attestation-without-fields", || {
        without_fields(client)
    });
    results.note("module.attestation-fields", || fields(client));
    results.note("module.attestation-field-sizes", || field_sizes(client));
    results.note("module.extend", || extend(client));
    results.note("module.extend-locked", || extend_locked(client));
    results.note("module.lock", || lock(client));
    results.note("module.lock-range", || lock_range(client));
    results.note("module.attestation-locked-pcrs", || {
        locked_in_document(client)
    });
}

/// Locks every register, which is the end of what can be done with them.
pub fn check_locking_all(results: &mut Results) {
    results.note("module.lock-all", || {
        let client = Client::open()?;
        answers(
            "LockPCRs 32",
            client.ask(Request::LockPCRs { range: 32 }),
            "LockPCRs",
        )?;
        answers(
            "LockPCRs 32 again",
            client.ask(Request::LockPCRs { range: 32 }),
            "LockPCRs",
        )?;
        equal("locked registers", locked(&client)?, (0..32).collect())?;
        let document = client.attest([None; 3])?;
        equal(
            "registers in a document",
            document.pcrs.len(),
            usize::from(PCR_COUNT),
        )
    });
}

fn describe(client: &Client) -> Checked {
    let response = client.ask(Request::DescribeNSM);
    let Response::DescribeNSM {
        version_major,
        module_id,
        max_pcrs,
        locked_pcrs,
        digest,
        ..
    } = response
    else {
        return Err(mismatch("DescribeNSM", &"a description", &response));
    };
    equal("major version", version_major, 1)?;
    equal("registers", max_pcrs, u16::from(PCR_COUNT))?;
    let sha384 = matches!(digest, PcrDigest::SHA384);
    holds("digest", sha384, "SHA384", digest)?;
    equal(
        "locked registers",
        locked_pcrs.into_iter().collect(),
        (0..PLATFORM).collect::<Vec<_>>(),
    )?;
    let shaped = module_id.starts_with("i-") && module_id.contains("-enc");
    holds("module id", shaped, "i-…-enc…", module_id)
}

/// As AWS's own checker has it: PCR0, 1, 2 and 4 are set, the rest is not. In debug mode
/// the first three are zero, all of them.
fn registers_at_boot(client: &Client) -> Checked {
    let mut measured = Vec::new();
    for index in 0..u16::from(PCR_COUNT) {
        let (locked, data) = register(client, index)?;
        equal("register is locked", locked, index < PLATFORM)?;
        equal("register's size", data.len(), PCR_BYTES)?;
        let zero = data.iter().all(|byte| *byte == 0);
        match index {
            0..=2 => measured.push(!zero),
            4 => equal("PCR4 is zero", zero, false)?,
            3 | 8 => {}
            _ => equal("register is zero", zero, true)?,
        }
    }
    let alike = measured.iter().all(|set| Some(set) == measured.first());
    holds(
        "PCR0 to 2",
        alike,
        "all set, or all zero in debug mode",
        measured,
    )
}

fn bad_indices(client: &Client) -> Checked {
    for index in [32, 33, 255, 256, u16::MAX] {
        refuses(
            "DescribePCR",
            client.ask(Request::DescribePCR { index }),
            "InvalidIndex",
        )?;
        let data = vec![1];
        refuses(
            "ExtendPCR",
            client.ask(Request::ExtendPCR { index, data }),
            "InvalidIndex",
        )?;
        refuses(
            "LockPCR",
            client.ask(Request::LockPCR { index }),
            "InvalidIndex",
        )?;
    }
    for range in [33, u16::MAX] {
        refuses(
            "LockPCRs",
            client.ask(Request::LockPCRs { range }),
            "InvalidIndex",
        )?;
    }
    Ok(())
}

fn random(client: &Client) -> Checked {
    let mut seen = Vec::new();
    for _ in 0..16 {
        let response = client.ask(Request::GetRandom);
        let Response::GetRandom { random } = response else {
            return Err(mismatch("GetRandom", &"random bytes", &response));
        };
        equal("random bytes", random.len(), 256)?;
        holds(
            "random bytes",
            !seen.contains(&random),
            "others than before",
            "the same",
        )?;
        seen.push(random);
    }
    Ok(())
}

fn without_fields(client: &Client) -> Checked {
    let document = client.attest([None; 3])?;
    let fields = [document.user_data, document.nonce, document.public_key];
    equal("fields", fields, [None, None, None])?;
    equal(
        "registers in a document",
        document.pcrs.len(),
        usize::from(PLATFORM),
    )?;
    equal("certificates above the leaf's", document.cabundle.len(), 4)?;
    for (index, value) in document.pcrs {
        let (_, data) = register(client, u16::from(index.value()))?;
        equal("register in a document", value.as_bytes().to_vec(), data)?;
    }
    Ok(())
}

/// Each field alone, and all of them at their limit together, come back as they went.
fn fields(client: &Client) -> Checked {
    let longest = vec![128; MAX_USER_FIELD];
    let short = [0, 1, 2];
    for bytes in [&longest[..], &short] {
        for which in 0..4 {
            let sent = [0, 1, 2].map(|field| (which == 3 || which == field).then_some(bytes));
            let document = client.attest(sent)?;
            let got = [document.user_data, document.nonce, document.public_key];
            equal("fields", got, sent.map(|field| field.map(<[u8]>::to_vec)))?;
        }
    }
    // Empty is not the same as absent.
    let document = client.attest([Some(&[]), Some(&[]), None])?;
    equal(
        "empty fields",
        (document.user_data, document.nonce),
        (Some(vec![]), Some(vec![])),
    )
}

fn field_sizes(client: &Client) -> Checked {
    let beyond = vec![128; MAX_USER_FIELD + 1];
    for which in 0..3 {
        let sent = [0, 1, 2].map(|field| (which == field).then_some(&beyond[..]));
        refuses("1025 bytes", client.ask(attestation(sent)), "InputTooLarge")?;
    }
    Ok(())
}

fn extend(client: &Client) -> Checked {
    let mut expected = vec![0; PCR_BYTES];
    for data in [&b"first"[..], b"", &[0xFF; 512]] {
        expected = Sha384::new()
            .chain_update(&expected)
            .chain_update(data)
            .finalize()
            .to_vec();
        let response = client.ask(Request::ExtendPCR {
            index: OURS,
            data: data.to_vec(),
        });
        let Response::ExtendPCR { data } = response else {
            return Err(mismatch("ExtendPCR", &"the new value", &response));
        };
        equal("extended register", data, expected.clone())?;
        equal(
            "register",
            register(client, OURS)?,
            (false, expected.clone()),
        )?;
    }
    Ok(())
}

fn extend_locked(client: &Client) -> Checked {
    for index in 0..PLATFORM {
        let before = register(client, index)?;
        let response = client.ask(Request::ExtendPCR {
            index,
            data: vec![1],
        });
        refuses("ExtendPCR of a locked register", response, "ReadOnlyIndex")?;
        let response = client.ask(Request::LockPCR { index });
        refuses("LockPCR of a locked register", response, "ReadOnlyIndex")?;
        equal("locked register", register(client, index)?, before)?;
    }
    Ok(())
}

fn lock(client: &Client) -> Checked {
    let (_, value) = register(client, OURS)?;
    answers(
        "LockPCR",
        client.ask(Request::LockPCR { index: OURS }),
        "LockPCR",
    )?;
    equal("register", register(client, OURS)?, (true, value.clone()))?;
    let response = client.ask(Request::ExtendPCR {
        index: OURS,
        data: vec![1],
    });
    refuses("ExtendPCR after LockPCR", response, "ReadOnlyIndex")?;
    refuses(
        "LockPCR twice",
        client.ask(Request::LockPCR { index: OURS }),
        "ReadOnlyIndex",
    )?;
    equal("register", register(client, OURS)?, (true, value))
}

fn lock_range(client: &Client) -> Checked {
    answers(
        "LockPCRs 0",
        client.ask(Request::LockPCRs { range: 0 }),
        "LockPCRs",
    )?;
    equal("locked registers", locked(client)?, (0..=OURS).collect())?;
    answers(
        "LockPCRs 18",
        client.ask(Request::LockPCRs { range: 18 }),
        "LockPCRs",
    )?;
    equal("locked registers", locked(client)?, (0..18).collect())
}

/// A register that the application locked is in its documents from then on.
fn locked_in_document(client: &Client) -> Checked {
    let document = client.attest([None; 3])?;
    equal("registers in a document", document.pcrs.len(), 18)?;
    let (_, value) = register(client, OURS)?;
    let index = PcrIndex::new(16).map_err(|error| mismatch("index", &16, &error.to_string()))?;
    let in_document = document.pcrs.get(&index).map(|pcr| pcr.as_bytes().to_vec());
    equal("PCR16 in a document", in_document, Some(value))
}

fn register(client: &Client, index: u16) -> Result<(bool, Vec<u8>), Failure> {
    match client.ask(Request::DescribePCR { index }) {
        Response::DescribePCR { lock, data } => Ok((lock, data)),
        other => Err(mismatch("DescribePCR", &"a register", &other)),
    }
}

fn locked(client: &Client) -> Result<Vec<u16>, Failure> {
    match client.ask(Request::DescribeNSM) {
        Response::DescribeNSM { locked_pcrs, .. } => Ok(locked_pcrs.into_iter().collect()),
        other => Err(mismatch("DescribeNSM", &"a description", &other)),
    }
}

fn attestation([user_data, nonce, public_key]: [Option<&[u8]>; 3]) -> Request {
    Request::Attestation {
        user_data: user_data.map(|field| field.to_vec().into()),
        nonce: nonce.map(|field| field.to_vec().into()),
        public_key: public_key.map(|field| field.to_vec().into()),
    }
}

/// Fails unless the response is the one without content that is named.
fn answers(what: &'static str, response: Response, name: &str) -> Checked {
    let named = match response {
        Response::LockPCR => "LockPCR",
        Response::LockPCRs => "LockPCRs",
        _ => "",
    };
    holds(what, named == name, name, response)
}

/// Fails unless the response is the error that is named.
fn refuses(what: &'static str, response: Response, code: &str) -> Checked {
    let refused = match &response {
        Response::Error(error) => name(error) == code,
        _ => false,
    };
    holds(what, refused, code, response)
}

/// AWS's error codes cannot be compared, but written.
fn name(code: &ErrorCode) -> String {
    format!("{code:?}")
}
