//! The tools over real HTTP.

use afu9_schemas::{ExecutionId, JobId, Timestamp};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Auth, Config, Github};
use crate::Call;

mod app;
mod odd;
mod simulated;
mod stub;

const TOKEN: &str = "ghp_simulated";

/// Made for these tests; it opens nothing.
const KEY_PEM: &str = "-----BEGIN RSA PRIVATE KEY-----
MIIEowIBAAKCAQEAjizCLCvgbpr/KfU75qUdZfxTh+FMGsdUb2mLlKai7Qz4Wq27
dbz692i5t3P302CE4zJzvanLJpA9McGMFCYk8UgD6OX46Uq+4lLGhortTg2mc1YJ
ViWcwj1qeX1Ir8pP9oG29/PrZVWgA9a+UNzhEdmQnIEaRzvcey/qPrx6Hnz9XqwU
VH9KC/VTOU/ktOfZv5XFFdukeKJ8380ROJQWvAZ/GtlC7BIOOn+2OS8F57s6qczV
Byzp6Rl2wktupl+veXeXfYl0osCqztaQgJokk3JeSkuQ5vbcgwO5tfZ6Zq35Ndam
AFglyA1QCDD7s7HjapoLzNP80YLS5TYW+41ClwIDAQABAoIBABgwkFbwni5ja7+p
TGhJNo/IFzQ6xnaV7I1KMWf41Cat+sF+5rK5FSAsLtECR6uss99uEZg2/+wPRYIm
Mp2pAccVoCirnCahQ4oBWGrCz25kzym3fT4thxbbWTbTdJ8INoOz/TwBwc7Lez67
9kSO2DJvyHWAV8a/7hr9g4bqDYMLMyrDSGntI7CyMlArWLnLzG54DutYnLaqHlah
3PgeyNupXrhRa9hUSmlRvbzVWA/Yk9Tx0Czm62KgUARBVyQKfyWQZZ+sVRc/vMg1
xNgYR+LvFQaxPFv3UByTBoU2wdyJK71aRHFijJD3XSaiGllRgJFMG6Ns2pUfqzu6
z4z5SvkCgYEAwFpDTouGPo7r79Rv/mqdCA5KZgpPPyH1NSuFl1gYguptbvrgZeCg
us6UCMjFeZiECgnLRO9Xt7fpHGfz+yc9DrB5y0MArsw54sXL7CLo0u+7hC3jqFBy
zWkSeDqrayEK3j7G7C2zdIQ4RyxL5wUKxCw1zq17ZSNQgh3aDyCvYD8CgYEAvTgO
SeVEoih4ok3Aagvg86RnRL+LEBkvo5cd/M9rLIpo1GTMfgB0MK7C2CPyX1FTF5Cw
e1Vk5h4j4hUou5bh/smq7KIUICHhbsjwoPLCkp5yLBcBLdaFQEURJ5QsiNHVSVo4
MfNEiArcqmhE+rTVBNiN+p8/qMYOZmtoxCqbB6kCgYA40PCcnL3UcKbkOl2ySo+D
t6TmKxlpToB9ahOVtqHW2aPlahkqPoV7aFV1msgpuJEX3fi6re+9BofGqjX484gn
dJ0lGu9yskRO5ZnscAtRcxpyWpOqPckLP4QDG2FSzXnGV8iuLnmZawysiTsKTAT4
GQ7zs26FWz8GkAa+/SqQRQKBgQCRAFoCyszzryvyxL6FBaFXVE9G4boBlitpo655
Q8IPmemHic8jZ9miTOpHlBRycvHIBzsW6HOv3L0GzcwvJQr+ozB2siXWEeCdcyLj
U+VDUmSP4PkoVVI71DG3MNeH6bUWxyp1LMUBs8EyXUEvFlB/rCvxOQQho9T5K6pX
WYcAMQKBgFA2+mdmuiiUcPSMtr1nqIQIot27vZFvIsRQKtDVEyiwOvXdOwW9k1SP
P6trcpHgxtHce5Y5WcKmR7dwsgu+yqKAovFiXsbVto6Xtc66LmAdo7XNjLNhKmz1
tsK92ndhw3S376V24f6mEqg7TNb9mGg5ORZlZF6vCxmYMxxakHWi
-----END RSA PRIVATE KEY-----
";

fn github(base_url: &str) -> Github {
    github_with(base_url, TOKEN)
}

fn github_with(base_url: &str, token: &str) -> Github {
    let auth = Auth::Token(token.to_owned().into());
    Github::new(&Config {
        base_url: Some(base_url.to_owned()),
        auth,
    })
    .unwrap()
}

fn github_app(base_url: &str, installation_id: Option<u64>) -> Github {
    let private_key_pem = KEY_PEM.to_owned().into();
    let auth = Auth::App {
        app_id: 7,
        private_key_pem,
        installation_id,
    };
    Github::new(&Config {
        base_url: Some(base_url.to_owned()),
        auth,
    })
    .unwrap()
}

/// A call for step `step` of one and the same execution.
fn call(step: u32) -> Call {
    let execution = ExecutionId::derived("github tools");
    let job = JobId {
        execution,
        step,
        attempt: 1,
        item: None,
    };
    Call {
        job,
        idempotency_key: job.idempotency_key(),
        workflow: "tests".to_owned(),
        dispatched_at: Timestamp::default(),
        state: None,
        cancelled: CancellationToken::new(),
    }
}

fn issue() -> Value {
    json!({
        "number": 1, "title": "t", "body": null, "state": "open", "labels": [{ "name": "bug" }, "old"],
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z", "html_url": "h",
    })
}
