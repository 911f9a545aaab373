//! Changes of the replay marker and the baselines. Pure.

use super::Baselines;
use super::log::format::State;

/// A change that goes to the disk before what depends on it (invariant 4).
#[derive(Debug)]
pub(super) enum StateChange {
    /// An event is appended that was sent before, and may be stored above these sequence numbers.
    Sent(Baselines),
    /// Replay is about to send events, which will be stored above these sequence numbers.
    ReplayBegins(Baselines),
    /// These streams are others than those of their baselines, or were set back.
    Forget(Vec<String>),
}

impl StateChange {
    /// Changes the state. Returns whether it must be written.
    pub(super) fn apply(self, state: &mut State) -> bool {
        match self {
            Self::Sent(above) if !state.replay_began => {
                state.baselines = above.into_iter().collect();
            }
            Self::Sent(above) => state.baselines.retain(|stream, baseline| {
                // Unknown when it was sent, or another stream: it may be stored anywhere in it.
                let above = above.get(stream);
                let Some(above) = above.filter(|above| above.is_of_same_stream(baseline)) else {
                    return false;
                };
                baseline.sequence = baseline.sequence.min(above.sequence);
                true
            }),
            // An event that may be stored anywhere may be in a stream that is not named.
            Self::ReplayBegins(_) if state.replay_began => {}
            Self::ReplayBegins(acknowledged) => {
                for (stream, acknowledged) in acknowledged {
                    let baseline = state.baselines.entry(stream).or_default();
                    let is_other = !baseline.is_of_same_stream(&acknowledged);
                    if is_other || baseline.sequence < acknowledged.sequence {
                        *baseline = acknowledged;
                    }
                }
            }
            Self::Forget(streams) => {
                let known = state.baselines.len();
                state
                    .baselines
                    .retain(|stream, _| !streams.contains(stream));
                return state.replay_began && state.baselines.len() < known;
            }
        }
        state.replay_began = true;
        true
    }
}
