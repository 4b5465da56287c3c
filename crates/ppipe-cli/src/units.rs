//! Numbers as people write and read them.

/// Reads a size: a number of bytes, or of KiB, MiB or GiB with `K`, `M` or `G` behind it.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err("a size is a number of bytes, with K, M or G for KiB, MiB or GiB".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "a size starts with a whole number".to_owned())?;
    match number.checked_mul(1 << shift) {
        Some(0) => Err("a size is at least one byte".to_owned()),
        Some(size) => Ok(size),
        None => Err("nothing is that large".to_owned()),
    }
}

/// Bytes in powers of two: `64 KiB`, `1.5 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    let (unit, shift) = match count {
        0..1024 => return format!("{count} B"),
        0x400..0x10_0000 => ("KiB", 10),
        0x10_0000..0x4000_0000 => ("MiB", 20),
        _ => ("GiB", 30),
    };
    let whole = 1_u64 << shift;
    if count.is_multiple_of(whole) {
        format!("{} {unit}", count >> shift)
    } else {
        format!("{:.1} {unit}", count as f64 / whole as f64)
    }
}

/// Bytes a second, in powers of ten as rates are given: `8.21 GB/s`.
pub(crate) fn byte_rate(per_second: f64) -> String {
    if per_second >= 999.5e6 {
        format!("{} GB/s", three_digits(per_second / 1e9))
    } else {
        format!("{} MB/s", three_digits(per_second / 1e6))
    }
}

/// Packets a second: `21.3 M/s`.
pub(crate) fn packet_rate(per_second: f64) -> String {
    if per_second >= 999.5e3 {
        format!("{} M/s", three_digits(per_second / 1e6))
    } else {
        format!("{} k/s", three_digits(per_second / 1e3))
    }
}

/// A time: `72 ns`, `1.24 µs`, `35.1 ms`.
pub(crate) fn time(ns: f64) -> String {
    match ns {
        _ if ns < 999.5 => format!("{ns:.0} ns"),
        _ if ns < 999.5e3 => format!("{} µs", three_digits(ns / 1e3)),
        _ if ns < 999.5e6 => format!("{} ms", three_digits(ns / 1e6)),
        _ => format!("{} s", three_digits(ns / 1e9)),
    }
}

/// How many times as much: `4.1 x`.
pub(crate) fn ratio(times: f64) -> String {
    if times < 9.95 { format!("{times:.1} x") } else { format!("{times:.0} x") }
}

/// A count with its thousands apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A count of things, which are called so in the plural by an `s`.
pub(crate) fn things(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(number), if number == 1 { "" } else { "s" })
}

fn three_digits(number: f64) -> String {
    match number {
        _ if number < 9.995 => format!("{number:.2}"),
        _ if number < 99.95 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_size("64K"), Ok(65536));
        assert_eq!(parse_size("1 MiB"), Ok(1 << 20));
        assert_eq!(parse_size("2g"), Ok(2 << 30));
        for wrong in ["", "K", "1.5M", "-1", "0", "12 parsecs", "99999999999999G", "µ"] {
            assert!(parse_size(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn numbers_are_written_with_three_digits_and_a_unit() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(65536), "64 KiB");
        assert_eq!(bytes(3 << 19), "1.5 MiB");
        assert_eq!(bytes(1 << 30), "1 GiB");
        assert_eq!(byte_rate(8.214e9), "8.21 GB/s");
        assert_eq!(byte_rate(57e6), "57.0 MB/s");
        assert_eq!(packet_rate(21.34e6), "21.3 M/s");
        assert_eq!(packet_rate(321_400.0), "321 k/s");
        assert_eq!(time(71.6), "72 ns");
        assert_eq!(time(999.6), "1.00 µs");
        assert_eq!(time(35.12e6), "35.1 ms");
        assert_eq!(ratio(4.12), "4.1 x");
        assert_eq!(ratio(21.4), "21 x");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(things(1, "file"), "1 file");
        assert_eq!(things(1000, "file"), "1,000 files");
    }
}
