//! One submission: from the first frame to the last.
//!
//! The order is the protocol's safety: contract, clock, own measurement, approvals, contexts, and
//! only then keys; tables are filled while files come in, but nothing is computed from them before
//! every file has verified to its last byte. Rows for which memory is short wait at the host, sealed
//! under a key that this session makes and forgets.

use std::io::{BufReader, Read, Write};

use anchorhold_enclave::frame::{self, PIECE, Pieces};
use anchorhold_enclave::refusal::{Refusal, chain};
use anchorhold_envelope::{DataKey, OpenError, UnverifiedMessage};
use anchorhold_joint::approval::Approved;
use anchorhold_joint::contract::{Contract, Party};
use anchorhold_joint::keys::TagKey;
use anchorhold_joint::pages::{Pages, Shape};
use anchorhold_joint::statement::Statement;
use anchorhold_joint::table::{Table, TableError, TableReader};
use anchorhold_joint::{compute, outputs};
use sha2::{Digest, Sha384};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::answer;
use crate::pages::{HostPages, Incoming};
use crate::random::Random;
use crate::submission::{self, Measured, Part, SealedKey};
use crate::wire;

/// What a session needs of the world.
pub trait Services {
    /// The enclave's clock.
    fn now(&self) -> OffsetDateTime;

    /// The registers of this very enclave.
    ///
    /// # Errors
    /// The security module fails.
    fn measured(&mut self) -> Result<Measured, Refusal>;

    /// How many bytes all rows together may take; what is beyond goes to the host, sealed.
    fn memory(&self) -> usize;

    /// The plaintext of a party's data key, released by its KMS to this enclave for this contract.
    ///
    /// # Errors
    /// The KMS refuses or cannot be reached.
    fn release(&mut self, request: &KeyRequest<'_>) -> Result<Zeroizing<Vec<u8>>, Refusal>;

    /// An attestation document over `user_data` and `nonce`.
    ///
    /// # Errors
    /// The security module fails.
    fn attest(&mut self, user_data: &[u8], nonce: &[u8]) -> Result<Vec<u8>, Refusal>;
}

/// A data key to be released.
pub struct KeyRequest<'a> {
    /// The contract, which names the party's KMS and key.
    pub contract: &'a Contract,
    /// The party's name.
    pub party: &'a str,
    /// JSON of the enclave's credentials at the party's KMS, as the host gave it.
    pub credentials: &'a [u8],
    /// The wrapped data key and its context.
    pub key: &'a SealedKey,
}

/// What a run did, for the console: no figure of any file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// How many parties were answered.
    pub parties: usize,
}

/// Runs one submission on a connection. On a refusal its last frame says why.
///
/// # Errors
/// The refusal.
pub fn serve(
    from: impl Read,
    to: &mut impl Write,
    services: &mut impl Services,
) -> Result<Done, Refusal> {
    let result = run(from, to, services);
    if let Err(refusal) = &result {
        refusal.send(to, wire::REFUSED);
    }
    result
}

fn run(
    mut from: impl Read,
    to: &mut impl Write,
    services: &mut impl Services,
) -> Result<Done, Refusal> {
    let contract = submission::contract(&mut from)?;
    submission::check_here(&contract, services.now(), &services.measured()?)?;
    let mut parts = submission::parts(&mut from)?;
    let (approved, sealed) = submission::check(&contract, &parts)?;
    // From here on keys are released, each counted by its KMS.
    let keys = keys(&contract, &parts, &sealed, services)?;
    let outputs = {
        let from = Incoming::new(from);
        let memory = services.memory();
        let shape = Shape::of(memory, parts.len());
        let mut pages = Pages::new(HostPages::new(&from, to), shape, &mut Random)
            .map_err(|e| Refusal::new(e.rule(), chain(&e)))?;
        let tables = tables(&contract, &mut parts, &keys, memory, &from, &mut pages)?;
        outputs(&approved, &tables, &mut pages)?
    };
    let statement = answer_all(&approved, &parts, outputs, to)?;
    finish(&contract, &statement, services, to)?;
    Ok(Done {
        parties: statement.answers.len(),
    })
}

/// A party's name, and what it may see, before it is sealed.
type Plain = (String, Zeroizing<Vec<u8>>);

/// Has every party's KMS release its data key.
fn keys(
    contract: &Contract,
    parts: &[Part],
    sealed: &[SealedKey],
    services: &mut impl Services,
) -> Result<Vec<DataKey>, Refusal> {
    let mut keys = Vec::with_capacity(parts.len());
    for (part, key) in parts.iter().zip(sealed) {
        let released = services.release(&KeyRequest {
            contract,
            party: &part.party,
            credentials: &part.credentials,
            key,
        })?;
        let key = DataKey::from_bytes(&released);
        keys.push(key.map_err(|e| Refusal::of(&part.party, e.rule(), chain(&e)))?);
    }
    Ok(keys)
}

