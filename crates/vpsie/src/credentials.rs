//! What opens the account, as the Secret has it.

use std::{collections::BTreeMap, fmt};

use secrecy::{ExposeSecret as _, SecretString};

use crate::base_url::{Allowed, BaseUrl, UrlError};

/// How requests prove who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AuthMode {
    /// A token in the Secret goes into `Vpsie-Auth`; a client id and secret are exchanged.
    #[default]
    Auto,
    /// The static token, in `Vpsie-Auth`.
    VpsieAuth,
    /// The static token, as a bearer.
    Bearer,
    /// Client id and secret, exchanged for a bearer.
    ClientCredentials,
}

/// Data of a Secret that cannot be used; names the key, never its value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Neither a token nor a client.
    #[error("the Secret has neither the key token nor the keys clientId and clientSecret")]
    Missing,
    /// A client id without secret, or the reverse.
    #[error("the Secret has the key {has} but not the key {lacks}")]
    Incomplete {
        /// Present.
        has: &'static str,
        /// Absent.
        lacks: &'static str,
    },
    /// A value that no header can carry.
    #[error("the value of the key {0} is not printable text")]
    NotText(&'static str),
    /// The mode asks for something the Secret has not.
    #[error("the authentication mode needs the key {0}")]
    ModeNeeds(&'static str),
    /// The URL is refused.
    #[error(transparent)]
    Url(#[from] UrlError),
}

/// Usable credentials.
#[derive(Clone)]
pub struct Credentials {
    pub(crate) grant: Grant,
    pub(crate) base: BaseUrl,
    /// `resourceIdentifier`, where the Secret names the cluster.
    pub cluster: Option<String>,
    /// `datacenterId`, where the Secret names it.
    pub datacenter: Option<String>,
    /// `projectId`, where the Secret names it.
    pub project: Option<String>,
}

#[derive(Clone)]
pub(crate) enum Grant {
    VpsieAuth(SecretString),
    Bearer(SecretString),
    Client {
        id: SecretString,
        secret: SecretString,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("base", &self.base)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        let secrets = |credentials: &Self| -> [String; 3] {
            match &credentials.grant {
                Grant::VpsieAuth(token) => {
                    ["a".into(), token.expose_secret().into(), String::new()]
                }
                Grant::Bearer(token) => ["b".into(), token.expose_secret().into(), String::new()],
                Grant::Client { id, secret } => [
                    "c".into(),
                    id.expose_secret().into(),
                    secret.expose_secret().into(),
                ],
            }
        };
        self.base == other.base && self.cluster == other.cluster && secrets(self) == secrets(other)
    }
}

impl Credentials {
    /// Reads the data of a Secret. Both the predecessor's and its siblings' spellings of keys are
    /// known; blanks around values are dropped.
    pub fn from_secret(
        data: &BTreeMap<String, Vec<u8>>,
        mode: AuthMode,
        allowed: &Allowed,
    ) -> Result<Self, CredentialsError> {
        let read = |keys: &[&'static str]| -> Result<Option<String>, CredentialsError> {
            for key in keys {
                let Some(bytes) = data.get(*key) else {
                    continue;
                };
                let text = std::str::from_utf8(bytes)
                    .map_err(|_| CredentialsError::NotText(key))?
                    .trim();
                if text.is_empty() {
                    continue;
                }
                if text.len() > 4096 || text.chars().any(|c| !c.is_ascii_graphic()) {
                    return Err(CredentialsError::NotText(key));
                }
                return Ok(Some(text.to_owned()));
            }
            Ok(None)
        };
        let token = read(&["token", "apiKey"])?;
        let id = read(&["clientId", "clientID"])?;
        let secret = read(&["clientSecret"])?;
        let client = match (id, secret) {
            (Some(id), Some(secret)) => Some(Grant::Client {
                id: id.into(),
                secret: secret.into(),
            }),
            (Some(_), None) if token.is_none() => {
                return Err(CredentialsError::Incomplete {
                    has: "clientId",
                    lacks: "clientSecret",
                });
            }
            (None, Some(_)) if token.is_none() => {
                return Err(CredentialsError::Incomplete {
                    has: "clientSecret",
                    lacks: "clientId",
                });
            }
            _ => None,
        };
        let grant = match mode {
            AuthMode::Auto => token
                .map(|token| Grant::VpsieAuth(token.into()))
                .or(client)
                .ok_or(CredentialsError::Missing)?,
            AuthMode::VpsieAuth => {
                Grant::VpsieAuth(token.ok_or(CredentialsError::ModeNeeds("token"))?.into())
            }
            AuthMode::Bearer => {
                Grant::Bearer(token.ok_or(CredentialsError::ModeNeeds("token"))?.into())
            }
            AuthMode::ClientCredentials => client.ok_or(CredentialsError::ModeNeeds("clientId"))?,
        };
        let base = match read(&["url"])? {
            Some(url) => BaseUrl::parse(&url, allowed)?,
            None => BaseUrl::public(),
        };
        Ok(Self {
            grant,
            base,
            cluster: read(&["resourceIdentifier"])?,
            datacenter: read(&["datacenterId", "datacenter"])?,
            project: read(&["projectId"])?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect()
    }

    fn read(pairs: &[(&str, &str)]) -> Result<Credentials, CredentialsError> {
        Credentials::from_secret(&data(pairs), AuthMode::Auto, &Allowed::default())
    }

    #[test]
    fn both_spellings_and_blanks_are_understood_and_the_token_comes_first() {
        assert!(matches!(
            read(&[("token", " abc\n"), ("clientId", "x")])
                .unwrap()
                .grant,
            Grant::VpsieAuth(_)
        ));
        assert!(matches!(
            read(&[("clientID", "x"), ("clientSecret", "y")])
                .unwrap()
                .grant,
            Grant::Client { .. }
        ));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_key_and_never_by_its_value() {
        for (pairs, expected) in [
            (vec![], CredentialsError::Missing),
            (
                vec![("clientId", "hush")],
                CredentialsError::Incomplete {
                    has: "clientId",
                    lacks: "clientSecret",
                },
            ),
            (
                vec![("token", "hu\u{7}sh")],
                CredentialsError::NotText("token"),
            ),
            (
                vec![("token", "hush"), ("url", "http://x")],
                UrlError::NotHttps.into(),
            ),
        ] {
            let error = read(&pairs).unwrap_err();
            assert_eq!(error, expected);
            assert!(!error.to_string().contains("hu"), "{error}");
        }
        let debug = format!("{:?}", read(&[("token", "hush")]).unwrap());
        assert!(!debug.contains("hush"), "{debug}");
    }
}
