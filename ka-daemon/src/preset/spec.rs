//! A preset as it is written in YAML, and what is checked beyond its types. [`crate::config`] reads it.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::{Expected, Pattern, Preset};
use crate::config::{Fault, check_name};
use crate::pattern;

/// The longest `TCP_KEEPIDLE` and `TCP_KEEPINTVL` that the kernel takes, in seconds.
const SECONDS_MAX: u32 = 32_767;
/// The largest `TCP_KEEPCNT` that the kernel takes.
const COUNT_MAX: u32 = 127;

/// A preset as written. No field may be named `value`: see [`crate::config`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    name: Spanned<String>,
    #[serde(default)]
    title: Option<String>,
    #[serde(rename = "match")]
    patterns: Vec<Spanned<PatternSpec>>,
    #[serde(default)]
    processes: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    sources: Option<Vec<String>>,
    #[serde(default)]
    read: Option<String>,
    #[serde(default)]
    note: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PatternSpec {
    #[serde(default, deserialize_with = "seconds")]
    keepidle: Expected,
    #[serde(default, deserialize_with = "seconds")]
    keepintvl: Expected,
    #[serde(default, deserialize_with = "count")]
    keepcnt: Expected,
}

/// Checks a list of presets.
///
/// # Errors
/// The first fault, with its place.
pub(crate) fn check_all(specs: Vec<Spec>) -> Result<Vec<Preset>, Fault> {
    let mut presets: Vec<Preset> = Vec::with_capacity(specs.len());
    let mut names: Vec<Spanned<String>> = Vec::with_capacity(specs.len());
    for (index, spec) in specs.into_iter().enumerate() {
        if let Some(first) = names.iter().find(|name| name.value == spec.name.value) {
            let message = format!(
                "`{}` is the name of a preset at line {} already; to give it more settings, add them to its `match`",
                first.value,
                first.referenced.line()
            );
            return Err(Fault { at: spec.name.referenced, field: format!("[{index}].name"), message });
        }
        names.push(spec.name.clone());
        presets.push(
            spec.check().map_err(|fault| Fault { field: format!("[{index}].{}", fault.field), ..fault })?,
        );
    }
    Ok(presets)
}

impl Spec {
    fn check(self) -> Result<Preset, Fault> {
        check_name(&self.name)?;
        let name = self.name.value;
        let processes = self.processes.unwrap_or_default();
        for (index, process) in processes.iter().enumerate() {
            pattern::check_process(&process.value).map_err(|message| Fault {
                at: process.referenced,
                field: format!("processes[{index}]"),
                message,
            })?;
        }
        if self.patterns.is_empty() {
            let message = "expected at least one of `keepidle`, `keepintvl` and `keepcnt` in a list, such as \
                           `- {keepidle: 60, keepintvl: 10, keepcnt: sysctl}`";
            return Err(Fault { at: self.name.referenced, field: "match".into(), message: message.into() });
        }
        let mut patterns = Vec::with_capacity(self.patterns.len());
        for (index, spec) in self.patterns.into_iter().enumerate() {
            let PatternSpec { keepidle, keepintvl, keepcnt } = spec.value;
            let pattern = Pattern { keepidle, keepintvl, keepcnt };
            check_pattern(&pattern, processes.is_empty()).map_err(|message| Fault {
                at: spec.referenced,
                field: format!("match[{index}]"),
                message: message.into(),
            })?;
            patterns.push(pattern);
        }
        Ok(Preset {
            title: self.title.unwrap_or_else(|| name.clone()),
            name: name.into(),
            patterns,
            processes: processes.into_iter().map(|process| process.value).collect(),
            sources: self.sources.unwrap_or_default(),
            read: self.read,
            note: self.note,
        })
    }
}

fn check_pattern(pattern: &Pattern, any_process: bool) -> Result<(), &'static str> {
    if !pattern.parts().iter().any(|part| part.is_given()) {
        return Err("expected at least one of `keepidle`, `keepintvl` and `keepcnt`");
    }
    if any_process && !pattern.parts().iter().any(|part| part.is_on_socket()) {
        return Err(
            "this is what a socket has on which nothing was set: name the `processes` that it is to match",
        );
    }
    Ok(())
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Expected, D::Error> {
    deserializer.deserialize_any(ExpectedVisitor { unit: "seconds", max: SECONDS_MAX })
}

fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Expected, D::Error> {
    deserializer.deserialize_any(ExpectedVisitor { unit: "a count", max: COUNT_MAX })
}

/// Says itself what is wrong with each kind of value, because only then the error carries the place of
/// the value rather than of its key.
struct ExpectedVisitor {
    unit: &'static str,
    max: u32,
}

impl ExpectedVisitor {
    fn refuse<E: de::Error>(&self, what: impl fmt::Display) -> E {
        E::custom(format_args!(
            "{what} is not {} from 1 to {}, `sysctl` (nothing set on the socket) or `set` (any value)",
            self.unit, self.max
        ))
    }
}

impl<'de> Visitor<'de> for ExpectedVisitor {
    type Value = Expected;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} from 1 to {}, `sysctl` or `set`", self.unit, self.max)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Expected, E> {
        match u32::try_from(number) {
            Ok(value) if (1..=self.max).contains(&value) => Ok(Expected::Value(value)),
            Ok(_) | Err(_) => Err(self.refuse(number)),
        }
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Expected, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(self.refuse(number)),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Expected, E> {
        match text {
            "sysctl" => Ok(Expected::Sysctl),
            "set" => Ok(Expected::Set),
            other => Err(self.refuse(format_args!("{other:?}"))),
        }
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Expected, E> {
        Err(self.refuse(value))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Expected, E> {
        Err(self.refuse(number))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Expected, E> {
        Err(self.refuse("nothing"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Expected, A::Error> {
        Err(self.refuse("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Expected, A::Error> {
        Err(self.refuse("a mapping"))
    }
}
