//! Which request is meant: the table of routes, their names in fault rules and the journal, and
//! whether they change anything.

use std::{fmt, str::FromStr};

use http::Method;
use serde::{Deserialize, Serialize};

macro_rules! routes {
    ($($(#[doc = $doc:literal])* $variant:ident $name:literal $write:literal $method:ident $path:literal,)*) => {
        /// A route of the API.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Route {
            $($(#[doc = $doc])* $variant,)*
            /// No such route.
            Unknown,
        }

        impl Route {
            /// Every route, in the order of the table.
            pub const ALL: &[Route] = &[$(Route::$variant,)*];

            /// Its name in fault rules and in the journal.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Unknown => "unknown",
                }
            }

            /// True when it can change what exists.
            #[must_use]
            pub fn is_write(self) -> bool {
                match self {
                    $(Self::$variant => $write,)*
                    Self::Unknown => false,
                }
            }

            /// The route of `method` and `path` (without its prefix) and the values of the path's
            /// variables, in order.
            pub(crate) fn find(method: &Method, path: &str) -> (Self, Vec<String>) {
                $(if method == Method::$method && let Some(values) = matches($path, path) {
                    return (Self::$variant, values);
                })*
                (Self::Unknown, Vec::new())
            }
        }
    };
}

routes! {
    /// `POST /auth/from/api`.
    Login "login" false POST "/auth/from/api",
    /// `GET /k8s/cluster/all`.
    ListClusters "list-clusters" false GET "/k8s/cluster/all",
    /// `GET /k8s/cluster/byId/{cluster}`.
    GetCluster "get-cluster" false GET "/k8s/cluster/byId/{}",
    /// `GET /k8s/node/groups/byClusterId/{cluster}`.
    ListGroups "list-groups" false GET "/k8s/node/groups/byClusterId/{}",
    /// `POST /k8s/cluster/add/group`.
    AddGroup "add-group" true POST "/k8s/cluster/add/group",
    /// `DELETE /k8s/cluster/delete/group/{group}`.
    DeleteGroup "delete-group" true DELETE "/k8s/cluster/delete/group/{}",
    /// `POST /k8s/cluster/byId/{cluster}/add/slave/group/{id}`.
    AddWorker "add-worker" true POST "/k8s/cluster/byId/{}/add/slave/group/{}",
    /// `POST /k8s/cluster/byId/{cluster}/add/slave`.
    AddWorkerToDefault "add-worker-to-default" true POST "/k8s/cluster/byId/{}/add/slave",
    /// `DELETE /k8s/cluster/byId/{cluster}/delete/slave`.
    DeleteWorker "delete-worker" true DELETE "/k8s/cluster/byId/{}/delete/slave",
    /// `DELETE /k8s/cluster/byId/{cluster}/reduce/slave`: the API picks the victim.
    ReduceGroup "reduce-group" true DELETE "/k8s/cluster/byId/{}/reduce/slave",
    /// `DELETE /k8s/cluster/byId/{cluster}/reduce`: the API picks the victim.
    ReduceCluster "reduce-cluster" true DELETE "/k8s/cluster/byId/{}/reduce",
    /// `POST /k8s/offers`.
    ListOffers "list-offers" false POST "/k8s/offers",
    /// `GET /vm`.
    ListVms "list-vms" false GET "/vm",
    /// `GET /vm/pending`.
    ListPendingVms "list-pending-vms" false GET "/vm/pending",
    /// `GET /vm/{uuid}`.
    GetVm "get-vm" false GET "/vm/{}",
    /// `POST /vm`.
    CreateVm "create-vm" true POST "/vm",
    /// `DELETE /vm`.
    DeleteVm "delete-vm" true DELETE "/vm",
    /// `GET /storages/vms`.
    ListStorageVms "list-storage-vms" false GET "/storages/vms",
    /// `POST /resources`.
    ListResources "list-resources" false POST "/resources",
    /// `GET /plans/category`.
    ListPlanCategories "list-plan-categories" false GET "/plans/category",
    /// `GET /datacenter`.
    ListDatacenters "list-datacenters" false GET "/datacenter",
    /// `GET /projects`.
    ListProjects "list-projects" false GET "/projects",
    /// `GET /profile/user`.
    GetProfile "get-profile" false GET "/profile/user",
    /// `GET /custom/images`.
    ListCustomImages "list-custom-images" false GET "/custom/images",
}

fn matches(pattern: &str, path: &str) -> Option<Vec<String>> {
    let path = path.trim_end_matches('/');
    if pattern.split('/').count() != path.split('/').count() {
        return None;
    }
    let mut values = Vec::new();
    for (wanted, found) in pattern.split('/').zip(path.split('/')) {
        if wanted == "{}" {
            if found.is_empty() {
                return None;
            }
            values.push(found.to_owned());
        } else if wanted != found {
            return None;
        }
    }
    Some(values)
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Route {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The requests that a fault rule is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Match {
    /// `*`: every request.
    Any,
    /// `reads`: every request that changes nothing.
    Reads,
    /// `writes`: every request that can change something.
    Writes,
    /// By its name: one route.
    Only(Route),
}

impl Match {
    pub(crate) fn covers(self, route: Route) -> bool {
        match self {
            Self::Any => true,
            Self::Reads => !route.is_write(),
            Self::Writes => route.is_write(),
            Self::Only(only) => only == route,
        }
    }
}

impl From<Route> for Match {
    fn from(route: Route) -> Self {
        Self::Only(route)
    }
}

/// A fault rule names a route that does not exist.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no route is called {0:?}")]
pub struct UnknownRoute(String);

impl FromStr for Match {
    type Err = UnknownRoute;

    fn from_str(name: &str) -> Result<Self, UnknownRoute> {
        match name {
            "*" => Ok(Self::Any),
            "reads" => Ok(Self::Reads),
            "writes" => Ok(Self::Writes),
            "unknown" => Ok(Self::Only(Route::Unknown)),
            name => Route::ALL
                .iter()
                .find(|route| route.name() == name)
                .map(|route| Self::Only(*route))
                .ok_or_else(|| UnknownRoute(name.to_owned())),
        }
    }
}

impl TryFrom<String> for Match {
    type Error = UnknownRoute;

    fn try_from(name: String) -> Result<Self, UnknownRoute> {
        name.parse()
    }
}

impl From<Match> for String {
    fn from(value: Match) -> Self {
        match value {
            Match::Any => "*".to_owned(),
            Match::Reads => "reads".to_owned(),
            Match::Writes => "writes".to_owned(),
            Match::Only(route) => route.name().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_finds_its_route_and_the_values_in_it() {
        let (route, values) =
            Route::find(&Method::POST, "/k8s/cluster/byId/abc/add/slave/group/17");
        assert_eq!(route, Route::AddWorker);
        assert_eq!(values, ["abc", "17"]);
        assert_eq!(
            Route::find(&Method::GET, "/vm/pending").0,
            Route::ListPendingVms
        );
        assert_eq!(Route::find(&Method::GET, "/vm/abc").0, Route::GetVm);
        assert_eq!(Route::find(&Method::GET, "/offerings").0, Route::Unknown);
        assert_eq!(Route::find(&Method::PUT, "/vm").0, Route::Unknown);
        assert_eq!(Route::find(&Method::GET, "/vm//").0, Route::ListVms);
    }

    #[test]
    fn every_route_name_reads_back() {
        for route in Route::ALL {
            assert_eq!(route.name().parse(), Ok(Match::Only(*route)));
        }
        assert!("add-wroker".parse::<Match>().is_err());
    }
}
