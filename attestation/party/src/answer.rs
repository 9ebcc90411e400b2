//! A party's check of its answer: who computed it, from which files, under which contract, for which
//! challenge.

use std::collections::BTreeMap;
use std::path::Path;

use anchorhold_joint::contract::Contract;
use anchorhold_joint::outputs::PartyOutput;
use anchorhold_joint::statement::Statement;
use anchorhold_joint_enclave::answer::{
    AnswerError, MAX_ANSWER, challenge_of, open, statement_from_json,
};
use anchorhold_owner::access::{AccessError, MAX_FILE, read};
use anchorhold_verifier::{
    AppraisalPolicy, Appraised, RootSha256, TrustRoots, UnverifiedDocument, VerifyError,
};
use serde::Serialize;
use sha2::{Digest, Sha384};

use crate::image::{ImageError, registers};

/// Why an answer is not believed.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A file.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The document does not verify.
    #[error("the answers' document is refused")]
    Document(#[from] VerifyError),
    /// The answer or the statement is none.
    #[error("the answer does not open")]
    Answer(#[from] AnswerError),
    /// The contract's registers cannot be read.
    #[error("the contract's image cannot be read")]
    Image(#[from] ImageError),
    /// The given roots do not hold the one that the contract names for this party.
    #[error("the contract names the root {expected} for {party}, which is not among the given")]
    Root {
        /// The party.
        party: String,
        /// The contract's.
        expected: String,
    },
    /// The statement is not about this contract, this answer or this challenge.
    #[error("the statement's {part} is not {expected}")]
    Statement {
        /// What differs.
        part: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// The answers were computed from another file of the party's than the one that it stands by.
    #[error(
        "the answers were computed from the file with the header {got}, and not from {expected}"
    )]
    Input {
        /// SHA-384 of the header that the party approved.
        expected: String,
        /// What the statement names.
        got: String,
    },
    /// What was opened is no answer to this party under this contract.
    #[error("the opened answer is not one to {party} under this contract")]
    Output {
        /// The party.
        party: String,
    },
}

impl CheckError {
    /// The rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Access(error) => error.rule(),
            Self::Document(error) => error.rule(),
            Self::Answer(error) => error.rule(),
            Self::Image(error) => error.rule(),
            Self::Root { .. } => "answer.root",
            Self::Statement { part, .. } => part_rule(part),
            Self::Input { .. } => "statement.input",
            Self::Output { .. } => "answer.output",
        }
    }
}

fn part_rule(part: &str) -> &'static str {
    match part {
        "contract" => "statement.contract",
        "challenge" => "statement.challenge",
        "parties" => "statement.parties",
        _ => "statement.answer",
    }
}

/// What a party expects of an answer.
pub struct Expected<'a> {
    /// The contract.
    pub contract: &'a Contract,
    /// The party.
    pub party: &'a str,
    /// The challenge that it gave.
    pub challenge: &'a [u8],
    /// SHA-384 of the header of its sealed file, as it approved it. An approval that it signed for
    /// another file before is still valid, and the host may have used that one.
    pub input: &'a [u8; 48],
    /// The roots that it trusts; the contract's must be among them.
    pub roots: &'a TrustRoots,
    /// Age of the document. Registers, nonce and user data are set here.
    pub appraisal: AppraisalPolicy,
    /// The private answer key, PKCS#8 in DER.
    pub private_key: &'a [u8],
}

/// An answer that has verified.
#[derive(Debug, Serialize)]
pub struct VerifiedAnswer {
    /// SHA-384 of the sealed answer, as the statement names it.
    pub answer_sha384: String,
    /// What the document says of who computed it.
    pub document: DocumentSummary,
    /// By party, SHA-384 of the header of the sealed file that the answers were computed from: two
    /// runs under one contract were over the same files where all of these are the same.
    pub inputs: BTreeMap<String, String>,
    /// What the party may see.
    pub output: PartyOutput,
}

/// The document of a verified answer.
#[derive(Debug, Serialize)]
pub struct DocumentSummary {
    /// The enclave.
    pub module_id: String,
    /// The root that it chains to.
    pub root_sha256: String,
    /// SHA-384 of the document.
    pub sha384: String,
    /// When it was signed, RFC 3339.
    pub signed_at: String,
    /// Always true: a document that does not verify gives no answer.
    pub verified: bool,
}

