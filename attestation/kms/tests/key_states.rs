//! States of keys: what each permits, and how it changes.

mod common;

use std::time::Duration;

use anchorhold_kms_core::key::{DeletionWindow, KeyMetadata, KeyState};
use anchorhold_kms_core::material::MaterialId;
use anchorhold_kms_core::operation::Operation;
use anchorhold_kms_core::{Exception, KmsError};
use common::{KEY, key_arn, now};

fn key() -> KeyMetadata {
    KeyMetadata::new(
        key_arn(),
        now(),
        String::new(),
        MaterialId::from_bytes([1; 32]),
    )
}

fn in_state(state: KeyState) -> KeyMetadata {
    let date = (state == KeyState::PendingDeletion).then(now);
    key().with_state(state, date).expect("a state")
}

/// <https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html#key-state-table>
#[test]
fn the_table_of_states() {
    use Operation as O;
    let disabled = (Exception::Disabled, format!("{KEY} is disabled."));
    let pending = (
        Exception::KmsInvalidState,
        format!("{KEY} is pending deletion."),
    );
    let not_pending = (
        Exception::KmsInvalidState,
        format!("{KEY} is not pending deletion."),
    );
    for operation in O::ALL {
        let expected = |state: KeyState| match (operation, state) {
            (O::CancelKeyDeletion, KeyState::Enabled | KeyState::Disabled) => Some(&not_pending),
            (
                O::Encrypt | O::Decrypt | O::GenerateDataKey | O::GenerateDataKeyWithoutPlaintext,
                KeyState::Disabled,
            ) => Some(&disabled),
            (
                O::Encrypt
                | O::Decrypt
                | O::GenerateDataKey
                | O::GenerateDataKeyWithoutPlaintext
                | O::CreateAlias
                | O::UpdateAlias
                | O::EnableKey
                | O::DisableKey
                | O::ScheduleKeyDeletion,
                KeyState::PendingDeletion,
            ) => Some(&pending),
            _ => None,
        };
        for state in [
            KeyState::Enabled,
            KeyState::Disabled,
            KeyState::PendingDeletion,
        ] {
            let got = in_state(state).permits(operation).err();
            let got = got.map(|error| (error.exception(), error.to_string()));
            assert_eq!(got.as_ref(), expected(state), "{operation} {state}");
        }
    }
}

#[test]
fn states_change_as_the_table_permits() {
    let mut key = key();
    assert_eq!(
        (key.state(), key.deletion_date()),
        (KeyState::Enabled, None)
    );
    assert_eq!(
        key.cancel_deletion().unwrap_err().exception(),
        Exception::KmsInvalidState
    );
    key.disable().expect("disabled");
    key.disable().expect("disabled again");
    assert_eq!(key.state(), KeyState::Disabled);
    key.enable().expect("enabled");

    let window = DeletionWindow::from_days(7).expect("a window");
    let at = key.schedule_deletion(now(), window).expect("scheduled");
    assert_eq!(at, now() + Duration::from_secs(7 * 86_400));
    assert_eq!(
        (key.state(), key.deletion_date()),
        (KeyState::PendingDeletion, Some(at))
    );
    for refused in [key.clone().enable(), key.clone().disable()] {
        assert_eq!(refused.unwrap_err().exception(), Exception::KmsInvalidState);
    }
    assert!(key.clone().schedule_deletion(now(), window).is_err());
    assert!(!key.is_due_for_deletion(at - Duration::from_millis(1)));
    assert!(key.is_due_for_deletion(at));

    key.cancel_deletion().expect("cancelled");
    assert_eq!(
        (key.state(), key.deletion_date()),
        (KeyState::Disabled, None)
    );
    assert!(!key.is_due_for_deletion(at));
}

#[test]
fn waiting_periods_have_7_to_30_days() {
    for days in [i64::MIN, -7, 0, 1, 6, 31, 365, 263, i64::MAX] {
        let error: KmsError = DeletionWindow::from_days(days).unwrap_err();
        assert_eq!(
            (error.exception(), error.rule()),
            (Exception::Validation, "key.deletion-window")
        );
    }
    assert_eq!(DeletionWindow::default().days(), 30);
    assert_eq!(DeletionWindow::from_days(7).expect("a window").days(), 7);
}

#[test]
fn a_deletion_date_belongs_to_its_state() {
    assert!(key().with_state(KeyState::Enabled, Some(now())).is_err());
    assert!(key().with_state(KeyState::Disabled, Some(now())).is_err());
    assert!(key().with_state(KeyState::PendingDeletion, None).is_err());
}

#[test]
fn states_have_names() {
    for state in [
        KeyState::Enabled,
        KeyState::Disabled,
        KeyState::PendingDeletion,
    ] {
        assert_eq!(state.name().parse(), Ok(state));
    }
    assert!("enabled".parse::<KeyState>().is_err());
    assert!("PendingImport".parse::<KeyState>().is_err());
}
