//! STS: issues credentials for roles. Calls are signed in either style, or carry a service account
//! token.

use base16ct::lower;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Method, StatusCode, header, request};
use serde_json::json;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::shared::{IssuerCall, IssuerRejection, IssuerShared};
use crate::oss::{decode, encode_strict};
use crate::time::Timestamp;

/// The security token service.
pub(super) struct StsService<'a> {
    shared: &'a IssuerShared,
}

impl<'a> StsService<'a> {
    pub(super) fn new(shared: &'a IssuerShared) -> Self {
        Self { shared }
    }

    /// Handles a call to STS.
    pub(super) fn respond(&self, head: &request::Parts, body: &[u8]) -> Result<String, IssuerRejection> {
        let query = head.uri.query().unwrap_or_default();
        let mut parameters = pairs(query);
        parameters.extend(pairs(&String::from_utf8_lossy(body)));
        let text =
            |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let style = if text("authorization").starts_with("ACS3-HMAC-SHA256 ") {
            Some("ACS3")
        } else {
            parameters.contains_key("Signature").then_some("RPC")
        };
        let action = match style {
            Some("ACS3") => text("x-acs-action").to_owned(),
            _ => parameters.get("Action").cloned().unwrap_or_default(),
        };
        let call = IssuerCall {
            action: action.clone(),
            parameters: parameters.clone(),
            query: query.to_owned(),
            style,
        };
        self.shared.note(call)?;
        let get = |name: &str| parameters.get(name).map(String::as_str);
        match action.as_str() {
            "AssumeRole" => {
                match style {
                    Some("ACS3") => self.judge_acs3(head, body)?,
                    Some(_) => self.judge_rpc(&head.method, &parameters)?,
                    None => return Err(IssuerRejection(BAD, "MissingParameter.Signature", "unsigned")),
                };
                let wanted = self.shared.state.lock().roles.get(get("RoleArn").unwrap_or_default()).cloned();
                match wanted {
                    Some(id) if id.as_deref() == get("ExternalId") => {}
                    Some(_) | None => return Err(IssuerRejection(DENIED, "NoPermission", "not authorised")),
                }
            }
            "AssumeRoleWithOIDC" => {
                let state = self.shared.state.lock();
                if !state.tokens.iter().any(|token| Some(token.as_str()) == get("OIDCToken")) {
                    return Err(IssuerRejection(BAD, "AuthenticationFail.OIDCToken.Expired", "expired"));
                }
                let known = state.roles.contains_key(get("RoleArn").unwrap_or_default());
                if !known || get("OIDCProviderArn").is_none_or(str::is_empty) {
                    return Err(IssuerRejection(DENIED, "AuthenticationFail.NoPermission", "not trusted"));
                }
            }
            "GetCallerIdentity" => {
                let id = match style {
                    Some("ACS3") => self.judge_acs3(head, body)?,
                    Some(_) => self.judge_rpc(&head.method, &parameters)?,
                    None => return Err(IssuerRejection(BAD, "MissingParameter.Signature", "unsigned")),
                };
                let arn = self.shared.state.lock().arns.get(&id).cloned();
                let arn = arn.unwrap_or_else(|| "acs:ram::1234567890123456:user/app".to_owned());
                return Ok(
                    json!({"RequestId": "STS-REQUEST-1", "AccountId": "1234567890123456", "Arn": arn})
                        .to_string(),
                );
            }
            _ => return Err(IssuerRejection(BAD, "InvalidAction.NotFound", "no such action")),
        }
        self.grant(&parameters)
    }

    /// Issues temporary credentials for a role, if the remaining parameters are valid.
    fn grant(&self, parameters: &BTreeMap<String, String>) -> Result<String, IssuerRejection> {
        let get = |name: &str| parameters.get(name).map_or("", String::as_str);
        let session = get("RoleSessionName");
        let fits = |c: char| c.is_ascii_alphanumeric() || ".@-_".contains(c);
        if !(2..=64).contains(&session.len()) || !session.chars().all(fits) {
            return Err(IssuerRejection(BAD, "InvalidParameter.RoleSessionName", "wrongly formed"));
        }
        let asked: u64 = get("DurationSeconds").parse().unwrap_or(0);
        if !(900..=43_200).contains(&asked) {
            return Err(IssuerRejection(BAD, "InvalidParameter.DurationSeconds", "wrong"));
        }
        if let Some(policy) = parameters.get("Policy") {
            check_policy(policy)?;
        }
        let issued = self.shared.issue(std::time::Duration::from_secs(asked));
        let arn = format!("{}/{session}", get("RoleArn").replace(":role/", ":assumed-role/"));
        self.shared.state.lock().arns.insert(issued.id.clone(), arn);
        let document = json!({
            "RequestId": "STS-REQUEST-1",
            "AssumedRoleUser": {"Arn": get("RoleArn"), "AssumedRoleId": format!("1:{session}")},
            "Credentials": issued.json(),
        });
        Ok(document.to_string())
    }