impl Expected<'_> {
    /// Checks the document of the answers in `dir`, then opens the party's own.
    ///
    /// It establishes that the contract's image, on a platform of the root that the contract names
    /// for this party, sealed this answer for this party under this contract, computed from the file
    /// that this party stands by, after the party made its challenge. It does not establish that the
    /// other parties' files are true, or those that they stand by (they check that themselves), nor
    /// that the platform's host was honest: see the README's limits.
    ///
    /// # Errors
    /// [`CheckError`].
    pub fn open(&self, dir: &Path) -> Result<VerifiedAnswer, CheckError> {
        const { assert!(MAX_FILE < MAX_ANSWER as u64) };
        let roots = self.roots()?;
        let bytes = read(&dir.join("document.cose"))?;
        let sealed = read(&dir.join(format!("{}.esdk", self.party)))?;
        let statement = statement_from_json(&read(&dir.join("statement.json"))?)?;
        let answer_sha384 = self.check_statement(&statement, &sealed)?;
        let nonce = hex::decode(&self.contract.terms().nonce).unwrap_or_default();
        let policy = AppraisalPolicy {
            pcrs: registers(self.contract)?,
            nonce: Some(nonce),
            user_data: Some(statement.user_data().to_vec()),
            ..self.appraisal.clone()
        };
        let document = UnverifiedDocument::parse(&bytes)?;
        let document = document.authenticate(&roots, policy.now)?;
        let appraised = document.appraise(&policy)?;
        // Only now is the answer anybody's.
        let plaintext = open(self.contract, self.party, &sealed, self.private_key)?;
        let wrong = || CheckError::Output {
            party: self.party.to_owned(),
        };
        let output = PartyOutput::parse(&plaintext).map_err(|_| wrong())?;
        let hash = self.contract.hash().to_string();
        if output.party != self.party || output.contract_sha384 != hash {
            return Err(wrong());
        }
        Ok(VerifiedAnswer {
            answer_sha384: hex::encode(answer_sha384),
            document: summary(&appraised, &bytes),
            inputs: by_party(&statement.inputs),
            output,
        })
    }

    /// The root that the contract names for the party, if the party trusts it.
    fn roots(&self) -> Result<TrustRoots, CheckError> {
        let terms = self.contract.party(self.party);
        let expected = terms.map_or("", |(_, terms)| &terms.platform_root);
        let mut root = [0; 32];
        let known = hex::decode_to_slice(expected, &mut root).is_ok()
            && self.roots.contains(&RootSha256(root));
        if !known {
            return Err(CheckError::Root {
                party: self.party.to_owned(),
                expected: expected.to_owned(),
            });
        }
        let mut roots = TrustRoots::new();
        roots.insert(RootSha256(root));
        Ok(roots)
    }

    /// Checks what the statement says against what the party knows and has.
    fn check_statement(&self, said: &Statement, sealed: &[u8]) -> Result<[u8; 48], CheckError> {
        let demand = |holds, part, expected| match holds {
            true => Ok(()),
            false => Err(CheckError::Statement { part, expected }),
        };
        let contract = self.contract;
        demand(
            said.contract == contract.hash(),
            "contract",
            "the one at hand",
        )?;
        for named in [&said.inputs, &said.answers] {
            let names = contract.parties().iter().map(|party| &party.name);
            demand(
                names.eq(named.iter().map(|(name, _)| name)),
                "parties",
                "those of the contract",
            )?;
        }
        demand(
            challenge_of(contract, self.party, said) == Some(self.challenge),
            "challenge",
            "the one that was given",
        )?;
        self.check_input(said)?;
        let hash: [u8; 48] = Sha384::digest(sealed).into();
        demand(
            said.answer_of(self.party) == Some(&hash),
            "answer",
            "the one at hand",
        )?;
        Ok(hash)
    }

    /// Checks that the run took the file that the party stands by.
    fn check_input(&self, said: &Statement) -> Result<(), CheckError> {
        let got = said.input_of(self.party);
        if got == Some(self.input) {
            return Ok(());
        }
        Err(CheckError::Input {
            expected: hex::encode(self.input),
            got: got.map(hex::encode).unwrap_or_default(),
        })
    }
}

fn by_party(hashes: &[(String, [u8; 48])]) -> BTreeMap<String, String> {
    let hashes = hashes.iter();
    hashes
        .map(|(party, hash)| (party.clone(), hex::encode(hash)))
        .collect()
}

fn summary(appraised: &Appraised, bytes: &[u8]) -> DocumentSummary {
    DocumentSummary {
        module_id: appraised.document().module_id.clone(),
        root_sha256: appraised.root_sha256().to_string(),
        sha384: hex::encode(Sha384::digest(bytes)),
        signed_at: appraised.signed_at().to_string(),
        verified: true,
    }
}
