//! What a policy says of itself.

use std::fmt;
use std::str::FromStr;

use aims_types::Name;
use cedar_policy::Policy;

/// Longest `@description`, in bytes.
pub const DESCRIPTION_LEN_MAX: usize = 1024;

/// What has to be met before a permit counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequirementKind {
    /// A person's approval of exactly this request.
    Approval,
    /// The acting instance runs at this assurance level or above.
    Assurance(Name),
}

/// The annotations of one policy.
pub(super) struct Annotations {
    pub(super) id: Name,
    pub(super) requires: Option<RequirementKind>,
}

const ASSURANCE: &str = "assurance:";

impl Annotations {
    /// Reads the annotations. An unknown one is refused: its author expects it to do something.
    pub(super) fn of(policy: &Policy) -> Result<Self, String> {
        let (mut id, mut requires) = (None, None);
        for (name, value) in policy.annotations() {
            match name {
                "id" => id = Some(value.parse().map_err(|e| format!("`@id`: {e}"))?),
                "description" if value.len() <= DESCRIPTION_LEN_MAX => {}
                "description" => return Err("`@description` has more than 1024 bytes".to_owned()),
                "requirement" => requires = Some(value.parse()?),
                other => {
                    let known = "known are `@id`, `@description` and `@requirement`";
                    return Err(format!("unknown annotation `@{other}`; {known}"));
                }
            }
        }
        let missing = "the policy has no `@id`; put `@id(\"some-name\")` before it";
        Ok(Self {
            id: id.ok_or(missing)?,
            requires,
        })
    }
}

impl FromStr for RequirementKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let level = text.strip_prefix(ASSURANCE).map(str::parse::<Name>);
        match (text, level) {
            ("approval", _) => Ok(Self::Approval),
            (_, Some(Ok(level))) => Ok(Self::Assurance(level)),
            _ => {
                let shown: String = text.chars().take(64).flat_map(char::escape_debug).collect();
                let known = "known are `approval` and `assurance:<level>`";
                Err(format!("unknown requirement `{shown}`; {known}"))
            }
        }
    }
}

impl fmt::Display for RequirementKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Approval => f.write_str("approval"),
            Self::Assurance(level) => write!(f, "{ASSURANCE}{level}"),
        }
    }
}
