//! Measures sealing and opening with both implementations of the primitives.
//!
//! ```sh
//! cargo run --release -p anchorhold-envelope --example throughput
//! ```

use std::error::Error;
use std::io::Write;
use std::time::{Duration, Instant};

use anchorhold_envelope::crypto::{AwsLc, Provider, RustCrypto};
use anchorhold_envelope::limits::Limits;
use anchorhold_envelope::{
    ContextRule, DataKey, EncryptedDataKey, EncryptionContext, SealPlan, Suite, UnverifiedMessage,
};

/// Plaintext of one large message, in bytes.
const LARGE: usize = 64 << 20;
/// Messages of one frame that are sealed and opened.
const SMALL: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    println!("implementation  suite   frame    seal MB/s  open MB/s   small seal/s  small open/s");
    for provider in [&AwsLc as &'static dyn Provider, &RustCrypto] {
        for suite in [Suite::Committed, Suite::CommittedSigned] {
            for frame_length in [4096, 65_536] {
                let (seal, open) = measure(provider, suite, frame_length, LARGE, 1)?;
                let (small_seal, small_open) = measure(provider, suite, frame_length, 64, SMALL)?;
                let rate = |time: Duration| LARGE as f64 / 1e6 / time.as_secs_f64();
                let count = |time: Duration| SMALL as f64 / time.as_secs_f64();
                println!(
                    "{:<14}  {:#06x}  {frame_length:>6}  {:>9.0}  {:>9.0}  {:>13.0} {:>13.0}",
                    provider.name(),
                    suite.id(),
                    rate(seal),
                    rate(open),
                    count(small_seal),
                    count(small_open),
                );
            }
        }
    }
    Ok(())
}

/// Time to seal and time to open so many messages of one length.
fn measure(
    provider: &'static dyn Provider,
    suite: Suite,
    frame_length: u32,
    length: usize,
    messages: usize,
) -> Result<(Duration, Duration), Box<dyn Error>> {
    let plaintext = vec![7; length];
    let key = DataKey::generate()?;
    let mut sealed = Vec::new();
    let start = Instant::now();
    for _ in 0..messages {
        let plan = SealPlan::new_with(suite, EncryptionContext::empty(), provider)?;
        let plan = plan.with_frame_length(frame_length)?;
        let wrapped = EncryptedDataKey::new("example", [], *b"wrapped")?;
        let output = Vec::with_capacity(length + length / 64 + 1024);
        let mut sealer = plan.seal_to(output, &key, vec![wrapped])?;
        sealer.write_all(&plaintext)?;
        sealed.push(sealer.finish()?.0);
    }
    let sealing = start.elapsed();
    let rule = ContextRule::Exactly(EncryptionContext::empty());
    let start = Instant::now();
    for message in &sealed {
        let begun = UnverifiedMessage::begin_with(&message[..], Limits::default(), provider)?;
        let opener = begun.authenticate(&key, &rule)?;
        let mut sink = opener.unreleased(std::io::sink());
        opener.open_into(&mut sink)?;
    }
    Ok((sealing, start.elapsed()))
}
