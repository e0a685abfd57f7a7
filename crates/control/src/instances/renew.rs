//! Renewing the credential of a live instance, on evidence seen again now.

use aims_crypto::PublicKey;
use aims_json::Object;
use aims_links::{InstanceGrant, Refusal};
use aims_model::{EventKind, Evidence, Instance, Posture};
use aims_oauth::WorkloadIdentity;
use aims_store::Txn;
use aims_types::{self as types, Cx, Id, Node, Revision};

use super::checks::Checks;
use super::credential::credential;
use super::ended;
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::liveness::{LiveInstance, NotLive};
use crate::recording::event;
use crate::{ControlPlane, Fault};
