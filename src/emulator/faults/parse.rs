//! Parsing of faults as given to `emulate --fault`.

use std::str::FromStr;
use std::time::Duration;

use super::injected_fault::InjectedFault;
use super::switches::FaultSwitches;
use crate::oss::Region;

/// A fault and its number of uses: `[TIMES:]KIND[=VALUE]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultOrder {
    fault: InjectedFault,
    /// The number of uses; `None` for unlimited.
    times: Option<usize>,
}

impl FaultOrder {
    /// Enables the fault.
    pub(crate) fn apply_to(&self, faults: &FaultSwitches) {
        match self.times {
            None => faults.always(self.fault.clone()),
            Some(times) => faults.next(times, self.fault.clone()),
        }
    }

    /// All kinds with their values, for help texts.
    pub(crate) const KINDS: &str = "close-unread, reset-unread, hang-up, reset, close-reused, reset-reused, close-after, \
        cut-body=BYTES, reset-body=BYTES, cut-chunks=BYTES, reset-chunks=BYTES, short-body=BYTES, chunked, \
        hang-body=BYTES, drip=BYTES:MS, delay=MS, hang, stall-upload=BYTES, refuse-upload=BYTES, forget-body, \
        keep-broken, status=STATUS[:CODE], skew=SECONDS, expired-token, unknown-key, wrong-signature, \
        other-region=REGION";
}

impl FromStr for FaultOrder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (times, rest) = match text.split_once(':') {
            Some((times, rest)) if times.bytes().all(|byte| byte.is_ascii_digit()) => {
                (Some(number(times)?), rest)
            }
            Some(_) | None => (None, text),
        };
        let (kind, value) = rest.split_once('=').map_or((rest, None), |(kind, value)| (kind, Some(value)));
        let fault = match value {
            None => plain(kind),
            Some(value) => with_value(kind, value)?,
        };
        let fault =
            fault.ok_or_else(|| format!("unknown fault {rest:?}; expected one of {}", Self::KINDS))?;
        Ok(Self { fault, times })
    }
}

fn plain(kind: &str) -> Option<InjectedFault> {
    Some(match kind {
        "close-unread" => InjectedFault::CloseUnread,
        "reset-unread" => InjectedFault::ResetUnread,
        "hang-up" => InjectedFault::HangUp,
        "reset" => InjectedFault::Reset,
        "close-reused" => InjectedFault::CloseReused,
        "reset-reused" => InjectedFault::ResetReused,
        "close-after" => InjectedFault::CloseAfter,
        "chunked" => InjectedFault::Chunked,
        "hang" => InjectedFault::Hang,
        "forget-body" => InjectedFault::ForgetBody,
        "keep-broken" => InjectedFault::KeepBroken,
        "expired-token" => InjectedFault::ExpiredToken,
        "unknown-key" => InjectedFault::UnknownKey,
        "wrong-signature" => InjectedFault::WrongSignature,
        _ => return None,
    })
}

fn with_value(kind: &str, value: &str) -> Result<Option<InjectedFault>, String> {
    Ok(Some(match kind {
        "cut-body" => InjectedFault::CutBody { after_bytes: number(value)? },
        "reset-body" => InjectedFault::ResetBody { after_bytes: number(value)? },
        "cut-chunks" => InjectedFault::CutChunks { after_bytes: number(value)? },
        "reset-chunks" => InjectedFault::ResetChunks { after_bytes: number(value)? },
        "short-body" => InjectedFault::ShortBody { missing_bytes: number(value)? },
        "hang-body" => InjectedFault::HangBody { after_bytes: number(value)? },
        "stall-upload" => InjectedFault::StallUpload { after_bytes: number(value)? },
        "refuse-upload" => InjectedFault::RefuseUpload { after_bytes: number(value)? },
        "delay" => InjectedFault::Delay(Duration::from_millis(number(value)?)),
        "skew" => InjectedFault::Skew { seconds: number(value)? },
        "drip" => {
            let (bytes, pause) = value.split_once(':').ok_or("expected drip=BYTES:MS")?;
            InjectedFault::Drip { bytes: number(bytes)?, pause: Duration::from_millis(number(pause)?) }
        }
        "status" => {
            let (status, code) = value.split_once(':').unwrap_or((value, "InternalError"));
            let status = number(status)?;
            if !(400..600).contains(&status) {
                return Err("the status must be between 400 and 599".to_owned());
            }
            InjectedFault::Status { status, code: code.to_owned() }
        }
        "other-region" => {
            InjectedFault::OtherRegion(Region::parse(value).map_err(|error| error.to_string())?)
        }
        _ => return Ok(None),
    }))
}

fn number<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("{text:?} is not a valid number"))
}

#[cfg(test)]
mod tests {
    use super::{FaultOrder, InjectedFault};

    #[test]
    fn every_kind_that_the_help_names_is_understood() {
        for word in FaultOrder::KINDS.split(", ") {
            let word = word.replace("STATUS[:CODE]", "503").replace("BYTES", "1").replace("MS", "1");
            let word = word.replace("SECONDS", "-1").replace("REGION", "cn-beijing");
            assert!(word.parse::<FaultOrder>().is_ok(), "{word}");
        }
    }

    #[test]
    fn a_number_before_the_kind_says_how_often() {
        let order = "3:status=503:SlowDown".parse::<FaultOrder>();
        let fault = InjectedFault::Status { status: 503, code: "SlowDown".to_owned() };
        assert_eq!(order, Ok(FaultOrder { fault, times: Some(3) }));
        assert_eq!("hang".parse::<FaultOrder>(), Ok(FaultOrder { fault: InjectedFault::Hang, times: None }));
    }

    #[test]
    fn what_is_no_fault_is_refused_with_a_remedy() {
        for text in ["", "cut-body", "cut-body=x", "hang=1", "status=200", "drip=1", "x:hang", "nope=1"] {
            assert!(text.parse::<FaultOrder>().is_err(), "{text}");
        }
        let told = "nope".parse::<FaultOrder>().expect_err("no such fault");
        assert!(told.contains("close-unread"), "{told}");
    }
}
