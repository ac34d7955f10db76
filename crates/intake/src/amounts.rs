//! Amounts of resources: quantities by name, and their exact sums.
//!
//! The API server stores no resource finer than a thousandth (`SetDefaults_ResourceList`), so each
//! amount is rounded up to one as it is read; sums are exact, and what is not counted in
//! thousandths is rounded up once, for the whole pod (`Resource.Add` in kube-scheduler).

use std::{fmt, sync::Arc};

use model::{Quantity, Resources};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// A quantity as the API writes it; some writers use numbers.
///
/// Decoding it never fails: one bad quantity must not make a whole list unreadable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Amount(Result<Quantity, Box<str>>);

impl Amount {
    /// The amount, or why there is none.
    pub(crate) fn quantity(&self) -> Result<Quantity, String> {
        let quantity = self.0.clone()?;
        if quantity.is_negative() {
            return Err(format!("{quantity} is below zero"));
        }
        Ok(quantity)
    }

    fn parse(text: &str) -> Self {
        Self(Quantity::parse(text).map_err(|error| error.to_string().into()))
    }

    fn none(what: &str) -> Self {
        Self(Err(format!("{what} is not a quantity").into()))
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyScalar;

        impl<'de> Visitor<'de> for AnyScalar {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity")
            }

            fn visit_str<E>(self, text: &str) -> Result<Amount, E> {
                Ok(Amount::parse(text))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Amount, E> {
                Ok(Amount::parse(&number.to_string()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Amount, E> {
                Ok(Amount::parse(&number.to_string()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Amount, E> {
                Ok(Amount::parse(&number.to_string()))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Amount, E> {
                Ok(Amount::none(if value { "true" } else { "false" }))
            }

            fn visit_unit<E>(self) -> Result<Amount, E> {
                Ok(Amount::none("null"))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Amount, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Amount::none("a list"))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Amount, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Amount::none("an object"))
            }
        }

        deserializer.deserialize_any(AnyScalar)
    }
}

/// Which resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Cpu,
    Memory,
    Ephemeral,
    Pods,
    Other(Arc<str>),
}

impl Name {
    fn new(text: &str) -> Self {
        match text {
            "cpu" => Self::Cpu,
            "memory" => Self::Memory,
            "ephemeral-storage" => Self::Ephemeral,
            "pods" => Self::Pods,
            other => Self::Other(Arc::from(other)),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Ephemeral => "ephemeral-storage",
            Self::Pods => "pods",
            Self::Other(name) => name,
        }
    }

    /// What containers ask for stands for what their pod does not say.
    pub(crate) const fn is_summed_up(&self) -> bool {
        matches!(self, Self::Cpu | Self::Memory)
    }

    /// Pods may ask for it as a whole (component-helpers `IsSupportedPodLevelResource`).
    pub(crate) fn is_pod_level(&self) -> bool {
        match self {
            Self::Cpu | Self::Memory => true,
            Self::Ephemeral | Self::Pods => false,
            Self::Other(_) => self.is_huge_page(),
        }
    }

    /// Memory in pages of some size.
    pub(crate) fn is_huge_page(&self) -> bool {
        self.as_str().starts_with("hugepages-")
    }
}

/// The scheduler counts it (`IsScalarResourceName`).
fn is_scalar(name: &str) -> bool {
    name.starts_with("hugepages-")
        || name.starts_with("attachable-volumes-")
        || name.contains('/') && !name.starts_with("requests.")
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a resource")
            }

            fn visit_str<E>(self, text: &str) -> Result<Name, E> {
                Ok(Name::new(text))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// A list of resources as the API writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts(Vec<(Name, Amount)>);

impl<'de> Deserialize<'de> for Amounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Amounts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("quantities by resource")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Amounts, A::Error> {
                let mut list: Vec<(Name, Amount)> = Vec::new();
                while let Some((name, amount)) = map.next_entry::<Name, Amount>()? {
                    match list.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, before)) => *before = amount,
                        None => list.push((name, amount)),
                    }
                }
                Ok(Amounts(list))
            }
        }

        deserializer.deserialize_map(List)
    }
}

/// Exact amounts by resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exact(Vec<(Name, Quantity)>);

