//! Which rule an error is about.

use anchorhold_enclave::kms::KmsError;
use anchorhold_joint::approval::ApprovalError;
use anchorhold_joint::contract::ContractError;
use anchorhold_owner::access::AccessError;
use anchorhold_owner::seal::SealingError;
use anchorhold_party::answer::CheckError;
use anchorhold_party::image::ImageError;
use anchorhold_party::keys::KeysError;
use anchorhold_party::offer::OfferError;
use anchorhold_party::package::PackageError;
use anchorhold_party::review::ReviewError;

/// The rule behind an error, where one refused.
pub fn rule(error: &anyhow::Error) -> String {
    // The innermost error that names a rule is the one that refused.
    error
        .chain()
        .filter_map(of)
        .last()
        .unwrap_or_else(|| "party.usage".to_owned())
}

fn of(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(kms) = error.downcast_ref::<KmsError>() {
        return Some(match kms.refusal() {
            Some(refusal) => format!("kms.{}", refusal.code),
            None => kms.rule().to_owned(),
        });
    }
    let rule = None
        .or_else(|| error.downcast_ref().map(ContractError::rule))
        .or_else(|| error.downcast_ref().map(ApprovalError::rule))
        .or_else(|| error.downcast_ref().map(AccessError::rule))
        .or_else(|| error.downcast_ref().map(SealingError::rule))
        .or_else(|| error.downcast_ref().map(CheckError::rule))
        .or_else(|| error.downcast_ref().map(ImageError::rule))
        .or_else(|| error.downcast_ref().map(KeysError::rule))
        .or_else(|| error.downcast_ref().map(OfferError::rule))
        .or_else(|| error.downcast_ref().map(PackageError::rule))
        .or_else(|| error.downcast_ref().map(ReviewError::rule));
    rule.map(str::to_owned)
}
