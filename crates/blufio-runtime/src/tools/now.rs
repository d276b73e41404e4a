//! `now`: the date and the time, from the clock that was handed in.

use super::{arguments, similar, spec};
use blufio_core::port::{AnyTool, Clock, Replay, Tool, ToolCall, ToolError, ToolOutput, ToolSpec};
use blufio_core::time::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

struct Now {
    spec: ToolSpec,
    clock: Arc<dyn Clock>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    timezone: Option<String>,
}

pub(super) fn tool(clock: Arc<dyn Clock>) -> Arc<dyn AnyTool> {
    let description = "Tells the current date, weekday and time, in the person's zone and in UTC. Call it whenever an answer \
        depends on them.";
    let schema = json!({
        "type": "object",
        "properties": {
            "timezone": {
                "type": "string",
                "maxLength": 64,
                "description": "Another zone, such as `Europe/Berlin`."
            }
        },
        "required": [],
        "additionalProperties": false
    });
    let spec = ToolSpec { people: true, ..spec("now", description, schema, Replay::Pure, &[]) };
    Arc::new(Now { spec, clock })
}

impl Tool for Now {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, call: ToolCall) -> Result<ToolOutput, ToolError> {
        let arguments: Arguments = arguments(call.input)?;
        // The tables of the time zones are files.
        let now = self.clock.now();
        super::blocking(move || {
            let zone = match arguments.timezone.or(call.zone) {
                Some(name) => TimeZone::get(&name).map_err(|_| no_zone(&name))?,
                // A machine that names no zone, or one it has no table for, shows UTC.
                None => TimeZone::try_system().unwrap_or(TimeZone::UTC),
            };
            tell(now, zone).map(ToolOutput::from)
        })
        .await
    }
}

fn tell(now: Timestamp, zone: TimeZone) -> Result<String, ToolError> {
    let instant = jiff::Timestamp::from_millisecond(now.0)
        .map_err(|error| ToolError::Broken(format!("the clock shows {} ms: {error}", now.0)))?;
    let local = instant.to_zoned(zone);
    let name = local.time_zone().iana_name().map(|name| format!("{name}, ")).unwrap_or_default();
    Ok(format!(
        "{} ({name}{})\nUTC: {}",
        local.strftime("%A, %Y-%m-%d %H:%M:%S"),
        local.strftime("%Z, UTC%:z"),
        instant.strftime("%A, %Y-%m-%d %H:%M:%S"),
    ))
}

fn no_zone(name: &str) -> ToolError {
    let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    if known.len() < 2 {
        return ToolError::ToModel(
            "this machine has no time zone tables; ask without `timezone`, or for UTC".to_owned(),
        );
    }
    // People say `Asia/Bangalore` or `New York`: the city, as the tables spell it, finds the name.
    let city = name.rsplit('/').next().unwrap_or(name).trim().replace(' ', "_");
    let mut near = similar::nearest(name, known.iter().map(String::as_str));
    if near.is_empty() {
        near = similar::nearest(&city, known.iter().map(String::as_str));
    }
    let hint = if near.is_empty() { "use an IANA name such as `Europe/Berlin`".to_owned() } else { near.join(", ") };
    ToolError::ToModel(format!("there is no time zone `{name}`; known: {hint}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    const SUMMER: Timestamp = Timestamp(1_783_181_109_000);

    #[test]
    fn the_time_is_told_with_its_zone() {
        let berlin = tell(SUMMER, TimeZone::get("Europe/Berlin").unwrap()).unwrap();
        let expect =
            "Saturday, 2026-07-04 18:05:09 (Europe/Berlin, CEST, UTC+02:00)\nUTC: Saturday, 2026-07-04 16:05:09";
        assert_eq!(berlin, expect);
        let kolkata = tell(SUMMER, TimeZone::get("asia/kolkata").unwrap()).unwrap();
        assert!(kolkata.starts_with("Saturday, 2026-07-04 21:35:09 (Asia/Kolkata, IST, UTC+05:30)"), "{kolkata}");
        assert!(tell(Timestamp(i64::MAX), TimeZone::UTC).is_err_and(|error| matches!(error, ToolError::Broken(_))));
    }

    #[test]
    fn a_zone_that_is_not_one_gets_a_hint() {
        for (name, expect) in [
            ("Europe/Berln", "Europe/Berlin"),
            ("New York", "America/New_York"),
            ("Etc/Tokyo", "Asia/Tokyo"),
            ("../../../etc/passwd", "use an IANA name"),
            ("", "use an IANA name"),
        ] {
            assert!(TimeZone::get(name).is_err(), "{name}");
            let ToolError::ToModel(why) = no_zone(name) else { panic!("{name}") };
            assert!(why.contains(expect), "{name}: {why}");
        }
    }
}
