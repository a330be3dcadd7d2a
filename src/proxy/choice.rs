//! The order among equals (RFC 2782): chance weighed by what each can take, decided by a salt, so
//! that all requests of a call choose alike.

/// How many are put in order; further ones are left out.
const CANDIDATES_LIMIT: usize = 64;

/// Hands the numbers of `weights` to `take` in the order in which they are to be tried. One of
/// weight 0 comes before others about once in as many times as the others' weights add up to; where
/// all weights are 0 they are equals.
pub(super) fn in_weighted_order(weights: &[u16], salt: u64, mut take: impl FnMut(usize)) {
    let weights = weights.get(..CANDIDATES_LIMIT).unwrap_or(weights);
    if weights.len() < 2 {
        (0..weights.len()).for_each(take);
        return;
    }
    let mut left: u64 = u64::MAX >> (64 - weights.len());
    for round in 0..weights.len() as u64 {
        let remaining = || {
            let all = (0u32..).zip(weights);
            all.filter(move |(number, _)| left >> number & 1 == 1)
        };
        let sum: u64 = remaining().map(|(_, weight)| u64::from(*weight)).sum();
        let chosen = match sum {
            0 => remaining().nth(draw(salt, round, u64::from(left.count_ones())) as usize),
            sum => among_weighted(remaining, sum, salt, round),
        };
        if let Some((number, _)) = chosen {
            left &= !(1 << number);
            take(number as usize);
        }
    }
}

/// RFC 2782: those of weight 0 stand first, and the first whose running sum reaches the number
/// drawn is taken. Without any of weight 0, none is drawn either, so that shares are exact.
fn among_weighted<'w, I: Iterator<Item = (u32, &'w u16)>>(
    remaining: impl Fn() -> I,
    sum: u64,
    salt: u64,
    round: u64,
) -> Option<(u32, &'w u16)> {
    let idle = remaining().find(|(_, weight)| **weight == 0);
    let drawn = match idle {
        Some(_) => draw(salt, round, sum.saturating_add(1)),
        None => draw(salt, round, sum).saturating_add(1),
    };
    if drawn == 0 {
        return idle;
    }
    let mut running = 0u64;
    remaining().find(|(_, weight)| {
        running = running.saturating_add(u64::from(**weight));
        running >= drawn
    })
}

/// A number below `bound`, the same for the same salt and round (splitmix64's last steps).
pub(super) fn draw(salt: u64, round: u64, bound: u64) -> u64 {
    let step = round.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut z = salt.wrapping_add(step);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    ((u128::from(z) * u128::from(bound)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order(weights: &[u16], salt: u64) -> Vec<usize> {
        let mut order = Vec::new();
        in_weighted_order(weights, salt, |number| order.push(number));
        order
    }

    /// How often each comes first among many salts, as a share.
    fn shares(weights: &[u16]) -> Vec<f64> {
        const SALTS: u64 = 20_000;
        let mut first = vec![0u64; weights.len()];
        for salt in 0..SALTS {
            first[order(weights, salt)[0]] += 1;
        }
        first.iter().map(|n| *n as f64 / SALTS as f64).collect()
    }

    #[test]
    fn one_of_weight_zero_is_seldom_first() {
        let shares = shares(&[0, 99]);
        assert!((shares[0] - 0.01).abs() < 0.005, "{shares:?}");
    }

    #[test]
    fn all_of_weight_zero_are_equals() {
        let shares = shares(&[0, 0, 0, 0]);
        assert!(shares.iter().all(|s| (s - 0.25).abs() < 0.02), "{shares:?}");
    }

    #[test]
    fn the_second_is_chosen_by_weight_among_the_rest() {
        let mut second = [0u32; 3];
        for salt in 0..20_000 {
            let order = order(&[60, 30, 10], salt);
            if order[0] == 0 {
                second[order[1]] += 1;
            }
        }
        let share = f64::from(second[1]) / f64::from(second[1] + second[2]);
        assert!((share - 0.75).abs() < 0.03, "{second:?}");
    }

    #[test]
    fn more_than_the_limit_are_cut_and_none_is_nothing() {
        assert!(order(&[], 1).is_empty());
        assert_eq!(order(&[5], 9), [0]);
        assert_eq!(order(&vec![1; 200], 9).len(), CANDIDATES_LIMIT);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_first_is_chosen_by_weight(weights in prop::collection::vec(1u16..1_000, 2..6)) {
            let sum: f64 = weights.iter().map(|w| f64::from(*w)).sum();
            for (share, weight) in shares(&weights).iter().zip(&weights) {
                prop_assert!((share - f64::from(*weight) / sum).abs() < 0.025);
            }
        }

        #[test]
        fn each_stands_in_the_order_once_and_a_salt_decides(
            weights in prop::collection::vec(0u16.., 1..64), salt: u64
        ) {
            let mut seen = order(&weights, salt);
            prop_assert_eq!(&seen, &order(&weights, salt));
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..weights.len()).collect::<Vec<_>>());
        }
    }
}
