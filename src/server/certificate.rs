//! Reads certificates. The TLS library verifies those of clients, and does not report their names
//! and the end of their validity.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

use crate::caller::{ClientCertificate, SubjectAttribute, SubjectName};
use crate::time::Timestamp;

/// Returns the end of the validity of a certificate (RFC 5280, 4.1.2.5), or `None` if it cannot be
/// read.
pub(super) fn not_after(certificate: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(end(&certificate))
}

/// Returns the names of a client certificate as a trusted one, or `None` if it cannot be read.
#[must_use]
pub(crate) fn client_certificate(certificate: &[u8]) -> Option<ClientCertificate> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let alternatives = certificate.subject_alternative_name().ok()?;
    let alternatives = alternatives.map_or(&[][..], |names| &names.value.general_names);
    let mut dns_names = Vec::new();
    let mut uris = Vec::new();
    for name in alternatives {
        match name {
            GeneralName::DNSName(name) => dns_names.push(name.to_ascii_lowercase()),
            GeneralName::URI(uri) => uris.push((*uri).to_owned()),
            // A name that cannot be read could be a second URI.
            GeneralName::Invalid(..) => return None,
            GeneralName::OtherName(..)
            | GeneralName::RFC822Name(_)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::IPAddress(_)
            | GeneralName::RegisteredID(_) => {}
        }
    }
    let usage = certificate.extended_key_usage().ok()?;
    Some(ClientCertificate {
        dns_names,
        uris,
        subject: subject(certificate.subject()),
        is_for_clients: usage.is_some_and(|usage| usage.value.client_auth),
        not_after: end(&certificate),
        is_trusted: true,
    })
}

/// Returns a subject, or `None` if it is empty, or has an attribute with several values or a value
/// that is not text.
fn subject(name: &X509Name<'_>) -> Option<SubjectName> {
    let mut attributes = Vec::new();
    for part in name.iter_rdn() {
        let mut values = part.iter();
        let attribute = values.next()?;
        if values.next().is_some() {
            return None;
        }
        let value = attribute.as_str().ok()?.to_owned();
        attributes.push(SubjectAttribute { kind: attribute.attr_type().to_id_string(), value });
    }
    SubjectName::new(attributes)
}

fn end(certificate: &X509Certificate<'_>) -> Timestamp {
    Timestamp::from_unix_s(certificate.validity().not_after.timestamp())
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType,
        date_time_ymd,
    };

    use super::{client_certificate, not_after};

    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).expect("names");
        change(&mut parameters);
        let key = KeyPair::generate().expect("a key");
        parameters.self_signed(&key).expect("signed").der().to_vec()
    }

    fn until(year: i32) -> Vec<u8> {
        certificate(|parameters| parameters.not_after = date_time_ymd(year, 2, 28))
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_forms_of_time() {
        for (year, end) in [
            (1999, "1999-02-28T00:00:00Z"),
            (2049, "2049-02-28T00:00:00Z"),
            (2050, "2050-02-28T00:00:00Z"),
            (9998, "9998-02-28T00:00:00Z"),
        ] {
            let end_read = not_after(&until(year)).map(crate::time::Timestamp::rfc3339);
            assert_eq!(end_read.as_deref(), Some(end));
        }
    }

    #[test]
    fn what_is_cut_short_has_no_end() {
        let whole = until(2030);
        for length in 0..60 {
            assert_eq!(not_after(&whole[..length]), None, "{length}");
            assert_eq!(client_certificate(&whole[..length]), None, "{length}");
        }
    }

    #[test]
    fn the_names_of_a_client_are_read_as_they_are_compared() {
        let der = certificate(|parameters| {
            let text = |text: &str| text.try_into().expect("a name");
            parameters.subject_alt_names = vec![
                SanType::DnsName(text("Backup.Example")),
                SanType::URI(text("spiffe://example.org/Backup")),
                SanType::Rfc822Name(text("a@b.example")),
                SanType::DnsName(text("*.example")),
            ];
            let mut name = DistinguishedName::new();
            name.push(DnType::OrganizationName, "Example, Inc");
            name.push(DnType::CommonName, "backup");
            parameters.distinguished_name = name;
            parameters.extended_key_usages =
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            parameters.not_after = date_time_ymd(2030, 1, 1);
        });
        let read = client_certificate(&der).expect("a certificate");
        assert_eq!(read.dns_names, ["backup.example", "*.example"]);
        assert_eq!(read.uris, ["spiffe://example.org/Backup"]);
        assert_eq!(read.subject.expect("a subject").to_string(), "CN=backup,O=Example, Inc");
        assert_eq!(read.not_after.rfc3339(), "2030-01-01T00:00:00Z");
        assert!(read.is_for_clients && read.is_trusted);
    }

    #[test]
    fn a_certificate_is_for_clients_only_if_it_says_so() {
        for (usages, is_for_clients) in [
            (vec![], false),
            (vec![ExtendedKeyUsagePurpose::ServerAuth], false),
            (vec![ExtendedKeyUsagePurpose::Any], false),
            (vec![ExtendedKeyUsagePurpose::ClientAuth], true),
        ] {
            let der = certificate(|parameters| {
                parameters.extended_key_usages.clone_from(&usages);
                parameters.distinguished_name = DistinguishedName::new();
            });
            let read = client_certificate(&der).expect("a certificate");
            assert_eq!(read.is_for_clients, is_for_clients, "{usages:?}");
            assert_eq!(read.subject, None);
        }
    }
}
