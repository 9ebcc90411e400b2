//! Statement files, which a party has from the host.

use anchorhold_joint::contract::ContractHash;
use anchorhold_joint::statement::Statement;
use anchorhold_joint_enclave::answer::{MAX_STATEMENT, statement_from_json, statement_to_json};
use proptest::array::uniform;
use proptest::collection::vec;
use proptest::prelude::*;

fn hashes() -> impl Strategy<Value = Vec<(String, [u8; 48])>> {
    vec(("[a-z0-9-]{1,32}", uniform(any::<u8>())), 0..17)
}

fn statement() -> impl Strategy<Value = Statement> {
    let challenge = vec(any::<u8>(), 0..513);
    let parts = (uniform(any::<u8>()), challenge, hashes(), hashes());
    parts.prop_map(|(contract, challenge, inputs, answers)| Statement {
        contract: ContractHash(contract),
        challenge,
        inputs,
        answers,
    })
}

#[test]
fn the_largest_statement_fits() {
    let hashes = || (10..26).map(|i| (format!("{i:032}"), [0xFF; 48])).collect();
    let statement = Statement {
        contract: ContractHash([0xFF; 48]),
        challenge: vec![0xFF; 16 * 32],
        inputs: hashes(),
        answers: hashes(),
    };
    let json = statement_to_json(&statement).unwrap();
    assert!(json.len() <= MAX_STATEMENT / 2, "{}", json.len());
    let spaced = [json, vec![b' '; MAX_STATEMENT]].concat();
    assert_eq!(
        statement_from_json(&spaced).unwrap_err().rule(),
        "answer.statement"
    );
}

proptest! {
    #[test]
    fn round_trip_and_nothing_moves(statement in statement()) {
        let json = statement_to_json(&statement).unwrap();
        let read = statement_from_json(&json).unwrap();
        prop_assert_eq!(read.user_data(), statement.user_data());
        prop_assert_eq!(read, statement);
    }

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..400)) {
        prop_assert!(statement_from_json(&bytes).is_err());
    }

    /// A byte that is changed is refused, or is in what the document is about.
    #[test]
    fn no_other_byte(statement in statement(), at: usize, bit in 0_u32..8) {
        let mut json = statement_to_json(&statement).unwrap();
        let at = at % json.len();
        json[at] ^= 1 << bit;
        if let Ok(changed) = statement_from_json(&json) {
            // Digits are read in either case.
            let same = changed == statement;
            prop_assert!(same || changed.user_data() != statement.user_data());
        }
    }
}
