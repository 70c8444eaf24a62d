//! Durations and sizes as people write them: a whole number and a unit, nothing rounded.

/// Names of units and what one is worth, in the order in which messages list them.
type Units = &'static [(&'static str, u64)];

const DURATIONS: Units = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: Units = &[
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// Milliseconds of `250ms`, `10s`, `5m`, `2h`, `1d`.
pub(super) fn milliseconds(text: &str) -> Result<u64, String> {
    quantity(text, DURATIONS, "10s")
}

/// Bytes of `512B`, `64MiB`, `1GB`.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    quantity(text, SIZES, "64MiB")
}

fn quantity(text: &str, units: Units, example: &str) -> Result<u64, String> {
    let known = || units.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = (&text[..split], text[split..].trim());
    if digits.is_empty() {
        return Err(format!("`{text}` must be a whole number and a unit, as in `{example}`"));
    }
    let Some((_, worth)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(match unit {
            "" => format!("`{text}` has no unit; write one of {}, as in `{example}`", known()),
            _ => format!("`{unit}` is not one of the units {}", known()),
        });
    };
    let number: Option<u64> = digits.parse().ok();
    match number.and_then(|number| number.checked_mul(*worth)) {
        Some(0) => Err(format!("`{text}` must be more than 0")),
        Some(value) => Ok(value),
        None => Err(format!("`{text}` is too large")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_exact() {
        assert_eq!(milliseconds("250ms"), Ok(250));
        assert_eq!(milliseconds("10 s"), Ok(10_000));
        assert_eq!(milliseconds("2h"), Ok(7_200_000));
        assert_eq!(bytes("64MiB"), Ok(67_108_864));
        assert_eq!(bytes("64MB"), Ok(64_000_000));
        assert_eq!(bytes("1kB"), Ok(1_000));
    }

    #[test]
    fn what_is_not_exact_is_refused() {
        for wrong in
            ["", "10", "s", "1.5s", "-1s", "10sec", "0s", "99999999999999999999s", "18446744073709551615h"]
        {
            assert!(milliseconds(wrong).is_err(), "{wrong}");
        }
        assert_eq!(bytes("64KB"), Err("`KB` is not one of the units B, kB, MB, GB, KiB, MiB, GiB".into()));
        assert_eq!(
            milliseconds("10"),
            Err("`10` has no unit; write one of ms, s, m, h, d, as in `10s`".into())
        );
    }
}
