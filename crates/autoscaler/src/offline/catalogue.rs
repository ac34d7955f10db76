//! What can be bought, from a file: a dump has the groups, but not the cloud's catalogue.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use model::{HourlyPrice, Offering, Quantity, Resources};
use planner::scale_up::{Learned, Reserve};
use serde::Deserialize;

/// Why a list of offerings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OfferingsError {
    /// It is not of this form.
    #[error("it is no list of offerings: {0}")]
    Form(String),
    /// An amount cannot be read.
    #[error("offering {id}: {field}.{resource}: {what}")]
    Amount {
        /// The offering.
        id: String,
        /// `capacity` or `allocatable`.
        field: &'static str,
        /// The resource.
        resource: String,
        /// What is wrong.
        what: String,
    },
    /// An offering is given twice.
    #[error("offering {0} is given twice")]
    Twice(String),
}

/// An offering as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    id: String,
    capacity: BTreeMap<String, Scalar>,
    #[serde(default)]
    allocatable: Option<BTreeMap<String, Scalar>>,
    #[serde(default)]
    hourly_price: Option<HourlyPrice>,
    #[serde(default)]
    datacenters: Vec<String>,
}

/// A quantity; some writers use numbers.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Whole(i64),
    Broken(f64),
    Text(String),
}

impl Scalar {
    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Whole(number) => number.to_string().into(),
            Self::Broken(number) => number.to_string().into(),
            Self::Text(text) => text.into(),
        }
    }
}

/// An offering, and what its nodes offer to pods.
#[derive(Clone, Debug)]
struct Sold {
    offering: Offering,
    datacenters: Vec<String>,
    allocatable: Resources,
    /// The file says so, and not the usual reserve.
    is_stated: bool,
}

/// What can be bought.
#[derive(Clone, Debug)]
pub struct Catalogue(Vec<Sold>);

impl Catalogue {
    /// Reads JSON or YAML, in the form that docs/explain.md describes.
    pub fn read(text: &str) -> Result<Self, OfferingsError> {
        let form = |error: String| {
            OfferingsError::Form(error.lines().next().unwrap_or_default().to_owned())
        };
        let written: Vec<Written> = if text.trim_start().starts_with(['[', '{']) {
            serde_json::from_str(text).map_err(|error| form(error.to_string()))?
        } else {
            serde_saphyr::from_str(text).map_err(|error| form(error.to_string()))?
        };
        let mut sold: Vec<Sold> = Vec::new();
        for written in written {
            let id = &written.id;
            let same = |one: &Sold| one.offering.id.as_str().eq_ignore_ascii_case(id);
            if sold.iter().any(same) {
                return Err(OfferingsError::Twice(written.id));
            }
            sold.push(written.sold()?);
        }
        Ok(Self(sold))
    }

    /// The offerings of a datacenter.
    pub(super) fn sold_in(&self, datacenter: &str) -> Vec<Offering> {
        let there = |sold: &&Sold| {
            let mut named = sold.datacenters.iter();
            sold.datacenters.is_empty() || named.any(|name| name.eq_ignore_ascii_case(datacenter))
        };
        let sold = self.0.iter().filter(there);
        sold.map(|sold| sold.offering.clone()).collect()
    }

    /// What a node of `offering` offers: what the file states, else what a node has `shown`, else
    /// the capacity less the usual reserve.
    pub(super) fn learned(&self, offering: &Offering, shown: Option<Learned>) -> Option<Learned> {
        // A group may write the offering's name otherwise, but its size is ours.
        let Some(sold) = self
            .0
            .iter()
            .find(|sold| sold.offering.size == offering.size)
        else {
            return shown;
        };
        let mut learned = shown.unwrap_or_else(|| Learned {
            allocatable: sold.allocatable.clone(),
            ..Learned::default()
        });
        if sold.is_stated {
            learned.allocatable.clone_from(&sold.allocatable);
        }
        Some(learned)
    }
}

impl Written {
    fn sold(self) -> Result<Sold, OfferingsError> {
        let reserve = Reserve::default();
        let none = Resources {
            pods: reserve.pods,
            ..Resources::default()
        };
        let capacity = amounts(&self.id, "capacity", &self.capacity, none)?;
        let whole = |amount: i64| u64::try_from(amount).unwrap_or_default();
        let offering = Offering {
            id: self.id.as_str().into(),
            size: self.id.as_str().into(),
            cpus: u32::try_from(capacity.cpu_milli / 1000).unwrap_or(u32::MAX),
            memory_mib: whole(capacity.memory >> 20),
            disk_gib: whole(capacity.ephemeral >> 30),
            price: self.hourly_price,
        };
        let stated = self.allocatable.as_ref();
        Ok(Sold {
            offering,
            datacenters: self.datacenters,
            allocatable: match stated {
                Some(stated) => amounts(&self.id, "allocatable", stated, capacity)?,
                None => reserve.left_of(&capacity),
            },
            is_stated: stated.is_some(),
        })
    }
}

/// `into`, with the amounts that are written in place of its own.
fn amounts(
    id: &str,
    field: &'static str,
    written: &BTreeMap<String, Scalar>,
    mut into: Resources,
) -> Result<Resources, OfferingsError> {
    for (name, scalar) in written {
        let wrong = |what: String| OfferingsError::Amount {
            id: id.to_owned(),
            field,
            resource: name.clone(),
            what,
        };
        let amount = Quantity::parse(&scalar.text()).map_err(|error| wrong(error.to_string()))?;
        if amount.is_negative() {
            return Err(wrong(format!("{amount} is below zero")));
        }
        match name.as_str() {
            "cpu" => into.cpu_milli = amount.milli_ceil(),
            "memory" => into.memory = amount.value_ceil(),
            "ephemeral-storage" => into.ephemeral = amount.value_ceil(),
            "pods" => into.pods = amount.value_ceil(),
            other => {
                into.extended.insert(Arc::from(other), amount.value_ceil());
            }
        }
    }
    Ok(into)
}
