//! What each authentication plugin wants to hear.

use hub_plugin_api::Result;
use mysql_common::{crypto, scramble};

use crate::error;

/// The plugins that we can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plugin {
    /// The default of MySQL since 8.0.
    CachingSha2,
    /// The default of MariaDB, and of MySQL before 8.0.
    Native,
    /// MariaDB's, with keys of Ed25519.
    Ed25519,
    /// MariaDB's since 11.6.
    Parsec,
}

impl Plugin {
    /// By the name that the server gives it.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::Authentication`] for one that is not spoken here.
    pub fn named(name: &[u8]) -> Result<Self> {
        Ok(match name {
            b"caching_sha2_password" => Self::CachingSha2,
            b"mysql_native_password" | b"" => Self::Native,
            b"client_ed25519" => Self::Ed25519,
            b"parsec" => Self::Parsec,
            other => return Err(error::unknown_plugin(other)),
        })
    }

    /// As the server calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CachingSha2 => "caching_sha2_password",
            Self::Native => "mysql_native_password",
            Self::Ed25519 => "client_ed25519",
            Self::Parsec => "parsec",
        }
    }

    /// The first answer to the server's nonce.
    pub fn answer(self, password: &str, nonce: &[u8]) -> Vec<u8> {
        let password = password.as_bytes();
        // A NUL behind the nonce does not count.
        let short = nonce.get(..20).unwrap_or(nonce);
        match self {
            Self::CachingSha2 => {
                scramble::scramble_sha256(short, password).map(Vec::from).unwrap_or_default()
            }
            Self::Native => scramble::scramble_native(short, password).map(Vec::from).unwrap_or_default(),
            Self::Ed25519 => {
                let nonce = nonce.get(..32).unwrap_or(nonce);
                scramble::create_response_for_ed25519(password, nonce).to_vec()
            }
            // The answer needs a salt, which the server sends when it is asked with nothing.
            Self::Parsec => Vec::new(),
        }
    }
}

/// The password under the server's public key, for caching_sha2_password without TLS.
///
/// # Errors
/// [`hub_plugin_api::ErrorKind::Protocol`] when what the server sent is no key.
pub fn encrypted_password(password: &str, nonce: &[u8], key: &[u8]) -> Result<Vec<u8>> {
    if !key.starts_with(b"-----BEGIN PUBLIC KEY-----") {
        return Err(error::protocol("its public key is not PEM"));
    }
    let nonce = nonce.get(..20).filter(|nonce| !nonce.is_empty()).unwrap_or(nonce);
    if nonce.is_empty() {
        return Err(error::protocol("its nonce is empty"));
    }
    let mut text = [password.as_bytes(), b"\0"].concat();
    for (index, byte) in text.iter_mut().enumerate() {
        *byte ^= nonce[index % nonce.len()];
    }
    Ok(crypto::encrypt(&text, key))
}

/// The signature that MariaDB's parsec wants behind its salt.
///
/// # Errors
/// [`hub_plugin_api::ErrorKind::Protocol`] when the salt or the nonce is not as documented.
pub fn parsec(password: &str, nonce: &[u8], salt: &[u8]) -> Result<Vec<u8>> {
    let wrong = || error::protocol("its salt for `parsec` is not as documented");
    // Some versions mark the packet as more data of the login, others do not.
    let salt = salt.strip_prefix(b"\x01").filter(|salt| salt.len() == 20).unwrap_or(salt);
    let (iterations, salt) = mysql_common::packets::parse_parsec_salt(salt).ok_or_else(wrong)?;
    let nonce: &[u8; 32] = nonce.get(..32).and_then(|nonce| nonce.try_into().ok()).ok_or_else(wrong)?;
    Ok(scramble::create_response_for_parsec(password.as_bytes(), nonce, iterations, salt).to_vec())
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::ErrorKind;

    use super::*;

    #[test]
    fn plugins_that_would_hear_the_password_itself_are_refused_by_name() {
        for name in ["mysql_clear_password", "sha256_password", "dialog", "auth_gssapi_client"] {
            let error = Plugin::named(name.as_bytes()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Authentication);
            assert!(error.message.contains(&format!("`{name}`")), "{error}");
        }
    }
}
