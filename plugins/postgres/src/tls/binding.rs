//! Channel binding `tls-server-end-point` (RFC 5929, section 4): the hash of the server's certificate, with the hash
//! function of its own signature. It keeps someone who holds another trusted certificate out of a SCRAM login.

use rustls::{
    SupportedCipherSuite,
    crypto::{hash::Hash, ring::cipher_suite},
};

/// The binding's bytes; `None` where the certificate's signature has no hash function that we have (then the login
/// goes on without binding, as the RFC leaves it undefined).
pub(super) fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let suite = match signature_hash(signature_algorithm(certificate)?)? {
        SignatureHash::Sha256 => cipher_suite::TLS13_AES_128_GCM_SHA256,
        SignatureHash::Sha384 => cipher_suite::TLS13_AES_256_GCM_SHA384,
    };
    let hash: &dyn Hash = match suite {
        SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
        SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
    };
    Some(hash.hash(certificate).as_ref().to_vec())
}

#[derive(Debug, PartialEq)]
enum SignatureHash {
    Sha256,
    Sha384,
}

/// The hash function of a signature algorithm's object identifier (RFC 3279, 4055, 5758). MD5 and SHA-1 count as
/// SHA-256, as RFC 5929 wants it.
fn signature_hash(oid: &[u8]) -> Option<SignatureHash> {
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
    if let Some(rest) = oid.strip_prefix(RSA) {
        return match rest {
            [4 | 5 | 11] => Some(SignatureHash::Sha256),
            [12] => Some(SignatureHash::Sha384),
            _ => None,
        };
    }
    match oid.strip_prefix(ECDSA)? {
        [1] | [3, 2] => Some(SignatureHash::Sha256),
        [3, 3] => Some(SignatureHash::Sha384),
        _ => None,
    }
}

/// The object identifier in `signatureAlgorithm`, the second element of a certificate (RFC 5280, section 4.1).
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    let (body, _) = element(certificate, 0x30)?;
    let (_, rest) = element(body, 0x30)?;
    let (algorithm, _) = element(rest, 0x30)?;
    element(algorithm, 0x06).map(|(oid, _)| oid)
}

/// The contents of a DER element with this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.split_first()?;
    if first != tag {
        return None;
    }
    let (&short, rest) = rest.split_first()?;
    let (length, rest) = if short < 0x80 {
        (usize::from(short), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
        if bytes.len() > 4 {
            return None;
        }
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate's frame around a signature algorithm: SEQUENCE { SEQUENCE {}, SEQUENCE { OID }, BIT STRING }.
    fn frame(oid: &[u8]) -> Vec<u8> {
        let mut algorithm = vec![0x06, oid.len() as u8];
        algorithm.extend(oid);
        let mut body = vec![0x30, 0x81, 200];
        body.extend([0; 200]);
        body.extend([0x30, algorithm.len() as u8]);
        body.extend(algorithm);
        body.extend([0x03, 0x01, 0x00]);
        let mut certificate = vec![0x30, 0x82, 0, body.len() as u8];
        certificate.extend(body);
        certificate
    }

    #[test]
    fn hash_follows_the_signature_of_the_certificate() {
        let ecdsa_sha256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
        let rsa_sha384 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c];
        let ed25519 = [0x2b, 0x65, 0x70];
        assert_eq!(server_end_point(&frame(&ecdsa_sha256)).unwrap().len(), 32);
        assert_eq!(server_end_point(&frame(&rsa_sha384)).unwrap().len(), 48);
        assert_eq!(server_end_point(&frame(&ed25519)), None);
    }

    #[test]
    fn bytes_that_are_no_certificate_bind_nothing() {
        let whole = frame(&[0x2b, 0x65, 0x70]);
        for length in 0..whole.len() - 3 {
            assert_eq!(server_end_point(&whole[..length]), None);
        }
        assert_eq!(server_end_point(&[0x30, 0xff]), None);
    }
}
