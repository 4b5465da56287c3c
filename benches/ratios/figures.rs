//! What was measured, and the middle of many.

/// One measurement of one contender.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// The figure, in the work's unit.
    pub(crate) value: f64,
    /// Further figures, each with its name.
    pub(crate) extras: Vec<(&'static str, f64)>,
}

impl Sample {
    /// Of a figure alone.
    pub(crate) fn of(value: f64) -> Self {
        Self { value, extras: Vec::new() }
    }
}

/// The middle one; of an even number the mean of the two in the middle. NaN of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which a `part` of them lies, between two of them in proportion. NaN of none.
pub(crate) fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = part * sorted.len().saturating_sub(1) as f64;
    let at = |index: f64| sorted.get(index as usize).copied().unwrap_or(f64::NAN);
    let (below, above) = (at(place.floor()), at(place.ceil()));
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_the_values() {
        let values = [4.0, 1.0, 3.0, 2.0, 5.0];
        assert_eq!([0.0, 0.25, 0.5, 0.75, 1.0].map(|part| quantile(&values, part)), [1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(median(&[1.0, 2.0]), 1.5);
        assert!(median(&[]).is_nan());
    }
}
