use super::*;
use crate::contract::Output;
use crate::testing::{self, NAMES, TestRng};

fn plan(mechanism: Mechanism, epsilon: &str, delta: &str) -> Result<Option<Plan>, NoiseError> {
    let mut terms = testing::terms();
    let number = |text: &str| Decimal::parse(text.as_bytes()).unwrap();
    let bounds = NAMES.map(|party| Bounds {
        column: "amount".to_owned(),
        lower: number("-3"),
        party: party.to_owned(),
        upper: number("1"),
    });
    terms.privacy = Some(Privacy {
        bounds: bounds.into(),
        delta: number(delta),
        epsilon: number(epsilon),
        mechanism,
    });
    Plan::of(&terms)
}

#[test]
fn too_little_epsilon() {
    let rule = |p: Result<Option<Plan>, NoiseError>| p.map(|_| ()).unwrap_err().rule();
    assert_eq!(
        rule(plan(Mechanism::Laplace, "0.000000001", "0")),
        "noise.scale"
    );
    assert_eq!(
        rule(plan(Mechanism::Gaussian, "0.00001", "0.000001")),
        "noise.scale"
    );
}

#[test]
fn a_random_source_that_fails() {
    struct Broken;
    impl rand_core::TryRng for Broken {
        type Error = std::fmt::Error;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Err(std::fmt::Error)
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Err(std::fmt::Error)
        }
        fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Self::Error> {
            Err(std::fmt::Error)
        }
    }
    impl TryCryptoRng for Broken {}
    let plan = plan(Mechanism::Laplace, "1", "0").unwrap().unwrap();
    assert_eq!(plan.count(1, &mut Broken), Err(NoiseError::Random));
}

#[test]
fn queries_are_counted() {
    let mut terms = testing::terms();
    assert_eq!(queries(&terms), 1 + 3);
    terms.parties[0].outputs.insert(1, Output::PairwiseSizes);
    assert_eq!(queries(&terms), 1 + 3 + 3);
    testing::seen(&mut terms, &[Output::OwnSums]);
    terms.parties[2].outputs.clear();
    assert_eq!(queries(&terms), 1 + 2);
    testing::statistics(&mut terms);
    assert_eq!(queries(&terms), 1 + 1 + 3);
    terms.computation = Computation::Overlap {};
    assert_eq!(queries(&terms), 2);
}

fn moments(mut draw: impl FnMut() -> i128) -> (f64, f64) {
    let draws: Vec<f64> = (0..20_000).map(|_| draw() as f64).collect();
    let n = draws.len() as f64;
    let mean = draws.iter().sum::<f64>() / n;
    (
        mean,
        draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n,
    )
}

/// Draws are deterministic here, so the tolerances (about five standard errors) hold or not.
#[test]
fn the_distributions_have_their_moments() {
    let mut rng = TestRng(5);
    // Discrete Laplace of scale b: variance 2 e^(1/b) / (e^(1/b) - 1)^2.
    for (t, s) in [(1, 2), (1, 1), (7, 2), (30, 1)] {
        let q = (s as f64 / t as f64).exp();
        let expected = 2.0 * q / (q - 1.0).powi(2);
        let (mean, variance) = moments(|| laplace(t, s, &mut rng).unwrap());
        assert!(mean.abs() < 5.0 * (expected / 20_000.0).sqrt(), "{mean}");
        assert!(
            (variance / expected - 1.0).abs() < 0.12,
            "{variance} {expected}"
        );
    }
    for expected in [1_u128, 9, 1000] {
        let (mean, variance) = moments(|| gaussian(expected, &mut rng).unwrap());
        let expected = expected as f64;
        assert!(mean.abs() < 5.0 * (expected / 20_000.0).sqrt(), "{mean}");
        assert!(
            (variance / expected - 1.0).abs() < 0.06,
            "{variance} {expected}"
        );
    }
}

#[test]
fn the_largest_scales_do_not_overflow() {
    let mut rng = TestRng(6);
    for _ in 0..2000 {
        laplace(
            MAX_SCALE * 20 * ONE.unsigned_abs(),
            20 * ONE.unsigned_abs(),
            &mut rng,
        )
        .unwrap();
        gaussian(MAX_VARIANCE, &mut rng).unwrap();
    }
}

#[test]
fn a_variance_is_enough() {
    // With one query, ε = 1, δ = 10^-6: ρ = (√(ln 10^6 + 1) − √(ln 10^6))² = 0.01745…
    let mut plan = plan(Mechanism::Gaussian, "1", "0.000001").unwrap().unwrap();
    plan.queries = 1;
    assert_eq!(plan.variance(1), 29);
    let rho: f64 = 1.0 / (2.0 * 29.0);
    assert!(rho + 2.0 * (rho * 1e6_f64.ln()).sqrt() <= 1.0);
}

#[test]
fn sums_are_noisy_on_a_grid() {
    let plan = plan(Mechanism::Laplace, "20", "0").unwrap().unwrap();
    let bounds = plan.bounds("ann", "amount").unwrap().clone();
    let mut rng = TestRng(7);
    let (mean, _) = moments(|| plan.sum(ONE * 1000, &bounds, &mut rng).unwrap().0 / (ONE / 1000));
    // Sensitivity 3, a fifth of a unit of ε each: scale 0.6, so 0.85 / √20000 for the mean.
    assert!((mean / 1000.0 - 1000.0).abs() < 0.05, "{mean}");
}
