//! Machines as the simulator knows them to be, whatever its answers say.

use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::Serialize;

/// A machine: the truth, not a list row.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Machine {
    /// UUID.
    pub uuid: String,
    /// Numeric id.
    pub id: i64,
    /// Host name as the API spells it (mixed case).
    pub hostname: String,
    /// The name of its Kubernetes Node: the lower-case host name, unless a fault says otherwise.
    pub node_name: String,
    /// What it is for.
    pub role: Role,
    /// UUID of its cluster; `None` for a plain machine.
    pub cluster: Option<String>,
    /// Numeric id of its group.
    pub pool: Option<i64>,
    /// Numeric id of its size.
    pub size: i64,
    /// Virtual CPUs.
    pub cpu: u32,
    /// Memory in MiB.
    pub ram_mb: u64,
    /// Disk in GiB.
    pub disk_gb: u64,
    /// Dollars an hour, as it was when the machine was bought.
    pub hourly_price: Decimal,
    /// Main address.
    pub default_ip: String,
    /// Private address.
    pub private_ip: String,
    /// How far it has come.
    pub phase: Phase,
    /// When its purchase took effect: paid from here.
    pub created_at: Timestamp,
    /// When it started to run, if it has.
    pub running_at: Option<Timestamp>,
    /// When its deletion took effect: paid until here.
    pub deleted_at: Option<Timestamp>,
    /// When it vanished from the lists.
    pub gone_at: Option<Timestamp>,
    /// Who bought it.
    pub origin: Origin,
    /// Who deleted it; `None` while it lives, or when it vanished by itself.
    pub deleted_by: Option<Origin>,
    /// Whether and how it becomes a Kubernetes Node.
    pub join: Join,
    /// What a plain machine was ordered with.
    pub order: Option<VmOrder>,
}

impl Machine {
    /// True when it becomes a Ready Node in the end.
    #[must_use]
    pub fn joins(&self) -> bool {
        matches!(self.join, Join::Ready { .. })
    }

    /// True from its purchase until its deletion (or disappearance): what is paid for.
    #[must_use]
    pub fn is_paid(&self) -> bool {
        !matches!(self.phase, Phase::Deleting | Phase::Gone)
    }
}

/// What a machine is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Role {
    /// Control plane of a managed cluster.
    Master,
    /// Worker of a managed cluster.
    Worker,
    /// A plain machine.
    Plain,
}

/// How far a machine has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Phase {
    /// Bought, not yet listed.
    Queued,
    /// Listed, without an address.
    Creating,
    /// Powered on.
    Running,
    /// Deletion accepted; still listed.
    Deleting,
    /// In no list any more.
    Gone,
}

/// Who did something.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Origin {
    /// The API request with this sequence number.
    Api(u64),
    /// A person at the control panel.
    Human,
    /// It was there from the start.
    Initial,
}

/// Whether and how a running machine becomes a Kubernetes Node; durations count from Running.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Join {
    /// The Node registers, then becomes Ready.
    Ready {
        /// Running → registered.
        register: Duration,
        /// Registered → Ready.
        ready: Duration,
    },
    /// The Node registers and stays NotReady.
    NotReady {
        /// Running → registered.
        register: Duration,
    },
    /// It never registers.
    Never,
}

/// What a plain machine was ordered with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct VmOrder {
    /// UUID of the project.
    pub project: Option<String>,
    /// UUID of the image.
    pub image: String,
    /// Boot data, base64.
    pub user_data: Option<String>,
    /// Free text.
    pub notes: Option<String>,
    /// Free labels.
    pub tags: Vec<String>,
    /// The caller's own id of the order.
    pub process_id: Option<String>,
    /// A public address was asked for in the way that is heard.
    pub public_ip: bool,
}

/// What happened to a machine; sent to every subscriber when it happens.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum MachineEvent {
    /// It was bought.
    Created(Machine),
    /// It boots: `machine.join` says when it registers as a Node, from now.
    Running(Machine),
    /// Its deletion took effect; it is gone when `Deleted` says so.
    Deleting(Machine),
    /// It is gone; its Node object is left as it is.
    Deleted(Machine),
}

impl MachineEvent {
    /// The machine, as it was at that moment.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        match self {
            Self::Created(machine)
            | Self::Running(machine)
            | Self::Deleting(machine)
            | Self::Deleted(machine) => machine,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Created(_) => "created",
            Self::Running(_) => "running",
            Self::Deleting(_) => "deleting",
            Self::Deleted(_) => "gone",
        }
    }
}
