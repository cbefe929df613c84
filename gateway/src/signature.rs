//! Webhook signatures: HMAC-SHA256 over the raw body, compared in constant time with every
//! configured secret.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// Whether `signature` (`sha256=` and 64 hex digits) over `body` was made with one of `secrets`.
///
/// Every secret is tried, so that the time taken does not tell which one fitted.
pub(crate) fn is_valid(signature: &str, body: &[u8], secrets: &[SecretString]) -> bool {
    let mut expected = [0; 32];
    let well_formed = signature
        .strip_prefix("sha256=")
        .is_some_and(|digits| hex::decode_to_slice(digits, &mut expected).is_ok());
    if !well_formed {
        return false;
    }
    secrets.iter().fold(false, |found, secret| {
        let secret = secret.expose_secret();
        // Anybody can sign with an empty secret.
        let fits = !secret.is_empty()
            && Hmac::<Sha256>::new_from_slice(secret.as_bytes())
                .is_ok_and(|mac| mac.chain_update(body).verify_slice(&expected).is_ok());
        found | fits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(texts: &[&str]) -> Vec<SecretString> {
        texts
            .iter()
            .map(|text| SecretString::from((*text).to_owned()))
            .collect()
    }

    /// The example of GitHub's documentation.
    const BODY: &[u8] = b"Hello, World!";
    const SECRET: &str = "It's a Secret to Everybody";
    const SIGNATURE: &str =
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn the_documented_example_is_valid_with_any_of_several_secrets() {
        assert!(is_valid(SIGNATURE, BODY, &secrets(&[SECRET])));
        assert!(is_valid(
            SIGNATURE,
            BODY,
            &secrets(&["old", SECRET, "other"])
        ));
    }

    #[test]
    fn anything_else_is_not() {
        assert!(!is_valid(SIGNATURE, b"Hello, World?", &secrets(&[SECRET])));
        assert!(!is_valid(SIGNATURE, BODY, &secrets(&["other"])));
        assert!(!is_valid(SIGNATURE, BODY, &[]));
        assert!(!is_valid(
            SIGNATURE.trim_start_matches("sha256="),
            BODY,
            &secrets(&[SECRET])
        ));
        assert!(!is_valid(&SIGNATURE[..40], BODY, &secrets(&[SECRET])));
        assert!(
            !is_valid(SECRET, BODY, &secrets(&[SECRET])),
            "the secret is no signature"
        );
        let mac = Hmac::<Sha256>::new_from_slice(b"")
            .expect("any length")
            .chain_update(BODY);
        let empty = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        assert!(
            !is_valid(&empty, BODY, &secrets(&[""])),
            "an empty secret signs nothing"
        );
    }
}