    /// Verifies an ACS3 signature and returns the access key ID.
    fn judge_acs3(&self, head: &request::Parts, body: &[u8]) -> Result<String, IssuerRejection> {
        let text =
            |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let field = |name: &str| {
            let fields = text("authorization").split_once(' ').map_or("", |(_, fields)| fields);
            let found = fields.split(',').find_map(|field| field.strip_prefix(name));
            found.unwrap_or_default().to_owned()
        };
        self.check_time(text("x-acs-date"))?;
        if text("x-acs-content-sha256") != lower::encode_string(&Sha256::digest(body)) {
            return Err(MISMATCH);
        }
        let id = field("Credential=");
        let names = field("SignedHeaders=");
        let secret = self.secret(&id, text("x-acs-security-token"))?;
        let must = head.headers.keys().map(header::HeaderName::as_str);
        let signed: Vec<&str> = names.split(';').collect();
        if must
            .filter(|name| name.starts_with("x-acs-") || *name == "host")
            .any(|name| !signed.contains(&name))
        {
            return Err(MISMATCH);
        }
        let lines: String = signed.iter().map(|name| format!("{name}:{}\n", text(name).trim())).collect();
        let query = head.uri.query().unwrap_or_default();
        let canonical = format!(
            "{}\n{}\n{query}\n{lines}\n{names}\n{}",
            head.method,
            head.uri.path(),
            lower::encode_string(&Sha256::digest(body))
        );
        let to_sign =
            format!("ACS3-HMAC-SHA256\n{}", lower::encode_string(&Sha256::digest(canonical.as_bytes())));
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return Err(MISMATCH) };
        mac.update(to_sign.as_bytes());
        if lower::encode_string(&mac.finalize().into_bytes()) == field("Signature=") {
            Ok(id)
        } else {
            Err(MISMATCH)
        }
    }

    fn judge_rpc(
        &self,
        method: &Method,
        parameters: &BTreeMap<String, String>,
    ) -> Result<String, IssuerRejection> {
        let get = |name: &str| parameters.get(name).map_or("", String::as_str);
        self.check_time(get("Timestamp"))?;
        let secret = self.secret(get("AccessKeyId"), get("SecurityToken"))?;
        let mut all = String::new();
        for (name, value) in parameters.iter().filter(|(name, _)| *name != "Signature") {
            if !all.is_empty() {
                all.push('&');
            }
            encode_strict(name.as_bytes(), &mut all);
            all.push('=');
            encode_strict(value.as_bytes(), &mut all);
        }
        let mut to_sign = format!("{method}&%2F&");
        encode_strict(all.as_bytes(), &mut to_sign);
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(format!("{secret}&").as_bytes()) else {
            return Err(MISMATCH);
        };
        mac.update(to_sign.as_bytes());
        let right = STANDARD.encode(mac.finalize().into_bytes());
        if right == get("Signature") { Ok(get("AccessKeyId").to_owned()) } else { Err(MISMATCH) }
    }

    fn check_time(&self, text: &str) -> Result<(), IssuerRejection> {
        let Some(at) = Timestamp::parse_rfc3339(text) else {
            return Err(IssuerRejection(BAD, "InvalidTimeStamp.Format", "no time"));
        };
        if (at.unix_s() - self.shared.now().unix_s()).abs() > 15 * 60 {
            return Err(IssuerRejection(BAD, "InvalidTimeStamp.Expired", "expired"));
        }
        Ok(())
    }

    /// Returns the secret of an account, if the security token matches it.
    fn secret(&self, id: &str, token: &str) -> Result<String, IssuerRejection> {
        let found = self.shared.oss.with_accounts(|accounts| {
            let account = accounts.iter().find(|account| account.access_key_id == id)?;
            let wanted = account.security_token.as_ref().map_or("", crate::secret::Secret::expose);
            Some((account.access_key_secret.expose().to_owned(), wanted == token))
        });
        match found {
            Some((secret, true)) => Ok(secret),
            Some((_, false)) => {
                Err(IssuerRejection(BAD, "InvalidSecurityToken.MismatchWithAccessKey", "mismatch"))
            }
            None => Err(IssuerRejection(
                StatusCode::NOT_FOUND,
                "InvalidAccessKeyId.NotFound",
                "Specified access key is not found",
            )),
        }
    }
}

fn pairs(text: &str) -> BTreeMap<String, String> {
    let read = |part: &str| {
        let bytes = decode(part.replace('+', " ").as_bytes()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let parts = text.split('&').filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or((part, ""))).map(|(a, b)| (read(a), read(b))).collect()
}

/// Checks the form of a session policy, which the emulated OSS does not apply.
fn check_policy(text: &str) -> Result<(), IssuerRejection> {
    if text.chars().count() > POLICY_MAX {
        return Err(IssuerRejection(BAD, "InvalidParameter.PolicySize", "too long"));
    }
    let policy: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    if policy["Version"] == "1" && policy["Statement"].is_array() {
        Ok(())
    } else {
        Err(IssuerRejection(BAD, "InvalidParameter.PolicyGrammar", "not a policy"))
    }
}

/// The maximum length of a session policy, in characters.
const POLICY_MAX: usize = 2048;
const BAD: StatusCode = StatusCode::BAD_REQUEST;
const DENIED: StatusCode = StatusCode::FORBIDDEN;
const MISMATCH: IssuerRejection =
    IssuerRejection(BAD, "SignatureDoesNotMatch", "Specified signature is not matched with our calculation.");
