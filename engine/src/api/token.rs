//! Service account tokens: ES256 JSON Web Tokens, bound to the account and optionally to a pod.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::user::User;
use crate::store::{GroupResource, Store};

/// Issuer of the tokens and the audience of the API server itself.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Claims, as upstream writes them.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Claims {
    /// Audiences.
    pub aud: Vec<String>,
    /// Expiry, seconds since 1970.
    pub exp: i64,
    /// Issued at.
    pub iat: i64,
    /// Issuer.
    pub iss: String,
    /// Id of the token.
    pub jti: String,
    /// What the token is bound to.
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Bound,
    /// Not before.
    pub nbf: i64,
    /// `system:serviceaccount:<namespace>:<name>`.
    pub sub: String,
}

/// The objects a token dies with.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Bound {
    /// Namespace of all of them.
    pub namespace: String,
    /// The pod, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    /// The secret, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    /// The account.
    pub serviceaccount: Reference,
}

/// Name and uid: another object of the same name does not keep a token alive.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Reference {
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
}

/// The signing key and its public half.
pub struct Tokens {
    signing: EncodingKey,
    verifying: DecodingKey,
    key_id: String,
    public_point: Vec<u8>,
}

impl Tokens {
    /// From a PKCS#8 private key and the raw public point of the same P-256 key.
    pub fn new(private: &[u8], public: &[u8]) -> Self {
        let key_id = Sha256::digest(public).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self {
            signing: EncodingKey::from_ec_der(private),
            verifying: DecodingKey::from_ec_der(public),
            key_id,
            public_point: public.to_vec(),
        }
    }

    /// The signed token.
    pub fn sign(&self, claims: &Claims) -> Result<String, String> {
        let header = Header { kid: Some(self.key_id.clone()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.signing).map_err(|error| error.to_string())
    }

    /// The identity in a token, and the audiences it is accepted for: signature, time, audience, and that all it is bound to
    /// is still there. The error says why not, for the log only.
    pub fn verify(
        &self,
        store: &Store,
        token: &str,
        audiences: &[&str],
    ) -> Result<(User, Vec<String>), String> {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.set_issuer(&[ISSUER]);
        let wanted = if audiences.is_empty() { &[ISSUER] } else { audiences };
        validation.set_audience(wanted);
        let claims = jsonwebtoken::decode::<Claims>(token, &self.verifying, &validation)
            .map_err(|error| error.to_string())?
            .claims;
        let Bound { namespace, pod, secret, serviceaccount } = claims.kubernetes;
        let alive = |resource: &str, reference: &Reference| {
            let key = (namespace.clone(), reference.name.clone());
            let object = store.get(&GroupResource::new("", resource), &key).map(|found| found.value());
            match object {
                Some(object) if object["metadata"]["uid"] == reference.uid.as_str() => Ok(()),
                _ => Err(format!("{resource} {namespace}/{} is gone", reference.name)),
            }
        };
        alive("serviceaccounts", &serviceaccount)?;
        let mut user = User::service_account(&namespace, &serviceaccount.name, &serviceaccount.uid);
        let id = format!("JTI={}", claims.jti);
        user.extra.insert("authentication.kubernetes.io/credential-id".into(), vec![id]);
        if let Some(pod) = &pod {
            alive("pods", pod)?;
            user.extra.insert("authentication.kubernetes.io/pod-name".into(), vec![pod.name.clone()]);
            user.extra.insert("authentication.kubernetes.io/pod-uid".into(), vec![pod.uid.clone()]);
        }
        if let Some(secret) = &secret {
            alive("secrets", secret)?;
        }
        let accepted = claims.aud.into_iter().filter(|audience| wanted.contains(&audience.as_str()));
        Ok((user, accepted.collect()))
    }

    /// The public key as a JSON Web Key Set (`/openid/v1/jwks`).
    pub fn key_set(&self) -> serde_json::Value {
        use base64::Engine as _;
        let encode = |bytes: Option<&[u8]>| {
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes.unwrap_or_default())
        };
        serde_json::json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.key_id, "crv": "P-256", "alg": "ES256",
            "x": encode(self.public_point.get(1..33)), "y": encode(self.public_point.get(33..65)),
        }]})
    }
}