/// Reads every party's file to its end. All tables together rest on whole, authentic files. What
/// one leaves of its share of the memory, those behind it share.
fn tables(
    contract: &Contract,
    parts: &mut [Part],
    keys: &[DataKey],
    memory: usize,
    mut from: impl Read,
    pages: &mut Pages<'_>,
) -> Result<Vec<Table>, Refusal> {
    let tags = TagKey::generate(&mut Random).map_err(|e| Refusal::new(e.rule(), e))?;
    let mut left = memory;
    let mut tables = Vec::with_capacity(parts.len());
    let sharing = (1..=parts.len()).rev();
    for ((part, key), sharing) in parts.iter_mut().zip(keys).zip(sharing) {
        let start = std::mem::take(&mut part.start);
        let file = Pieces::after(start, &mut from, wire::RECORD_FRAMES);
        let reader = TableReader::new(contract, &part.party, &tags, left / sharing, Some(pages));
        let reader = reader.map_err(|e| unusable(&part.party, &e))?;
        let table = table(contract, &part.party, key, reader, file)?;
        let values = contract.party(&part.party).map(|(_, p)| p.values().count());
        left = left.saturating_sub(table.bytes(values.unwrap_or_default()));
        tables.push(table);
    }
    Ok(tables)
}

fn unusable(party: &str, error: &TableError) -> Refusal {
    Refusal::of(party, error.rule(), chain(error))
}

/// Streams one party's file into a table; there is one only once the file has verified to its last
/// byte.
fn table(
    contract: &Contract,
    party: &str,
    key: &DataKey,
    reader: TableReader<'_, '_>,
    file: impl Read,
) -> Result<Table, Refusal> {
    let refused = |e: OpenError| Refusal::of(party, format!("records.{}", e.rule()), chain(&e));
    let unusable = |e: TableError| unusable(party, &e);
    let rule = submission::context_rule(contract, party)?;
    let file = BufReader::with_capacity(PIECE, file);
    let message = UnverifiedMessage::begin(file).map_err(refused)?;
    let mut opener = message.authenticate(key, &rule).map_err(refused)?;
    let mut reader = opener.unreleased(reader);
    while let Some(frame) = opener.next_frame().map_err(refused)? {
        reader.peek_mut().feed(frame.peek()).map_err(unusable)?;
    }
    let verified = opener.finish().map_err(refused)?;
    let reader = reader
        .release(&verified)
        .map_err(|e| Refusal::of(party, e.rule(), e))?;
    reader.finish().map_err(unusable)
}

/// Computes what the contract says, and cuts it to what each party may see.
fn outputs(
    approved: &Approved<'_>,
    tables: &[Table],
    pages: &mut Pages<'_>,
) -> Result<Vec<Plain>, Refusal> {
    let contract = approved.contract();
    let report = compute::run(contract, tables, Some(pages), &mut Random)
        .map_err(|e| Refusal::because(e.rule(), &e))?;
    let output = |party: &Party| {
        let name = &party.name;
        let missing = || Refusal::of(name, "compute.tables", "there is no table");
        let table = tables.iter().find(|table| table.party() == name);
        let rows = table.ok_or_else(missing)?.report();
        let output = outputs::for_party(contract, name, &report, rows).ok_or_else(missing)?;
        let bytes = output.to_bytes();
        let bytes = bytes.map_err(|e| Refusal::of(name, "answer.json", chain(&e)))?;
        Ok((name.clone(), Zeroizing::new(bytes)))
    };
    contract.parties().iter().map(output).collect()
}

/// Seals and sends every party's answer, and states what was sent.
fn answer_all(
    approved: &Approved<'_>,
    parts: &[Part],
    outputs: Vec<Plain>,
    to: &mut impl Write,
) -> Result<Statement, Refusal> {
    let contract = approved.contract();
    let mut answers = Vec::with_capacity(outputs.len());
    for (party, plaintext) in outputs {
        let sealed = answer::seal(contract, &party, &plaintext)
            .map_err(|e| Refusal::because(e.rule(), &e))?;
        frame::write(to, wire::ANSWER_TO, party.as_bytes())
            .and_then(|()| frame::write_pieces(to, wire::ANSWER, &sealed))
            .map_err(broken)?;
        answers.push((party, Sha384::digest(&sealed).into()));
    }
    let mut challenge = Vec::new();
    for party in contract.parties() {
        let part = parts.iter().find(|part| part.party == party.name);
        challenge.extend_from_slice(part.map_or(&[], |part| part.challenge.as_slice()));
    }
    Ok(Statement {
        contract: contract.hash(),
        challenge,
        inputs: approved.inputs().to_vec(),
        answers,
    })
}

/// Sends the statement and the document over it, with the contract's nonce.
fn finish(
    contract: &Contract,
    statement: &Statement,
    services: &mut impl Services,
    to: &mut impl Write,
) -> Result<(), Refusal> {
    let nonce = hex::decode(&contract.terms().nonce)
        .map_err(|_| Refusal::new("contract.nonce", "expected hex digits"))?;
    let document = services.attest(&statement.user_data(), &nonce)?;
    let json = answer::statement_to_json(statement).map_err(|e| Refusal::because(e.rule(), &e))?;
    frame::write(to, wire::STATEMENT, &json)
        .and_then(|()| frame::write(to, wire::DOCUMENT, &document))
        .and_then(|()| frame::write(to, wire::DONE, b""))
        .and_then(|()| to.flush())
        .map_err(broken)
}

fn broken(error: std::io::Error) -> Refusal {
    Refusal::new("wire.connection", error)
}
