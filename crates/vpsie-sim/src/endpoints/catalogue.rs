//! The login and everything that only describes the account: offers, datacenters, projects.

use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{missing, text};
use crate::{
    config::{LoginEncoding, LoginShape},
    fault::Fault,
    reply::{Call, Reply},
    rows::{datacenter_row, project_row},
    state::State,
};

const REFRESH_LIFETIME: Duration = Duration::from_hours(24);

impl State {
    pub(super) fn login(&mut self, call: &Call) -> Reply {
        let login = self.config.login.clone();
        let (id, secret) = if call.is_form() && login.encoding != LoginEncoding::Json {
            let mut fields = call.form();
            (fields.remove("clientId"), fields.remove("clientSecret"))
        } else if call.is_json() && login.encoding != LoginEncoding::Form {
            let body = serde_json::from_slice::<Value>(&call.body).unwrap_or_default();
            let field = |name: &str| body[name].as_str().map(str::to_owned);
            (field("clientId"), field("clientSecret"))
        } else {
            (None, None)
        };
        let credentials = &self.config.credentials;
        if id.is_none()
            || secret.is_none()
            || id != credentials.client_id
            || secret != credentials.client_secret
        {
            return Reply::unauthorized();
        }
        let skew = call.faults.skew();
        let written = |at: Timestamp| at.saturating_add(skew).unwrap_or(at).to_string();
        let expires = self.now + login.lifetime;
        let access = json!({
            "token": self.account.issue(&self.streams.ids, expires),
            "expires": written(self.timestamp(expires)),
        });
        let refresh = json!({
            "token": self.streams.ids.uuid().simple().to_string(),
            "expires": written(self.timestamp(self.now + REFRESH_LIFETIME)),
        });
        let shape = match (login.shape, call.faults.has(&Fault::AuthShapeChange)) {
            (LoginShape::AccessToken, false) | (LoginShape::Token, true) => LoginShape::AccessToken,
            _ => LoginShape::Token,
        };
        let mut answer = match shape {
            LoginShape::AccessToken => json!({"accessToken": access, "refreshToken": refresh}),
            LoginShape::Token => json!({"token": {"access": access, "refresh": refresh}}),
        };
        if login.nested {
            answer = json!({"data": answer});
        }
        answer["error"] = json!(false);
        Reply::json(StatusCode::OK, answer)
    }

    pub(super) fn list_offers(&mut self, call: &Call) -> Result<Reply, Reply> {
        let body = call.object(self.config.strict, &["dcIdentifier"])?;
        let wanted = text(&body, "dcIdentifier").ok_or_else(|| missing("dcIdentifier"))?;
        let Some(datacenter) = self.datacenter(wanted) else {
            return Ok(Reply::data(Vec::<Value>::new()));
        };
        let sizes = datacenter.sizes.iter();
        Ok(Reply::data(
            sizes.map(|size| self.offer_row(size)).collect::<Vec<_>>(),
        ))
    }

    pub(super) fn list_resources(&mut self, call: &Call) -> Reply {
        if !call.is_form() {
            return missing("dcIdentifier");
        }
        let form = call.form();
        let Some(wanted) = form.get("dcIdentifier") else {
            return missing("dcIdentifier");
        };
        let sizes = self
            .datacenter(wanted)
            .map(|datacenter| datacenter.sizes.as_slice());
        let rows = sizes
            .unwrap_or_default()
            .iter()
            .map(|size| self.resource_row(size));
        Reply::data(rows.collect::<Vec<_>>())
    }

    pub(super) fn list_datacenters(&mut self, call: &Call) -> Reply {
        let number = |name: &str| call.query.get(name).and_then(|text| text.parse().ok());
        let datacenters = &self.config.datacenters;
        let rows = datacenters
            .iter()
            .skip(number("offset").unwrap_or(0))
            .take(number("limit").unwrap_or(usize::MAX))
            .map(datacenter_row)
            .collect();
        // This list spells the key with a trailing blank.
        Reply::list(rows, "total ", json!(datacenters.len()))
    }

    pub(super) fn list_projects(&mut self) -> Reply {
        let rows: Vec<Value> = self.config.projects.iter().map(project_row).collect();
        let count = rows.len();
        Reply::data(json!({"rows": rows, "count": count}))
    }
}

pub(super) fn plan_categories() -> Reply {
    Reply::data(json!([
        {"identifier": "c1f3a2d0-0001-4a0b-8c1d-0000000000aa", "name": "A"},
        {"identifier": "c1f3a2d0-0001-4a0b-8c1d-0000000000cc", "name": "C"},
        {"identifier": "c1f3a2d0-0001-4a0b-8c1d-0000000000dd", "name": "M"},
    ]))
}

pub(super) fn profile() -> Reply {
    Reply::data(json!({
        "id": 4242,
        "identifier": "f2b0c9d1-4242-4b7a-9a55-000000004242",
        "email": "operator@example.com",
        "name": "Operator",
        "is_active": 1,
    }))
}
