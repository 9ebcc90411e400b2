//! A control: the PII application with a leak, which the test for leaks must find.
//!
//! A test that finds no record among the bytes that leave an enclave shows something only if it
//! finds them when they do leave. This application works as the real one, and appends the opened
//! records to its attestation document; and it prints them.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::convert::Infallible;
use std::error::Error;
use std::io::Read;
use std::process::ExitCode;
use std::rc::Rc;

use anchorhold_enclave::frame::{self, MAX_PAYLOAD, Pieces};
use anchorhold_enclave::refusal::chain;
use anchorhold_enclave::serve::{Acceptor, sessions};
use anchorhold_envelope::{ContextRule, DataKey, EncryptionContext, UnverifiedMessage};
use anchorhold_pii::services::{Enclave, Session, Settings};
use anchorhold_pii::session::{self, KeyRequest, Refusal, Services};
use anchorhold_pii::wire::{self, PORT, RECORD_FRAMES};
use zeroize::Zeroizing;

fn main() -> ExitCode {
    match run() {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("anchorhold-leaking: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Infallible, Box<dyn Error>> {
    anchorhold_enclave::random::seed()?;
    let enclave = Enclave::new(Settings::from_env()?)?;
    let acceptor = Acceptor::listen(PORT)?;
    let never = sessions(&acceptor, |from, to| {
        let heard = Rc::new(RefCell::new(Vec::new()));
        let from = Overhearing {
            from,
            heard: Rc::clone(&heard),
        };
        let mut services = Leaking {
            session: enclave.session(),
            heard,
            key: None,
        };
        // A refusal is for its caller; the next one may come.
        let _ = session::serve(from, to, &mut services);
    })?;
    Ok(never)
}

/// Keeps what the parent sends.
struct Overhearing<R> {
    from: R,
    heard: Rc<RefCell<Vec<u8>>>,
}

impl<R: Read> Read for Overhearing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.heard
            .borrow_mut()
            .extend_from_slice(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// Keeps the last key that was released, the records', and their context.
struct Leaking<'a> {
    session: Session<'a>,
    heard: Rc<RefCell<Vec<u8>>>,
    key: Option<(DataKey, EncryptionContext)>,
}

impl Services for Leaking<'_> {
    fn release(&mut self, request: &KeyRequest<'_>) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let released = self.session.release(request)?;
        self.key = DataKey::from_bytes(&released)
            .ok()
            .map(|key| (key, request.context.clone()));
        Ok(released)
    }

    fn attest(&mut self, user_data: &[u8], nonce: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut document = self.session.attest(user_data, nonce)?;
        let records = self.records().map_err(|e| Refusal::new("leak", e))?;
        // To the parent, and to the console.
        println!("{}", String::from_utf8_lossy(&records));
        document.extend_from_slice(&records);
        Ok(document)
    }
}

impl Leaking<'_> {
    fn records(&self) -> Result<Vec<u8>, Box<dyn Error>> {
        let heard = self.heard.borrow();
        let mut from = heard.as_slice();
        let mut payload = Vec::new();
        while frame::read(&mut from, &mut payload, MAX_PAYLOAD)? != wire::TOKEN_KEY {}
        let (key, context) = self.key.as_ref().ok_or("no key was released")?;
        let message = UnverifiedMessage::begin(Pieces::new(from, RECORD_FRAMES))?;
        let context = ContextRule::AtLeast(context.without_reserved());
        let mut opener = message.authenticate(key, &context)?;
        let mut records = Vec::new();
        while let Some(frame) = opener.next_frame()? {
            records.extend_from_slice(frame.peek());
        }
        Ok(records)
    }
}
