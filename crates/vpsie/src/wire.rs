//! The cloud's bodies, read tolerantly: numbers may be text and text numbers, booleans 0 and 1,
//! fields missing, unknown or null. Nothing here panics, whatever the bytes.

use model::{
    Hostname, HourlyPrice, Instance, InstanceId, InstancePhase, Offering, Pool, PoolId, Role,
};
use rust_decimal::Decimal;
use serde_json::Value;

/// A body as JSON, if it is one of a size and depth (serde_json: 128) that real ones have.
pub(crate) fn json(body: &[u8]) -> Option<Value> {
    if body.len() > crate::transport::MAX_BODY {
        return None;
    }
    serde_json::from_slice(body).ok()
}

/// How many rows there are altogether: a number, under a key with or without a blank, or the count
/// in a list of one.
pub(crate) fn total(body: &Value) -> Option<usize> {
    ["total", "total "].into_iter().find_map(|key| {
        let total = integer(body, key).or_else(|| {
            let first = body.get(key)?.as_array()?.first()?;
            integer(first, "count")
        })?;
        usize::try_from(total).ok()
    })
}

/// `error` is true, 1 or "true".
pub(crate) fn says_error(body: &Value) -> bool {
    body.get("error").is_some_and(truth)
}

/// The cloud's own words.
pub(crate) fn message(body: &Value) -> String {
    body.get("message")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn truth(value: &Value) -> bool {
    match value {
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64().is_some_and(|n| n != 0.0),
        Value::String(text) => matches!(text.as_str(), "true" | "1"),
        _ => false,
    }
}

fn flag(object: &Value, key: &str) -> bool {
    object.get(key).is_some_and(truth)
}

pub(crate) fn text(object: &Value, key: &str) -> Option<String> {
    match object.get(key)? {
        Value::String(text) if !text.is_empty() && text.len() <= 512 => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

pub(crate) fn integer(object: &Value, key: &str) -> Option<i64> {
    match object.get(key)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Money from its digits, never through floating point arithmetic of ours.
fn money(object: &Value, key: &str) -> Option<Decimal> {
    let digits = match object.get(key)? {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return None,
    };
    Decimal::from_str_exact(&digits)
        .or_else(|_| Decimal::from_scientific(&digits))
        .ok()
        .filter(|amount| !amount.is_sign_negative())
}

/// One machine of a cluster, in any of the three shapes. `Err` names what is
/// missing; the UUID may be, it is then looked up elsewhere.
pub(crate) struct Node {
    pub(crate) uuid: Option<String>,
    pub(crate) instance: Instance,
}

pub(crate) fn node(row: &Value) -> Result<Node, &'static str> {
    let hostname = text(row, "hostname").ok_or("a node without hostname")?;
    let uuid = text(row, "identifier");
    let numeric_id = integer(row, "id").filter(|id| *id > 0);
    // Any sign of the control plane outweighs every sign of a worker.
    let lower = hostname.to_ascii_lowercase();
    let named = text(row, "role").unwrap_or_default().to_ascii_lowercase();
    let role = match named.as_str() {
        "master" | "manager" | "control-plane" => Role::ControlPlane,
        _ if lower.contains("-master-") => Role::ControlPlane,
        "slave" | "worker" => Role::Worker,
        "" if lower.contains("-slave-") => Role::Worker,
        _ => Role::Unknown,
    };
    let addresses: Vec<String> = ["ip", "default_ip", "private_ip"]
        .into_iter()
        .filter_map(|key| text(row, key))
        .fold(Vec::new(), |mut all, address| {
            if !all.contains(&address) {
                all.push(address);
            }
            all
        });
    let status = text(row, "status").unwrap_or_default().to_ascii_lowercase();
    let deleted = flag(row, "is_deleted") || flag(row, "is_terminated") || status == "deleting";
    let phase = if deleted {
        InstancePhase::Deleting
    } else if flag(row, "is_suspended") || flag(row, "is_locked") || status == "stopped" {
        InstancePhase::Stopped
    } else if addresses.is_empty()
        || matches!(status.as_str(), "creating" | "provisioning" | "pending")
        || (row.get("is_active").is_some() && !flag(row, "is_active"))
    {
        InstancePhase::Creating
    } else {
        InstancePhase::Running
    };
    let shape = integer(row, "cpu")
        .zip(integer(row, "ram"))
        .and_then(|(cpu, ram)| Some((u32::try_from(cpu).ok()?, u64::try_from(ram).ok()?)))
        .filter(|(cpu, ram)| *cpu > 0 && *ram > 0);
    Ok(Node {
        instance: Instance {
            id: InstanceId::new(uuid.as_deref().unwrap_or_default()),
            numeric_id,
            hostname: Hostname::new(&hostname),
            addresses,
            role,
            phase,
            pool: None,
            shape,
            created_at: text(row, "created_on").and_then(|at| at.parse().ok()),
        },
        uuid,
    })
}

/// A node group; `None` for rows that are marked deleted.
pub(crate) fn pool(row: &Value) -> Result<Option<Pool>, &'static str> {
    if flag(row, "is_deleted") || row.get("dropped_on").is_some_and(|at| !at.is_null()) {
        return Ok(None);
    }
    let id = integer(row, "id").ok_or("a node group without id")?;
    let size = integer(row, "boxsize_id").ok_or("a node group without boxsize_id")?;
    Ok(Some(Pool {
        id: PoolId(id),
        name: text(row, "group_name").unwrap_or_default(),
        size: size.to_string().into(),
        count: integer(row, "nodes_count").and_then(|count| u32::try_from(count).ok()),
    }))
}

/// A size for sale; `None` for rows without what a size needs.
pub(crate) fn offering(row: &Value) -> Option<Offering> {
    let id = integer(row, "id")?;
    let name = text(row, "name").or_else(|| text(row, "nickname"))?;
    let price = money(row, "hourly_price")
        .filter(|price| !price.is_zero())
        .map(HourlyPrice::new)
        .or_else(|| money(row, "price").map(HourlyPrice::from_monthly));
    Some(Offering {
        id: name.into(),
        size: id.to_string().into(),
        cpus: u32::try_from(integer(row, "cpu")?).ok()?,
        memory_mib: u64::try_from(integer(row, "ram")?).ok()?,
        disk_gib: u64::try_from(
            integer(row, "disk")
                .or_else(|| integer(row, "ssd"))
                .unwrap_or(0),
        )
        .ok()?,
        price,
    })
}

/// A datacenter.
pub(crate) fn datacenter(row: &Value) -> Option<cloud::Datacenter> {
    if flag(row, "is_deleted") {
        return None;
    }
    Some(cloud::Datacenter {
        id: text(row, "identifier")?.into(),
        name: text(row, "dc_name").unwrap_or_default(),
        active: row.get("is_active").is_none_or(truth),
    })
}

/// A row of `/storages/vms`: host name and UUID.
pub(crate) fn storage_row(row: &Value) -> Option<(Hostname, String)> {
    Some((
        Hostname::new(text(row, "hostname")?),
        text(row, "identifier")?,
    ))
}

/// The access token of a login, in either shape, nested or not.
pub(crate) fn token(body: &Value) -> Option<(String, Option<String>)> {
    let inner = body
        .get("data")
        .filter(|data| data.is_object())
        .unwrap_or(body);
    let access = inner
        .get("accessToken")
        .or_else(|| inner.get("token").and_then(|token| token.get("access")))?;
    Some((text(access, "token")?, text(access, "expires")))
}

/// The identity in the answer to a create, where it is told.
pub(crate) fn created(data: &Value) -> Option<InstanceId> {
    text(data, "identifier").map(InstanceId::from)
}

/// Reads `body` every way there is.
pub(crate) fn decode_all(body: &[u8]) {
    let Some(value) = json(body) else { return };
    let _ = (
        says_error(&value),
        message(&value),
        token(&value),
        created(&value),
    );
    let data = value.get("data").unwrap_or(&value);
    let rows = data
        .as_array()
        .or_else(|| data.get("nodes").and_then(Value::as_array));
    for row in rows.into_iter().flatten().chain([data]) {
        let _ = (
            node(row).is_ok(),
            pool(row).is_ok(),
            offering(row),
            datacenter(row),
        );
        let _ = storage_row(row);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_three_shapes_of_a_node_mean_the_same() {
        let sdk = json!({"id": 5, "hostname": "HEL-Kubernetes-1-slave-2", "default_ip": "10.0.0.1", "node_type": 2});
        let goas = json!({"identifier": "u", "hostname": "HEL-Kubernetes-1-slave-2", "ip": "10.0.0.1", "role": "slave", "status": "running", "cpu": "2", "ram": 4096});
        for row in [&sdk, &goas] {
            let node = node(row).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(node.instance.role, Role::Worker);
            assert_eq!(node.instance.phase, InstancePhase::Running);
            assert_eq!(node.instance.hostname.as_str(), "hel-kubernetes-1-slave-2");
        }
        assert_eq!(
            node(&goas).unwrap_or_else(|e| panic!("{e}")).instance.shape,
            Some((2, 4096))
        );
        let master = json!({"hostname": "HEL-Kubernetes-1-master-main", "ip": "1"});
        assert_eq!(
            node(&master)
                .unwrap_or_else(|e| panic!("{e}"))
                .instance
                .role,
            Role::ControlPlane
        );
        let nameless = json!({"hostname": "whatever", "ip": "1"});
        assert_eq!(
            node(&nameless)
                .unwrap_or_else(|e| panic!("{e}"))
                .instance
                .role,
            Role::Unknown
        );
    }

    #[test]
    fn prices_are_read_from_their_digits() {
        let price = |row: Value| offering(&row).unwrap().price.unwrap().to_string();
        let base = |price: Value, hourly: Value| json!({"id": "3", "name": "s", "cpu": 2, "ram": "4096", "price": price, "hourly_price": hourly});
        assert_eq!(price(base(json!(10), json!(0.0137))), "0.0137");
        assert_eq!(price(base(json!("7.30"), Value::Null)), "0.01");
        assert_eq!(price(base(json!(7.3), json!("0"))), "0.01");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoders_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            decode_all(&bytes);
        }

        #[test]
        fn no_json_makes_the_decoders_panic(text in "[\\[{]?(\"[a-z_]{0,12}\":?(-?[0-9]{0,30}|null|true|\"[^\"]{0,10}\"|\\{|\\[),?){0,8}[\\]}]?") {
            decode_all(text.as_bytes());
        }
    }
}
