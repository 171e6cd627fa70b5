//! Reads the end of a certificate's validity from its DER. The TLS library verifies the
//! certificates of peers and does not report it.

use crate::time::Timestamp;

/// Returns the end of the validity of a certificate (RFC 5280, 4.1.2.5), or `None` if it cannot be
/// read.
pub(super) fn not_after(certificate: &[u8]) -> Option<Timestamp> {
    let certificate = DerElement::read(certificate)?;
    let mut fields = DerElement::read(certificate.content)?.content;
    let version = DerElement::read(fields)?;
    if version.tag == VERSION {
        fields = version.rest;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        fields = DerElement::read(fields)?.rest;
    }
    let validity = DerElement::read(fields)?;
    let begin = DerElement::read(validity.content)?;
    let end = DerElement::read(begin.rest)?;
    parse_time(end.tag, end.content)
}

/// An element of DER, and the bytes after it.
struct DerElement<'a> {
    tag: u8,
    content: &'a [u8],
    rest: &'a [u8],
}

impl<'a> DerElement<'a> {
    fn read(der: &'a [u8]) -> Option<Self> {
        let [tag, first, rest @ ..] = der else { return None };
        let (length, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (digits.iter().fold(0_usize, |length, digit| length << 8 | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        Some(Self { tag: *tag, content, rest })
    }
}

/// Parses `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`.
fn parse_time(tag: u8, time: &[u8]) -> Option<Timestamp> {
    let time = std::str::from_utf8(time).ok()?;
    let full = match tag {
        UTC_TIME if time.get(..2)? < "50" => format!("20{time}"),
        UTC_TIME => format!("19{time}"),
        GENERALIZED_TIME => time.to_owned(),
        _ => return None,
    };
    let (date, clock) = full.split_at_checked(8)?;
    Timestamp::parse_iso_basic(&format!("{date}T{clock}"))
}

/// The explicit tag of the version field, which is absent for version 1.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::not_after;

    fn certificate(year: i32) -> Vec<u8> {
        let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).expect("names");
        parameters.not_after = date_time_ymd(year, 2, 28);
        let key = KeyPair::generate().expect("a key");
        parameters.self_signed(&key).expect("signed").der().to_vec()
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_forms_of_time() {
        for (year, end) in [
            (1999, "1999-02-28T00:00:00Z"),
            (2049, "2049-02-28T00:00:00Z"),
            (2050, "2050-02-28T00:00:00Z"),
            (9998, "9998-02-28T00:00:00Z"),
        ] {
            let end_read = not_after(&certificate(year)).map(crate::time::Timestamp::rfc3339);
            assert_eq!(end_read.as_deref(), Some(end));
        }
    }

    #[test]
    fn what_is_cut_short_has_no_end() {
        let whole = certificate(2030);
        for length in 0..60 {
            assert_eq!(not_after(&whole[..length]), None, "{length}");
        }
    }
}
