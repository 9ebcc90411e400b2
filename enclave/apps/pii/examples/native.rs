//! The application's work on the host, to hold the enclave's speed against: opens a sealed file of
//! records, processes it and seals the answer, without KMS and security module.
//!
//! ```text
//! cargo run --profile measured -p anchorhold-pii --example native -- job.json records.csv
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write};
use std::time::Instant;

use anchorhold_enclave::frame::{self, FrameWriter};
use anchorhold_envelope::{
    DataKey, EncryptedDataKey, EncryptionContext, SealPlan, Suite, UnverifiedMessage,
};
use anchorhold_pii::contexts;
use anchorhold_pii::job::Job;
use anchorhold_pii::session::{KeyRequest, Refusal, Services, serve};
use anchorhold_pii::wire;
use zeroize::Zeroizing;

const ARN: &str = "arn:aws:kms:eu-test-1:111122223333:key/0a1b";

/// Data keys by their wrapped form.
#[derive(Default)]
struct Keys(BTreeMap<Vec<u8>, DataKey>);

impl Services for Keys {
    fn release(&mut self, request: &KeyRequest<'_>) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let key = self.0.get(request.ciphertext);
        key.map(|key| Zeroizing::new(key.expose().to_vec()))
            .ok_or_else(|| Refusal::new("keys.unknown", "no such key"))
    }

    fn attest(&mut self, _: &[u8], _: &[u8]) -> Result<Vec<u8>, Refusal> {
        Ok(Vec::new())
    }
}

impl Keys {
    fn seal(&mut self, context: EncryptionContext, text: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
        let plan = SealPlan::new(Suite::CommittedSigned, context)?;
        let key = DataKey::generate()?;
        let wrapped = format!("wrapped {}", self.0.len()).into_bytes();
        let edk = EncryptedDataKey::aws_kms(ARN, wrapped.clone())?;
        let mut sealer = plan.seal_to(Vec::new(), &key, vec![edk])?;
        self.0.insert(wrapped, key);
        sealer.write_all(text)?;
        Ok(sealer.finish()?.0)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(job), Some(records)) = (arguments.next(), arguments.next()) else {
        return Err("usage: native JOB RECORDS".into());
    };
    let draft = std::fs::read(job)?;
    let records = std::fs::read(records)?;

    let mut keys = Keys::default();
    let nameless = Job::from_draft(&draft, &[0; 48])?;
    let token_key = keys.seal(contexts::token_key(nameless.data_set())?, &[3; 32])?;
    let named = UnverifiedMessage::begin(token_key.as_slice())?.header_sha384();
    let job = Job::from_draft(&draft, &named)?;
    let sealed = keys.seal(contexts::records(&job)?, &records)?;
    let mut submission = Vec::new();
    frame::write(&mut submission, wire::JOB, job.canonical())?;
    frame::write(&mut submission, wire::CHALLENGE, &[7; 32])?;
    frame::write(&mut submission, wire::CREDENTIALS, b"{}")?;
    frame::write(&mut submission, wire::TOKEN_KEY, &token_key)?;
    let mut frames = FrameWriter::new(&mut submission, wire::RECORDS);
    frames.write_all(&sealed)?;
    frames.flush()?;
    frame::write(&mut submission, wire::END, b"")?;

    let start = Instant::now();
    let rows = serve(submission.as_slice(), &mut io::sink(), &mut keys).map_err(|e| e.message)?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{}",
        serde_json::json!({ "rows": rows.read, "seconds": seconds })
    );
    Ok(())
}
