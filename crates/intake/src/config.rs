//! AutoscalerConfigs: whether the whole cluster is paused. Its settings are not read.

use std::collections::BTreeMap;

use api::{AutoscalerConfig, labels::PAUSED};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;

use crate::metadata::metadata;

/// What is decoded of an AutoscalerConfig.
#[derive(Resource, Deserialize, Clone, Debug)]
#[resource(inherit = AutoscalerConfig)]
pub struct ConfigView {
    /// Metadata, without `managedFields`.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
}

/// The only object that counts.
const NAME: &str = "default";

impl ConfigView {
    /// What pauses the whole cluster.
    #[must_use]
    pub fn paused(&self) -> Option<String> {
        if self.metadata.name.as_deref() != Some(NAME) {
            return None;
        }
        let pause = pause(self.metadata.annotations.as_ref())?;
        Some(format!("AutoscalerConfig {NAME}: {pause}"))
    }
}

/// The annotation that pauses what carries `annotations`, as it is written. A value that is neither
/// true nor false pauses as well: whoever wrote it wanted something to stop.
#[must_use]
pub fn pause(annotations: Option<&BTreeMap<String, String>>) -> Option<String> {
    let value = annotations?.get(PAUSED)?;
    let runs = value.trim().eq_ignore_ascii_case("false");
    (!runs).then(|| format!("{PAUSED}: {value:?}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_but_false_pauses_and_only_on_the_object_that_counts() {
        let paused = |name: &str, value: &str| {
            let value = json!({"metadata": {"name": name, "annotations": {PAUSED: value}},
                "spec": {"globalSettings": 7}});
            serde_json::from_value::<ConfigView>(value)
                .unwrap()
                .paused()
        };
        for value in ["true", " True ", "yes", "", "tomorrow"] {
            let expected =
                format!("AutoscalerConfig default: autoscaler.vpsie.com/paused: {value:?}");
            assert_eq!(paused("default", value), Some(expected));
            assert_eq!(paused("other", value), None);
        }
        for value in ["false", " FALSE "] {
            assert_eq!(paused("default", value), None);
        }
        assert_eq!(pause(None), None);
        assert_eq!(pause(Some(&BTreeMap::new())), None);
    }
}
