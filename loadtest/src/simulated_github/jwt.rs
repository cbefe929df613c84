//! The JSON web tokens with which a GitHub App asks for installation tokens.
//!
//! The simulation holds no public keys, so the signature must be there but is not verified; the
//! algorithm and the claims are checked as GitHub checks them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::config::AppSeed;
use super::failure::Failure;

/// GitHub refuses an `exp` that is further away.
const MAXIMUM_LIFETIME_S: i64 = 600;
/// Clocks of clients may be this wrong.
const CLOCK_SKEW_S: i64 = 60;

/// The id of the app that signed.
///
/// # Errors
/// 401 for a token that GitHub would not decode or whose claims are out of range, 404 for an
/// unknown app.
pub(crate) fn verify(token: &str, apps: &[AppSeed], now_s: i64) -> Result<u64, Failure> {
    let undecodable = || Failure::unauthorized("A JSON web token could not be decoded");
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(signature)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(undecodable());
    };
    let header = decode(header).ok_or_else(undecodable)?;
    let claims = decode(claims).ok_or_else(undecodable)?;
    let signed = URL_SAFE_NO_PAD
        .decode(signature)
        .is_ok_and(|bytes| !bytes.is_empty());
    if header["alg"] != "RS256" || !signed {
        return Err(undecodable());
    }
    let seconds = |claim: &str| {
        claims[claim]
            .as_i64()
            .or(claims[claim].as_f64().map(|s| s as i64))
    };
    match seconds("exp") {
        Some(expiry) if expiry > now_s + MAXIMUM_LIFETIME_S + CLOCK_SKEW_S => {
            let message = "'Expiration time' claim ('exp') is too far in the future";
            return Err(Failure::unauthorized(message));
        }
        Some(expiry) if expiry > now_s => {}
        _ => {
            let message = "'Expiration time' claim ('exp') must be a numeric value representing \
                           the future time at which the assertion expires";
            return Err(Failure::unauthorized(message));
        }
    }
    if seconds("iat").is_none_or(|issued| issued > now_s + CLOCK_SKEW_S) {
        let message = "'Issued at' claim ('iat') must be an Integer representing the time that \
                       the assertion was issued";
        return Err(Failure::unauthorized(message));
    }
    let issuer = match &claims["iss"] {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => {
            let message = "'Issuer' claim ('iss') must be an Integer";
            return Err(Failure::unauthorized(message));
        }
    };
    apps.iter()
        .find(|app| app.id.to_string() == issuer || app.client_id.as_deref() == Some(&issuer))
        .map(|app| app.id)
        .ok_or_else(|| Failure::new(axum::http::StatusCode::NOT_FOUND, "Integration not found"))
}

fn decode(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
