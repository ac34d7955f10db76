//! What a control plane is started with; everything has a default.

use std::time::Duration;

use super::Component;

/// How a control plane is run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who may come with a token, besides the components themselves. `admin` is needed by the
    /// control plane itself.
    pub users: Vec<User>,
    /// How nodes and their pods are judged.
    pub lifecycle: Lifecycle,
    /// Further flags of components; of a flag given twice the last counts.
    pub flags: Vec<(Component, String)>,
    /// How long each component may take until it works.
    pub start_within: Duration,
    /// Leave the directory with logs and data behind.
    pub keep: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let masters = vec!["system:masters".to_owned()];
        let user = |name: &str| User {
            name: name.to_owned(),
            groups: masters.clone(),
        };
        Self {
            users: vec![user(User::ADMIN), user(User::WORLD)],
            lifecycle: Lifecycle::default(),
            flags: Vec::new(),
            start_within: Duration::from_mins(2),
            keep: std::env::var_os("VPSIE_E2E_KEEP").is_some(),
        }
    }
}

impl Settings {
    /// Those who come with a token: the users and the two components that are clients.
    pub(crate) fn everybody(&self) -> Vec<User> {
        let mut all = self.users.clone();
        for component in [Component::Scheduler, Component::ControllerManager] {
            all.push(User {
                name: format!("system:{component}"),
                groups: Vec::new(),
            });
        }
        all
    }
}

/// Somebody whom the API server knows by a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// As it stands in the audit log and in role bindings.
    pub name: String,
    /// Its groups.
    pub groups: Vec<String>,
}

impl User {
    /// May do everything: people, and the control plane's own probes.
    pub const ADMIN: &str = "admin";
    /// May do everything: the simulated kubelets and machines.
    pub const WORLD: &str = "world";
}

/// How the controllers judge nodes, and what becomes of their pods. The defaults are the
/// components' own.
#[derive(Clone, Copy, Debug)]
pub struct Lifecycle {
    /// Between two looks at the nodes.
    pub monitor_period: Duration,
    /// After how long without a sign of life a node is Unknown.
    pub monitor_grace: Duration,
    /// The same for a node that never was Ready.
    pub startup_grace: Duration,
    /// For how long pods tolerate a node that is not ready or unreachable, unless they say.
    pub toleration: Duration,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            monitor_period: Duration::from_secs(5),
            monitor_grace: Duration::from_secs(50),
            startup_grace: Duration::from_mins(1),
            toleration: Duration::from_mins(5),
        }
    }
}
