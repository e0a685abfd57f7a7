//! What an agent hears while its call waits.

use std::time::Duration;

use aims_json::{Decimal, Number, Object, Value};
use aims_mcp::{ProgressToken, Raw, build, sse};
use aims_model::Approval;

/// How often an agent that asked for progress hears that its call waits.
const NEWS_EVERY: Duration = Duration::from_secs(5);
/// Each piece of news is progress by one in so many digits.
const STEP_DIGITS: u32 = 3;

/// What an agent hears while its call waits: progress if it asked for it, else that the stream is
/// alive.
pub(super) struct News {
    token: Option<ProgressToken>,
    text: String,
    told: u32,
}

impl News {
    pub(super) fn new(token: Option<&ProgressToken>, approval: &Approval) -> Self {
        Self {
            token: token.cloned(),
            text: format!(
                "waiting until {} for a person's approval, `{}`",
                approval.deadline, approval.id
            ),
            told: 0,
        }
    }

    pub(super) fn every(&self, keep_alive: Duration) -> Duration {
        if self.token.is_some() {
            keep_alive.min(NEWS_EVERY)
        } else {
            keep_alive
        }
    }

    /// The next piece. Progress grows in small steps (MCP 2025-11-25, Progress), so that the
    /// tool's own, which follows, goes on from there.
    pub(super) fn next(&mut self) -> Vec<u8> {
        let Some(token) = &self.token else {
            return sse::keep_alive().to_vec();
        };
        self.told = self.told.saturating_add(1);
        let steps = Decimal::new(self.told.into(), STEP_DIGITS).unwrap_or(Decimal::ZERO);
        let params = Object::new()
            .with("progressToken", token.to_value())
            .with("progress", Value::Number(Number::from_decimal(steps)))
            .with("message", self.text.as_str());
        let params = Raw::from(&Value::from(params));
        let message = build::notification("notifications/progress", Some(&params));
        sse::event(None, &message)
    }
}