impl Exact {
    /// What `amounts` says; the first that cannot be read is named.
    pub(crate) fn read(amounts: Option<&Amounts>) -> Result<Self, String> {
        amounts
            .iter()
            .flat_map(|amounts| &amounts.0)
            .map(|(name, amount)| match amount.quantity() {
                Ok(quantity) => Ok((name.clone(), quantity.ceil_to_milli())),
                Err(error) => Err(format!("{}: {error}", name.as_str())),
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The amount of a resource; zero where it is not named.
    pub(crate) fn get(&self, name: &Name) -> Quantity {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, quantity)| *quantity).unwrap_or_default()
    }

    /// Says another amount of a resource.
    pub(crate) fn set(&mut self, name: &Name, quantity: Quantity) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, before)) => *before = quantity,
            None => self.0.push((name.clone(), quantity)),
        }
    }

    /// Nothing is said of any resource.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The resources that are named.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Name> {
        self.0.iter().map(|(name, _)| name)
    }

    /// Says no more of resources that `keeps` does not keep.
    pub(crate) fn retain(&mut self, keeps: impl Fn(&Name) -> bool) {
        self.0.retain(|(name, _)| keeps(name));
    }

    /// Says what `other` says of resources that are not named.
    pub(crate) fn fill(&mut self, other: &Self) {
        for (name, quantity) in &other.0 {
            if !self.names().any(|known| known == name) {
                self.0.push((name.clone(), *quantity));
            }
        }
    }

    /// Adds `other`.
    pub(crate) fn add(&mut self, other: &Self) {
        for (name, quantity) in &other.0 {
            self.set(name, self.get(name) + *quantity);
        }
    }

    /// Raises each amount to at least that of `other`.
    pub(crate) fn raise_to(&mut self, other: &Self) {
        for (name, quantity) in &other.0 {
            self.set(name, self.get(name).max(*quantity));
        }
    }

    /// As the scheduler counts them: thousandths of a CPU, and whole units of all else.
    pub(crate) fn resources(&self) -> Resources {
        let mut resources = Resources::default();
        for (name, quantity) in &self.0 {
            match name {
                Name::Cpu => resources.cpu_milli = quantity.milli_ceil(),
                Name::Memory => resources.memory = quantity.value_ceil(),
                Name::Ephemeral => resources.ephemeral = quantity.value_ceil(),
                Name::Pods => resources.pods = quantity.value_ceil(),
                Name::Other(name) => {
                    let amount = quantity.value_ceil();
                    if amount != 0 && is_scalar(name) {
                        resources.extended.insert(Arc::clone(name), amount);
                    }
                }
            }
        }
        resources
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<Exact, String> {
        Exact::read(Some(&serde_json::from_value(value).unwrap()))
    }

    #[test]
    fn memory_is_summed_exactly_and_rounded_once_cpu_is_rounded_as_it_is_stored() {
        let half = read(json!({"cpu": "100u", "memory": "500m"})).unwrap();
        let mut sum = half.clone();
        sum.add(&half);
        sum.add(&half);
        assert_eq!(sum.resources().memory, 2, "a byte and a half");
        assert_eq!(sum.resources().cpu_milli, 3);
    }

    #[test]
    fn only_names_that_the_scheduler_counts_are_kept() {
        let named = json!({"storage": "1", "example.com/a": "2", "requests.example.com/a": "3",
            "hugepages-2Mi": "4Mi", "kubernetes.io/b": 5, "example.com/none": 0});
        let extended = read(named).unwrap().resources().extended;
        let names: Vec<&str> = extended.keys().map(AsRef::as_ref).collect();
        assert_eq!(names, ["example.com/a", "hugepages-2Mi", "kubernetes.io/b"]);
    }

    #[test]
    fn an_amount_below_zero_is_named() {
        assert_eq!(
            read(json!({"cpu": "-1"})).unwrap_err(),
            "cpu: -1 is below zero"
        );
    }

    #[test]
    fn of_a_resource_named_twice_the_last_amount_counts() {
        let amounts: Amounts = serde_json::from_str(r#"{"cpu": "1", "cpu": "2"}"#).unwrap();
        let exact = Exact::read(Some(&amounts)).unwrap();
        assert_eq!(exact.resources().cpu_milli, 2000);
    }
}
